"""What the tests of every connection share: words to say, the session that they make, a patient that fails."""

from collections.abc import Sequence
from typing import Any

from therapysim.envs.batch import Session, SessionBatch, SessionConfig, Start, Turn
from therapysim.errors import PatientError
from therapysim.personas.patient import Cue, Line

__all__ = ["SAID", "Faulty", "played"]

SAID = ("What has this week been like for you?", "", "It sounds as if you carry that alone.", "Calm down.")


def played(start: Start, said: Sequence[str], **own: Any) -> tuple[Session, list[Turn]]:
    batch = SessionBatch(SessionConfig(max_turns=len(said)), rubric="grpo", **own)
    batch.reset([start])
    turns = [turn for text in said if not batch.sessions[0].done for turn in batch.step([text]) if turn]
    return batch.sessions[0], turns


class Faulty:
    """Fails the calls that it is told to, counted from 0; else it says hello."""

    def __init__(self, *fails: int) -> None:
        self.fails, self.calls = set(fails), 0

    def speak(self, cues: Sequence[Cue]) -> list[Line]:
        self.calls += 1
        if self.calls - 1 in self.fails:
            raise PatientError("out of order")
        return [Line(f"Hello {self.calls}.") for _ in cues]
