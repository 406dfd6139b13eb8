"""Direct preference optimisation of a therapist on pairs of answers, through TRL.

Read ``train`` from top to bottom: that is the whole run. How pairs are read stands in ``pairs.py``, how one becomes
tokens in ``pair_tokens.py``, what a run keeps of both in ``data.py``, how β is suggested in ``beta.py``.

Source: Rafailov et al. 2023, "Direct Preference Optimization: Your Language Model is Secretly a Reward Model";
https://huggingface.co/docs/trl (DPOTrainer).
"""

import math
import time
import warnings
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from transformers import PrinterCallback
from trl import DPOConfig, DPOTrainer

from therapysim.envs.batch import SessionBatch, SessionConfig
from therapysim.errors import ConfigError, TrainingError
from therapysim.files import write_json
from therapysim.rewards.reading.emotions import EmotionSensor, SensorSettings
from therapysim.train.dpo.data import dev_set, keep_pairs, practice_set
from therapysim.train.dpo.dpo_settings import AUTO, DPOSettings, require_pairs
from therapysim.train.dpo.validate import PairCheck
from therapysim.train.grpo.failsafe import Terminated, told
from therapysim.train.runs.checkpoints import checkpoint_step
from therapysim.train.runs.model import load_policy, lora_config, precision, set_ends
from therapysim.train.runs.policy_card import CardWriter, write_card
from therapysim.train.runs.rows import read_rows
from therapysim.train.runs.run_folder import MetricsFile, ProgressLog
from therapysim.train.runs.safe_trainer import SafeTrainer, TryAgain, shares_weights_out
from therapysim.train.runs.start_up import TrainResult, check_devices, cores, join_processes, open_once, quieten
from therapysim.train.runs.tracking import trackers

__all__ = ["PairDPOTrainer", "train"]

# Of what TRL measures of the pairs that are kept apart, the names in a validation.
_RANKED = {"rewards/accuracies": "accuracy", "rewards/margins": "margin"}


class PairDPOTrainer(SafeTrainer, DPOTrainer):
    """TRL's trainer, fail-safe, on pairs that are tokens already.

    The reference is the policy as it was loaded: its base where the adapter is new, else TRL's copy of the adapter.
    """

    @property
    def _total_train_tokens(self) -> int:
        """Tokens read in training, which TRL forgets where a run is resumed; the trainer's state is saved with it."""
        return int(self.state.num_input_tokens_seen)

    @_total_train_tokens.setter
    def _total_train_tokens(self, count: int) -> None:
        self.state.num_input_tokens_seen = count

    def _prepare_dataset(self, dataset: Any, *_: Any) -> Any:
        """As it is: TRL would tokenise prompt and answers in a way of its own."""
        return dataset

    def dev_ranking(self) -> dict[str, float]:
        """Loss, accuracy and margin on the pairs kept apart, means over batches; nothing where there are none."""
        if self.eval_dataset is None:
            return {}
        loader = self.get_eval_dataloader()
        output = self.evaluation_loop(loader, "dev", prediction_loss_only=True, metric_key_prefix="dev")
        held = self._metrics["eval"]
        found = {short: sum(held[name]) / len(held[name]) for name, short in _RANKED.items()}
        held.clear()
        return {"loss": float(output.metrics["dev_loss"]), **found}


def train(settings: DPOSettings, batch: SessionBatch | None = None) -> TrainResult:
    """Trains a policy to prefer the chosen answer of each pair to the rejected one.

    Args:
        settings: of the run.
        batch: the patients that the policy plays with in validations; by default scripted ones, with the shipped
            sensor and the rubric ``grpo``.

    Raises:
        ConfigError: settings do not fit one another, the model, or the run that is resumed; or a line of the files is
            no pair to learn from.
        ModelError: the model cannot be loaded, or its chat template does not suit sessions of many turns.
        PersonaError: a persona or split is unknown.
        TrainingError: the run cannot go on, or SIGTERM ended it; its folder holds what it has learnt.
    """
    require_pairs(settings)
    began, folder = time.perf_counter(), Path(settings.out)
    with ExitStack() as held:
        held.enter_context(warnings.catch_warnings())
        quieten()
        join_processes(settings)
        arguments = trl_arguments(settings)
        check_devices(arguments.world_size)
        checkpoint = open_once(settings, held)

        keep_pairs(settings)
        patients = batch or open_patients(settings)
        if PartialState().is_main_process:
            write_json(folder / "rubric.json", asdict(patients.rubric.settings))
        model, tokenizer = load_policy(settings)
        ends = set_ends(model, tokenizer, settings)
        metrics, check = MetricsFile(folder), PairCheck(settings, patients, tokenizer)
        callbacks = [check, metrics, ProgressLog(), CardWriter(settings)]
        terminated = held.enter_context(Terminated())
        callbacks += [terminated, *trackers(settings)]

        trainer = _open_trainer(
            model=model,
            args=arguments,
            processing_class=tokenizer,
            peft_config=lora_config(model, settings),
            train_dataset=practice_set(settings, tokenizer, arguments.world_size),
            eval_dataset=dev_set(settings, tokenizer),
            callbacks=callbacks,
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


def _open_trainer(**wanted: Any) -> PairDPOTrainer:
    """The trainer.

    Raises:
        ConfigError: TRL refuses the model or the settings, or the weights would be shared out.
    """
    try:
        trainer = PairDPOTrainer(**wanted)
    except ValueError as error:
        raise ConfigError(f"TRL refuses the settings: {error}") from error
    if shares_weights_out(trainer.accelerator) or trainer.accelerator.state.deepspeed_plugin is not None:
        raise ConfigError("DPO has not been tried with FSDP or DeepSpeed; start it with neither, one process a GPU")
    return trainer


def _train(trainer: PairDPOTrainer, checkpoint: str | None, settings: DPOSettings, terminated: Terminated) -> None:
    try:
        trainer.train(resume_from_checkpoint=checkpoint)
    except TryAgain as error:  # the same pairs would give the same gradient
        raise TrainingError(
            f"run {settings.out} stopped after {trainer.state.global_step} updates: {error}; begin again with a "
            "smaller lr, or go on from the newest checkpoint with --resume"
        ) from error
    steps = trainer.state.global_step
    if terminated.stopped:
        raise TrainingError(f"run {settings.out} was stopped by SIGTERM after {steps} updates; go on with --resume")


def open_patients(settings: DPOSettings) -> SessionBatch:
    """Scripted patients, with the shipped sensor and the rubric that GRPO learns from."""
    threads = settings.sensor_threads or max(2, min(8, cores()))
    sensor = EmotionSensor(settings=SensorSettings(threads=threads))
    return SessionBatch(SessionConfig(max_turns=settings.max_turns), sensor=sensor, rubric="grpo")


def trl_arguments(settings: DPOSettings) -> DPOConfig:
    """The settings in TRL's words."""
    losses = [settings.loss_type, *(["sft"] if settings.sft_weight else [])]
    return DPOConfig(
        output_dir=str(Path(settings.out) / "checkpoints"),
        seed=settings.seed,
        max_steps=settings.max_steps,
        per_device_train_batch_size=settings.batch_size,
        per_device_eval_batch_size=settings.batch_size,
        gradient_accumulation_steps=settings.accumulation,
        learning_rate=settings.lr,
        # Afterwards constant: a run can be prolonged without becoming another run.
        lr_scheduler_type="constant_with_warmup" if settings.warmup else "constant",
        warmup_steps=settings.warmup,
        max_grad_norm=settings.max_grad_norm,
        beta=0.1 if settings.beta == AUTO else float(settings.beta),  # auto is set once the start has played
        loss_type=losses,
        loss_weights=[1.0, settings.sft_weight] if settings.sft_weight else None,
        label_smoothing=settings.label_smoothing,
        disable_dropout=not settings.lora_dropout,
        max_length=None,  # pairs that are too long are left out, none is cut
        bf16=precision(settings) == "bfloat16",
        use_cpu=not torch.accelerator.is_available(),  # left to itself, transformers refuses bfloat16 on a CPU
        gradient_checkpointing=settings.gradient_checkpointing,
        ddp_timeout=math.ceil(settings.process_timeout_s),
        ddp_find_unused_parameters=False,  # every weight of the adapter is used in every pass
        dataloader_pin_memory=torch.cuda.is_available(),
        logging_steps=1,
        save_steps=settings.save_steps,
        save_total_limit=2,
        logging_nan_inf_filter=False,  # a loss that is no number is to be seen
        report_to=[],  # tracking.py has the trackers
        disable_tqdm=True,  # ProgressLog shows one
    )
