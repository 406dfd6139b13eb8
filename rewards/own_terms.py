"""Reward terms of one's own: named by ``package.module:Name``, told by their source, held to their range."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from math import isfinite
from numbers import Real
from typing import Any

from therapysim.errors import ConfigError, RewardError
from therapysim.own_code import find_own, is_place
from therapysim.state import Transition

__all__ = ["OwnTerm", "is_term_name"]

_NAME = re.compile(r"[a-z][a-z0-9_]*")


def is_term_name(name: object) -> bool:
    """Whether a term can be called so: small letters, digits and ``_``, a letter first."""
    return isinstance(name, str) and bool(_NAME.fullmatch(name))


@dataclass(frozen=True, slots=True)
class OwnTerm:
    """A term that the package does not have; plain data, so that it travels to other processes and into files.

    Attributes:
        name: as the breakdown calls it; small letters, digits and ``_``.
        place: ``package.module:Name`` of a function ``Transition -> float``, or of a class that is made without
            arguments and called so. A turn's value hangs on its transition alone: many sessions share one object.
        weight: finite, at least 0; a cost has values below 0.
        low, high: the range of its values; one outside it ends the run, so that no slip of a term can outbid the rest.
        source: SHA-256 of its source; "" for whatever is found.

    Raises:
        ConfigError: one of these is not allowed.
    """

    name: str
    place: str
    weight: float = 1.0
    low: float = -1.0
    high: float = 1.0
    source: str = ""

    def __post_init__(self) -> None:
        if not is_term_name(self.name):
            raise ConfigError(f"the name of a term is {self.name!r}, expected small letters, digits and _")
        if not isinstance(self.place, str) or not is_place(self.place):
            raise ConfigError(f"term {self.name!r}: class is {self.place!r}, expected package.module:Name")
        for what, value in (("weight", self.weight), ("low", self.low), ("high", self.high)):
            if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
                raise ConfigError(f"term {self.name!r}: {what} is {value!r}, expected a finite number")
        if self.weight < 0:
            raise ConfigError(
                f"term {self.name!r}: weight is {self.weight!r}, expected at least 0; a cost has values below 0"
            )
        if self.low > self.high:
            raise ConfigError(f"term {self.name!r}: range is {self.low:g} to {self.high:g}, expected the lower first")

    def open(self) -> tuple[Callable[[Transition], float], str]:
        """What computes it, and the SHA-256 of its source.

        Raises:
            ConfigError: it cannot be had, is nothing that can be called, or has another source than ``source``.
        """
        what = f"term {self.name!r} ({self.place})"
        found, source = find_own(self.place, what, "a module of the working folder or an installed one")
        if self.source and source != self.source:
            raise ConfigError(
                f"{what} has the source {source[:12]}…, expected {self.source[:12]}…: its file has changed; set that "
                "back, or begin again with what it is now"
            )
        try:
            made = found() if isinstance(found, type) else found
        except Exception as error:  # the user's own code may raise anything
            raise ConfigError(f"{what} cannot be made: {error!r}; expected a class without arguments") from error
        if not callable(made):
            raise ConfigError(f"{what} is {type(made).__name__}, expected a function of a Transition, or a class of it")
        return made, source

    def value(self, compute: Callable[[Transition], Any], turn: Transition) -> float:
        """Its value for a turn.

        Raises:
            RewardError: it failed, or gave something other than a number of its range.
        """
        where = f"term {self.name!r} ({self.place}), turn {turn.after.turn} with {turn.before.attributes.persona!r}"
        try:
            found = compute(turn)
        except Exception as error:  # the user's own code may raise anything
            raise RewardError(f"{where}: it failed: {error!r}; mend it") from error
        if not isinstance(found, Real) or not self.low <= float(found) <= self.high:
            raise RewardError(
                f"{where}: its value is {found!r:.60}, expected a number from {self.low:g} to {self.high:g}; mend it, "
                "or set its range"
            )
        return float(found)
