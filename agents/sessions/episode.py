"""Plays sessions to their end."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from therapysim.agents.therapists.therapist import Therapist
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


def play(
    batch: SessionBatch,
    therapist: Therapist,
    starts: Sequence[Start],
    on_end: Callable[[int, Episode], None] | None = None,
) -> list[Episode]:
    """Lets ``therapist`` talk through one session a start, all in lock-step, until each is done.

    Args:
        batch: reset here.
        therapist: who speaks.
        starts: one a session.
        on_end: told of each session as it ends: its number, and the episode.
    """
    batch.reset(starts)
    turns: list[list[Turn]] = [[] for _ in starts]
    ended: dict[int, Episode] = {}
    while True:
        for i in (i for i, s in enumerate(batch.sessions) if s.done and i not in ended):
            ended[i] = Episode(batch.sessions[i], tuple(turns[i]))
            if on_end:
                on_end(i, ended[i])
        going = [i for i in range(len(starts)) if i not in ended]
        if not going:
            return [ended[i] for i in range(len(starts))]
        for i, turn in _take_turn(batch, therapist, going).items():
            turns[i].append(turn)


def _take_turn(batch: SessionBatch, therapist: Therapist, going: Sequence[int]) -> dict[int, Turn]:
    """One turn in every session that goes on, by its number."""
    replies = therapist.respond([batch.sessions[i] for i in going])
    if not isinstance(replies, list | tuple) or len(replies) != len(going):
        found = f"{len(replies)} replies" if isinstance(replies, list | tuple) else type(replies).__name__
        name = getattr(therapist, "name", type(therapist).__name__)
        raise ActionError(f"{name} gave {found} for {len(going)} sessions, expected a list of one text each")
    texts: list[str | None] = [None] * len(batch.sessions)
    for i, reply in zip(going, replies, strict=True):
        texts[i] = reply
    return {i: turn for i, turn in enumerate(batch.step(texts)) if turn is not None}
