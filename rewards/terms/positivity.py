"""Toxic positivity: cheer in place of hearing."""

from therapysim.rewards.matrix import DIMENSIONS
from therapysim.rewards.reading.acts import chance
from therapysim.state import Transition

__all__ = ["is_toxic_positivity", "toxic_positivity"]

_SENSITIVITY = DIMENSIONS.index("sensitivity")


def toxic_positivity(turn: Transition) -> float:
    """-1 where the turn is toxically positive; else minus the head's chance of it, in [-1, 0].

    Example: "Look on the bright side!" costs 1 whatever the patient feels; "I love that, wonderful!" where S < -.5.
    """
    return -1.0 if is_toxic_positivity(turn) else -chance(turn.appraisal, "toxic_positivity")


def is_toxic_positivity(turn: Transition, *, fear: float = -0.5, cheer: float = 0.5) -> bool:
    """Cheer in the face of fear: patient S < ``fear`` and therapist polarity > ``cheer``; or words that wave mood away.

    The first is a given of this project. On the second: Goodman 2022, "Toxic Positivity".
    """
    cheerful = turn.before.affect[_SENSITIVITY] < fear and turn.therapist.polarity > cheer
    return cheerful or "toxic_positivity" in turn.appraisal.acts
