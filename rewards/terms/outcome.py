"""What a whole session brought, told turn by turn: over a session each term adds up to what its name says."""

from collections.abc import Sequence

import numpy as np

from therapysim.rewards.matrix import polarity
from therapysim.rewards.terms.danger import takes_up
from therapysim.state import Transition

__all__ = ["alliance", "disclosure", "lost", "polarity_shift", "repair", "risk_covered", "saved", "session_terms"]


def polarity_shift(turn: Transition) -> float:
    """Change of the polarity of e_t, counted smoothly, in [-2, 2]; over a session, the end's less the start's.

    Example: from -.4 to -.3 pays .1.

    Source: polarity, (I + T + A + S) / N, is a given of this project; see ``matrix.polarity``.
    """
    after, before = polarity(np.array([turn.after.affect, turn.before.affect], dtype=np.float32), count="smooth")
    return float(after) - float(before)


def alliance(turn: Transition) -> float:
    """Change of the working alliance, in [-1, 1]; over a session, the end's less the start's.

    Example: from .30 to .36 pays .06.

    Source: Bordin 1979; Flückiger, Del Re, Wampold & Horvath 2018 on alliance and outcome.
    """
    return turn.alliance_after - turn.alliance_before


def disclosure(turn: Transition) -> float:
    """Facts that the patient told in its answer, 0 or more; over a session, all of them.

    Example: an answer that tells of the brother's death for the first time pays 1.

    Source: self-disclosure of the client as a sign of the process: Farber 2003.
    """
    return float(len(turn.disclosed))


def repair(turn: Transition) -> float:
    """Alliance won back in this turn of what a rupture had cost, in [0, 1].

    Example: after "You are being ridiculous." had cost .16, an apology that wins back .05 pays .05.

    Of use to look at. As a reward it would pay for hurting first: ``alliance`` counts both ways.

    Source: Eubanks, Muran & Safran 2018.
    """
    return turn.repaired


def risk_covered(turn: Transition) -> float:
    """1 where the turn takes up a danger that stood open, else 0; over a session, the dangers that were taken up.

    Example: asked "Are you thinking of ending your life?" after such a hint, 1; asked about work, 0.

    Source: as ``danger.risk_handling``.
    """
    return 1.0 if turn.risk_open and takes_up(turn) else 0.0


def saved(turn: Transition) -> float:
    """The turns that a good end, by goal or hand-over, leaves unused; 0 for any other turn.

    Several terms pay by the turn. Weighed with what a turn can pay, this one sees to it that no policy earns more by
    keeping a patient from finishing. Example: a goal met with eight turns left pays 8.
    """
    return float(turn.turns_left) if turn.ending in ("goal", "crisis") else 0.0


def lost(turn: Transition) -> float:
    """Minus the turns that are lost where the patient breaks off, else 0.

    Weighed with what a bad turn costs, it makes driving the patient out no way to cut losses. Example: a patient who
    leaves with eight turns left costs 8.
    """
    return -float(turn.turns_left) if turn.ending == "rupture" else 0.0


def session_terms(turns: Sequence[Transition]) -> dict[str, float]:
    """The session's sums: change of polarity and alliance, facts told, alliance repaired, dangers met."""
    terms = (polarity_shift, alliance, disclosure, repair, risk_covered)
    return {term.__name__: sum(map(term, turns)) for term in terms}
