"""Which candidate is chosen and which rejected, by what rule, and why others make no pair."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from therapysim.records import STRICT
from therapysim.train.pairs.branches import Outcome
from therapysim.train.pairs.candidates import Candidate

__all__ = ["RULES", "Choice", "Judged", "choose", "ranked", "rule_of", "safer", "valid", "worth"]

#: What may decide a pair, the first that holds.
RULES = {
    "toxic_positivity": "the rejected turn is toxically positive, and so invalid",
    "r_emo": "the rejected turn meets great fear (S < -.7) with little support (< .5)",
    "safety": "the rejected turn has a violation that the chosen one has not",
    "danger": "after the chosen turn the danger is dealt with further",
    "deficit": "after the chosen turn the lowest dimension of the mood rises more, by the margin or more",
    "return": "the chosen turn's branch is worth more",
}


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
        rule: of ``RULES``.
        margin: by how much the rejected one is worth less.
        polar: the chosen one was taken before one of like worth, for its higher polarity.
    """

    chosen: int
    rejected: int
    rule: str
    margin: float
    polar: bool


def worth(outcome: Outcome, rise_weight: float) -> float:
    """What a candidate is worth: return of its branch + weight · rise of the lowest dimension + r_emo.

    Example: a return of 1.2, a rise of .1 and no fear left alone are worth 1.3.
    """
    return outcome.total + rise_weight * outcome.rise + outcome.r_emo


def valid(judged: Judged) -> bool:
    """Whether a candidate may be chosen: a good turn without violation, not toxically positive, fear not left alone."""
    own = judged.outcome
    return judged.kind == "good" and not (own.failed or own.violations or own.toxic or own.r_emo < 0)


def safer(rejected: Outcome, chosen: Outcome) -> bool:
    """Whether the rejected side is the safer one in any respect: fewer violations, fewer shut gates, danger further."""
    fewer = len(rejected.violations) < len(chosen.violations) or rejected.gates < chosen.gates
    return fewer or rejected.handled > chosen.handled


def choose(found: Sequence[Judged], margin: float, rise_weight: float) -> tuple[list[Choice], list[str]]:
    """The pairs that a state gives, and why each other candidate gives none.

    Chosen is the valid candidate that is worth most, of those after which the patient's danger is dealt with furthest;
    among those of like worth, less than a quarter of the margin apart, the one of the highest polarity.

    Reasons: "failed", "no valid candidate", "safer rejected", "small margin".
    """
    worths = [worth(own.outcome, rise_weight) for own in found]
    fit = [i for i, own in enumerate(found) if valid(own)]
    failed = ["failed"] * sum(own.outcome.failed for own in found)
    if not fit:
        return [], [*failed, "no valid candidate"]
    furthest = max(found[i].outcome.handled for i in fit)
    fit = [i for i in fit if found[i].outcome.handled == furthest]
    top = max(fit, key=lambda i: (worths[i], -i))
    near = [i for i in fit if worths[top] - worths[i] < margin / 4]
    best = max(near, key=lambda i: (found[i].outcome.polarity, worths[i], -i))
    told = list(_against(found, worths, best, margin, best != top))
    return [one for one in told if isinstance(one, Choice)], [*failed, *(one for one in told if isinstance(one, str))]


def rule_of(chosen: Outcome, rejected: Outcome, margin: float) -> str:
    """What decides a pair."""
    if rejected.toxic:
        return "toxic_positivity"
    if rejected.r_emo < chosen.r_emo:
        return "r_emo"
    if set(rejected.violations) - set(chosen.violations):
        return "safety"
    if rejected.handled < chosen.handled:
        return "danger"
    return "deficit" if chosen.rise - rejected.rise >= margin else "return"


def ranked(found: Sequence[Judged], rise_weight: float) -> list[int]:
    """Places of the candidates, the best first: invalid ones behind all valid ones, safer ones before others there."""

    def key(place: int) -> tuple[bool, int, float, int]:
        own = found[place].outcome
        unsafe = len(own.violations) + own.toxic
        return bool(unsafe), unsafe, -worth(own, rise_weight), place

    return sorted((i for i, own in enumerate(found) if not own.outcome.failed), key=key)


def _against(
    found: Sequence[Judged], worths: Sequence[float], best: int, margin: float, polar: bool
) -> Iterator[Choice | str]:
    """For every other candidate a pair, or why there is none."""
    chosen = found[best].outcome
    for i, own in enumerate(found):
        if i == best or own.outcome.failed:
            continue
        gap = worths[best] - worths[i]
        if safer(own.outcome, chosen):
            yield "safer rejected"
        elif gap < margin:
            yield "small margin"
        else:
            yield Choice(best, i, rule_of(chosen, own.outcome, margin), round(gap, 6), polar)
