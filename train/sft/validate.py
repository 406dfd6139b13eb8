"""Validation of a policy: how well it does on what is kept apart, and what it earns with dev patients."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
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
from therapysim.errors import ModelError
from therapysim.models.chat import HuggingFaceChat, Sampling
from therapysim.train.run_settings import RunSettings
from therapysim.train.runs.rows import append
from therapysim.train.runs.run_folder import announce
from therapysim.train.runs.starts import dev_starts

__all__ = ["MEASURES", "Check", "scores"]

# As GRPO samples.
_TEMPERATURE, _TOP_P = 1.0, 1.0
# Shown beside the return, under these names as GRPO's validation has them.
MEASURES: Mapping[str, str] = {
    "alliance": "alliance",
    "polarity_gain": "polarity",
    "safe": "safe",
    "ruptures": "ruptures",
    "turns": "turns",
}


class Check(TrainerCallback):
    """Before the first update, every ``validate_every`` and after the last: what is kept apart, and dev sessions.

    It leaves no trace in the run: with validation and without, it learns the same.

    Args:
        settings: the run's.
        batch: the patients.
        tokenizer: the policy's.
    """

    def __init__(self, settings: RunSettings, batch: SessionBatch, tokenizer: Any) -> None:
        self.settings, self.batch, self.tokenizer = settings, batch, tokenizer
        self.starts = dev_starts(settings)
        self.trainer: Any = None  # set once there is one
        #: Of the newest validation; of one process.
        self.results: Sequence[SessionResult] = []

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if self.settings.validate_every and state.global_step == 0:
            self.trainer.log(self._validate(state))

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        every, step = self.settings.validate_every, state.global_step
        if every and (step % every == 0 or step == state.max_steps):
            for name, value in self._validate(state).items():  # joins the row that is logged next
                self.trainer._metrics["train"][name].append(value)

    def _validate(self, state: TrainerState) -> dict[str, float]:
        """One validation, as it joins the metrics: the loss by all processes, the sessions by one of them."""
        model = self.trainer.accelerator.unwrap_model(self.trainer.model)
        with _set_aside(model):
            apart = self.kept_apart()
            results = self._play(model, state.global_step) if state.is_world_process_zero else []
        if not state.is_world_process_zero:
            return {}
        sound = [result for result in results if not result.failed]
        found = {"failed": 1 - len(sound) / len(self.starts), **(self.score(sound) if sound else {}), **apart}
        named = {f"validation/{name}": value for name, value in found.items()}
        self._write(state.global_step, results, {"sessions": len(sound), **named})
        announce(_line(state.global_step, found))
        self.results = results
        return named

    def kept_apart(self) -> dict[str, float]:
        """How well the policy does on what is not learned from; nothing where there is none. By all processes."""
        found = self.trainer.dev_means()
        return {"loss": found["loss"]} if found else {}

    def score(self, results: Sequence[SessionResult]) -> dict[str, float]:
        """What became of the sessions whose patient did not fail, at least one."""
        return scores(results)

    def _play(self, model: Any, step: int) -> list[SessionResult]:
        """The policy's sessions; none where the model cannot go on, which is no reason to lose what was learnt."""
        model.eval()
        model.config.use_cache = True
        sampling = Sampling(self.settings.max_turn_tokens, _TEMPERATURE, _TOP_P)
        chat = HuggingFaceChat.around(model, self.tokenizer, chat_template_kwargs=self.settings.chat_template_kwargs)
        therapist = ChatTherapist(chat, sampling, show_state=self.settings.show_state)
        try:
            return play_policy(self.batch, therapist, self.starts, "policy", "the run's own")
        except ModelError as error:
            announce(f"update {step}: the validation's sessions broke off, and the run goes on: {error}")
            return []

    def _write(self, step: int, results: Sequence[SessionResult], told: dict[str, float]) -> None:
        folder = Path(self.settings.out)
        append(folder / "validation.jsonl", [{"step": step, "asked": len(self.starts), **told}])
        append(folder / "completions.jsonl", [_transcript(result, step) for result in results])


@contextmanager
def _set_aside(model: Any) -> Iterator[None]:
    """Within it, the model may be used for something else; the training's mode, cache and chance come back."""
    training, cached = model.training, model.config.use_cache
    try:
        with torch.random.fork_rng():
            yield
    finally:
        model.train(training)
        model.config.use_cache = cached


def scores(results: Sequence[SessionResult], measures: Mapping[str, str] = MEASURES) -> dict[str, float]:
    """What became of sessions whose patient did not fail, at least one.

    return                        mean of the rewards' sum over sessions
    return_low, return_high       its 95 % interval for patients like these; left out where one patient is all
    alliance, polarity_gain, ...  means of the benchmark's measures

    Args:
        results: of the sessions.
        measures: what is shown beside the return, by name, and the benchmark's name of it.
    """
    own = mean_interval([result["total"] for result in results], [result.persona for result in results])
    ends = {"return_low": own.low, "return_high": own.high} if math.isfinite(own.low) else {}
    means = {name: float(np.mean([r[measure] for r in results])) for name, measure in measures.items()}
    return {"return": own.mean, **ends, **means}


def _line(step: int, found: dict[str, float]) -> str:
    told = [
        f"{name} {found[name]:.3f}"
        for name in ("loss", "accuracy", "return", "polarity", "unsafe", "alliance", "failed")
        if name in found
    ]
    return f"update {step}: validation {', '.join(told)}"


def _transcript(result: SessionResult, step: int) -> dict[str, Any]:
    """One session as a row of ``completions.jsonl``, under GRPO's names."""
    turns = [
        message
        for turn in result.turns
        for message in ({"speaker": "therapist", "text": turn.therapist}, {"speaker": "patient", "text": turn.patient})
    ]
    return {
        "step": step,
        "kind": "validation",
        "ending": "failed" if result.failed else result.ending or "turns",
        "persona": result.persona,
        "seed": result.seed,
        "reward": None if result.failed else result["total"],
        "messages": [{"speaker": "patient", "text": result.opening}, *turns],
    }
