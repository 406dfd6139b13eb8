"""Do two patients rank the same therapists alike? Kendall's tau between rankings, with an interval over personas."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from therapysim.agents.bench.results import SessionResult
from therapysim.agents.statistics.intervals import Interval
from therapysim.errors import ConfigError

__all__ = ["Agreement", "agreement", "agreement_table"]


@dataclass(frozen=True)
class Agreement:
    """Two patients' rankings of the same therapists.

    Attributes:
        first, second: the patients' names.
        tau: Kendall's tau-b in [-1, 1] between the therapists' means, with its 95 % interval from a bootstrap over
            personas.
    """

    first: str
    second: str
    tau: Interval


def agreement(
    results: Mapping[str, Sequence[SessionResult]], measure: str = "total", *, draws: int = 1_000, seed: int = 0
) -> list[Agreement]:
    """Every pair of patients compared.

    Args:
        results: a benchmark's results by patient; all with the same therapists and personas.
        measure: one of ``results.MEASURES``.
        draws: of the bootstrap.
        seed: of the bootstrap.

    Raises:
        ConfigError: fewer than two patients or therapists, or they met different ones.
    """
    scores = {name: _scores(rows, measure) for name, rows in results.items()}
    grids = list(scores.values())
    if len(grids) < 2 or any(grid.shape != grids[0].shape for grid in grids) or len(grids[0]) < 2:
        shapes = {name: grid.shape for name, grid in scores.items()}
        raise ConfigError(f"therapists × personas by patient are {shapes}, expected two patients or more, all alike")
    picks = np.random.default_rng(seed).integers(grids[0].shape[1], size=(draws, grids[0].shape[1]))
    return [Agreement(a, b, _compare(scores[a], scores[b], picks)) for a, b in combinations(scores, 2)]


def agreement_table(found: Sequence[Agreement]) -> str:
    """A Markdown table, one row a pair."""
    rows = ["| patients | Kendall's tau | 95 % interval |", "|---|---|---|"]
    return "\n".join(
        [
            *rows,
            *(f"| {a.first}, {a.second} | {a.tau.mean:+.2f} | {a.tau.low:+.2f} to {a.tau.high:+.2f} |" for a in found),
        ]
    )


def _scores(rows: Sequence[SessionResult], measure: str) -> NDArray[np.float64]:
    """(therapists, personas): the mean over seeds of sessions that did not fail."""
    policies = list(dict.fromkeys(r.policy for r in rows))
    people = sorted({r.persona for r in rows})
    cells = [[[r[measure] for r in rows if (r.policy, r.persona) == (policy, who) and not r.failed]
              for who in people] for policy in policies]  # fmt: skip
    return np.array([[np.mean(cell) if cell else np.nan for cell in row] for row in cells])


def _compare(one: NDArray[np.float64], other: NDArray[np.float64], picks: NDArray[np.int64]) -> Interval:
    taus = [_tau(one[:, pick], other[:, pick]) for pick in picks]
    low, high = np.nanpercentile(taus, [2.5, 97.5])
    return Interval(_tau(one, other), float(low), float(high), one.shape[1])


def _tau(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    from scipy.stats import kendalltau

    return float(kendalltau(np.nanmean(one, axis=1), np.nanmean(other, axis=1)).statistic)
