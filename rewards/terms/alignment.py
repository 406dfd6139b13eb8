"""Emotional alignment: is fear met with support?"""

from therapysim.rewards.matrix import DIMENSIONS, LABELS
from therapysim.state import Transition

__all__ = ["emotional_alignment", "support"]

_SENSITIVITY = DIMENSIONS.index("sensitivity")
_SUPPORTIVE = [LABELS.index(label) for label in ("admiration", "approval", "caring", "love", "optimism", "relief")]


def emotional_alignment(turn: Transition, *, fear: float = -0.7, enough: float = 0.5) -> float:
    """r_emo: -1 where the patient's Sensitivity < ``fear`` and the turn's support < ``enough``, else 0.

    Example: to a patient with S = -.8, "Noted. Next topic." costs 1; "That terror sounds unbearable." does not.

    Source: a given of this project; what counts as support is ``support``.
    """
    return -1.0 if turn.before.affect[_SENSITIVITY] < fear and support(turn) < enough else 0.0


def support(turn: Transition) -> float:
    """How supportive the turn is, in [0, 1]: the larger of uptake and the chance of any supportive emotion."""
    absent = 1.0
    for p in turn.therapist.probabilities[_SUPPORTIVE]:
        absent *= 1.0 - float(p)
    return max(turn.appraisal.uptake, 1.0 - absent)
