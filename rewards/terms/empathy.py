"""Empathy in three mechanisms: does the turn react with feeling, interpret what was felt, explore it?

Source: Sharma, Miner, Atkins & Althoff 2020, "A Computational Approach to Understanding Empathy Expressed in Text-Based
    Mental Health Support" (EPITOME): reactions, interpretations and explorations, each absent, weak or strong. The
    reader behind the terms learnt from EPITOME's training half and from replies that were written for this project.
"""

from collections.abc import Mapping

from therapysim.state import Transition

__all__ = ["MECHANISMS", "explorations", "interpretations", "level", "reactions"]

#: The three mechanisms, as the reader names them: "weak or more" (_1) and "strong" (_2).
MECHANISMS = ("reactions", "interpretations", "explorations")


def level(chances: Mapping[str, float], mechanism: str) -> float:
    """How much of a mechanism a turn shows, in [0, 1]: (P(weak or strong) + P(strong)) / 2."""
    return (chances.get(f"{mechanism}_1", 0.0) + chances.get(f"{mechanism}_2", 0.0)) / 2


def reactions(turn: Transition) -> float:
    """Warmth, compassion, concern: in [0, 1], halved with each time it was said before; nothing for a heap of words.

    Example: "I feel so sad reading this, I'm worried about you." is above 0.9, "Noted." near 0.
    """
    return _worn(turn, "reactions")


def interpretations(turn: Transition) -> float:
    """Understanding of what was felt or lived through: in [0, 1], worn out by repetition as ``reactions``.

    Example: "You must have been terrified, alone in that house." is near 1, "Okay, and then?" near 0.
    """
    return _worn(turn, "interpretations")


def explorations(turn: Transition) -> float:
    """Interest in what was not said: in [0, 1], worn out by repetition as ``reactions``.

    Example: "Is it the evenings that feel loneliest?" is near 1, "I see." near 0.
    """
    return _worn(turn, "explorations")


def _worn(turn: Transition, mechanism: str) -> float:
    return level(turn.appraisal.chances, mechanism) * 0.5**turn.appraisal.repeats * turn.appraisal.prose
