"""How often a 95 % interval holds the truth, in simulated benchmarks of patients × seeds. Nothing here passes or fails.

python -m tests.measures.coverage_simulation --sets 2000
"""

import argparse
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from therapysim.agents.statistics.intervals import Interval, by_patient, proportion, worst_decile

__all__ = ["Sets", "coverage", "main", "rates", "sessions"]

Floats = NDArray[np.float64]
#: How many sets, patients, seeds, share of the variance between patients, generator -> (sets, patients, seeds).
Sets = Callable[[int, int, int, float, np.random.Generator], Floats]


def sessions(skewed: bool) -> Sets:
    """Values of mean 0 and variance 1; the patients' effects are normal, or exponential where skewed."""

    def draw(sets: int, patients: int, seeds: int, icc: float, rng: np.random.Generator) -> Floats:
        shape = (sets, patients, 1)
        effects = rng.exponential(size=shape) - 1 if skewed else rng.normal(size=shape)
        return np.sqrt(icc) * effects + np.sqrt(1 - icc) * rng.normal(size=(sets, patients, seeds))

    return draw


def rates(rate: float) -> Sets:
    """Hits at a rate of each patient's own, from a beta distribution with the mean told."""

    def draw(sets: int, patients: int, seeds: int, icc: float, rng: np.random.Generator) -> Floats:
        size = 1 / icc - 1 if icc else 1e6
        own = rng.beta(rate * size, (1 - rate) * size, size=(sets, patients, 1))
        return (rng.random((sets, patients, seeds)) < own).astype(np.float64)

    return draw


def coverage(
    interval: Callable[..., Interval], draw: Sets, truth: float, shape: tuple[int, int], icc: float, sets: int
) -> tuple[float, float, float]:
    """Shares of the intervals that hold the truth, that lie above it, and that lie below it."""
    patients, seeds = shape
    who = [f"{i:03}" for i in range(patients) for _ in range(seeds)]
    values = draw(sets, patients, seeds, icc, np.random.default_rng([patients, seeds, int(100 * icc)]))
    found = [interval(one.ravel(), who) for one in values]
    above = sum(one.low > truth for one in found) / sets
    below = sum(one.high < truth for one in found) / sets
    return 1 - above - below, above, below


def main() -> None:
    """Prints a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", type=int, default=1_000, help="simulated benchmarks a row")
    sets = parser.parse_args().sets
    print(
        f"{sets} sets a row, 4 seeds a patient; standard error of a coverage about {(0.05 * 0.95 / sets) ** 0.5:.3f}\n"
    )
    print("| interval | values | patients | ICC | coverage | above | below |\n|---|---|---|---|---|---|---|")
    for name, kind, interval, draw, truth, patients, icc in _rows():
        held, above, below = coverage(interval, draw, truth, (patients, 4), icc, sets)
        print(f"| {name} | {kind} | {patients} | {icc} | {held:.3f} | {above:.3f} | {below:.3f} |", flush=True)


def _rows() -> Iterator[tuple[str, str, Callable[..., Interval], Sets, float, int, float]]:
    for skewed in (False, True):
        kind, draw = "skewed" if skewed else "normal", sessions(skewed)
        for patients in (3, 6, 8, 16, 48):
            for icc in (0.0, 0.3, 0.6):
                yield "by_patient", kind, by_patient, draw, 0.0, patients, icc
        for patients in (8, 16, 48):
            yield "worst_decile", kind, worst_decile, draw, lowest_tenth(draw, 0.3), patients, 0.3
    for rate in (0.02, 0.1, 0.4):
        for patients in (8, 16, 48):
            yield "proportion", f"rate {rate}", proportion, rates(rate), rate, patients, 0.3


def lowest_tenth(draw: Sets, icc: float) -> float:
    """The mean of the lowest tenth among very many sessions, each with a patient of its own."""
    values = np.sort(draw(1, 1_000_000, 1, icc, np.random.default_rng(0)).ravel())
    return float(values[:100_000].mean())


if __name__ == "__main__":
    main()
