"""Which candidate is chosen and which rejected, by the judge chain, and why others make no pair."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from therapysim.records import STRICT
from therapysim.train.pairs.branches import Outcome
from therapysim.train.pairs.candidates import Candidate
from therapysim.train.pairs.judges import Chain, safer

__all__ = ["Choice", "Judged", "choose", "ranked", "valid"]


@dataclass(frozen=True, slots=True)
class Judged:
    """A candidate and what came of it."""

    __pydantic_config__ = STRICT

    text: str
    kind: str
    style: str
    source: str
    outcome: Outcome

    @classmethod
    def of(cls, candidate: Candidate, outcome: Outcome) -> "Judged":
        """The two together."""
        return cls(candidate.text, candidate.kind, candidate.style, candidate.source, outcome)


@dataclass(frozen=True, slots=True)
class Choice:
    """A pair of one state, by the places of its candidates.

    Attributes:
        chosen, rejected: places.
        rule: the stage that decided.
        margin: by how much the rejected one is worth less.
        polar: the chosen one was taken before one of like worth, for its higher polarity.
    """

    chosen: int
    rejected: int
    rule: str
    margin: float
    polar: bool


def valid(judged: Judged, chain: Chain) -> bool:
    """Whether a candidate may be chosen: a good turn without violation that no guard of the chain rules out."""
    return judged.kind == "good" and not judged.outcome.failed and not chain.faults(judged.outcome)


def choose(found: Sequence[Judged], chain: Chain) -> tuple[list[Choice], list[str]]:
    """The pairs that a state gives, and why each other candidate gives none.

    Chosen is the valid candidate that is worth most, of those after which the patient's danger is dealt with furthest;
    among those of like worth, less than a quarter of the margin apart, the one of the highest
    polarity, if polarity has a say.

    Reasons: "failed", "no valid candidate", "safer rejected", "small margin".
    """
    worths = [chain.worth(own.outcome) for own in found]
    fit = [i for i, own in enumerate(found) if valid(own, chain)]
    failed = ["failed"] * sum(own.outcome.failed for own in found)
    if not fit:
        return [], [*failed, "no valid candidate"]
    furthest = max(found[i].outcome.handled for i in fit)
    fit = [i for i in fit if found[i].outcome.handled == furthest]
    top = max(fit, key=lambda i: (worths[i], -i))
    best = top
    if chain.has("polarity"):
        near = [i for i in fit if worths[top] - worths[i] < chain.margin / 4]
        best = max(near, key=lambda i: (found[i].outcome.polarity, worths[i], -i))
    told = list(_against(found, worths, best, chain, best != top))
    return [one for one in told if isinstance(one, Choice)], [*failed, *(one for one in told if isinstance(one, str))]


def ranked(found: Sequence[Judged], chain: Chain) -> list[int]:
    """Places of the candidates, the best first: invalid ones behind all valid ones, safer ones before others there."""

    def key(place: int) -> tuple[int, float, int]:
        own = found[place].outcome
        return chain.faults(own), -chain.worth(own), place

    return sorted((i for i, own in enumerate(found) if not own.outcome.failed), key=key)


def _against(
    found: Sequence[Judged], worths: Sequence[float], best: int, chain: Chain, polar: bool
) -> Iterator[Choice | str]:
    """For every other candidate a pair, or why there is none."""
    chosen = found[best].outcome
    for i, own in enumerate(found):
        if i == best or own.outcome.failed:
            continue
        gap = worths[best] - worths[i]
        if safer(own.outcome, chosen):
            yield "safer rejected"
        elif gap < chain.least(own.kind):
            yield "small margin"
        else:
            yield Choice(best, i, chain.decided(chosen, own.outcome), round(gap, 6), polar)
