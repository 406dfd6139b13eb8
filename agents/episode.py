"""Plays sessions to their end."""

from collections.abc import Sequence
from dataclasses import dataclass

from therapysim.agents.therapist import Therapist
from therapysim.envs.batch import Session, SessionBatch, Start, Turn
from therapysim.errors import ActionError

__all__ = ["Episode", "play"]


@dataclass(frozen=True)
class Episode:
    """One finished session and its turns, oldest first."""

    session: Session
    turns: tuple[Turn, ...]

    @property
    def total(self) -> float:
        """The rewards' sum; nan where the patient failed."""
        return sum(turn.reward for turn in self.turns)


def play(batch: SessionBatch, therapist: Therapist, starts: Sequence[Start]) -> list[Episode]:
    """Lets ``therapist`` talk through one session a start, all in lock-step, until each is done."""
    batch.reset(starts)
    turns: list[list[Turn]] = [[] for _ in starts]
    while going := [i for i, s in enumerate(batch.sessions) if not s.done]:
        replies = therapist.respond([batch.sessions[i] for i in going])
        if len(replies) != len(going):
            raise ActionError(f"{type(therapist).__name__} gave {len(replies)} replies for {len(going)} sessions")
        texts: list[str | None] = [None] * len(starts)
        for i, reply in zip(going, replies, strict=True):
            texts[i] = reply
        for i, turn in enumerate(batch.step(texts)):
            if turn is not None:
                turns[i].append(turn)
    return [Episode(s, tuple(t)) for s, t in zip(batch.sessions, turns, strict=True)]
