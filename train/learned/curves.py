"""Training curves: one row an update of every run, and a figure of them."""

import csv
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean
from typing import TYPE_CHECKING, Any

from therapysim.agents.figures import COLOURS
from therapysim.train.learned.compared_runs import Run, Study, rounded

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["SMOOTHED", "VALIDATION", "curves_csv", "draw_curves", "smooth", "stretch"]

#: So many values, the newest last, make one of a smoothed curve at most.
SMOOTHED = 20
#: So many of them at least make a curve: over a longer stretch, a short run's mean lags behind all that it learned.
_PARTS = 6
#: What is told of the run's validations on dev patients; their metrics begin so.
VALIDATION = "validation/"
_VALIDATED = ("return", "return_low", "return_high", "polarity_gain", "alliance", "unsafe", "repetition", "distinct_1",
              "distinct_2", "words", "cut", "turns")  # fmt: skip

_COLUMNS = ("reward", "reward_std", "frac_reward_zero_std", "kl", "loss", "entropy", "ratio/mean", "session/polarity",
            "session/turns")  # fmt: skip
_PANELS = (("reward", "reward a session, training"), ("kl", "KL from the start, a token"),
           ("validation/return", "reward a session, dev patients"))  # fmt: skip
#: Too noisy to read unsmoothed; a curve that grows, as KL does, would be told too low.
_NOISY = "reward"


def curves_csv(study: Study) -> str:
    """Long CSV: mode, run, seed, step, the reward raw and smoothed, and what else a run logged of the columns."""
    columns = [*_COLUMNS, *(VALIDATION + name for name in _VALIDATED)]
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["mode", "run", "seed", "step", "reward_smoothed", *columns])
    for run in study.runs:
        smoothed = dict(smooth(_curve(run, "reward"), stretch(study)))
        for step, row in _steps(run):
            values = [smoothed.get(step, math.nan), *(_number(row, name) for name in columns)]
            rows.writerow([run.mode, run.name, run.seed, step, *("" if math.isnan(v) else f"{v:.5g}" for v in values)])
    return text.getvalue()


def smooth(curve: Sequence[tuple[int, float]], most: int = SMOOTHED) -> list[tuple[int, float]]:
    """Each value as the mean of itself and those before it, ``most`` at most."""
    return [(step, fmean(v for _, v in curve[max(0, i + 1 - most) : i + 1])) for i, (step, _) in enumerate(curve)]


def stretch(study: Study) -> int:
    """Updates that make one value of the smoothed reward: a sixth of the shortest run, at most ``SMOOTHED``."""
    return min(SMOOTHED, max(1, min(run.steps for run in study.runs) // _PARTS))


def draw_curves(study: Study) -> "Figure":
    """Three panels: the reward smoothed, KL and validation as logged. A thin line a run, a thick one a mode's mean."""
    from therapysim.agents.figures import figure

    drawn = figure(11.0, 3.6)
    for axes, (name, title) in zip(drawn.subplots(1, len(_PANELS)), _PANELS, strict=True):
        for colour, (mode, runs) in zip(_cycle(), study.modes.items(), strict=False):
            curves = [_curve(run, name) for run in runs]
            shown = [smooth(curve, stretch(study)) for curve in curves] if name == _NOISY else curves
            _draw_mode(axes, name, mode, dict(zip((run.name for run in runs), shown, strict=True)), colour)
        axes.set_title(title, fontsize=9)
        axes.set_xlabel("update", fontsize=8)
        axes.tick_params(labelsize=7)
        axes.grid(color="#dddddd", linewidth=0.5)
        if not any(_curve(run, name) for run in study.runs):
            axes.text(0.5, 0.5, "not logged", ha="center", va="center", transform=axes.transAxes, color="#777777")
    drawn.axes[0].legend(fontsize=8, frameon=False)
    return drawn


def _draw_mode(axes: "Axes", name: str, mode: str, curves: Mapping[str, Sequence[tuple[int, float]]],
               colour: str) -> None:  # fmt: skip
    """A validation's points are marked: the line between two of them was not measured."""
    mark = "o" if name.startswith(VALIDATION) else ""
    for run, curve in curves.items():
        axes.plot(*_sides(curve), color=colour, linewidth=0.7, alpha=0.45, marker=mark, markersize=2,
                  gid=f"{name} {run}")  # fmt: skip
    axes.plot(*_sides(_mean(list(curves.values()))), color=colour, linewidth=1.8, marker=mark, markersize=3, label=mode,
              gid=f"{name} {mode}")  # fmt: skip


def _mean(curves: Sequence[Sequence[tuple[int, float]]]) -> list[tuple[int, float]]:
    """Over the runs, at the steps that all of them have."""
    tables = [dict(curve) for curve in curves]
    shared = sorted(set.intersection(*map(set, tables)))
    return [(step, fmean(table[step] for table in tables)) for step in shared]


def _sides(curve: Sequence[tuple[int, float]]) -> tuple[list[int], list[float]]:
    return [step for step, _ in curve], [value for _, value in curve]


def _cycle() -> Iterator[str]:
    while True:
        yield from COLOURS


def _curve(run: Run, name: str) -> list[tuple[int, float]]:
    found = [(step, _number(row, name)) for step, row in _steps(run)]
    return [(step, value) for step, value in found if math.isfinite(value)]


def _steps(run: Run) -> list[tuple[int, Mapping[str, Any]]]:
    """Rows by step: an update's are put together, the newest value of a name last."""
    steps: dict[int, dict[str, Any]] = {}
    for row in run.rows:
        steps.setdefault(int(row["step"]), {}).update(row)
    return sorted(steps.items())


def _number(row: Mapping[str, Any], name: str) -> float:
    value = row.get(name)
    sound = isinstance(value, int | float) and not isinstance(value, bool) and rounded(float(value)) is not None
    return float(value) if sound and value is not None else math.nan
