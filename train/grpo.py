"""Group Relative Policy Optimization of a therapist against simulated patients.

Read ``train`` from top to bottom: that is the whole run. What a session is stands in ``rollout.py``, what a token is
credited with in ``advantages.py``, what is written down in ``record.py``. TRL does the rest.

Source: Shao et al. 2024, DeepSeekMath (GRPO); https://huggingface.co/docs/trl (GRPOTrainer).
"""

import math
import time
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list, gather_object
from datasets import Dataset
from transformers import PrinterCallback
from trl import GRPOConfig, GRPOTrainer

from therapysim.envs.batch import SessionBatch, SessionConfig
from therapysim.errors import ConfigError
from therapysim.files import write_json
from therapysim.personas.load import training_ids
from therapysim.personas.vary import MARK
from therapysim.train.advantages import by_trajectory, by_turn, mixed, spread_over_tokens
from therapysim.train.config import GRPOSettings
from therapysim.train.model import load_policy, lora_config, precision, save_policy
from therapysim.train.record import MetricsFile, PolicySample, Progress, open_run
from therapysim.train.rollout import Episode, Rollout, session_return

__all__ = ["SessionGRPOTrainer", "TrainResult", "group_rows", "train"]


@dataclass(frozen=True)
class TrainResult:
    """What came of a run.

    Attributes:
        policy: folder of the trained adapter; ``therapysim.checkpoint.load`` reads it.
        out: folder of the run, with ``metrics.jsonl`` and ``completions.jsonl``.
        steps: updates made in all, those before a resume included.
        seconds: how long this call took.
        metrics: the newest value of every metric.
    """

    policy: Path
    out: Path
    steps: int
    seconds: float
    metrics: dict[str, Any]


def train(settings: GRPOSettings, batch: SessionBatch | None = None) -> TrainResult:
    """Trains a policy.

    Args:
        settings: of the run.
        batch: the patients to practise on; by default scripted ones, with the shipped sensor and the settings'
            rubric. A batch that is given brings its own rubric.

    Raises:
        ConfigError: settings do not fit one another, the model, or the run that is resumed.
        ModelError: the model cannot be loaded, or its chat template rewrites earlier turns.
        PersonaError: a persona or split is unknown.
    """
    began, folder = time.perf_counter(), Path(settings.out)
    with warnings.catch_warnings():
        _quieten()
        arguments = trl_arguments(settings)
        checkpoint = _open_once(settings)

        model, tokenizer = load_policy(settings)
        patients = batch or SessionBatch(SessionConfig(max_turns=settings.max_turns), rubric=settings.rubric)
        if PartialState().is_main_process:
            write_json(folder / "rubric.json", asdict(patients.rubric.settings))
        rollout = Rollout(settings, patients, tokenizer)
        metrics, sample = MetricsFile(folder), PolicySample(settings, rollout)

        trainer = SessionGRPOTrainer(
            model=model,
            args=arguments,
            processing_class=tokenizer,
            peft_config=lora_config(model, settings),
            rollout_func=rollout,
            reward_funcs=session_return,
            train_dataset=Dataset.from_list(group_rows(settings, arguments.world_size)),
            callbacks=[sample, metrics, Progress()],
        )
        trainer.settings = settings
        sample.trainer = trainer
        trainer.remove_callback(PrinterCallback)

        trainer.train(resume_from_checkpoint=checkpoint)

        if trainer.accelerator.is_main_process:
            save_policy(trainer.accelerator.unwrap_model(trainer.model), tokenizer, folder / "policy")
    seconds = time.perf_counter() - began
    return TrainResult(folder / "policy", folder, trainer.state.global_step, seconds, metrics.last)


class SessionGRPOTrainer(GRPOTrainer):
    """TRL's trainer, with the rows handed to the rollout and the credit of ``advantages.py``."""

    settings: GRPOSettings
    rows: list[dict[str, Any]]
    _token_logps: torch.Tensor

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        self.rows = inputs  # rollout_func is given the prompts alone
        batch = super()._generate_and_score_completions(inputs)
        credit = self._credit([row["episode"] for row in inputs], batch["completion_ids"].size(1))
        batch["advantages"] = torch.as_tensor(credit, dtype=torch.float32, device=batch["advantages"].device)
        return batch

    def _credit(self, episodes: list[Episode], width: int) -> np.ndarray[Any, Any]:
        """This process's advantages: (B,) by trajectory, else (B, width). A group may sit on several processes."""
        mine = self.accelerator.process_index * len(episodes)
        everyone = gather_object([(e.turn_rewards, e.failed) for e in episodes])
        rewards, failed = [r for r, _ in everyone], [f for _, f in everyone]
        if self.settings.advantage == "trajectory":
            return by_trajectory(rewards, failed, self.num_generations)[mine : mine + len(episodes)]
        table = (
            by_turn(rewards, failed, self.num_generations)
            if self.settings.advantage == "turn"
            else mixed(rewards, failed, self.num_generations, self.settings.turn_weight)
        )
        return spread_over_tokens(table[mine : mine + len(episodes)], [e.turn_ids for e in episodes], width)

    def _get_per_token_logps_and_entropies(self, *args: Any, **kwargs: Any) -> Any:
        result = super()._get_per_token_logps_and_entropies(*args, **kwargs)
        self._token_logps = result[0].detach()
        return result

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> torch.Tensor:
        loss: torch.Tensor = super()._compute_loss(model, inputs)
        old = inputs.get("old_per_token_logps", self._token_logps)  # absent where policy and sampler are the same
        ratio = (self._token_logps - old).exp()[(inputs["completion_mask"] * inputs["tool_mask"]).bool()]
        if ratio.numel():  # TRL logs how often the ratio is clipped, not the ratio
            self._metrics["train"]["ratio/mean"].append(ratio.mean().item())
            self._metrics["train"]["ratio/max"].append(ratio.max().item())
        return loss

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """None: a card that TRL fills in knows nothing of what this policy is, and is not, for."""

    def _send_telemetry(self) -> None:
        """None: a run tells nobody."""


def _quieten() -> None:
    """Drops two warnings that whoever trains can do nothing about."""
    # rollout.py is the one place to mend if rollout_func changes, and trl is pinned.
    warnings.filterwarnings("ignore", message=".*rollout_func.*experimental")
    # TRL uses a name that transformers is replacing.
    warnings.filterwarnings("ignore", message=".*gradient_checkpointing.*deprecated", category=FutureWarning)


def _open_once(settings: GRPOSettings) -> str | None:
    """The run's folder is opened by one process, and the others are told the checkpoint."""
    checkpoint = [open_run(settings) if PartialState().is_main_process else None]
    broadcast_object_list(checkpoint)
    return checkpoint[0]


def trl_arguments(settings: GRPOSettings) -> GRPOConfig:
    """The settings in TRL's words.

    Raises:
        ConfigError: TRL refuses them, for instance since the number of processes does not divide a generation.
    """
    try:
        return _trl_arguments(settings)
    except ValueError as error:
        raise ConfigError(f"TRL refuses the settings: {error}") from error


def _trl_arguments(settings: GRPOSettings) -> GRPOConfig:
    turn_limit = "max_tokens" if settings.use_vllm else "max_new_tokens"
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
        generation_kwargs={turn_limit: settings.max_turn_tokens},
        bf16=precision(settings) == "bfloat16",
        use_cpu=not torch.accelerator.is_available(),  # left to itself, transformers refuses bfloat16 on a CPU
        gradient_checkpointing=settings.gradient_checkpointing,
        use_vllm=settings.use_vllm,
        vllm_mode=settings.vllm_mode,
        vllm_server_base_url=settings.vllm_server_url or None,
        vllm_gpu_memory_utilization=settings.vllm_gpu_memory,
        vllm_max_model_length=settings.max_prompt_tokens + settings.max_completion_tokens,
        # By sequence, the ratio of a dialogue is a product over hundreds of tokens: near 0, and its gradient with it.
        vllm_importance_sampling_mode="token_truncate",
        shuffle_dataset=False,  # group_rows shuffles, so that a row depends on its number alone
        dataloader_pin_memory=torch.cuda.is_available(),
        logging_steps=1,
        save_steps=settings.save_steps,
        save_total_limit=2,
        report_to=["wandb"] if settings.wandb else [],
        disable_tqdm=True,  # record.Progress shows one
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
        rows.append({"prompt": "", "seed": seed, "persona": f"{who}{MARK}{seed}" if settings.vary else who})
    return rows
