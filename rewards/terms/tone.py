"""Tone: does the turn sound hostile?"""

from therapysim.rewards.matrix import LABELS
from therapysim.rewards.reading.acts import REFLECTIONS
from therapysim.state import Transition

__all__ = ["hostility", "tone"]

_HOSTILE = [LABELS.index(label) for label in ("anger", "annoyance", "disapproval", "disgust")]


def tone(turn: Transition) -> float:
    """How hostile the turn sounds, in [-1, 0]: -hostility.

    0 for a reflection or validation that takes up what was said (at least 0.3): it may name the patient's own anger.

    Example: "Ugh, this is getting so annoying." costs nearly 1, "Take your time." hardly anything.

    Source: the tone guard of this project (``tone_guard``), here with the sensor's probabilities as they are.
    """
    gives_back = turn.appraisal.acts & (REFLECTIONS | {"validation"})
    return 0.0 if gives_back and turn.appraisal.uptake >= 0.3 else -hostility(turn)


def hostility(turn: Transition) -> float:
    """1 - Π (1 - p) over anger, annoyance, disapproval and disgust in the turn's words, in [0, 1]."""
    absent = 1.0
    for p in turn.therapist.probabilities[_HOSTILE]:
        absent *= 1.0 - float(p)
    return 1.0 - absent
