"""TRL's GRPO trainer with what sessions of many turns need, and nothing else."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list, gather_object
from trl import GRPOTrainer

from therapysim.errors import ConfigError
from therapysim.train.grpo.advantages import by_trajectory, by_turn, mixed, spread_over_tokens, within_groups
from therapysim.train.grpo.grpo_settings import GRPOSettings
from therapysim.train.grpo.sampler import Engine
from therapysim.train.grpo.trajectory import Trajectory
from therapysim.train.runs.checkpoints import fault_of
from therapysim.train.runs.safe_trainer import SafeTrainer, remove, shares_weights_out

__all__ = ["SessionGRPOTrainer", "check_shards"]


#: The state of each generator of random numbers.
Chance = tuple[Any, ...]


class SessionGRPOTrainer(SafeTrainer, GRPOTrainer):
    """TRL's trainer, with the rows handed to the rollout and the credit of ``advantages.py``."""

    settings: GRPOSettings
    rows: list[dict[str, Any]]
    _token_logps: torch.Tensor
    _last_loaded_step: int
    _chance: Chance | None = None
    _start: Chance | None = None

    def attach(self, engine: Engine) -> None:
        """Samples with this engine from now on: TRL brings it up to date, and corrects for its probabilities."""
        self.use_vllm, self.vllm_generation, self._last_loaded_step = True, engine, -1

    def sync_engine(self) -> None:
        """Gives engine or server the weights as they stand, once an update, in all processes together."""
        if self._last_loaded_step != self.state.global_step:
            self.vllm_generation.sync_weights()
            self._last_loaded_step = self.state.global_step
            self.accelerator.wait_for_everyone()  # one process gives them to a server, and all ask it for turns

    @property
    def updates_per_generation(self) -> int:
        """Updates that one generation serves, over all processes, at least 1."""
        return max(1, self.args.steps_per_generation // self.args.gradient_accumulation_steps)

    def remember_start(self) -> None:
        """Keeps the generators as they stand before the first update."""
        self._start = chance()

    def save_now(self) -> None:
        """A checkpoint of the last update, unless there is a sound one, as if no later session had been begun."""
        place = Path(self.args.output_dir) / f"checkpoint-{self.state.global_step}"
        fault = [fault_of(place) if self.accelerator.is_main_process else ""]
        broadcast_object_list(fault)
        if fault[0]:
            if self.accelerator.is_main_process:
                remove(place)
            if self._chance is not None:
                set_chance(self._chance)
            self._save_checkpoint(self.model, trial=None)

    def begin_again(self, *, from_start: bool) -> None:
        """Forgets the sessions and the gradient under way, so that ``train`` plays them anew."""
        self.model.zero_grad()
        self._step, self._buffered_inputs, self._last_loaded_step = 0, None, -1
        self._metrics["train"].clear()
        if from_start and self._start is not None:  # a checkpoint holds them otherwise
            set_chance(self._start)
        self.rollout_func.begin_again()

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        self.rows = inputs  # rollout_func is given the prompts alone
        if self.use_vllm:  # before TRL would: no process asks a server for turns while another sends it weights
            self.sync_engine()
        if self._step % self.args.gradient_accumulation_steps == 0:  # where an update begins
            self._chance = chance()
        batch = super()._generate_and_score_completions(inputs)
        credit = self._credit([row["episode"] for row in inputs], batch["completion_ids"].size(1))
        batch["advantages"] = torch.as_tensor(credit, dtype=torch.float32, device=batch["advantages"].device)
        return batch

    def _credit(self, episodes: list[Trajectory], width: int) -> np.ndarray[Any, Any]:
        """This process's advantages: (B,) by trajectory, else (B, width). A group may sit on several processes."""
        mine = self.accelerator.process_index * len(episodes)
        everyone = gather_object([(e.own_rewards, e.failed) for e in episodes])
        rewards, failed = [r for r, _ in everyone], [f for _, f in everyone]
        self._metrics["train"]["reward/group_std"].append(within_groups(rewards, failed, self.num_generations))
        scale = self.settings.scale_rewards
        if self.settings.advantage == "trajectory":
            return by_trajectory(rewards, failed, self.num_generations, scale)[mine : mine + len(episodes)]
        table = (
            by_turn(rewards, failed, self.num_generations, scale)
            if self.settings.advantage == "turn"
            else mixed(rewards, failed, self.num_generations, self.settings.turn_weight, scale)
        )
        return spread_over_tokens(table[mine : mine + len(episodes)], [e.turn_ids for e in episodes], width)

    def _get_per_token_logps_and_entropies(
        self, model: Any, input_ids: Any, attention_mask: Any, logits_to_keep: int, *args: Any, **kwargs: Any
    ) -> Any:
        """As TRL's, with the padding moved to the right.

        TRL pads prompts on the left, which puts them at positions that they were not sampled at, and gives attention
        rows without a single key, whose gradient in bfloat16 is NaN with some kernels.
        """
        pads = attention_mask.argmax(dim=1, keepdim=True)
        width, most = input_ids.size(1), int(pads.max())
        shifted = (torch.arange(width, device=pads.device) + pads) % width
        logps, entropies, *rest = super()._get_per_token_logps_and_entropies(
            model,
            input_ids.gather(1, shifted),
            attention_mask.gather(1, shifted),
            logits_to_keep + most,
            *args,
            **kwargs,
        )
        back = torch.arange(logits_to_keep, device=pads.device) + (most - pads)
        logps = logps.gather(1, back)
        self._token_logps = logps.detach()
        return (logps, None if entropies is None else entropies.gather(1, back), *rest)

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        """Adds the most memory that the GPU has held so far, the engine's share included, in GiB."""
        if torch.cuda.is_available() and "loss" in logs:
            logs = logs | {"memory/peak_gib": torch.cuda.max_memory_allocated() / 2**30}
        super().log(logs, *args, **kwargs)

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> torch.Tensor:
        loss: torch.Tensor = super()._compute_loss(model, inputs)
        old = inputs.get("old_per_token_logps", self._token_logps)  # absent where policy and sampler are the same
        ratio = (self._token_logps - old).exp()[(inputs["completion_mask"] * inputs["tool_mask"]).bool()]
        self._log_ratio(ratio)
        return loss

    def _log_ratio(self, ratio: torch.Tensor) -> None:
        """Over all processes; TRL logs how often the ratio is clipped, not the ratio."""
        most = ratio.max() if ratio.numel() else ratio.sum()
        here = torch.stack([ratio.sum(), ratio.new_tensor(ratio.numel()), most])
        total, count, largest = self.accelerator.gather(here[None]).T
        if count.sum():
            self._metrics["train"]["ratio/mean"].append((total.sum() / count.sum()).item())
            self._metrics["train"]["ratio/max"].append(largest.max().item())


def chance() -> Chance:
    """All generators' states: Python's, NumPy's, PyTorch's, those of its devices."""
    return random.getstate(), np.random.get_state(), torch.get_rng_state(), torch.cuda.get_rng_state_all()


def set_chance(state: Chance) -> None:
    """Sets the generators back."""
    random.setstate(state[0])
    np.random.set_state(state[1])
    torch.set_rng_state(state[2])
    torch.cuda.set_rng_state_all(state[3])


def check_shards(settings: GRPOSettings, accelerator: Accelerator) -> None:
    """What a process would do with its share of the weights as if it were the whole.

    Raises:
        ConfigError: the weights are shared out, and the settings want what needs them whole.
    """
    plugin = accelerator.state.deepspeed_plugin
    if plugin is not None and plugin.zero_stage == 3:
        raise ConfigError("DeepSpeed's ZeRO stage is 3, expected at most 2, since stage 3 has not been tried; use FSDP")
    if not shares_weights_out(accelerator):
        return
    if settings.validate_every:
        raise ConfigError(
            f"validate_every is {settings.validate_every}, expected 0 with FSDP: best/ would hold one process's share "
            "of the weights; validate the checkpoints by `therapysim bench`"
        )
    if settings.vllm == "colocate":
        raise ConfigError("vllm is 'colocate', expected server with FSDP: each engine needs all of the weights")
