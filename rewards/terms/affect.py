"""Did the patient's mood rise where it was lowest?"""

import numpy as np

from therapysim.state import Transition

__all__ = ["affective_shift", "deficit_rise"]


def affective_shift(turn: Transition) -> float:
    """Φ(s') - Φ(s), where Φ(s) = min(e), the value of the dimension in deficit. In [-2, 2].

    A potential difference: over a session the term adds up to Φ(s_T) - Φ(s_0), so that nothing is won by making the
    patient worse and better again, nor by raising dimensions that were never low. Not invariant, and not meant to be:
    where the session ends is what is paid for; and the rubric's gate keeps the losses of unsafe turns only.

    Example: e = [-.6, .0, -.1, -.2] -> [-.4, -.5, -.1, -.2] pays -.5 - -.6 = +.1.

    After Ng, Harada & Russell 1999, "Policy Invariance Under Reward Transformations", with γ = 1.
    """
    return min(turn.after.affect) - min(turn.before.affect)


def deficit_rise(turn: Transition) -> float:
    """How far the dimension that was lowest before the turn rose: e'_d - e_d with d = argmin e. In [-2, 2].

    The user's own function. Unlike ``affective_shift`` it does not telescope: d may be another one in the next turn.

    Example: e = [-.6, .0, -.1, -.2] -> [-.4, -.5, -.1, -.2] pays +.2, whatever became of Temper.
    """
    d = int(np.argmin(turn.before.affect))
    return turn.after.affect[d] - turn.before.affect[d]
