"""Alarms: signs in the metrics that a run learns nothing or comes apart, each with what to do about it.

    reward_std   rewards of a group are all but equal, in 3 generations running   nothing is learned from equal rewards
    kl           KL divergence a token, in 3 updates running                      the policy has left the starting one;
                                                                                  where beta is 0, none is measured
    cut          most turns hit the token limit, in 3 generations running         their ends are never learned
    repetition   dev turns repeat one another, in one validation                  the policy has collapsed
    not_finite   loss, gradient norm or KL is no number, in one update            the weights are, or will be, broken

One generation without spread or one update with a high KL is chance, hence three running; a validation is many turns.
"""

import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from accelerate.utils import gather_object
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from therapysim.train.grpo.grpo_settings import GRPOSettings
from therapysim.train.runs.rows import read_rows
from therapysim.train.runs.run_folder import announce

__all__ = ["HOLD", "Alarm", "Alarms", "standing"]

#: In how many rows running a noisy sign must hold.
HOLD = 3

#: Above this share of turns cut off at the token limit.
CUT = 0.5
#: The share of sessions without an answer that is too many.
FAILED = 0.5

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Alarm:
    """One sign that holds.

    Attributes:
        name: as in ``alarm/<name>`` of the metrics.
        value, threshold: what was found, and the bound that it is beyond.
        advice: what it means and what to do.
    """

    name: str
    value: float
    threshold: float
    advice: str

    def __str__(self) -> str:
        return f"alarm {self.name}: {self.value:.3g} (threshold {self.threshold:g}); {self.advice}"


class _Sign(NamedTuple):
    """What is looked for: ``value`` gives None where a row says nothing of it."""

    name: str
    value: Callable[[Row], float | None]
    beyond: Callable[[float, float], bool]
    threshold: Callable[[GRPOSettings], float]
    hold: int
    advice: str


def standing(rows: Sequence[Row], settings: GRPOSettings) -> list[Alarm]:
    """The alarms that hold at the newest row; one that the row says nothing of does not.

    Args:
        rows: of ``metrics.jsonl``, oldest first; the last ``HOLD`` generations are enough.
        settings: with the thresholds.
    """
    return [alarm for sign in _SIGNS if (alarm := _look(sign, rows, sign.threshold(settings)))]


def _look(sign: _Sign, rows: Sequence[Row], threshold: float) -> Alarm | None:
    if not rows or (newest := sign.value(rows[-1])) is None:
        return None
    told = (value for row in reversed(rows) if (value := sign.value(row)) is not None)
    last = list(islice(told, sign.hold))
    holds = len(last) == sign.hold and all(sign.beyond(value, threshold) for value in last)
    return Alarm(sign.name, newest, threshold, sign.advice) if holds else None


def _number(name: str) -> Callable[[Row], float | None]:
    def read(row: Row) -> float | None:
        value = row.get(name)
        return float(value) if isinstance(value, int | float) and math.isfinite(value) else None

    return read


def _spread(row: Row) -> float | None:
    """Of the rewards within a group, on average; over all groups where that is not logged. None without rewards."""
    if _number("reward")(row) is None:
        return None
    if row.get("frac_reward_zero_std") == 1:  # over all groups, rewards may spread though they do in none
        return 0.0
    within = _number("reward/group_std")(row)
    return within if within is not None else _number("reward_std")(row)


def _broken(row: Row) -> float | None:
    """How many of the numbers that must be finite are not; None in a row of a validation alone."""
    if "loss" not in row:
        return None
    found = [row[name] for name in ("loss", "grad_norm", "kl") if isinstance(row.get(name), int | float)]
    return float(sum(not math.isfinite(value) for value in found))


def _below(value: float, threshold: float) -> bool:
    return value < threshold


def _above(value: float, threshold: float) -> bool:
    return value > threshold


# A resumed run keeps its rates, limits and temperature, and comes to the same place again: hence a new one.
_ANEW = "begin a new run from the best policy (--model RUN/best --out NEW)"

_SIGNS = (
    _Sign(
        "reward_std", _spread, _below, lambda s: s.alarm_reward_std, HOLD,
        "the sessions of a group earn the same, and nothing is learned from that; begin a new run with a higher "
        "--temperature or more --generations, or from another policy (--model) that varies its turns",
    ),
    _Sign(
        "repetition", _number("validation/repetition"), _above, lambda s: s.alarm_repetition, 1,
        "the policy says almost the same again and again; read its turns, those of kind validation in "
        f"completions.jsonl; if earlier ones were better, {_ANEW} with a lower --lr or a higher --beta",
    ),
    _Sign(
        "kl", _number("kl"), _above, lambda s: s.alarm_kl, HOLD,
        "the policy has gone far from the one it began as; read its newest turns in completions.jsonl; if they are "
        f"worse, {_ANEW} with a lower --lr or a higher --beta",
    ),
    _Sign(
        "not_finite", _broken, _above, lambda s: 0.0, 1,
        "so many of loss, gradient norm and KL are no finite number, and what is learned from here on may be broken, "
        f"checkpoints too; stop it, and {_ANEW} with a lower --lr, or with --dtype float32 if it comes again",
    ),
    _Sign(
        "cut", _number("turns/cut"), _above, lambda s: CUT, HOLD,
        "most turns are cut off by max_turn_tokens: with mask_cut_turns nothing is learned from those, without it not "
        "how a turn ends; begin a new run with a higher --max-turn-tokens, or from another policy (--model) that ends "
        "its turns",
    ),
    _Sign(
        "failed", _number("ending/failed"), _above, lambda s: FAILED, 1,
        "most sessions ended because their patient gave no answer, and nothing is learned from those; see that the "
        "patient's model or server is there, then go on by --resume",
    ),
)  # fmt: skip


class Alarms(TrainerCallback):
    """Says each alarm once on stderr, marks every row in which it holds, and stops the run if it is to.

    ``cut`` stops none that learns from cut turns by choice, without ``mask_cut_turns``.

    Stands before ``MetricsFile`` and the trackers, so that they log ``alarm/<name>`` too. What came before a resume is
    read back: the alarms of a resumed run are those of a whole one.
    """

    def __init__(self, settings: GRPOSettings) -> None:
        self.settings = settings
        self.rows: deque[Row] = deque(maxlen=HOLD * (settings.updates_per_generation + 1))
        self.rung: set[str] = set()

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self.rows.clear()
        if state.is_world_process_zero and state.global_step:
            self.rows.extend(read_rows(Path(self.settings.out) / "metrics.jsonl"))

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs: Any = None, **_: Any
    ) -> None:
        if not logs or "train_runtime" in logs:
            return
        found = []
        if state.is_world_process_zero:
            self.rows.append(dict(logs))
            found = standing(self.rows, self.settings)
            logs |= {f"alarm/{alarm.name}": 1.0 for alarm in found}
            self._ring(found, state.global_step)
        # Numbers of the other processes may differ in a digit: one decides for all.
        if self.settings.stop_on_alarm and any(gather_object([self._end(found)])):
            control.should_training_stop = True

    def _end(self, found: Sequence[Alarm]) -> bool:
        """Whether the run is to stop at these, if it is to stop at alarms."""
        return any(alarm.name != "cut" or self.settings.mask_cut_turns for alarm in found)

    def _ring(self, found: Sequence[Alarm], step: int) -> None:
        for alarm in found:
            if alarm.name not in self.rung:
                self.rung.add(alarm.name)
                announce(f"update {step}: {alarm}")
        if self.settings.stop_on_alarm and self._end(found):
            announce(
                f"update {step}: the run stops here (stop_on_alarm); its newest policy is in {self.settings.out}/policy"
            )
