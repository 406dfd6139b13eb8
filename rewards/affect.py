"""Did the patient's mood rise where it was lowest?"""

from therapysim.state import Transition

__all__ = ["deficit_shift"]


def deficit_shift(turn: Transition) -> float:
    """Φ(s') - Φ(s), where Φ(s) = min(e), the value of the dimension in deficit. In [-2, 2].

    A potential difference: over a session the term adds up to Φ(s_T) - Φ(s_0), so that nothing is won by making the
    patient worse and better again, nor by raising dimensions that were never low. Not invariant, and not meant to be:
    where the session ends is what is paid for; and the rubric's gate keeps the losses of unsafe turns only.

    After Ng, Harada & Russell 1999, "Policy Invariance Under Reward Transformations", with γ = 1.
    """
    return min(turn.after.affect) - min(turn.before.affect)
