"""Socratic questioning against direct advice."""

import re

from therapysim.rewards.reading.acts import chance
from therapysim.state import Transition

__all__ = ["inquiry", "tied"]

#: The patient asks what to do.
_WANTED = re.compile(
    r"\b(?:what|how|where|when) (?:should|can|could|do|would|must|shall) (?:i|we)\b|\bshould i\b|\bany (?:advice|tips|"
    r"ideas|suggestions)\b|\bwhat (?:would|do) you (?:do|suggest|advise|recommend)|\bhow to \w+.*\?|\bi need advice\b"
)


def inquiry(turn: Transition) -> float:
    """Question against advice, in [-1, 1]: open question up to +1, direct advice -1; a closed question earns nothing.

    A question earns the more the more the turn takes up, a third of it where it does not at all; asked over again it
    earns half, then a quarter, and so on. Advice costs nothing where the patient asked for it. Each counts as far as
    its head is sure of it.

    Example: "What went through your mind when she left?" earns up to 1; "You should call her, and you should
    go for a run every morning." costs about 0.9.

    Source: Miller & Rollnick 2013 on open questions and unasked advice; Overholser 1993 on Socratic questioning.
    """
    judged = turn.appraisal
    asked = chance(judged, "open_question")
    advised = 0.0 if _WANTED.search(turn.context.lower()) else chance(judged, "advice")
    return asked * tied(turn) - advised


def tied(turn: Transition) -> float:
    """What a technique is worth here, in [0, 1]: (1 + 2·uptake) / 3, halved with each time it was said before.

    A heap of words is worth nothing, whatever techniques they name: all is taken times ``prose``.
    """
    return (1.0 + 2.0 * turn.appraisal.uptake) / 3.0 * 0.5**turn.appraisal.repeats * turn.appraisal.prose
