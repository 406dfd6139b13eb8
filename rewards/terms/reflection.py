"""Reflections, simple and complex, and how many there are for each question."""

from therapysim.rewards.reading.acts import QUESTIONS, REFLECTIONS, chance
from therapysim.rewards.terms.inquiry import tied
from therapysim.state import Transition

__all__ = ["reflection", "reflection_ratio"]


def reflection(turn: Transition) -> float:
    """A complex reflection earns up to 1, a simple one up to 0.5, in [0, 1]; less where it takes up little or
    repeats, and as far as the reader is sure of it.

    Example: to "Nobody called all week.", "A whole week of waiting for the phone, and wondering whether you matter to
    them." earns up to 1, "Nobody called." up to 0.5.

    Source: MITI 4.2.1, Moyers, Manuel & Ernst 2014, simple and complex reflection.
    """
    given = max(chance(turn.appraisal, "complex_reflection"), 0.5 * chance(turn.appraisal, "simple_reflection"))
    return given * tied(turn)


def reflection_ratio(turn: Transition) -> float:
    """How much nearer the turn brings the session to two reflections a question, in [-1, 1].

    Ψ' - Ψ with Ψ = min(1, R / 2Q), R reflections and Q questions so far (Q at least 1). It telescopes: over a session
    it adds up to Ψ at its end.

    Example: the first reflection, before any question, earns 0.5; a question after it and no second one costs nothing.

    Source: MITI 4.2.1: a ratio of 1 is fair, of 2 good.
    """
    acts = turn.appraisal.acts
    reflected = turn.reflected + bool(acts & REFLECTIONS)
    asked = turn.asked + bool(acts & QUESTIONS)
    return _ratio(reflected, asked) - _ratio(turn.reflected, turn.asked)


def _ratio(reflected: int, asked: int) -> float:
    return min(1.0, reflected / (2 * max(1, asked)))
