"""Validation of a copy: how well it foretells what others say to dev patients, and what it earns with them."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from therapysim.agents.bench.benchmark import play_policy
from therapysim.agents.bench.results import SessionResult
from therapysim.agents.statistics.intervals import mean_interval
from therapysim.agents.therapists.therapist import ChatTherapist
from therapysim.envs.batch import SessionBatch
from therapysim.models.chat import HuggingFaceChat, Sampling
from therapysim.train.runs.rows import append
from therapysim.train.runs.run_folder import announce
from therapysim.train.runs.starts import dev_starts
from therapysim.train.sft.sft_settings import SFTSettings

__all__ = ["Check", "scores"]

# As GRPO samples.
_TEMPERATURE, _TOP_P = 1.0, 1.0
# Shown beside the return, under these names as GRPO's validation has them.
_MEASURES = {
    "alliance": "alliance",
    "polarity_gain": "polarity",
    "safe": "safe",
    "ruptures": "ruptures",
    "turns": "turns",
}


class Check(TrainerCallback):
    """Before the first update, every ``validate_every`` and after the last: the loss on dev sessions, and dev sessions.

    Args:
        settings: the run's.
        batch: the patients.
        tokenizer: the policy's.
    """

    def __init__(self, settings: SFTSettings, batch: SessionBatch, tokenizer: Any) -> None:
        self.settings, self.batch, self.tokenizer = settings, batch, tokenizer
        self.starts = dev_starts(settings)
        self.trainer: Any = None  # set once there is one

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if self.settings.validate_every and state.global_step == 0:
            self.trainer.log(self._validate(state))

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        every, step = self.settings.validate_every, state.global_step
        if every and (step % every == 0 or step == state.max_steps):
            self.trainer.log(self._validate(state))

    def _validate(self, state: TrainerState) -> dict[str, float]:
        loss = float(self.trainer.dev_loss())
        if not state.is_world_process_zero:
            return {}
        results = self._play()
        sound = [result for result in results if not result.failed]
        found = {"loss": loss, "failed": 1 - len(sound) / len(results), **(scores(sound) if sound else {})}
        named = {f"validation/{name}": value for name, value in found.items()}
        head = {"step": state.global_step, "asked": len(results), "sessions": len(sound)}
        append(Path(self.settings.out) / "validation.jsonl", [head | named])
        announce(f"update {state.global_step}: validation return {found.get('return', math.nan):.2f}, loss {loss:.3f}")
        return named

    def _play(self) -> list[SessionResult]:
        """The policy's sessions; sampling leaves no trace in the run."""
        model = self.trainer.accelerator.unwrap_model(self.trainer.model)
        training, cached = model.training, model.config.use_cache
        sampling = Sampling(self.settings.max_turn_tokens, _TEMPERATURE, _TOP_P)
        try:
            model.eval()
            model.config.use_cache = True
            therapist = ChatTherapist(
                HuggingFaceChat.around(model, self.tokenizer, chat_template_kwargs=self.settings.chat_template_kwargs),
                sampling,
                show_state=self.settings.show_state,
            )
            with torch.random.fork_rng():
                return play_policy(self.batch, therapist, self.starts, "policy", "scripted")
        finally:
            model.train(training)
            model.config.use_cache = cached


def scores(results: Sequence[SessionResult]) -> dict[str, float]:
    """What became of sessions whose patient did not fail, at least one.

    return                        mean of the rewards' sum over sessions
    return_low, return_high       its 95 % interval for patients like these; left out where one patient is all
    alliance, polarity_gain, ...  means of the benchmark's measures
    """
    own = mean_interval([result["total"] for result in results], [result.persona for result in results])
    ends = {"return_low": own.low, "return_high": own.high} if math.isfinite(own.low) else {}
    means = {name: float(np.mean([r[measure] for r in results])) for name, measure in _MEASURES.items()}
    return {"return": own.mean, **ends, **means}
