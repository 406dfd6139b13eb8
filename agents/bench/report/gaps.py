"""How policies differ in a benchmark's report: from a reference, and with another simulator of the patient."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import fmean

from therapysim.agents.bench.results import SessionResult
from therapysim.agents.statistics.comparisons import detectable, holm
from therapysim.agents.statistics.intervals import Difference, paired_difference

__all__ = ["Gap", "Held", "Swap", "gaps", "kendall_tau", "swaps"]

#: (policy, simulator) -> its sessions.
Held = Mapping[tuple[str, str], Sequence[SessionResult]]


@dataclass(frozen=True)
class Gap:
    """How far a policy lies above the reference with one simulator, on common patients and seeds.

    Attributes:
        p: Holm-adjusted over the policies, for this measure and simulator.
        detectable: the smallest true difference that so many sessions would show with a power of 0.8.
    """

    policy: str
    simulator: str
    measure: str
    difference: Difference
    p: float
    detectable: float


@dataclass(frozen=True)
class Swap:
    """One policy's return with a second simulator less that with the first, on common patients and seeds.

    Attributes:
        p: Holm-adjusted over the policies.
        places: by mean return with each, 1 the highest.
    """

    policy: str
    first: str
    second: str
    difference: Difference
    p: float
    places: tuple[int, int]


def _values(results: Iterable[SessionResult], measure: str) -> dict[tuple[str, int], float]:
    return {(r.persona, r.seed): r[measure] for r in results if not r.failed and not math.isnan(r[measure])}


def gaps(held: Held, reference: str, simulator: str, measure: str) -> list[Gap]:
    """Every other policy's gap; none where the reference was not played with the simulator."""
    if (reference, simulator) not in held:
        return []
    first = _values(held[reference, simulator], measure)
    others = {p: _values(own, measure) for (p, s), own in held.items() if s == simulator and p != reference}
    found = [paired_difference(first, second) for second in others.values()]
    least = [detectable({key: own[key] - first[key] for key in first.keys() & own.keys()}) for own in others.values()]
    adjusted = holm([difference.p for difference in found])
    rows = zip(others, found, adjusted, least, strict=True)
    return [Gap(policy, simulator, measure, gap, p, small) for policy, gap, p, small in rows]


def swaps(held: Held, simulators: Sequence[str]) -> tuple[tuple[Swap, ...], dict[tuple[str, str], float]]:
    """Each two simulators, the earlier first: the policies played with both, and Kendall's tau of their two orders."""
    found: list[Swap] = []
    taus: dict[tuple[str, str], float] = {}
    for first, second in combinations(simulators, 2):
        played = {p: [_values(held.get((p, s), ()), "total") for s in (first, second)] for p, _ in held}
        both = {policy: sides for policy, sides in played.items() if all(sides)}
        orders = [[fmean(sides[i].values()) for sides in both.values()] for i in (0, 1)]
        taus[first, second] = kendall_tau(*orders)
        moved = [paired_difference(*sides) for sides in both.values()]
        places = zip(*map(_places, orders), strict=True)
        rows = zip(both, moved, holm([difference.p for difference in moved]), places, strict=True)
        found += [Swap(policy, first, second, gap, p, place) for policy, gap, p, place in rows]
    return tuple(found), taus


def _places(means: Sequence[float]) -> list[int]:
    return [1 + sum(other > mean for other in means) for mean in means]


def kendall_tau(first: Sequence[float], second: Sequence[float]) -> float:
    """How far two orders agree, from -1 to 1, ties allowed; nan where one of them ties everything.

    Source: Kendall 1945, "The treatment of ties in ranking problems", tau-b.
    """
    pairs = list(combinations(range(len(first)), 2))
    signs = [(_sign(first[i] - first[j]), _sign(second[i] - second[j])) for i, j in pairs]
    spread = math.sqrt(sum(a != 0 for a, _ in signs) * sum(b != 0 for _, b in signs))
    return sum(a * b for a, b in signs) / spread if spread else math.nan


def _sign(value: float) -> int:
    return (value > 0) - (value < 0)
