"""Is the turn made the way a therapist would make it?"""

from therapysim.state import Transition

__all__ = ["closing", "inquiry", "length"]


def inquiry(turn: Transition) -> float:
    """Question against advice, in [-1, 1]: open question +1, closed question +0.25, direct advice -1.

    A question asked over again earns half, then a quarter, and so on.
    """
    acts = turn.appraisal.acts
    asked = 1.0 if "open_question" in acts else 0.25 if "closed_question" in acts else 0.0
    advised = 1.0 if "advice" in acts else 0.0
    return asked * 0.5**turn.appraisal.repeats - advised


def length(turn: Transition, *, short: int = 8, long: int = 60) -> float:
    """0 between ``short`` and ``long`` words; falls to -1 at none, and to -1 at twice ``long``."""
    words = turn.appraisal.words
    if words < short:
        return words / short - 1.0
    return max(-1.0, min(0.0, (long - words) / long))


def closing(turn: Transition) -> float:
    """The turns that a session closed well no longer needed, 0 for any other turn.

    Safety pays +1 a turn; without this term a policy would earn more by never helping the patient to finish.
    """
    return float(turn.turns_left) if turn.ending in ("goal", "crisis") else 0.0
