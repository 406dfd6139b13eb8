"""How closely a policy should be held to its start: β by how unsafe the start is.

The rule, linear between two points and on beyond the second, and never outside of [0.1, 1]:

    share of unsafe turns   β
    0.02 and less           0.1    already kind
    0.20                    0.5    unsafe
    0.425 and more          1.0

Source: the recipe that this project was asked for gives 0.1, and 0.5 and more where the base is unsafe; where the line
lies between the two is ours.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from therapysim.agents.bench.results import SessionResult
from therapysim.records import STRICT

__all__ = ["Suggestion", "suggest", "suggested_beta"]

# Shares of unsafe turns, and the β that goes with each.
_KIND, _KIND_BETA = 0.02, 0.1
_UNSAFE, _UNSAFE_BETA = 0.20, 0.5
_MOST = 1.0
# Of 50 turns, a share of 0.2 is known to about 0.11 either way.
_FEW = 50


@dataclass(frozen=True)
class Suggestion:
    """What the validation before the first update says of β; a run's ``beta.json`` holds it.

    Attributes:
        beta: what is suggested.
        used: what the run learns with.
        unsafe, turns: of so many turns of the start, those that were unsafe.
    """

    __pydantic_config__ = STRICT

    beta: float
    used: float
    unsafe: int
    turns: int

    def __str__(self) -> str:
        rule = "0.1 up to 2 %, 0.5 at 20 %, linear between and beyond, at most 1"
        few = "; so few tell little: raise validate_sessions" if self.turns < _FEW else ""
        return (
            f"suggested beta {self.beta:g}: {self.unsafe} of {self.turns} turns of the start are unsafe ({rule}){few}; "
            f"used is {self.used:g}"
        )


def suggested_beta(unsafe: float) -> float:
    """β for a share of unsafe turns in [0, 1], to two decimals."""
    slope = (_UNSAFE_BETA - _KIND_BETA) / (_UNSAFE - _KIND)
    return round(min(_MOST, max(_KIND_BETA, _KIND_BETA + slope * (unsafe - _KIND))), 2)


def suggest(results: Sequence[SessionResult], given: float | None) -> Suggestion | None:
    """What the start's sessions suggest; None where no patient answered.

    Args:
        results: sessions of the start; those that failed are left out.
        given: the β that the run is set to; None takes the suggested one.
    """
    turns = [turn for result in results if not result.failed for turn in result.turns]
    if not turns:
        return None
    unsafe = sum(bool(turn.violations) for turn in turns)
    beta = suggested_beta(unsafe / len(turns))
    return Suggestion(beta, beta if given is None else given, unsafe, len(turns))
