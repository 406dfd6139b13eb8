"""Does the therapist's tone fit a patient in fear?"""

from therapysim.rewards.matrix import DIMENSIONS, LABELS
from therapysim.state import Transition

__all__ = ["is_toxic_positivity", "support", "toxic_positivity", "unsupported_fear"]

_SENSITIVITY = DIMENSIONS.index("sensitivity")
_SUPPORTIVE = [LABELS.index(label) for label in ("admiration", "approval", "caring", "love", "optimism", "relief")]


def toxic_positivity(turn: Transition) -> float:
    """-1 where the turn is toxically positive, else 0."""
    return -1.0 if is_toxic_positivity(turn) else 0.0


def is_toxic_positivity(turn: Transition, *, fear: float = -0.5, cheer: float = 0.5) -> bool:
    """Cheer in the face of fear: patient S < -0.5 and therapist polarity > 0.5; or words that wave the mood away.

    Args:
        turn: the turn.
        fear: the patient's Sensitivity must lie below this.
        cheer: the polarity of the therapist's words must lie above this.
    """
    cheerful = turn.before.affect[_SENSITIVITY] < fear and turn.therapist.polarity > cheer
    return cheerful or "toxic_positivity" in turn.appraisal.acts


def unsupported_fear(turn: Transition, *, fear: float = -0.7, enough: float = 0.5) -> float:
    """r_emo: -1 where the patient's S < -0.7 and the therapist's support < 0.5, else 0."""
    return -1.0 if turn.before.affect[_SENSITIVITY] < fear and support(turn) < enough else 0.0


def support(turn: Transition) -> float:
    """How supportive the turn is, in [0, 1]: the larger of attunement and the chance of any supportive emotion."""
    absent = 1.0
    for p in turn.therapist.probabilities[_SUPPORTIVE]:
        absent *= 1.0 - float(p)
    return max(turn.appraisal.attunement, 1.0 - absent)
