"""Group Relative Policy Optimization of a therapist against simulated patients.

Read ``train`` from top to bottom: that is the whole run. What a session is stands in ``rollout.py``, what a token is
credited with in ``advantages.py``, how TRL is bent to it in ``trainer.py``, what is written down in ``record.py``.

Source: Shao et al. 2024, DeepSeekMath (GRPO); https://huggingface.co/docs/trl (GRPOTrainer).
"""

import math
import time
import warnings
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from transformers import PrinterCallback
from trl import GRPOConfig

from therapysim.envs.batch import SessionBatch, SessionConfig
from therapysim.errors import ConfigError
from therapysim.personas.load import training_ids
from therapysim.personas.opening import describe_patient, open_patient
from therapysim.personas.vary import MARK
from therapysim.rewards.reading.emotions import EmotionSensor, SensorSettings
from therapysim.rewards.rubric import Rubric
from therapysim.rewards.rubric_by_name import open_rubric
from therapysim.train.grpo.failsafe import run_to_end
from therapysim.train.grpo.grpo_settings import GRPOSettings
from therapysim.train.grpo.limit import TimeLimit
from therapysim.train.grpo.rollout import Rollout
from therapysim.train.grpo.sampler import Engine
from therapysim.train.grpo.served import Server
from therapysim.train.grpo.trainer import SessionGRPOTrainer, check_shards
from therapysim.train.grpo.trajectory import session_return
from therapysim.train.grpo.validate import Validation
from therapysim.train.patient_processes import Office, Patients
from therapysim.train.runs.alarms import Alarms
from therapysim.train.runs.checkpoints import checkpoint_step
from therapysim.train.runs.ending import Terminated, told
from therapysim.train.runs.kept_rubric import keep_rubric
from therapysim.train.runs.model import load_policy, lora_config, precision, set_ends
from therapysim.train.runs.policy_card import CardWriter, write_card
from therapysim.train.runs.rows import read_rows
from therapysim.train.runs.run_folder import MetricsFile, ProgressLog, Transcripts
from therapysim.train.runs.start_up import TrainResult, by_one, check_devices, cores, join_processes, open_once, quieten
from therapysim.train.runs.tracking import trackers

__all__ = ["SessionGRPOTrainer", "TrainResult", "group_rows", "train"]


def train(settings: GRPOSettings, batch: SessionBatch | None = None) -> TrainResult:
    """Trains a policy.

    Args:
        settings: of the run.
        batch: the patients to practise on; by default scripted ones, with the shipped sensor and the settings'
            rubric. A batch that is given brings its own rubric.

    Raises:
        ConfigError: settings do not fit one another, the model, or the run that is resumed.
        ModelError: the model cannot be loaded, or its chat template does not suit sessions of many turns.
        PersonaError: a persona or split is unknown.
        TrainingError: the run cannot go on, or SIGTERM ended it; its folder holds what it has learnt.
    """
    began, folder = time.perf_counter(), Path(settings.out)
    with ExitStack() as held:
        held.enter_context(warnings.catch_warnings())
        quieten()
        join_processes(settings)
        arguments = trl_arguments(settings)
        check_devices(arguments.world_size)
        # A wrong name is told before a model is loaded.
        describe_patient(settings.patient)
        rubric = batch.rubric if batch else open_rubric(settings.rubric)
        checkpoint = open_once(settings, held)
        by_one(lambda: keep_rubric(folder, rubric, resumed=checkpoint is not None))

        model, tokenizer = load_policy(settings)
        ends = set_ends(model, tokenizer, settings)
        stop_at(ends, arguments)
        patients = batch or open_patients(settings, rubric)
        rollout = Rollout(settings, patients, tokenizer, Transcripts(settings))
        metrics, validation = MetricsFile(folder), Validation(settings, rollout)
        # In this order: what validations and alarms add to a row is then logged everywhere.
        callbacks = [validation, Alarms(settings), metrics, ProgressLog(), TimeLimit(settings), CardWriter(settings)]
        terminated = held.enter_context(Terminated())
        callbacks += [terminated, *trackers(settings)]

        trainer = SessionGRPOTrainer(
            model=model,
            args=arguments,
            processing_class=tokenizer,
            peft_config=lora_config(model, settings),
            rollout_func=rollout,
            reward_funcs=session_return,
            train_dataset=Dataset.from_list(group_rows(settings, arguments.world_size)),
            callbacks=callbacks,
        )
        trainer.settings, trainer.eos_token_ids = settings, ends
        check_shards(settings, trainer.accelerator)
        validation.trainer = trainer
        trainer.remove_callback(PrinterCallback)

        steps = checkpoint_step(checkpoint)
        with told(settings.out, trainer):
            if checkpoint and (steps >= settings.max_steps or validation.stopped_early):
                trainer.take_over(checkpoint)  # killed before its policy was written
            else:
                _train(trainer, rollout, checkpoint, terminated, own=batch is None)
            steps = trainer.state.global_step
            trainer.keep_policy(
                folder / "policy", lambda place: write_card(place, settings, read_rows(metrics.path), steps)
            )
    seconds = time.perf_counter() - began
    return TrainResult(folder / "policy", folder, trainer.state.global_step, seconds, metrics.last)


def _train(
    trainer: SessionGRPOTrainer, rollout: Rollout, checkpoint: str | None, terminated: Terminated, *, own: bool
) -> None:
    """All updates, with an engine and processes of patients where the settings want them; none of these is left."""
    settings = trainer.settings
    try:
        colocated = _open_engine(settings, trainer) if settings.vllm == "colocate" else None
        rollout.engine = Server(settings, trainer.eos_token_ids) if settings.vllm == "server" else colocated
        if settings.samples_with_vllm and own:
            rollout.patients = open_processes(settings, rollout.batch)
        if colocated:
            trainer.attach(colocated)
        if trainer.accelerator.num_processes == 1:
            rollout.terminated, terminated.tell = terminated, rollout.stop_waiting
        run_to_end(trainer, checkpoint, terminated)
    finally:
        rollout.close()


def _open_engine(settings: GRPOSettings, trainer: SessionGRPOTrainer) -> Engine:
    """The engine of this process, with room for all the sessions that it may play at once."""
    processes, process = trainer.accelerator.num_processes, trainer.accelerator.process_index
    sessions = max(-(-settings.generation_sessions // processes), settings.validate_sessions)
    model = trainer.accelerator.unwrap_model(trainer.model)
    return Engine(model, settings, trainer.eos_token_ids, sessions, processes, process)


def open_processes(settings: GRPOSettings, patients: SessionBatch) -> Patients | None:
    """Scripted patients go beside the engine into processes; a model as the patient stays in this one."""
    if settings.patient != "scripted":
        return None
    count = settings.patient_processes or max(1, min(4, cores() // 3))
    return Patients(Office(patients.config, patients.rubric), count, settings.patient_timeout_s)


def trl_arguments(settings: GRPOSettings) -> GRPOConfig:
    """The settings in TRL's words.

    Raises:
        ConfigError: TRL refuses them, for instance since the number of processes does not divide a generation.
    """
    try:
        arguments = _trl_arguments(settings)
    except ValueError as error:
        raise ConfigError(f"TRL refuses the settings: {error}") from error
    _check_passes(settings, arguments)
    return arguments


def stop_at(ends: list[int], arguments: GRPOConfig) -> None:
    """Lets Hugging Face's ``generate`` end a turn at these tokens, whatever else ends one there."""
    arguments.generation_kwargs = {**(arguments.generation_kwargs or {}), "eos_token_id": ends}


def _check_passes(settings: GRPOSettings, arguments: GRPOConfig) -> None:
    """As the settings' own rule on batches, with as many processes as there are."""
    passes, accumulation = arguments.steps_per_generation, settings.accumulation
    if passes % accumulation and accumulation % passes:
        raise ConfigError(
            f"accumulation is {accumulation}, but {arguments.world_size} processes go through a generation of "
            f"{settings.generation_sessions} sessions in {passes} passes of batch_size {settings.batch_size}; "
            "expected one of the two numbers to divide the other, so that no update straddles two generations"
        )


def _trl_arguments(settings: GRPOSettings) -> GRPOConfig:
    served = settings.vllm == "server"  # for the weights; turns are ours to ask for, as an engine is: served.py
    return GRPOConfig(
        output_dir=str(Path(settings.out) / "checkpoints"),
        seed=settings.seed,
        max_steps=settings.max_steps,
        num_generations=settings.generations,
        generation_batch_size=settings.generation_sessions,
        per_device_train_batch_size=settings.batch_size,
        gradient_accumulation_steps=settings.accumulation,
        learning_rate=settings.lr,
        lr_scheduler_type="constant",  # a run can be prolonged without becoming another run
        beta=settings.beta,
        loss_type=settings.loss_type,
        temperature=settings.temperature,
        top_p=settings.top_p,
        max_completion_length=settings.max_completion_tokens,
        generation_kwargs={"max_new_tokens": settings.max_turn_tokens},
        epsilon=settings.clip,
        epsilon_high=settings.clip_high or None,
        max_grad_norm=settings.max_grad_norm,
        bf16=precision(settings) == "bfloat16",
        use_cpu=not torch.accelerator.is_available(),  # left to itself, transformers refuses bfloat16 on a CPU
        gradient_checkpointing=settings.gradient_checkpointing,
        ddp_timeout=math.ceil(settings.process_timeout_s),
        ddp_find_unused_parameters=False,  # every weight of the adapter is used in every pass
        use_vllm=served,
        vllm_mode="server",
        vllm_server_base_url=settings.vllm_server_url or None,
        # By sequence, the ratio of a dialogue is a product over hundreds of tokens: near 0, and its gradient with it.
        vllm_importance_sampling_correction=settings.importance != "off",
        vllm_importance_sampling_mode="token_truncate" if settings.importance == "off" else settings.importance,
        vllm_importance_sampling_clip_max=settings.importance_max,
        shuffle_dataset=False,  # group_rows shuffles, so that a row depends on its number alone
        dataloader_pin_memory=torch.cuda.is_available(),
        logging_steps=1,
        save_steps=settings.save_steps,
        save_total_limit=2,
        logging_nan_inf_filter=False,  # a loss that is no number is to be seen
        use_bias_correction_kl=True,  # the KL term is weighed by the ratio, which makes its gradient unbiased
        report_to=[],  # tracking.py has the trackers
        disable_tqdm=True,  # record.ProgressLog shows one
    )


def open_patients(settings: GRPOSettings, rubric: Rubric | None = None) -> SessionBatch:
    """The environment to train in: the settings' patient, the shipped sensor, and the settings' rubric or another."""
    threads = settings.sensor_threads or max(2, min(8, cores()))
    sensor = EmotionSensor(settings=SensorSettings(threads=threads))
    return SessionBatch(
        SessionConfig(max_turns=settings.max_turns),
        sensor=sensor,
        patient=open_patient(settings.patient, sensor.affect, api_key_env=settings.patient_key_env or None),
        rubric=rubric or settings.rubric,
    )


def group_rows(settings: GRPOSettings, processes: int = 1) -> list[dict[str, Any]]:
    """One row a group, as many as the run needs: a seed of its own, and the personas in turn, shuffled each time round.

    Row i depends on the run's seed and on i alone, so that a longer run begins like a shorter one.
    """
    ids = training_ids(settings.split, settings.personas)
    sessions = settings.max_steps * settings.batch_size * settings.accumulation * processes
    rows = []
    for i in range(settings.groups * math.ceil(sessions / settings.generation_sessions)):
        own, turn = np.random.SeedSequence(settings.seed, spawn_key=(0, i)), i // len(ids)
        order = np.random.default_rng(np.random.SeedSequence(settings.seed, spawn_key=(1, turn))).permutation(len(ids))
        seed, who = int(own.generate_state(1)[0]), ids[order[i % len(ids)]]
        rows.append({"prompt": "", "row": i, "seed": seed, "persona": f"{who}{MARK}{seed}" if settings.vary else who})
    return rows
