"""The numbers of a benchmark's report: what each policy comes to with each simulator, and how policies differ.

Failed sessions are counted and left out. Sessions with one patient are alike, so all intervals go by patients.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from therapysim.agents.bench.faults import Replaced, failures, replaced_lines, replacements, silences
from therapysim.agents.bench.measures import MEASURES, RATES
from therapysim.agents.bench.report.gaps import Gap, Held, Swap, gaps, swaps
from therapysim.agents.bench.report.runs import Runs, Timing
from therapysim.agents.bench.results import SessionResult
from therapysim.agents.sessions.mood_profile import SERIES
from therapysim.agents.statistics.intervals import (
    FEW,
    Difference,
    Interval,
    mean_interval,
    pass_k,
    proportion,
    worst_decile,
)
from therapysim.errors import ConfigError
from therapysim.rewards.matrix import DIMENSIONS, polarity

__all__ = ["COMPARED", "GROUPS", "MAIN", "Estimate", "Standing", "Summary", "summarise"]

#: What the board shows.
MAIN = (
    "total", "beliefs", "alliance", "polarity", "handled", "risk_covered", "disclosure", "ruptures", "safe", "goal",
    "turns",
)  # fmt: skip
#: What policies are compared by, session by session.
COMPARED = ("total", "polarity", *DIMENSIONS, "deficit", "alliance", "disclosure", "ruptures", "safe")
_RISKS = ("none", "passive ideation", "ideation with risk factors", "plan or intent")

#: kind of group -> the group of a session. A diagnosis counts up to its first comma: its specifiers would leave each
#: patient alone.
GROUPS: dict[str, Callable[[SessionResult], str]] = {
    "diagnosis": lambda result: result.diagnosis.partition(",")[0],
    "severity": lambda result: result.severity,
    "risk": lambda result: f"{result.risk}: {_RISKS[result.risk]}" if 0 <= result.risk <= 3 else str(result.risk),
}
_ORDER = ("mild", "moderate", "severe")


_INCOMPLETE = "The benchmark is not complete"


@dataclass(frozen=True)
class Estimate:
    """A mean, its 95 % interval, and how many patients and sessions it comes from; nan and 0 of nothing."""

    mean: float
    low: float
    high: float
    patients: int
    sessions: int

    @classmethod
    def of(cls, found: Difference) -> "Estimate":
        """A paired difference, its sessions being pairs."""
        own = found.interval
        return cls(own.mean, own.low, own.high, found.n_patients, found.n_sessions)


@dataclass(frozen=True)
class Standing:
    """One policy with one simulator.

    Attributes:
        played, failed: sessions; the failed ones are in no other number here.
        measures: by the names of MEASURES.
        terms: each reward term, weighted and summed over a session.
        worst: the mean return of the worst tenth of sessions.
        pass_k: the chance that all of the ``Summary.k`` sessions with one patient are safe.
        lost: sessions that failed their patient; weakest: of these, how many by the dimension that fell most.
        groups: kind of group -> group -> by the names of MEASURES.
        course: by turn, 0 the opening: e_t and its polarity over the sessions that got so far.
        timing: seconds; None where unknown.
        cost: dollars a session for the therapist's tokens; None without a price.
        replaced: of the patient's lines, those that the script replaced.
    """

    policy: str
    simulator: str
    played: int
    failed: int
    measures: Mapping[str, Estimate]
    terms: Mapping[str, Estimate]
    worst: Estimate
    pass_k: Estimate
    lost: int
    weakest: Mapping[str, int]
    groups: Mapping[str, Mapping[str, Mapping[str, Estimate]]]
    course: tuple[Mapping[str, Estimate], ...]
    timing: Timing | None
    cost: Estimate | None
    replaced: Replaced


@dataclass(frozen=True)
class Summary:
    """A report's numbers.

    Attributes:
        standings: simulators in the order found, in each the policies in the order found.
        k: sessions a patient, of ``pass_k``.
        faults: by simulator, whose lines the script replaced, and which patients failed and why.
        swaps: empty where one simulator was run; taus: (first, second) -> Kendall's tau-b of the places.
    """

    policies: tuple[str, ...]
    simulators: tuple[str, ...]
    patients: tuple[str, ...]
    seeds: tuple[int, ...]
    splits: tuple[str, ...]
    reference: str
    k: int
    standings: tuple[Standing, ...]
    gaps: tuple[Gap, ...]
    swaps: tuple[Swap, ...]
    taus: Mapping[tuple[str, str], float]
    warnings: tuple[str, ...]
    faults: Mapping[str, tuple[str, ...]]

    @property
    def unplayed(self) -> str:
        """The warning of what was not played; "" where all was."""
        return next((told for told in self.warnings if told.startswith(_INCOMPLETE)), "")

    def replaced(self, simulator: str) -> bool:
        """Whether more than a tenth of its lines with some policy are the script's, so that every table says so."""
        return any(own.replaced.many for own in self.of(simulator))

    def troubles(self, simulator: str) -> tuple[str, ...]:
        """The sentences of ``faults`` for one simulator."""
        return self.faults.get(simulator, ())

    def of(self, simulator: str) -> list[Standing]:
        """The standings with one simulator."""
        return [own for own in self.standings if own.simulator == simulator]

    def gap(self, policy: str, simulator: str, measure: str = "total") -> Gap | None:
        """The policy's gap to the reference; None for the reference itself, or where that was not played."""
        asked = (policy, simulator, measure)
        return next((gap for gap in self.gaps if (gap.policy, gap.simulator, gap.measure) == asked), None)

    def swap(self, policy: str, simulator: str) -> Swap | None:
        """The policy's swap from the first simulator to this one; None for the first, or where one was not played."""
        asked = (policy, self.simulators[0], simulator)
        return next((swap for swap in self.swaps if (swap.policy, swap.first, swap.second) == asked), None)


def summarise(
    runs: Runs, reference: str | None = None, prices: Mapping[str, tuple[float, float]] | None = None
) -> Summary:
    """All numbers of the report.

    Args:
        runs: at least one session.
        reference: the policy that others are compared to; default: the first.
        prices: policy -> dollars for a million tokens read, and written.

    Raises:
        ConfigError: the reference or a priced policy is not among the results.
    """
    results, prices = runs.results, prices or {}
    policies, simulators = _distinct(r.policy for r in results), _distinct(r.simulator for r in results)
    for name in (*((reference,) if reference is not None else ()), *prices):
        if name not in policies:
            raise ConfigError(f"policy {name!r} is not among the results, expected one of {', '.join(policies)}")
    k = max(Counter((r.policy, r.simulator, r.persona) for r in results).values())
    held = {(p, s): [r for r in results if (r.policy, r.simulator) == (p, s)] for s in simulators for p in policies}
    held = {key: own for key, own in held.items() if own}
    standings = tuple(_standing(own, k, runs.timing.get(key), prices.get(key[0])) for key, own in held.items())
    reference = reference or policies[0]
    swapped, taus = swaps(held, simulators)
    return Summary(
        policies=policies,
        simulators=simulators,
        patients=tuple(sorted({r.persona for r in results})),
        seeds=tuple(sorted({r.seed for r in results})),
        splits=tuple(sorted({r.split for r in results})),
        reference=reference,
        k=k,
        standings=standings,
        gaps=tuple(gap for s in simulators for m in COMPARED for gap in gaps(held, reference, s, m)),
        swaps=swapped,
        taus=taus,
        warnings=tuple(_warnings(runs, held, reference)),
        faults={s: tuple(_faults([r for r in results if r.simulator == s])) for s in simulators},
    )


def _faults(own: Sequence[SessionResult]) -> Iterable[str]:
    yield from replacements(own)
    yield from (f"Failed: {text}." for text in failures(own))


def _distinct(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))


def _standing(
    own: Sequence[SessionResult], k: int, timing: Timing | None, price: tuple[float, float] | None
) -> Standing:
    sound = [result for result in own if not result.failed]
    lost = [result.weakest for result in sound if result.weakest]
    return Standing(
        policy=own[0].policy,
        simulator=own[0].simulator,
        played=len(own),
        failed=len(own) - len(sound),
        measures=_measures(sound),
        terms={name: _estimate(sound, _term(name)) for name in _distinct(t for r in sound for t in r.terms)},
        worst=_estimate(sound, lambda result: result["total"], worst_decile),
        pass_k=_pass_k(sound, k),
        lost=len(lost),
        weakest={name: lost.count(name) for name in DIMENSIONS},
        groups={kind: _grouped(sound, group) for kind, group in GROUPS.items()},
        course=_course(sound),
        timing=timing,
        cost=_estimate(sound, _cost(price)) if price else None,
        replaced=replaced_lines(own),
    )


def _measures(sound: Sequence[SessionResult]) -> dict[str, Estimate]:
    return {name: _estimate(sound, _measure(name), proportion if name in RATES else mean_interval) for name in MEASURES}


def _measure(name: str) -> Callable[[SessionResult], float]:
    return lambda result: result[name]


def _term(name: str) -> Callable[[SessionResult], float]:
    return lambda result: result.terms.get(name, 0.0)


def _cost(price: tuple[float, float]) -> Callable[[SessionResult], float]:
    return lambda result: (price[0] * result["tokens_read"] + price[1] * result["tokens_written"]) / 1e6


def _estimate(
    sound: Sequence[SessionResult],
    value: Callable[[SessionResult], float],
    interval: Callable[[list[float], list[str]], Interval] = mean_interval,
) -> Estimate:
    """Of the sessions that have such a value."""
    pairs = [(found, r.persona) for r in sound if not math.isnan(found := value(r))]
    own = interval([found for found, _ in pairs], [who for _, who in pairs])
    return Estimate(own.mean, own.low, own.high, len({who for _, who in pairs}), own.n)


def _pass_k(sound: Sequence[SessionResult], k: int) -> Estimate:
    """Over the patients that have all their k sessions: one with a failed session cannot show k safe ones."""
    tries = Counter(result.persona for result in sound)
    whole = [result for result in sound if tries[result.persona] >= k]
    own = pass_k({(r.persona, r.seed): r["safe"] == 1 for r in whole}, k)
    return Estimate(own.mean, own.low, own.high, own.n, len(whole))


def _grouped(sound: Sequence[SessionResult], group: Callable[[SessionResult], str]) -> dict[str, dict[str, Estimate]]:
    names = sorted({group(result) for result in sound}, key=lambda n: (_ORDER.index(n) if n in _ORDER else 0, n))
    return {name: _measures([result for result in sound if group(result) == name]) for name in names}


def _course(sound: Sequence[SessionResult]) -> tuple[dict[str, Estimate], ...]:
    """The sessions left at a late turn are no fair sample of all: some have ended well, or badly."""
    last = max((len(result.turns) for result in sound), default=-1)
    steps = [[result for result in sound if len(result.turns) >= turn] for turn in range(last + 1)]
    return tuple({name: _estimate(there, _series(name, turn)) for name in SERIES} for turn, there in enumerate(steps))


def _series(name: str, turn: int) -> Callable[[SessionResult], float]:
    def read(result: SessionResult) -> float:
        affect = result.turns[turn - 1].affect if turn else result.affect
        return float(polarity(affect)) if name == "polarity" else affect[DIMENSIONS.index(name)]

    return read


def _warnings(runs: Runs, held: Held, reference: str) -> Iterable[str]:
    """What a reader must know before believing a number."""
    yield from dict.fromkeys(told for source in runs.sources for told in source.warnings)
    if left := [told for source in runs.sources for told in source.unplayed]:
        yield f"{_INCOMPLETE}; its command goes on. {' '.join(left)}"
    splits = {result.split for result in runs.results}
    if "train" in splits:
        yield "These are patients of the training split: a policy that was trained on them has met them before."
    if len(splits) > 1:
        yield f"Patients of several splits are in one mean: {', '.join(sorted(splits))}."
    if failed := [result for result in runs.results if result.failed]:
        of = Counter(f"{result.policy} with {result.simulator}" for result in failed)
        told = ", ".join(f"{n} of {name}" for name, n in of.items())
        yield f"The patient gave no answer in {len(failed)} of {len(runs.results)} sessions; they are left out: {told}."
        yield from (f"Failed: {reason}." for reason in failures(failed))
    yield from replacements(runs.results)
    yield from silences(runs.results)
    if len({frozenset((r.persona, r.seed) for r in own) for own in held.values()}) > 1:
        yield "Not all policies were played with the same patients and seeds: compare by the paired differences alone."
    for simulator in dict.fromkeys(s for _, s in held):
        if (reference, simulator) not in held:
            yield f"The reference {reference} was not played with {simulator}: no difference can be given there."
    if len({result.persona for result in runs.results}) < FEW:
        yield f"Fewer than {FEW} patients were played: intervals are rough, and can leave a measure's range."
    if any(not source.settings for source in runs.sources):
        yield "Some results have no settings.json beside them: whether they were run alike is not known."
    if len({str(source.settings["versions"]) for source in runs.sources if "versions" in source.settings}) > 1:
        yield "The results were made with different versions, see How it was run."
