"""Uptake and addition: what a turn takes up of what the patient meant, and what it adds."""

from therapysim.state import Transition

__all__ = ["addition", "uptake"]


def uptake(turn: Transition) -> float:
    """How much of the patient's meaning the turn takes up in its own words, in [0, 1]; worn out by repetition.

    Example: to "Nobody called all week.", "You waited, and it said something to you about where you stand." is near 1,
    "How do you feel about that?" and "Nobody called all week." near 0.

    Source: Demszky et al. 2021, "Measuring Conversational Uptake"; see ``rewards.reading.uptake``.
    """
    return turn.appraisal.uptake * 0.5**turn.appraisal.repeats * turn.appraisal.prose


def addition(turn: Transition) -> float:
    """How much the turn names that was meant and not said, in [0, 1]; worn out by repetition.

    Example: as above; a turn that hands the patient's words back adds nothing.

    Source: MITI 4.2.1, Moyers, Manuel & Ernst 2014, complex reflection.
    """
    return turn.appraisal.addition * 0.5**turn.appraisal.repeats * turn.appraisal.prose
