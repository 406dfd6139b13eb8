"""A training on rows that a run keeps in its folder: copying (SFT) and preferring (DPO).

Read ``learn`` from top to bottom: that is the whole run. What a training has of its own stands in its ``Way``.
"""

import math
import time
import warnings
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from transformers import PrinterCallback

from therapysim.envs.batch import SessionBatch, SessionConfig
from therapysim.errors import ConfigError, TrainingError
from therapysim.rewards.reading.emotions import EmotionSensor, SensorSettings
from therapysim.train.run_settings import RunSettings
from therapysim.train.runs.checkpoints import checkpoint_step
from therapysim.train.runs.ending import Terminated, told
from therapysim.train.runs.kept_rubric import keep_rubric
from therapysim.train.runs.model import load_policy, lora_config, precision, set_ends
from therapysim.train.runs.policy_card import CardWriter, write_card
from therapysim.train.runs.rows import read_rows
from therapysim.train.runs.run_folder import MetricsFile, ProgressLog
from therapysim.train.runs.safe_trainer import SafeTrainer, TryAgain, shares_weights_out
from therapysim.train.runs.start_up import TrainResult, by_one, check_devices, cores, join_processes, open_once, quieten
from therapysim.train.runs.tracking import trackers

__all__ = ["RowTrainer", "Way", "learn", "open_patients", "shared_arguments"]

S = TypeVar("S", bound=RunSettings)


class RowTrainer(SafeTrainer):
    """Stands before a trainer of TRL's among a class's bases; the rows are tokens already."""

    eval_dataset: Any

    @property
    def _total_train_tokens(self) -> int:
        """Tokens read in training, which TRL forgets where a run is resumed; the trainer's state is saved with it."""
        return int(self.state.num_input_tokens_seen)

    @_total_train_tokens.setter
    def _total_train_tokens(self, count: int) -> None:
        self.state.num_input_tokens_seen = count

    def dev_means(self) -> dict[str, float]:
        """The loss, and TRL's metrics by their names, on the rows kept apart: means over batches.

        Nothing where there are none; nothing of it is logged here.
        """
        if self.eval_dataset is None:
            return {}
        trainer: Any = self
        loader = trainer.get_eval_dataloader()
        output = trainer.evaluation_loop(loader, "dev", prediction_loss_only=True, metric_key_prefix="dev")
        held = trainer._metrics["eval"]
        found = {name: sum(values) / len(values) for name, values in held.items() if values}
        held.clear()
        return {**found, "loss": float(output.metrics["dev_loss"])}


@dataclass(frozen=True)
class Way(Generic[S]):
    """What one training on rows does in its own way.

    Attributes:
        trainer: a ``RowTrainer``, given what a trainer of TRL's is given.
        arguments: the settings in TRL's words.
        keep: puts what is learned from into the run's folder, once.
        practice: the rows to learn from, given the tokenizer and the number of processes.
        dev: the rows kept apart, given the tokenizer; None where there are none.
        check: the validation, given settings, patients and tokenizer; its ``trainer`` is set.
    """

    trainer: Callable[..., Any]
    arguments: Callable[[S], Any]
    keep: Callable[[S, SessionBatch], None]
    practice: Callable[[S, Any, int], Any]
    dev: Callable[[S, Any], Any]
    check: Callable[[S, SessionBatch, Any], Any]


def learn(way: Way[S], settings: S, batch: SessionBatch | None) -> TrainResult:
    """Trains a policy.

    Args:
        way: what is learned from, and how.
        settings: of the run.
        batch: the patients, of validations too; by default scripted ones, with the shipped sensor and the settings'
            rubric. A batch that is given brings its own rubric.

    Raises:
        ConfigError: settings do not fit one another, the model, or the run that is resumed; or what is named cannot be
            learned from.
        ModelError: the model cannot be loaded, or its chat template does not suit sessions of many turns.
        PersonaError: a persona or split is unknown.
        TrainingError: the run cannot go on, or SIGTERM ended it; its folder holds what it has learnt.
    """
    began, folder = time.perf_counter(), Path(settings.out)
    with ExitStack() as held:
        held.enter_context(warnings.catch_warnings())
        quieten()
        join_processes(settings)
        arguments = way.arguments(settings)
        check_devices(arguments.world_size)
        patients = batch or open_patients(settings)
        checkpoint = open_once(settings, held)
        by_one(lambda: keep_rubric(folder, patients.rubric, resumed=checkpoint is not None))

        way.keep(settings, patients)
        model, tokenizer = load_policy(settings)
        ends = set_ends(model, tokenizer, settings)
        metrics, check = MetricsFile(folder), way.check(settings, patients, tokenizer)
        terminated = held.enter_context(Terminated())
        trainer = _open_trainer(
            way,
            settings,
            model=model,
            args=arguments,
            processing_class=tokenizer,
            peft_config=lora_config(model, settings),
            train_dataset=way.practice(settings, tokenizer, arguments.world_size),
            eval_dataset=way.dev(settings, tokenizer),
            callbacks=[check, metrics, ProgressLog(), CardWriter(settings), terminated, *trackers(settings)],
        )
        trainer.model.generation_config.eos_token_id = ends  # TRL adds the tokenizer's, be it right or wrong
        check.trainer = trainer
        trainer.remove_callback(PrinterCallback)

        with told(settings.out, trainer):
            if checkpoint and checkpoint_step(checkpoint) >= settings.max_steps:
                trainer.take_over(checkpoint)  # killed before its policy was written
            else:
                _train(trainer, checkpoint, settings, terminated)
            steps = trainer.state.global_step
            trainer.keep_policy(
                folder / "policy", lambda place: write_card(place, settings, read_rows(metrics.path), steps)
            )
    return TrainResult(folder / "policy", folder, steps, time.perf_counter() - began, metrics.last)


def _open_trainer(way: Way[S], settings: S, **wanted: Any) -> Any:
    """The trainer.

    Raises:
        ConfigError: TRL refuses the model or the settings, or the weights would be shared out.
    """
    try:
        trainer = way.trainer(**wanted)
    except ValueError as error:
        raise ConfigError(f"TRL refuses the settings: {error}") from error
    if shares_weights_out(trainer.accelerator) or trainer.accelerator.state.deepspeed_plugin is not None:
        name = settings.training.upper()
        raise ConfigError(f"{name} has not been tried with FSDP or DeepSpeed; start it with neither, one process a GPU")
    return trainer


def _train(trainer: Any, checkpoint: str | None, settings: RunSettings, terminated: Terminated) -> None:
    try:
        trainer.train(resume_from_checkpoint=checkpoint)
    except TryAgain as error:  # the same rows would give the same gradient
        raise TrainingError(
            f"run {settings.out} stopped after {trainer.state.global_step} updates: {error}; begin again with a "
            "smaller lr, or go on from the newest checkpoint with --resume"
        ) from error
    steps = trainer.state.global_step
    if terminated.stopped:
        raise TrainingError(f"run {settings.out} was stopped by SIGTERM after {steps} updates; go on with --resume")


def open_patients(settings: RunSettings) -> SessionBatch:
    """Scripted patients, with the shipped sensor and the settings' rubric."""
    threads = settings.sensor_threads or max(2, min(8, cores()))
    sensor = EmotionSensor(settings=SensorSettings(threads=threads))
    return SessionBatch(SessionConfig(max_turns=settings.max_turns), sensor=sensor, rubric=settings.rubric)


def shared_arguments(settings: Any) -> Mapping[str, Any]:
    """What SFT and DPO tell TRL alike."""
    return {
        "output_dir": str(Path(settings.out) / "checkpoints"),
        "seed": settings.seed,
        "max_steps": settings.max_steps,
        "per_device_train_batch_size": settings.batch_size,
        "per_device_eval_batch_size": settings.batch_size,
        "gradient_accumulation_steps": settings.accumulation,
        "learning_rate": settings.lr,
        # Afterwards constant: a run can be prolonged without becoming another run.
        "lr_scheduler_type": "constant_with_warmup" if settings.warmup else "constant",
        "warmup_steps": settings.warmup,
        "max_grad_norm": settings.max_grad_norm,
        "max_length": None,  # rows are made short enough, or left out: none is cut
        "bf16": precision(settings) == "bfloat16",
        "use_cpu": not torch.accelerator.is_available(),  # left to itself, transformers refuses bfloat16 on a CPU
        "gradient_checkpointing": settings.gradient_checkpointing,
        "ddp_timeout": math.ceil(settings.process_timeout_s),
        "ddp_find_unused_parameters": False,  # every weight of the adapter is used in every pass
        "dataloader_pin_memory": torch.cuda.is_available(),
        "logging_steps": 1,
        "save_steps": settings.save_steps,
        "save_total_limit": 2,
        "logging_nan_inf_filter": False,  # a loss that is no number is to be seen
        "report_to": [],  # tracking.py has the trackers
        "disable_tqdm": True,  # ProgressLog shows one
    }
