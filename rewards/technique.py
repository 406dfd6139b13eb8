"""Is the turn made the way a therapist would make it?"""

from therapysim.state import Transition

__all__ = ["closing", "inquiry", "length"]


def inquiry(turn: Transition) -> float:
    """Question against advice, in [-1, 1]: open question up to +1, closed question up to +0.25, direct advice -1.

    A question earns the more the better the turn attunes, a third of it where it does not at all; asked over again it
    earns half, then a quarter, and so on.
    """
    acts = turn.appraisal.acts
    asked = 1.0 if "open_question" in acts else 0.25 if "closed_question" in acts else 0.0
    advised = 1.0 if "advice" in acts else 0.0
    tied = (1.0 + 2.0 * turn.appraisal.attunement) / 3.0
    return asked * tied * 0.5**turn.appraisal.repeats - advised


def length(turn: Transition, *, short: int = 8, long: int = 60) -> float:
    """0 between ``short`` and ``long`` words; falls to -1 at none, and to -1 at twice ``long``."""
    words = turn.appraisal.words
    if words < short:
        return words / short - 1.0
    return max(-1.0, min(0.0, (long - words) / long))


def closing(turn: Transition) -> float:
    """The turns that the session's end saves or loses, 0 for any other turn.

    Closed well, by goal or hand-over: +1 for each that it no longer needed. Broken off by the patient: -2 for each that
    is lost, as if it had been unsafe, so that driving the patient out is no way to cut losses.

    Safety and inquiry pay by the turn. Weighed with as much as a turn can pay, this term sees to it that no policy
    earns more by keeping a patient from finishing.
    """
    return {"goal": 1.0, "crisis": 1.0, "rupture": -2.0}.get(turn.ending, 0.0) * turn.turns_left
