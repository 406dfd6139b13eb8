"""Trained less base: paired differences of every measure and reward term, with intervals by patient.

A mode's runs are pooled session by session: the mean of its seeds' sessions with a patient under a seed, less the
base's. Its interval is over patients, for these trainings; how the trainings scatter is shown beside it.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from statistics import fmean
from typing import Any, Literal

from therapysim.agents.bench.results import SessionResult
from therapysim.agents.statistics.comparisons import benjamini_hochberg, detectable, holm
from therapysim.agents.statistics.intervals import paired_difference
from therapysim.errors import ConfigError
from therapysim.train.learned.compared_runs import Key, Study, rounded

__all__ = ["Effect", "Values", "compare", "effects", "harms_of", "session_values"]

#: measure -> (patient, seed) -> its value; nan where a session has none.
Values = Mapping[str, Mapping[Key, float]]
Level = Literal["mode", "run", "onward"]

#: Measures that say nothing of a policy's worth.
_COSTS = ("tokens_read", "tokens_written", "patient_read", "patient_written")


@dataclass(frozen=True, slots=True)
class Effect:
    """How far a trained policy, or a mode's policies together, lie above the base.

    Attributes:
        kind: what is compared: "measure", "term", "harm", "detector", "act".
        name: of the measure.
        level: "mode", its runs pooled, or "run"; "onward" where a mode is compared with the runs that it went on from.
        who: the mode's or the run's name.
        base, trained: means over the pairs; of "onward", the base is the runs it went on from.
        difference, low, high: trained less base, and its 95 % interval.
        p: two-sided, before any correction.
        p_adjusted: Holm over the policies of the level; of terms and acts, Benjamini-Hochberg over them.
        detectable: the smallest true difference found with a power of 0.8.
        by_run: of a mode, each run's own difference.
        patients, sessions: how many pairs there are, and of how many patients.
    """

    kind: str
    name: str
    level: Level
    who: str
    base: float
    trained: float
    difference: float
    low: float
    high: float
    p: float
    p_adjusted: float
    detectable: float
    by_run: tuple[float, ...]
    patients: int
    sessions: int

    @property
    def clear(self) -> bool:
        """Whether the interval leaves zero out."""
        return self.low > 0 or self.high < 0

    def __str__(self) -> str:
        p = "< 0.001" if self.p_adjusted < 0.001 else f"{self.p_adjusted:.3f}"  # no p is 0
        gap = f"{self.difference:+.2f} [{self.low:+.2f}, {self.high:+.2f}]"
        return f"{self.level} {self.who}: {self.name} {gap}, p {p}"

    def as_dict(self) -> dict[str, Any]:
        """For a file: numbers to five digits, null for what is not finite."""
        told = {name: rounded(v, 5) if isinstance(v, float) else v for name, v in asdict(self).items()}
        return {**told, "by_run": [rounded(v, 5) for v in self.by_run]}


def effects(study: Study) -> list[Effect]:
    """Every measure of the benchmark, every reward term, every harm."""
    measures = session_values(study, lambda r: {n: v for n, v in r.measures.items() if n not in _COSTS})
    terms = session_values(study, lambda r: r.terms)
    harms = session_values(study, harms_of)
    return [
        *compare(study, "measure", measures),
        *compare(study, "term", terms),
        *compare(study, "harm", _with_zeros(harms)),
    ]


def harms_of(result: SessionResult) -> dict[str, float]:
    """Shares of a session's turns: objected to, and unsafe in each way that there was."""
    count = max(1, len(result.turns))
    found = {f"violation: {name}" for said in result.turns for name in said.violations}
    shares = {n: sum(n.removeprefix("violation: ") in s.violations for s in result.turns) / count for n in found}
    return {"rupture rate": result.measures["ruptures"] / count, **dict(sorted(shares.items()))}


def session_values(study: Study, read: Callable[[SessionResult], Mapping[str, float]]) -> dict[str, Values]:
    """policy -> measure -> session -> value."""
    told: dict[str, Values] = {}
    for policy, sessions in study.sessions.items():
        own: dict[str, dict[Key, float]] = {}
        for key, result in sessions.items():
            for name, value in read(result).items():
                own.setdefault(name, {})[key] = value
        told[policy] = own
    return told


def _with_zeros(values: Mapping[str, Values]) -> dict[str, Values]:
    """A harm that a session does not name did not happen in it."""
    names = sorted({name for own in values.values() for name in own})
    whole = {policy: own["rupture rate"] for policy, own in values.items()}
    return {p: {n: {**dict.fromkeys(whole[p], 0.0), **own.get(n, {})} for n in names} for p, own in values.items()}


def compare(study: Study, kind: str, values: Mapping[str, Values], names: Iterable[str] = ()) -> list[Effect]:
    """Each measure, for each mode, each run, and each mode that went on from runs of the study, less these.

    Args:
        kind: what the effects are called.
        values: policy -> measure -> session -> value.
        names: of the measures; by default the base's.

    Raises:
        ConfigError: a policy lacks a measure that the base has.
    """
    chosen = tuple(names) or tuple(values[study.base])
    for policy, own in values.items():
        if lost := [name for name in chosen if name not in own]:
            raise ConfigError(f"the sessions of {policy!r} have no {lost[0]!r}, expected it as of {study.base!r}; "
                              "play all by one `therapysim bench`")  # fmt: skip
    found = [_effect(kind, n, level, who, [(values[a][n], values[b][n]) for a, b in pairs])
             for n in chosen for level, who, pairs in _compared(study)]  # fmt: skip
    return _adjusted(found)


def _compared(study: Study) -> list[tuple[Level, str, list[tuple[str, str]]]]:
    """What is compared with what: level, name, and pairs of policies, the earlier first."""
    told: list[tuple[Level, str, list[tuple[str, str]]]] = [
        ("mode", mode, [(study.base, run.policy) for run in own]) for mode, own in study.modes.items()
    ]
    told += [("run", run.name, [(study.base, run.policy)]) for run in study.runs]
    starts = study.starts
    return told + [
        ("onward", mode, [(starts[run.policy], run.policy) for run in own])
        for mode, own in study.modes.items() if all(run.policy in starts for run in own)
    ]  # fmt: skip


def _effect(
    kind: str, name: str, level: Level, who: str, pairs: Sequence[tuple[Mapping[Key, float], Mapping[Key, float]]]
) -> Effect:
    shared = [key for key in sorted(pairs[0][0]) if all(_finite(own, key) for pair in pairs for own in pair)]
    first, second = ({key: fmean(pair[i][key] for pair in pairs) for key in shared} for i in range(2))
    gap = paired_difference(first, second)
    least = detectable({key: second[key] - first[key] for key in shared})
    before, after = (fmean(own.values()) if own else math.nan for own in (first, second))
    by_run = tuple(fmean(own[k] - base[k] for k in shared) if shared else math.nan for base, own in pairs)
    found = gap.interval
    return Effect(kind, name, level, who, before, after, found.mean, found.low, found.high, gap.p, math.nan, least,
                  by_run, gap.n_patients, gap.n_sessions)  # fmt: skip


def _finite(own: Mapping[Key, float], key: Key) -> bool:
    return math.isfinite(own.get(key, math.nan))


def _adjusted(found: Sequence[Effect]) -> list[Effect]:
    """With the corrected p in its place."""
    many = bool(found) and found[0].kind in ("term", "act")
    families: dict[tuple[str, str], list[int]] = {}
    for i, effect in enumerate(found):
        families.setdefault((effect.level, effect.who if many else effect.name), []).append(i)
    correct, told = (benjamini_hochberg if many else holm), list(found)
    for rows in families.values():
        for i, p in zip(rows, correct([found[i].p for i in rows]), strict=True):
            told[i] = replace(told[i], p_adjusted=p)
    return told
