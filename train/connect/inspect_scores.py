"""Inspect: what a session is scored by, from the benchmark's row of it that a sample's store keeps."""

import math

from inspect_ai.log import EvalLog, read_eval_log
from inspect_ai.scorer import Score, Scorer, Target, mean, scorer, stderr
from inspect_ai.solver import TaskState

from therapysim.agents.bench.results import SessionResult
from therapysim.errors import ConfigError
from therapysim.records import record_of

__all__ = ["RESULT", "measures", "results_of", "terms"]

#: Where the store keeps the row.
RESULT = "result"


@scorer(metrics={"*": [mean(), stderr(cluster="patient")]})
def measures() -> Scorer:
    """Every one of ``MEASURES``; one that a session has not is nan, and left out of its mean."""
    return _scorer("measures")


@scorer(metrics={"*": [mean(), stderr(cluster="patient")]})
def terms() -> Scorer:
    """Each term of the reward, weighted and summed over the session; ``term_`` tells it from a measure of its name."""
    return _scorer("terms", "term_")


def _scorer(part: str, head: str = "") -> Scorer:
    async def score(state: TaskState, target: Target) -> Score:
        row = state.store.get(RESULT)
        if row is None:
            raise ConfigError(f"sample {state.sample_id} has no finished session; raise its limits, or let the solver "
                              "be therapysim/therapy")  # fmt: skip
        values = {head + name: math.nan if value is None else value for name, value in row[part].items()}
        ended = row["ending"] or "turn limit"
        unsafe = sorted({name for turn in row["turns"] for name in turn["violations"]})
        why = f"{ended} after {len(row['turns'])} turns; unsafe: {', '.join(unsafe) or 'nothing'}"
        return Score(value=values, answer=ended, explanation=why)

    return score


def results_of(log: str | EvalLog) -> list[SessionResult]:
    """The benchmark's rows of a log's first epoch, for its tables, paired differences and intervals.

    Raises:
        ConfigError: a row is none of this version.
    """
    held = read_eval_log(log) if isinstance(log, str) else log
    rows = [(s.id, s.store[RESULT]) for s in held.samples or [] if s.epoch == 1 and RESULT in s.store]
    return [record_of(row, SessionResult, ConfigError, f"sample {name}") for name, row in rows]
