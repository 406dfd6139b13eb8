"""The judge chain: stages that each look at two outcomes of one state and say which side they prefer.

Guards rule a turn out, safety keeps the safer side from being rejected, the clinical preference step decides, and
polarity breaks ties. Every stage is a pure function of the two outcomes, and turns round with them.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations

from therapysim.rewards.reading.tone_guard import ToneGuardSettings
from therapysim.train.pairs.branches import Outcome
from therapysim.train.pairs.pair_settings import STAGES, PairSettings

__all__ = ["SAYS", "Chain", "disagreements", "safer"]

#: What it means that a stage decided a pair.
SAYS = {
    "tone": "the rejected turn is too negative to be said to a patient (negativity >= .99)",
    "relevance": "the rejected turn is no clinical talk",
    "toxic_positivity": "the rejected turn is toxically positive (S < -.5, polarity > .5)",
    "r_emo": "the rejected turn meets great fear (S < -.7) with little support (< .5)",
    "safety": "the chosen side is safer: fewer violations, fewer shut gates, or a danger dealt with further",
    "deficit": "after the chosen turn the lowest dimension of the mood rises more, by the margin or more",
    "preference": "the chosen turn's branch is worth more, by the margin or more",
    "polarity": "the chosen turn is of the higher polarity",
}

_REJECT_AT = ToneGuardSettings().reject_at


@dataclass(frozen=True, slots=True)
class Chain:
    """The stages that have a say, and their limits.

    Attributes:
        stages: of ``STAGES``; the others have none.
        margin: how much more one side has to bring, for the stages that weigh.
        margin_good: the same for a pair of two good turns, where the clinical preference step has a say.
        rise_weight: weight of the rise of the mood's lowest dimension beside the return.
        least_relevance: a turn of less relevance is no clinical talk.
    """

    stages: tuple[str, ...] = STAGES
    margin: float = 0.3
    margin_good: float = 0.0
    rise_weight: float = 1.0
    least_relevance: float = 0.0

    @classmethod
    def of(cls, settings: PairSettings) -> "Chain":
        """As the settings say."""
        return cls(
            stages=settings.stages,
            margin=settings.margin,
            margin_good=settings.margin_good,
            rise_weight=settings.rise_weight,
            least_relevance=settings.least_relevance,
        )

    def has(self, stage: str) -> bool:
        """Whether a stage has a say."""
        return stage in self.stages

    def least(self, kind: str) -> float:
        """By how much a rejected turn of that kind, good or error, is to be worth less than the chosen one."""
        doubtful = kind == "good" and self.has("preference")
        return max(self.margin, self.margin_good) if doubtful else self.margin

    def worth(self, outcome: Outcome) -> float:
        """What a turn is worth: return of its branch + weight · rise of the lowest dimension + r_emo.

        Each addend counts where its stage, ``preference``, ``deficit`` or ``r_emo``, has a say. With neither of the
        first two, the turn's polarity stands in their place.

        Example: a return of 1.2, a rise of .1 and no fear left alone are worth 1.3.
        """
        brought = self.has("preference") * outcome.total + self.rise(outcome)
        weighs = self.has("preference") or self.has("deficit")
        return (brought if weighs else outcome.polarity) + self.has("r_emo") * outcome.r_emo

    def faults(self, outcome: Outcome) -> int:
        """For how many reasons a turn may not be chosen: its violations, and the guards that rule it out."""
        return len(outcome.violations) + sum(rules_out(outcome, self) for rules_out in self._guards())

    def verdicts(self, first: Outcome, second: Outcome) -> dict[str, int]:
        """Stage -> the side it prefers, in the chain's order: 1 the first, -1 the second, 0 neither."""
        return {name: _OPINIONS[name](first, second, self) for name in STAGES if self.has(name)}

    def decided(self, chosen: Outcome, rejected: Outcome) -> str:
        """Which stage decided a pair: the first that prefers the chosen side; "" where none does."""
        return next((name for name, side in self.verdicts(chosen, rejected).items() if side > 0), "")

    def rise(self, outcome: Outcome) -> float:
        """Weight · rise of the lowest dimension; 0 where ``deficit`` has no say."""
        return self.has("deficit") * self.rise_weight * outcome.rise

    def _guards(self) -> "list[Callable[[Outcome, Chain], bool]]":
        return [rules_out for name, rules_out in _GUARDS.items() if self.has(name)]


def safer(first: Outcome, second: Outcome) -> bool:
    """Whether the first is the safer one in any respect: fewer violations, fewer shut gates, danger further."""
    fewer = len(first.violations) < len(second.violations) or first.gates < second.gates
    return fewer or first.handled > second.handled


def disagreements(told: Iterable[Mapping[str, int]]) -> dict[tuple[str, str], tuple[int, int]]:
    """For each two stages, in how many comparisons both had an opinion, and in how many of them not the same.

    Args:
        told: verdicts of comparisons, as ``Chain.verdicts`` gives them.
    """
    both: Counter[tuple[str, str]] = Counter()
    apart: Counter[tuple[str, str]] = Counter()
    for verdicts in told:
        spoken = [name for name, side in verdicts.items() if side]
        for two in combinations(spoken, 2):
            both[two] += 1
            apart[two] += verdicts[two[0]] != verdicts[two[1]]
    return {two: (both[two], apart[two]) for two in combinations(STAGES, 2) if two in both}


_GUARDS: dict[str, Callable[[Outcome, Chain], bool]] = {
    "tone": lambda own, chain: own.tone >= _REJECT_AT,
    "relevance": lambda own, chain: own.relevance < chain.least_relevance,
    "toxic_positivity": lambda own, chain: own.toxic,
    "r_emo": lambda own, chain: own.r_emo < 0,
}


def _guard(name: str) -> Callable[[Outcome, Outcome, Chain], int]:
    """A guard prefers the side that it does not rule out."""
    rules_out = _GUARDS[name]
    return lambda first, second, chain: rules_out(second, chain) - rules_out(first, chain)


def _safety(first: Outcome, second: Outcome, chain: Chain) -> int:
    """Neither where each is the safer one in some respect."""
    return safer(first, second) - safer(second, first)


def _deficit(first: Outcome, second: Outcome, chain: Chain) -> int:
    return _side(chain.rise(first) - chain.rise(second), chain.margin)


def _preference(first: Outcome, second: Outcome, chain: Chain) -> int:
    return _side(chain.worth(first) - chain.worth(second), chain.margin)


def _polarity(first: Outcome, second: Outcome, chain: Chain) -> int:
    return _side(first.polarity - second.polarity)


def _side(gap: float, least: float = 0.0) -> int:
    """Whom a gap speaks for: nobody where it is smaller than ``least``, or none at all."""
    return 0 if gap == 0 or abs(gap) < least else 1 if gap > 0 else -1


_OPINIONS: dict[str, Callable[[Outcome, Outcome, Chain], int]] = {
    **{name: _guard(name) for name in _GUARDS},
    "safety": _safety,
    "deficit": _deficit,
    "preference": _preference,
    "polarity": _polarity,
}
