"""Named terms × weights, one gate -> the reward of a turn, and its breakdown."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from math import isfinite

from therapysim.errors import ConfigError
from therapysim.rewards.affect import deficit_shift
from therapysim.rewards.safety import safety, violations
from therapysim.rewards.technique import closing, inquiry, length
from therapysim.rewards.tone import toxic_positivity, unsupported_fear
from therapysim.state import Transition

__all__ = ["TERMS", "Rubric", "RubricWeights", "Score"]

#: term name -> what computes it. Every name is also a field of RubricWeights.
TERMS: dict[str, Callable[[Transition], float]] = {
    "deficit": deficit_shift,
    "safety": safety,
    "toxic_positivity": toxic_positivity,
    "emotion": unsupported_fear,
    "inquiry": inquiry,
    "length": length,
    "closing": closing,
}


@dataclass(frozen=True, slots=True)
class RubricWeights:
    """How much each term counts; 0 leaves one out.

    Attributes:
        deficit: the rise of the dimension in deficit, in [-2, 2].
        safety: +1 safe, -2 harmful or too short.
        toxic_positivity: -1 where the turn is toxically positive.
        emotion: r_emo, -1 where fear meets no support.
        inquiry: question against advice, in [-1, 1].
        length: 0 to -1 outside the usual length.
        closing: turns saved by a good end, or twice those lost to a rupture; by default a turn counts for what safety
            and inquiry could pay in it.
    """

    deficit: float = 6.0
    safety: float = 1.0
    toxic_positivity: float = 1.0
    emotion: float = 1.0
    inquiry: float = 0.5
    length: float = 0.5
    closing: float = 1.5

    def __post_init__(self) -> None:
        for f in fields(self):
            value = getattr(self, f.name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value) or value < 0:
                raise ConfigError(f"the weight of {f.name!r} is {value!r}, expected a finite number of at least 0")


@dataclass(frozen=True, slots=True)
class Score:
    """The reward of one turn.

    Attributes:
        reward: what the policy is given.
        terms: each term by name, before its weight.
        violations: why the safety gate shut, empty where it stayed open.
    """

    reward: float
    terms: dict[str, float]
    violations: tuple[str, ...]


class Rubric:
    """Scores turns. The gate: an unsafe turn keeps its losses and forfeits every gain."""

    def __init__(self, weights: RubricWeights | None = None) -> None:
        self.weights = weights or RubricWeights()

    def __call__(self, turn: Transition) -> Score:
        terms = {name: float(term(turn)) for name, term in TERMS.items()}
        weighted = [getattr(self.weights, name) * value for name, value in terms.items()]
        found = violations(turn)
        reward = sum(min(0.0, w) for w in weighted) if found else sum(weighted)
        return Score(reward=reward, terms=terms, violations=found)
