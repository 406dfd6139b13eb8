"""Brevity: neither curt nor long-winded, and one question at a time."""

from therapysim.state import Transition

__all__ = ["length", "one_question"]


def length(turn: Transition, *, short: int = 8, long: int = 60) -> float:
    """0 between ``short`` and ``long`` words; falls to -1 at none, and to -1 at twice ``long``.

    A short encourager, and a silence, cost nothing. Example: four words cost 0.5, ninety cost 0.5.
    """
    words, acts = turn.appraisal.words, turn.appraisal.acts
    if words < short and acts and acts <= {"encourager", "silence"}:
        return 0.0
    if words < short:
        return words / short - 1.0
    return max(-1.0, min(0.0, (long - words) / long))


def one_question(turn: Transition) -> float:
    """0 for one question or none, -0.5 for two, -1 for more.

    Example: "When was it? Where? Who was there?" costs 1.

    Source: stacked questions are a fault in every textbook of interviewing; Miller & Rollnick 2013, chapter 6.
    """
    return -min(1.0, max(0, turn.appraisal.questions - 1) / 2)
