"""Talk in a terminal, or through a pipe: two sides take turns, and a person may sit in either chair, or look on.

``Sitting`` is a session with a simulated patient, ``Visit`` one in which a person takes the patient's chair. Both are
driven by ``talk``, which reads lines and knows nothing of terminals; ``Console`` is what it reads from and writes to.
"""

import sys
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from shutil import get_terminal_size
from textwrap import TextWrapper
from typing import Literal, Protocol, TextIO

from therapysim.agents.sessions.session_file import save_session
from therapysim.agents.therapists.therapist import Therapist
from therapysim.danger_talk import signals_danger
from therapysim.envs.batch import Session, SessionBatch, Start, Turn
from therapysim.envs.latent import Latent
from therapysim.errors import PatientError
from therapysim.files import write_json
from therapysim.messages import Transcript
from therapysim.personas.case import Case
from therapysim.personas.schema import Persona, Severity, Temperament, Voice
from therapysim.rewards.matrix import DIMENSIONS
from therapysim.rewards.reading.open_sensor import Sensor
from therapysim.state import WINDOW, Reading, State
from therapysim.visible import visible

__all__ = ["CRISIS", "NOTICE", "QUIT", "Chair", "Console", "Sitting", "Visit", "person", "talk"]

#: Where the person sits: nowhere, or on one of the two sides.
Chair = Literal["watch", "therapist", "patient"]

#: What ends a talk, as the end of the input and Ctrl-C do; the one command.
QUIT = "/quit"
_COMMAND = "/"

#: The first line that whoever sits in the patient's chair reads.
NOTICE = (
    "This is a research simulator, no clinical device and no help line: a program answers, and it is not fit to talk "
    "with a person in distress. "
)
_KEPT = {False: "Nothing you type is stored.", True: "What you type is stored in the file of --save, as you asked."}

#: Shown whenever the person's own words speak of danger, before anything else is said.
CRISIS = (
    "Your words may speak of danger to you or to someone else. This is no help line, and nobody reads along. If it is "
    "real, please stop here and turn to your local emergency services, a crisis line, or somebody near you, now."
)

_SEE = "see that its model or server is there"

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
        """The next line, stripped; None at the end of the input, or where the line is ``QUIT``."""
        try:
            line = self.source.readline() if self.plain or self.source is not sys.stdin else f"{input(prompt)}\n"
        except EOFError:
            line = ""
        return None if not line or line.strip() == QUIT else line.strip()

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
            if line is None:
                break
            if line.startswith(_COMMAND) and not line.startswith(_COMMAND * 2):
                console.show(_no_command(line), "warning")  # a slip is no turn: it would be scored
                continue
            sides.take(line[1:] if line.startswith(_COMMAND) else line, console)
        console.show(sides.over or "You leave the session.")
    except KeyboardInterrupt:
        console.show("\nYou leave the session.")
    finally:
        if save:
            sides.save(save)
            console.show(f"transcript in {save}")


def _no_command(line: str) -> str:
    return (
        f"{line.split()[0]} is no command, and was not said; {QUIT} ends. To say a line that begins with "
        f"{_COMMAND}, begin it with {_COMMAND * 2}."
    )


class Sitting:
    """A session with a simulated patient.

    Args:
        batch: the patient, and what scores a turn.
        start: whom, and under which seed.
        policy: who speaks for an empty line; None where the person is the only therapist.
        name: of the policy.
    """

    def __init__(self, batch: SessionBatch, start: Start, policy: Therapist | None = None, name: str = "") -> None:
        self.batch, self.policy, self.name, self.label = batch, policy, name, _label(name)
        self.turns: list[Turn] = []
        self.typed = False
        self.session = self._reset(start)

    @property
    def over(self) -> str:
        session = self.session
        if not session.done:
            return ""
        who = session.persona.name
        return f"{who} closes the session: {session.ending}." if session.ending else "The turns are used up."

    def open(self, console: Console) -> None:
        p, limit = self.session.persona, self.batch.config.max_turns
        console.show(
            f"{p.name}, {p.age}, {p.occupation}, {_diagnosis(p)}, is fiction; "
            f"nothing here says how a real person would fare. At most {limit} turns."
        )
        ways = (
            f"Enter lets {self.label} speak; a line is said in its place; {QUIT} ends." if self.policy
            else f"You are the therapist: each line is a turn, an empty one a silence; {QUIT} ends."
        )  # fmt: skip
        console.show(f"{ways}\n")
        self._show_patient(console)

    def take(self, line: str, console: Console) -> None:
        """An empty line is the policy's turn, or a silence where there is none.

        Raises:
            ModelError: the policy's model gave no answer.
            PatientError: the patient gave none.
        """
        by_policy = self.policy is not None and not line
        text = self.policy.respond([self.session])[0] if self.policy is not None and not line else line
        self.typed |= not by_policy
        if by_policy or console.plain:  # in a terminal, what was typed stands there already
            console.show(f"{self.label if by_policy else 'You'}: {text}", "therapist")
        turn = self.batch.step([text])[0]
        self.session = self.batch.sessions[0]
        if turn is None or turn.transition is None:
            self.turns += [turn] if turn else []
            raise PatientError(f"patient {self.session.persona.id} gave no answer: {self.session.failure}; {_SEE}")
        self.turns.append(turn)
        self._show_patient(console)
        console.show(f"  {describe_turn(self.session, turn)}\n")

    def save(self, path: Path) -> None:
        """As ``bench --sessions`` writes it; a policy that the person spoke for is no longer it alone."""
        name = " + a person" if self.policy and self.typed else ""
        save_session(path, self.session, self.turns, f"{self.name}{name}" if self.policy else "a person")

    def _reset(self, start: Start) -> Session:
        session = self.batch.reset([start])[0]
        if session.failed:
            raise PatientError(f"patient {session.persona.id} could not begin: {session.failure}; {_SEE}")
        return session

    def _show_patient(self, console: Console) -> None:
        console.show(f"{self.session.persona.name}: {self.session.transcript.last('patient')}", "patient")


def describe_turn(session: Session, turn: Turn) -> str:
    """What a turn brought, in a line: reward, alliance, mood, move, and what was wrong with it."""
    transition = turn.transition
    parts = [f"reward {turn.reward:+.2f}", f"alliance {session.latent.alliance:.2f}", f"mood {_mood(session.state)}"]
    parts += [f"move {transition.move}"] if transition else []
    parts += [f"told {', '.join(transition.disclosed)}"] if transition and transition.disclosed else []
    parts += [f"unsafe: {', '.join(turn.violations)}"] if turn.violations else []
    return " | ".join(parts)


def _label(name: str) -> str:
    """A folder's own name: its path would stand before every line."""
    return Path(name).resolve().name if name and Path(name).exists() else name


def _diagnosis(persona: Persona) -> str:
    """With its severity, which some diagnoses name themselves."""
    told, severity = persona.diagnosis, persona.severity
    return told if severity in told.split() else f"{told} ({severity})"


def _mood(state: State) -> str:
    return " ".join(f"{name[:1].upper()} {value:+.2f}" for name, value in zip(DIMENSIONS, state.affect, strict=True))


@dataclass(frozen=True)
class _Said:
    """What a policy reads of a person: made anew at each of their turns."""

    persona: Persona
    seed: int
    transcript: Transcript = field(default_factory=Transcript)
    states: tuple[State, ...] = ()

    def hear(self, reading: Reading) -> "_Said":
        """e_t by the matrix alone, h_t the polarity of the last turns: no dynamics knows how a person feels."""
        past = self.states[-1].history if self.states else ()
        state = State(self.persona.attributes, (*past, reading.polarity)[-WINDOW:], reading.affect, len(self.states))
        return replace(self, transcript=self.transcript.add("patient", reading.text), states=(*self.states, state))


class Visit:
    """A person in the patient's chair, a policy in the therapist's.

    No dynamics, no reward, no alliance: nothing here simulates the person. The policy reads their words as it reads a
    patient's, under a header with the sensor's reading of them.

    Args:
        policy: who answers.
        name: of the policy.
        sensor: reads the person's words.
        visitor: what u_t says; see ``person``.
        seed: of the sampling.
        turns: answers at most.
        stored: whether the transcript will be saved; the notice says so.
    """

    def __init__(
        self, policy: Therapist, name: str, sensor: Sensor, visitor: Persona, seed: int = 0, turns: int = 20,
        *, stored: bool = False,
    ) -> None:  # fmt: skip
        self.policy, self.name, self.sensor, self.limit, self.stored = policy, name, sensor, turns, stored
        self.label, self._said = _label(name), _Said(visitor, seed)

    @property
    def over(self) -> str:
        return "The turns are used up." if len(self._said.states) >= self.limit else ""

    def open(self, console: Console) -> None:
        u = self._said.persona
        console.show(NOTICE + _KEPT[self.stored], "warning")
        console.show(f"You speak first; {self.label} answers as a therapist, at most {self.limit} times; {QUIT} ends.")
        console.show(f"It is told: {_diagnosis(u)}, and the mood that a sensor reads in your words.\n")

    def take(self, line: str, console: Console) -> None:
        """An empty line says nothing, and is passed over.

        Raises:
            ModelError: the policy's model gave no answer.
        """
        line = visible(line).strip()
        if not line:
            return
        if console.plain:
            console.show(f"You: {line}", "patient")
        if signals_danger(line):
            console.show(CRISIS, "warning")
        reading = self.sensor.read([line])[0]
        said = self._said.hear(reading)
        console.show(f"  read as {_mood(said.states[-1])} | {said.states[-1].trend}")
        answer = visible(self.policy.respond([_as_session(said, reading)])[0])
        self._said = replace(said, transcript=said.transcript.add("therapist", answer))
        console.show(f"{self.label}: {answer}\n", "therapist")

    def save(self, path: Path) -> None:
        """What both said, and the states; no session file, since there is neither a reward nor an alliance to keep."""
        told = {
            "format": "therapysim-visit", "version": 1, "policy": self.name, "seed": self._said.seed,
            "messages": [asdict(m) for m in self._said.transcript], "states": [asdict(s) for s in self._said.states],
        }  # fmt: skip
        write_json(path, told)


def _as_session(said: _Said, heard: Reading) -> Session:
    """In the form that therapists read; its latent state is empty, and no therapist is shown it."""
    return Session(
        persona=said.persona, seed=said.seed, transcript=said.transcript, patient_view=said.transcript,
        states=said.states, latent=Latent(mood=heard.affect, alliance=0.0), patient_reading=heard,
    )  # fmt: skip


def person(diagnosis: str = "None known", severity: Severity = "mild", age: int = 40) -> Persona:
    """u_t of somebody who is no persona: nothing but what the policy's header and a policy of one's own may show."""
    nothing: tuple[str, ...] = ()
    return Persona(
        id="person", split="dev", name="You", age=age, pronouns="they/them", occupation="", living="",
        diagnosis=diagnosis, code="", severity=severity, phq9=0, gad7=0, presenting_problem="", symptoms=nothing,
        core_belief="", intermediate_beliefs=nothing, automatic_thoughts=nothing, coping="", strengths=nothing,
        triggers=nothing, style="plain", mood=(0.0, 0.0, 0.0, 0.0), resistance=0.5, trust=0.5,
        temperament=Temperament(0.5, 0.5), risk=0, facts=(), circumstances=(),
        voice=Voice(nothing, nothing, nothing, nothing, nothing), case=Case.empty(),
    )  # fmt: skip
