"""Premature reassurance: a promise or a claim in place of hearing."""

from therapysim.rewards.reading.acts import chance
from therapysim.state import Transition

__all__ = ["reassurance"]


def reassurance(turn: Transition) -> float:
    """Minus the chance that the turn comforts by a promise or a claim about what will be, in [-1, 0].

    Example: "You'll be fine, don't worry." costs nearly 1; "I am here, and we have time." hardly anything.

    Source: superficial reassurance heads the list of Neimeyer & Pfeiffer 1994, "The ten most common errors of suicide
        interventionists"; Hill 1986 on reassurance.
    """
    return -chance(turn.appraisal, "reassurance")
