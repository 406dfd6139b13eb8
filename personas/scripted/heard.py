"""Therapists' turns that say nothing to answer: silence, and what makes no sense to a patient."""

import re

from therapysim.personas.patient import Cue

__all__ = ["senseless", "silent"]

#: A stage note in place of words, no word at all, or an order to the simulation rather than to the patient.
_SENSELESS = re.compile(
    r"\s*\(.*\)\s*|[\W\d_]+|.*\b(ignore|disregard|forget)\b.{0,40}\b(instructions?|prompt|persona)\b.*", re.I | re.S
)


def silent(cue: Cue) -> bool:
    """Whether nothing was said."""
    return "silence" in cue.acts or not cue.transcript.last("therapist").strip()


def senseless(cue: Cue) -> bool:
    """Whether something was said that is no speech, or an order to the simulation."""
    heard = cue.transcript.last("therapist")
    return bool(heard.strip()) and _SENSELESS.fullmatch(heard) is not None
