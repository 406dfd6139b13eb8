"""How often a 95 % interval holds the truth, in simulated benchmarks of patients × seeds. Nothing here passes or fails;
``tests/agents/statistics/test_coverage.py`` does.

python -m tests.measures.coverage_simulation --sets 4000
"""

import argparse
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from therapysim.agents.statistics.intervals import Interval, mean_interval, proportion, worst_decile

__all__ = ["EFFECTS", "Design", "balanced", "coverage", "lowest_tenth", "main", "rates", "sessions", "unbalanced"]

Floats = NDArray[np.float64]
Effects = Callable[[tuple[int, ...], np.random.Generator], Floats]

#: Of the logarithm; the skewness of the patients is then 3.7, where the exponential's is 2.
_SIGMA = 0.8


def _lognormal(shape: tuple[int, ...], rng: np.random.Generator) -> Floats:
    square = math.exp(_SIGMA**2)
    return (rng.lognormal(sigma=_SIGMA, size=shape) - math.sqrt(square)) / math.sqrt(square * (square - 1))


#: How patients differ; mean 0, variance 1.
EFFECTS: dict[str, Effects] = {
    "normal": lambda shape, rng: rng.normal(size=shape),
    "exponential": lambda shape, rng: rng.exponential(size=shape) - 1,
    "lognormal": _lognormal,
}


@dataclass(frozen=True)
class Design:
    """Who plays how many sessions, and which share of the variance lies between patients."""

    name: str
    sessions: tuple[int, ...]
    icc: float

    @property
    def who(self) -> list[str]:
        """Whose session each is."""
        return [f"p{i:02}" for i, n in enumerate(self.sessions) for _ in range(n)]


def balanced(patients: int, seeds: int, icc: float) -> Design:
    """Every patient plays every seed."""
    return Design(f"{patients} × {seeds}", (seeds,) * patients, icc)


def unbalanced(patients: int, icc: float) -> Design:
    """Patients play 1, 3, 5 and 7 sessions in turn."""
    return Design(f"{patients} × 1 to 7", tuple(1 + 2 * (i % 4) for i in range(patients)), icc)


def sessions(effects: str, design: Design, sets: int, rng: np.random.Generator) -> Floats:
    """Values of mean 0 and variance 1, shape (sets, sessions): a patient's effect, and normal noise within patients."""
    own = np.repeat(EFFECTS[effects]((sets, len(design.sessions)), rng), design.sessions, axis=1)
    return math.sqrt(design.icc) * own + math.sqrt(1 - design.icc) * rng.normal(size=own.shape)


def rates(rate: float, design: Design, sets: int, rng: np.random.Generator) -> Floats:
    """Hits, shape (sets, sessions), at a rate of each patient's own, from a beta distribution with the mean told."""
    size = 1 / design.icc - 1
    own = rng.beta(rate * size, (1 - rate) * size, size=(sets, len(design.sessions)))
    return (rng.random((sets, sum(design.sessions))) < np.repeat(own, design.sessions, axis=1)).astype(np.float64)


def coverage(
    interval: Callable[..., Interval], values: Floats, who: Sequence[str], truth: float
) -> tuple[float, float, float]:
    """Shares of the sets whose interval holds the truth, lies above it, and lies below it."""
    found = [interval(own, who) for own in values]
    above, below = (float(np.mean(off)) for off in ([i.low > truth for i in found], [i.high < truth for i in found]))
    return 1 - above - below, above, below


def lowest_tenth(effects: str, icc: float) -> float:
    """The mean of the lowest tenth among very many sessions, each with a patient of its own."""
    rng, n = np.random.default_rng(0), 1_000_000
    own = math.sqrt(icc) * EFFECTS[effects]((n,), rng) + math.sqrt(1 - icc) * rng.normal(size=n)
    return float(np.sort(own)[: n // 10].mean())


def designs() -> Iterator[Design]:
    """What is simulated: noise within patients, and at ICC 1 none."""
    for icc, patients, seeds in product((0.5,), (4, 8, 16, 24), (1, 4, 8)):
        yield balanced(patients, seeds, icc)
    for patients in (4, 8, 16, 24):
        yield balanced(patients, 1, 1.0)
    for icc, patients in product((0.5, 1.0), (4, 8, 16, 24)):
        yield unbalanced(patients, icc)


def main() -> None:
    """Prints a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", type=int, default=1_000, help="simulated benchmarks a row")
    sets = parser.parse_args().sets
    print(f"{sets} sets a row; standard error of a coverage about {(0.05 * 0.95 / sets) ** 0.5:.4f}\n")
    print("| interval | values | sessions | ICC | coverage | above | below |\n|---|---|---|---|---|---|---|")
    for name, kind, design, interval, values, truth in _rows(sets):
        shares = " | ".join(f"{share:.3f}" for share in coverage(interval, values, design.who, truth))
        print(f"| {name} | {kind} | {design.name} | {design.icc} | {shares} |", flush=True)


def _rows(sets: int) -> Iterator[tuple[str, str, Design, Callable[..., Interval], Floats, float]]:
    for kind, design in product(EFFECTS, designs()):
        yield "mean_interval", kind, design, mean_interval, sessions(kind, design, sets, _rng(design)), 0.0
    for kind, patients in product(EFFECTS, (8, 16, 48)):
        design, truth = balanced(patients, 4, 0.3), lowest_tenth(kind, 0.3)
        yield "worst_decile", kind, design, worst_decile, sessions(kind, design, sets, _rng(design)), truth
    for rate, patients in product((0.02, 0.1, 0.4), (8, 16, 48)):
        for design in (balanced(patients, 4, 0.3), unbalanced(patients, 0.3)):
            yield "proportion", f"rate {rate}", design, proportion, rates(rate, design, sets, _rng(design)), rate


def _rng(design: Design) -> np.random.Generator:
    return np.random.default_rng([*design.sessions, int(100 * design.icc)])


if __name__ == "__main__":
    main()
