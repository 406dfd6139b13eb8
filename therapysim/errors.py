"""The errors this package raises on purpose: one class for each boundary.

Every message says what was wrong, where, what was found, what was expected, and what to do next.
"""

import operator
from collections.abc import Sequence
from typing import Any

__all__ = [
    "ActionError",
    "CalibrationError",
    "ConfigError",
    "EpisodeError",
    "ModelError",
    "PatientError",
    "PersonaError",
    "RewardError",
    "SensorError",
    "TherapySimError",
    "TrainingError",
    "require_count",
    "require_number",
]


class TherapySimError(Exception):
    """The base of every error that TherapySim raises on purpose."""


class ActionError(TherapySimError, ValueError):
    """A therapist turn is not text, or a batch of turns has the wrong size."""


class CalibrationError(TherapySimError, ValueError):
    """Scores and ratings cannot be calibrated, or a calibration's file is not one."""


class ConfigError(TherapySimError, ValueError):
    """A setting is unknown or outside its range."""


class EpisodeError(TherapySimError, RuntimeError):
    """A session was stepped before it began or after it ended."""


class ModelError(TherapySimError, RuntimeError):
    """A language model is missing, cannot be read, or gave no answer.

    Attributes:
        replies: where only some chats of a call failed, one a chat: its reply, or None. None where the
            call failed as a whole, so that each chat alone may yet succeed.
        reasons: where there are replies, one a chat: why it got none, as it was at the first attempt; "" where it got
            one, or nobody said.
    """

    def __init__(
        self, message: str, replies: Sequence[str | None] | None = None, reasons: Sequence[str] | None = None
    ) -> None:
        super().__init__(message)
        self.replies = None if replies is None else list(replies)
        self.reasons = [""] * len(replies or ()) if reasons is None else list(reasons)


class PatientError(TherapySimError, RuntimeError):
    """A patient could not word its turn; the session is failed, never scored.

    Attributes:
        lines: where only some cues of a call failed, one a cue: its ``Line``, or ``NoLine`` with the reason, or None.
            None in place of the list where the call failed as a whole, so that each cue alone may yet succeed.
    """

    def __init__(self, message: str, lines: Sequence[Any] | None = None) -> None:
        super().__init__(message)
        self.lines: list[Any] | None = None if lines is None else list(lines)


class PersonaError(TherapySimError, ValueError):
    """A persona file is wrong, or a persona or split is unknown."""


class RewardError(TherapySimError, RuntimeError):
    """A reward of the user's own failed, or left its range; nothing is scored by it any more."""


class SensorError(TherapySimError, RuntimeError):
    """The emotion sensor's weights are missing, corrupt, or it was given something other than text."""


class TrainingError(TherapySimError, RuntimeError):
    """A training run cannot go on; what it has learnt until its newest checkpoint stays in its folder."""


def require_number(name: str, value: object, low: float, high: float) -> None:
    """Refuses a setting that is no finite number from ``low`` to ``high``.

    Raises:
        ConfigError: names the setting, what was found and what was expected.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise ConfigError(f"{name} is {value!r}, expected a number from {low:g} to {high:g}")


def require_count(name: str, value: object, low: int) -> int:
    """A whole number of at least ``low``, as an int; NumPy's integers count.

    Raises:
        ConfigError: names what was found and what was expected.
    """
    try:
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        number = low - 1
    if isinstance(value, bool) or number < low:
        raise ConfigError(f"{name} is {value!r}, expected a whole number of at least {low}")
    return number
