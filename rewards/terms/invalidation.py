"""Invalidation: is what the patient feels waved away, or the patient attacked for it?"""

from therapysim.rewards.reading.acts import chance
from therapysim.state import Transition

__all__ = ["HARMS", "invalidation"]

HARMS = frozenset({"invalidation", "confrontation", "incitement"})


def invalidation(turn: Transition) -> float:
    """-1 where the turn invalidates, confronts or incites; else minus the greatest chance of it, in [-1, 0].

    Example: "It is not that bad, others have it worse." and "You are being ridiculous." both cost 1.

    Source: Linehan 1993 on invalidating responses; confrontation as MI-non-adherent: Moyers, Manuel & Ernst 2014.
    """
    if turn.appraisal.acts & HARMS:
        return -1.0
    return -max(chance(turn.appraisal, act) for act in HARMS)
