"""How patients are asked for their lines: all cues in one call, or each in a thread of its own.

Whichever it is, a patient that fails fails its own session: one dead call must not take the others along.
"""

import warnings
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, TypeVar

from therapysim.errors import PatientError
from therapysim.models.chat import interrupt
from therapysim.models.redaction import in_brief
from therapysim.personas.patient import Cue, Line, NoLine, Patient
from therapysim.visible import visible

__all__ = ["ask", "awaited", "let_go"]

Result = TypeVar("Result")

# Seconds of one wait; those who still wait for a patient are broken off again as often.
_AGAIN_S = 0.1


def ask(patient: Patient, cues: Sequence[Cue], at_once: int = 1) -> list[Line | NoLine]:
    """What the patient says, one line a cue, in order; where it failed, why, in a line without secrets.

    Args:
        patient: words the cues.
        cues: any number of them.
        at_once: 1 puts all cues into one call; above that each has a call of its own, so many of them under way.
    """
    if at_once == 1 or len(cues) < 2:
        return _ask_together(patient, cues)
    asked: list[Future[list[Line | NoLine]]] = []
    with ThreadPoolExecutor(min(at_once, len(cues))) as threads, let_go(asked, patient):
        for cue in cues:  # within the block: Ctrl-C may come before the last is asked
            asked.append(threads.submit(_ask_together, patient, [cue]))
        return [awaited(answer)[0] for answer in asked]


def awaited(call: Future[Result]) -> Result:
    """What a call in another thread gives; in short waits, since a signal just before a long one may go unseen."""
    while not wait([call], _AGAIN_S).done:
        pass
    return call.result()


@contextmanager
def let_go(asked: Collection[Future[Any]], patient: object) -> Iterator[None]:
    """Where the block is broken off, as by Ctrl-C, no thread waits any longer for what the patient was asked."""
    try:
        yield
    except BaseException:
        for answer in asked:
            answer.cancel()  # of those that have not begun
        while wait(asked, _AGAIN_S).not_done:  # one may have been between two calls
            interrupt(patient)
        raise


def _ask_together(patient: Patient, cues: Sequence[Cue]) -> list[Line | NoLine]:
    try:
        return _lines(patient, cues)
    except PatientError as error:
        reason, ours = in_brief(str(error)), True
    except Exception as error:  # whatever a patient of somebody's own does wrong
        reason, ours = in_brief(repr(error)), False
    if len(cues) > 1:
        return [_ask_together(patient, [cue])[0] for cue in cues]
    if not ours:
        warnings.warn(f"a session failed by an error of {type(patient).__name__}: {reason}", stacklevel=2)
    return [NoLine(reason)]


def _lines(patient: Patient, cues: Sequence[Cue]) -> list[Line | NoLine]:
    """What the patient says, one a cue; the reason where it told which of them it lost."""
    lines: Sequence[Line | NoLine | None]
    why = ""
    try:
        lines = list(patient.speak(cues))
    except PatientError as error:
        if error.lines is None or len(error.lines) != len(cues):
            raise
        lines, why = error.lines, str(error)
    if len(lines) != len(cues):
        raise ValueError(f"it gave {len(lines)} lines for {len(cues)} cues")
    return [_visible(NoLine(why) if line is None else line) for line in lines]


def _visible(line: Line | NoLine) -> Line | NoLine:
    """What policies, files and terminals get of a patient's words, whoever wrote them: nothing is hidden in them."""
    if isinstance(line, NoLine):
        return NoLine(in_brief(line.reason) or "no reason was given")
    if not isinstance(line.text, str):
        raise TypeError(f"it gave {type(line.text).__name__} as its words, expected str")
    text, rejected = visible(line.text), tuple(map(visible, line.rejected))
    return line if (text, rejected) == (line.text, line.rejected) else replace(line, text=text, rejected=rejected)
