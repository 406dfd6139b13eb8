"""The errors this package raises on purpose: one class for each boundary.

Every message says what was wrong, where, what was found, what was expected, and what to do next.
"""

__all__ = [
    "ActionError",
    "ConfigError",
    "EpisodeError",
    "ModelError",
    "PatientError",
    "PersonaError",
    "SensorError",
    "TherapySimError",
]


class TherapySimError(Exception):
    """The base of every error that TherapySim raises on purpose."""


class ActionError(TherapySimError, ValueError):
    """A therapist turn is not text, or a batch of turns has the wrong size."""


class ConfigError(TherapySimError, ValueError):
    """A setting is unknown or outside its range."""


class EpisodeError(TherapySimError, RuntimeError):
    """A session was stepped before it began or after it ended."""


class ModelError(TherapySimError, RuntimeError):
    """A language model is missing, cannot be read, or gave no answer."""


class PatientError(TherapySimError, RuntimeError):
    """A patient could not word its turn; the session is failed, never scored."""


class PersonaError(TherapySimError, ValueError):
    """A persona file is wrong, or a persona or split is unknown."""


class SensorError(TherapySimError, RuntimeError):
    """The emotion sensor's weights are missing, corrupt, or it was given something other than text."""
