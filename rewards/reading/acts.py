"""What kind of turn the therapist made: the acts of a turn, by trained heads and word patterns together.

A turn has every act whose head is sure enough (``Heads.thresholds``), and every harm that a pattern finds. Each head
reads the turn's words, the sensor's reading of it, the patterns' findings, and how many words it shares with what was
heard. The acts
are defined in ``tests/data/ACTS.md``, with sources; how well they are found, act by act, on 520 turns that no head was
trained on: ``python -m tests.rewards.test_acts``.

Source: the kinds follow Miller & Rollnick 2013 and the MITI 4.2.1 manual, Moyers, Manuel & Ernst 2014 (questions,
    reflections, affirmation, giving information, persuasion, confrontation); Hill 1986, helping skills (reassurance,
    self-disclosure); Linehan 1993 (validation, invalidation); Posner et al. 2011 (asking about suicide).
"""

from collections.abc import Mapping

from therapysim.rewards.reading.patterns import HARMFUL
from therapysim.state import Appraisal

__all__ = ["ACTS", "QUESTIONS", "REFLECTIONS", "chance", "decide"]

QUESTIONS = frozenset({"open_question", "closed_question"})
REFLECTIONS = frozenset({"simple_reflection", "complex_reflection"})

#: Every act.
ACTS: tuple[str, ...] = (
    "open_question",
    "closed_question",
    "simple_reflection",
    "complex_reflection",
    "validation",
    "affirmation",
    "information",
    "advice",
    "confrontation",
    "invalidation",
    "toxic_positivity",
    "reassurance",
    "self_disclosure",
    "risk_inquiry",
    "signposting",
    "apology",
    "farewell",
    "incitement",
    "silence",
)


def chance(appraisal: Appraisal, act: str) -> float:
    """How likely the turn has the act, in [0, 1]: what its head says; 1 or 0 where no head was asked."""
    return appraisal.chances.get(act, float(act in appraisal.acts))


def decide(spotted: frozenset[str], chances: Mapping[str, float], thresholds: Mapping[str, float]) -> frozenset[str]:
    """The acts of one turn.

    Args:
        spotted: what the patterns found.
        chances: head -> probability.
        thresholds: head -> the probability from which on it holds.

    A turn that incites does nothing else worth a name, and a complex reflection includes the simple one.
    """
    if "silence" in spotted:
        return frozenset({"silence"})
    found = {act for act in ACTS if chances.get(act, 0.0) >= thresholds.get(act, 1.0)} | (spotted & HARMFUL)
    if "incitement" in found:
        return frozenset(found & HARMFUL)
    if "complex_reflection" in found:
        found.discard("simple_reflection")
    return frozenset(found)
