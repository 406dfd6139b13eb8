"""Patients asked together and apart: the same lines, in order, and each failure its own."""

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.parts.patience import HANGS_S
from therapysim.envs.asking import ask, let_go
from therapysim.errors import PatientError
from therapysim.messages import Transcript
from therapysim.personas.load import find
from therapysim.personas.patient import Cue, Line, NoLine
from therapysim.state import Move

CUES = [
    Cue(persona=persona, transcript=Transcript(), mood=persona.mood, move=Move.EXPRESS)
    for persona in map(find, ("claire", "owen", "ingrid", "marta"))
]


class Named:
    """Gives its name; some of the patients fail in one way or another."""

    def __init__(self) -> None:
        self.calls: list[int] = []

    def speak(self, cues: Sequence[Cue]) -> list[Line]:
        self.calls.append(len(cues))
        ids = [cue.persona.id for cue in cues]
        if "owen" in ids:
            raise PatientError("nobody is there")
        if "ingrid" in ids:
            return []
        return [Line(f"I am {id}.") for id in ids]


@pytest.mark.parametrize(("at_once", "calls"), [(1, [4, 1, 1, 1, 1]), (2, [1] * 4), (9, [1] * 4)])
def test_each_failure_is_its_own_and_lines_keep_their_order(at_once: int, calls: list[int]) -> None:
    patient = Named()
    with pytest.warns(UserWarning, match=r"an error of Named: ValueError\('it gave 0 lines for 1 cues'\)"):
        lines = ask(patient, CUES, at_once)
    wrong = "ValueError('it gave 0 lines for 1 cues')"
    assert lines == [Line("I am claire."), NoLine("nobody is there"), NoLine(wrong), Line("I am marta.")]
    assert patient.calls == calls


def test_the_last_answer_may_come_first() -> None:
    """Each waits for the one after it."""
    answered = {cue.persona.id: threading.Event() for cue in CUES}
    after = dict(zip(answered, [*list(answered)[1:], None], strict=True))

    class Backwards:
        def speak(self, cues: Sequence[Cue]) -> list[Line]:
            (cue,) = cues
            assert (waits := after[cue.persona.id]) is None or answered[waits].wait(HANGS_S)
            answered[cue.persona.id].set()
            return [Line(cue.persona.id)]

    assert ask(Backwards(), CUES, 4) == [Line(name) for name in answered]


def test_what_breaks_off_the_asking_breaks_off_the_calls_and_waits_for_their_ends() -> None:
    broken, ended = threading.Event(), threading.Event()

    class Hung:
        def interrupt(self) -> None:
            broken.set()

    def call() -> None:
        assert broken.wait(HANGS_S)
        ended.set()

    with ThreadPoolExecutor(1) as threads:
        asked = [threads.submit(call), threads.submit(call)]  # the second never begins
        with pytest.raises(KeyboardInterrupt), let_go(asked, Hung()):
            raise KeyboardInterrupt
        assert ended.is_set() and asked[1].cancelled()
