"""Talk in a terminal, or through a pipe: two sides take turns, and a person may sit in either chair, or look on.

What the sides are is told in ``sitting.py``, a session with a simulated patient, and ``visit.py``, in which a person
takes the patient's chair. ``talk`` drives both; it reads lines and knows nothing of terminals, which are ``Console``'s.
"""

import sys
from contextlib import suppress
from pathlib import Path
from shutil import get_terminal_size
from textwrap import TextWrapper
from typing import Literal, Protocol, TextIO

from therapysim.visible import visible

__all__ = ["NO_TURN", "UNDONE", "WAYS", "Chair", "Console", "Talk", "talk"]

#: Where the person sits: nowhere, or on one of the two sides.
Chair = Literal["watch", "therapist", "patient"]

#: What ends a talk, as the end of the input and Ctrl-C do; takes the last turn back; tells all this.
QUIT, UNDO, HELP = "/quit", "/undo", "/help"
_COMMAND = "/"

_COLOURS = {"patient": "36", "therapist": "32", "note": "2", "warning": "1;31"}


class Console:
    """Lines in, lines out; colours, prompts and lines that end between words for a terminal alone.

    Args:
        source, sink: where lines come from and go to; standard input and output by default.
        plain: none of these, as where either is no terminal.
    """

    def __init__(self, source: TextIO | None = None, sink: TextIO | None = None, *, plain: bool = False) -> None:
        self.source, self.sink = source or sys.stdin, sink or sys.stdout
        self.plain = plain or not (self.source.isatty() and self.sink.isatty())
        if not self.plain:
            with suppress(ImportError):
                import readline  # noqa: F401 - lines can be edited from then on

    def read(self, prompt: str) -> str | None:
        """The next line, stripped; None at the end of the input."""
        try:
            line = self.source.readline() if self.plain or self.source is not sys.stdin else f"{input(prompt)}\n"
        except EOFError:
            line = ""
        return line.strip() if line else None

    def show(self, text: str, kind: str = "note") -> None:
        """One line or more of a kind of ``_COLOURS``. What a model wrote cannot steer the terminal."""
        clean = visible(text)
        shown = clean if self.plain else f"\033[{_COLOURS[kind]}m{_wrapped(clean)}\033[0m"
        print(shown, file=self.sink, flush=True)


def _wrapped(text: str) -> str:
    """Each line in lines as wide as the terminal is now; what is indented stays so."""
    lines = list[str]()
    for line in text.split("\n"):
        indent = line[: len(line) - len(line.lstrip())]
        wide = TextWrapper(max(20, get_terminal_size().columns), subsequent_indent=indent, break_long_words=False,
                           break_on_hyphens=False)  # fmt: skip
        lines += wide.wrap(line) or [""]
    return "\n".join(lines)


class Talk(Protocol):
    """One talk between two sides, a turn at a time."""

    @property
    def over(self) -> str:
        """Why no further turn can be taken, "" while one can."""
        ...

    def open(self, console: Console) -> None:
        """What is shown first."""
        ...

    def take(self, line: str, console: Console) -> None:
        """One turn: what the person typed, and what came of it."""
        ...

    def undo(self, console: Console) -> None:
        """Takes the last turn back."""
        ...

    def save(self, path: Path) -> None:
        """Writes the transcript, whole or not at all."""
        ...


def talk(sides: Talk, console: Console, save: Path | None = None) -> None:
    """Goes on until one side ends it, the turns are used up, or the person has had enough.

    Ctrl-C ends it as ``QUIT`` does. The transcript is saved however it ends, by an error too.

    Raises:
        ModelError: a language model gave no answer.
        PatientError: the patient gave none.
    """
    try:
        sides.open(console)
        while not sides.over:
            line = console.read("> ")
            command = _command(line)
            if line is None or command == QUIT:
                break
            if command == UNDO and line.strip() != UNDO:
                console.show(f"{UNDO} takes back one turn, and nothing behind it; nothing was taken back.", "warning")
            elif command == UNDO:
                sides.undo(console)
            elif command:  # a slip is no turn: it would be scored
                console.show(_HELP if command == HELP else f"{command} is no command, and was not said. {_HELP}",
                             "note" if command == HELP else "warning")  # fmt: skip
            else:
                sides.take(line[1:] if line.startswith(_COMMAND) else line, console)
        console.show(sides.over or "You leave the session.")
    except KeyboardInterrupt:
        console.show("\nYou leave the session.")
    finally:
        if save:
            sides.save(save)
            console.show(f"transcript in {save}")


_HELP = (
    f"{UNDO} takes the last turn back, {QUIT} ends. To say a line that begins with {_COMMAND}, begin it with "
    f"{_COMMAND * 2}."
)
#: What is told of the commands at the beginning, and of undoing.
WAYS = f"{UNDO} takes one back, {HELP} tells of commands, {QUIT} ends"
NO_TURN, UNDONE = "No turn was taken yet.", "The last turn is taken back."


def _command(line: str | None) -> str:
    """The first word of a line that is a command, whatever stands behind it; "" for any other line."""
    if not line or not line.startswith(_COMMAND) or line.startswith(_COMMAND * 2):
        return ""
    return line.split()[0]
