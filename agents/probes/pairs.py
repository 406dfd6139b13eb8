"""Pairs of turns of which one is known to be better, and how often a judge says so."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from therapysim.agents.statistics.intervals import Interval, mean_interval, proportion
from therapysim.errors import ConfigError

__all__ = [
    "ALL", "Fault", "Pair", "Pairs", "Row", "Scorer", "Share", "alone", "assess", "by_pair", "compare", "group_numbers",
    "outcomes", "pasts", "sides",
]  # fmt: skip

Floats = NDArray[np.float64]

#: Contexts and the turns that answer them -> scores, shape (n,); the higher the better.
Scorer = Callable[[Sequence[str], Sequence[str]], Floats]

#: The row of every source together.
ALL = "all"


@dataclass(frozen=True, slots=True)
class Pair:
    """Two turns, of which one is known to be better.

    Attributes:
        context: what the patient said; "" where nothing is known of it.
        better, worse: the turns.
        worse_context: what the worse turn answers; "" where it answers ``context`` too.
        source: where the pair comes from.
        group: pairs of one group are not independent. Default the context with what was said before it; where that is
            blank, the turns.
        before: what was said before the context, oldest first, the therapist's turn last.
    """

    context: str
    better: str
    worse: str
    worse_context: str = ""
    source: str = ""
    group: str = ""
    before: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.group.strip():
            own = "\n".join((*self.before, self.context)) if self.context.strip() else f"{self.better}\n{self.worse}"
            object.__setattr__(self, "group", own)


@dataclass(frozen=True, slots=True)
class Fault:
    """A line that was skipped, and why; the reason quotes nothing of its text."""

    line: int
    reason: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Pairs:
    """What a file holds.

    Attributes:
        pairs: in the file's order.
        faults: the lines that are no pair.
        lines: the line of each pair, from 1.
    """

    pairs: tuple[Pair, ...]
    faults: tuple[Fault, ...]
    lines: tuple[int, ...] = ()


@dataclass(frozen=True)
class Row:
    """How often each judge is right on the pairs of one source.

    Attributes:
        source: its name; ``ALL`` for every source together, in which each pair counts alike.
        pairs, groups: how many.
        accuracy: judge -> share of pairs in [0, 1], a tie counting one half, with its interval by group.
        ahead: each other judge -> accuracy of the first judge less that of this one, pair by pair, with its interval by
            group; of a single group it is without end.
        ties: judge -> how many pairs it scores alike on both sides.
    """

    source: str
    pairs: int
    groups: int
    accuracy: dict[str, Interval]
    ahead: dict[str, Interval]
    ties: dict[str, int]


@dataclass(frozen=True)
class Share:
    """One term's accuracy by itself, and the number of pairs in which it differs; every other pair is a tie."""

    accuracy: float
    differs: int


def sides(pairs: Sequence[Pair]) -> tuple[list[str], list[str]]:
    """Contexts and turns, 2n each: every better turn, then every worse one."""
    contexts = [pair.context for pair in pairs] + [pair.worse_context or pair.context for pair in pairs]
    return contexts, [pair.better for pair in pairs] + [pair.worse for pair in pairs]


def pasts(pairs: Sequence[Pair]) -> list[tuple[str, ...]]:
    """What was said before each context of ``sides``, 2n; nothing is known of it where the worse has its own."""
    return [pair.before for pair in pairs] + [() if pair.worse_context else pair.before for pair in pairs]


def by_pair(values: Floats, name: str = "judge") -> Floats:
    """The values of ``sides`` pair by pair, (n, 2): better, worse.

    Raises:
        ConfigError: the values are not one finite number a turn.
    """
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 1 or len(values) % 2 or not np.isfinite(values).all():
        raise ConfigError(
            f"{name!r} gave scores of shape {values.shape}, {np.count_nonzero(~np.isfinite(values))} of them not finite"
            ", expected one finite number a turn"
        )
    return values.reshape(2, -1).T


def compare(pairs: Sequence[Pair], judges: Mapping[str, Scorer]) -> list[Row]:
    """``assess`` of what each judge says; each is asked once, for all turns.

    Raises:
        ConfigError: there is no pair or no judge, or a judge's scores are not one finite number a turn.
    """
    return assess(pairs, {name: by_pair(judge(*sides(pairs)), name) for name, judge in judges.items()})


def assess(pairs: Sequence[Pair], scores: Mapping[str, Floats]) -> list[Row]:
    """How often each judge is right: a row a source, by name, and one of all.

    Args:
        pairs: at least one.
        scores: judge -> (n, 2), better and worse. The others are taken from the first.

    Raises:
        ConfigError: there is no pair or no judge, or the scores are of another shape.
    """
    shapes = {name: np.shape(own) for name, own in scores.items()}
    if not pairs or not scores or set(shapes.values()) != {(len(pairs), 2)}:
        raise ConfigError(f"{len(pairs)} pairs with scores of shapes {shapes}, expected (n, 2) of at least one pair")
    right, groups = {name: outcomes(own) for name, own in scores.items()}, group_numbers(pairs)
    return [_row(name, rows, right, groups) for name, rows in _by_source(pairs).items()]


def outcomes(scores: Floats) -> Floats:
    """1 where the better turn scores higher, 0.5 at a tie, 0 where the worse one does, (n,)."""
    return (1.0 + np.sign(scores[:, 0] - scores[:, 1])) / 2.0


def alone(pairs: Sequence[Pair], terms: Mapping[str, Floats]) -> dict[str, dict[str, Share]]:
    """What each term would be worth as the only judge: term -> source -> share.

    Args:
        pairs: n of them.
        terms: name -> (n, 2), better and worse.
    """
    parts, right = _by_source(pairs), {name: outcomes(own) for name, own in terms.items()}
    return {
        name: {
            source: Share(float(own[rows].mean()), int(np.count_nonzero(own[rows] != 0.5)))
            for source, rows in parts.items()
        }
        for name, own in right.items()
    }


def group_numbers(pairs: Sequence[Pair]) -> NDArray[np.int64]:
    """The number of each pair's group, (n,); groups count by name, whatever the order of the pairs."""
    numbers = {name: k for k, name in enumerate(sorted({pair.group for pair in pairs}))}
    return np.array([numbers[pair.group] for pair in pairs], dtype=np.int64)


def _by_source(pairs: Sequence[Pair]) -> dict[str, NDArray[np.int64]]:
    """Source -> its pairs' places, by name; all of them last."""
    own: dict[str, list[int]] = {}
    for place, pair in enumerate(pairs):
        own.setdefault(pair.source, []).append(place)
    return {name: np.array(own[name]) for name in sorted(own)} | {ALL: np.arange(len(pairs))}


def _row(source: str, rows: NDArray[np.int64], right: Mapping[str, Floats], groups: NDArray[np.int64]) -> Row:
    first, owner = next(iter(right)), groups[rows]
    return Row(
        source,
        len(rows),
        len(np.unique(owner)),
        {name: proportion(own[rows], owner, unit="group") for name, own in right.items()},
        {
            name: mean_interval(right[first][rows] - own[rows], owner, unit="group")
            for name, own in right.items()
            if name != first
        },
        {name: int(np.count_nonzero(own[rows] == 0.5)) for name, own in right.items()},
    )
