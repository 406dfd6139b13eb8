"""Harm of any kind, as sure as the reader is of it."""

from therapysim.rewards.reading.acts import ANY_HARM
from therapysim.state import Transition

__all__ = ["harm"]


def harm(turn: Transition) -> float:
    """Minus the chance that the turn harms, at once or later, in any of the ways in ``acts.HARMS``; in [-1, 0].

    Example: "You only need this room, and me." costs nearly 1, however warmly it is said; "Take your time." hardly
    anything.

    Source: see ``docs/acts.md``, "Harms".
    """
    return -turn.appraisal.chances.get(ANY_HARM, 0.0)
