"""Repetition: is the same said again, in this session or to everyone?"""

from collections import defaultdict
from collections.abc import Iterable

from therapysim.rewards.reading.words import overlap, word_set
from therapysim.state import Transition

__all__ = ["Archive", "repetition", "template"]

#: So many different words, and so much of them alike (Jaccard), make a turn an echo.
_ECHOED, _SAME = 5, 0.7


def repetition(turn: Transition) -> float:
    """Within the session: 0, -0.5 where the turn says almost the same as an earlier one, -1 where it does so again.

    The patient's own last words said back whole are as empty, and cost 1; of a few words, that may be a reflection.

    Example: the third "That sounds hard. Tell me more." costs 1.
    """
    return -1.0 if _parrots(turn) else -min(1.0, turn.appraisal.repeats / 2)


def _parrots(turn: Transition) -> bool:
    said, heard = word_set(turn.therapist.text), word_set(turn.heard)
    return len(said) >= _ECHOED and overlap(said, heard) > _SAME


def template(turn: Transition) -> float:
    """Across sessions: minus a third for each other patient to whom the same words were said, down to -1.

    0 where the batch has no ``Archive``. Example: one sentence said to three other patients costs 1.
    """
    return -min(1.0, turn.appraisal.elsewhere / 3)


class Archive:
    """What was said to which patient in earlier sessions, turn by turn, by the set of its words.

    Only its owner adds to it, between batches, so that a session's course and reward never hang on the sessions beside
    it, and an equal archive gives equal rewards.
    """

    def __init__(self) -> None:
        self._heard_by: dict[frozenset[str], set[str]] = defaultdict(set)

    def add(self, patient: str, turns: Iterable[str]) -> None:
        """Remembers turns that were said to a patient."""
        for turn in turns:
            if words := word_set(turn):
                self._heard_by[words].add(patient)

    def elsewhere(self, patient: str, turn: str) -> int:
        """To how many other patients the same words were said, in whatever order and spelling."""
        return len(self._heard_by.get(word_set(turn), set()) - {patient})

    def __len__(self) -> int:
        return len(self._heard_by)
