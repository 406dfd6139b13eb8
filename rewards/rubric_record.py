"""A rubric's record as it is read again: what was written before rubrics of one's own is one of the shipped class."""

from collections.abc import Mapping
from typing import Any

__all__ = ["full_record", "is_shipped"]

_SHIPPED = {"class": "therapysim.rewards.rubric:Rubric", "source": "", "attributes": {}, "own": {}}


def full_record(told: Mapping[str, Any]) -> dict[str, Any]:
    """What a file tells, with the entries that earlier versions did not write."""
    return {**_SHIPPED, **told}


def is_shipped(told: Mapping[str, Any]) -> bool:
    """Whether no code of the user's own decides a recorded rubric's rewards."""
    return all(full_record(told)[name] == shipped for name, shipped in _SHIPPED.items())
