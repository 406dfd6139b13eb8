"""What each training took: updates, tokens, time; from the rows that it logged."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from therapysim.train.learned.compared_runs import Run, Study

__all__ = ["Cost", "costs", "minutes"]


@dataclass(frozen=True)
class Cost:
    """The mean of a mode's runs; nan where one of them does not say.

    Attributes:
        mode: its name.
        updates: made.
        learned: tokens that went through the model to learn from, prompts included.
        sampled: tokens that the policy wrote while it trained, validations not counted.
        minutes: of wall clock, validations included; of a run that was resumed, all its parts together.
    """

    mode: str
    updates: float
    learned: float
    sampled: float
    minutes: float


def costs(study: Study) -> list[Cost]:
    """One a mode, in their order."""
    return [
        Cost(mode, _mean([run.steps for run in runs]), _mean([_newest(run, "num_tokens") for run in runs]),
             _mean([_sampled(run) for run in runs]), _mean([minutes(run) for run in runs]))
        for mode, runs in study.modes.items()
    ]  # fmt: skip


def minutes(run: Run) -> float:
    """Wall clock of a run; one of an earlier version has no clock, and of GRPO its updates' own times are added."""
    steps = [float(row["step_time"]) for row in run.rows if row.get("step_time") is not None]
    seconds = _newest(run, "seconds/run")
    return (seconds if not math.isnan(seconds) or not steps else math.fsum(steps)) / 60


def _sampled(run: Run) -> float:
    """An update logs what was sampled for it alone, by all processes; SFT and DPO sample nothing."""
    told = [float(row["tokens/sampled"]) for row in run.rows if row.get("tokens/sampled") is not None]
    return math.fsum(told) if told or run.settings.get("training") in ("sft", "dpo") else math.nan


def _newest(run: Run, name: str) -> float:
    return next((float(row[name]) for row in reversed(run.rows) if row.get(name) is not None), math.nan)


def _mean(values: Sequence[float]) -> float:
    return fmean(values) if values else math.nan
