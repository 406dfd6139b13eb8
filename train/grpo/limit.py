"""Ends a run when its time is up, with a checkpoint to go on from."""

import time
from typing import Any

from accelerate.utils import broadcast_object_list
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from therapysim.train.grpo.grpo_settings import GRPOSettings
from therapysim.train.runs.run_folder import announce

__all__ = ["TimeLimit"]


class TimeLimit(TrainerCallback):
    """Stops after ``max_minutes`` of updates, at the end of a generation, so that a resumed run can go on."""

    def __init__(self, settings: GRPOSettings) -> None:
        self.limit_s = settings.max_minutes * 60
        self.every = settings.updates_per_generation
        self.began = 0.0

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self.began = self.began or time.perf_counter()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if not self.limit_s or state.global_step % self.every:
            return
        over = [time.perf_counter() - self.began > self.limit_s]
        broadcast_object_list(over)  # all processes stop at the same update
        if over[0]:
            control.should_save = control.should_training_stop = True
            if state.is_world_process_zero:
                announce(f"max_minutes: stopped after update {state.global_step}")
