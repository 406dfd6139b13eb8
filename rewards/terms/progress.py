"""What became of the patient: changes of the latent state, which no policy is shown and no words alone can move.

Each is the difference of a potential over a turn, so that over a session it adds up to the end's less the start's:
nothing is won by making the patient worse and better again, and nothing by ending early or dragging on.

After Ng, Harada & Russell 1999, "Policy Invariance Under Reward Transformations", with γ = 1; where the session ends is
what is paid for.
"""

from therapysim.rewards.terms.safety import violations
from therapysim.state import Transition

__all__ = ["beliefs", "danger", "goal", "mood", "unsafe"]


def mood(turn: Transition) -> float:
    """Rise of the lowest dimension of the latent mood, in [-2, 2].

    Example: from [-.6, .0, -.1, -.2] to [-.5, .1, -.1, -.2] pays .1.
    """
    return min(turn.mood_after) - min(turn.mood_before)


def beliefs(turn: Transition) -> float:
    """How much less firmly the automatic thoughts are held, as a share of the start's conviction, in [-3/2, 3/2].

    Example: the patient finds counter-evidence, and its thoughts fall from 1 to .85 of what they were: .15.

    Source: see ``envs.beliefs``.
    """
    return turn.held_before - turn.held_after


def danger(turn: Transition) -> float:
    """How much further the patient's danger was dealt with, times its gravity, risk / 3; in [-1, 1].

    Example: one at risk 3 tells of it, .2; of intent, another .07; agrees on whom to tell, .15.

    Source: see ``envs.danger``.
    """
    return (turn.handled_after - turn.handled_before) * (turn.risk or 0) / 3.0


def goal(turn: Transition) -> float:
    """1 where the session ends with its goal met, else 0. Example: a goal met with eight turns left pays 1.

    Weighed with what further turns could still bring, it makes neither an early end nor dragging on pay.
    """
    return float(turn.ending == "goal")


def unsafe(turn: Transition) -> float:
    """-1 for a turn that could hurt the patient or says nothing, else 0; ``safety`` also pays by the turn.

    Example: "Get a grip." costs 1, "How is that for you?" nothing.
    """
    return -1.0 if violations(turn) else 0.0
