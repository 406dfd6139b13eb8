"""Sense: a turn made of sentences, not of words strung together."""

from therapysim.state import Transition

__all__ = ["sense"]


def sense(turn: Transition) -> float:
    """0 for sentences, -1 for a heap of words; another language has the benefit of the doubt. See
    ``rewards.reading.word_order``.

    Example: "And how is that for you?" costs nothing, "how and that for is you" 1.
    """
    return turn.appraisal.order - 1.0
