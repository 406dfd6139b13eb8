"""Did the patient's mood rise where it was lowest?"""

from therapysim.state import Transition

__all__ = ["deficit_shift"]


def deficit_shift(turn: Transition) -> float:
    """Φ(s') - Φ(s), where Φ(s) = min(e), the value of the dimension in deficit. In [-2, 2].

    A potential difference: over a session it adds up to Φ(s_T) - Φ(s_0), so that a policy gains nothing by making the
    patient worse and better again, nor by raising dimensions that were never low.

    Source: Ng, Harada & Russell 1999, "Policy Invariance Under Reward Transformations", with γ = 1.
    """
    return min(turn.after.affect) - min(turn.before.affect)
