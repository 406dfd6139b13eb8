"""What a GRPO run plays and hands to its loss, written down as it happens, and what the therapist says in it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch

from therapysim.envs.batch import Start
from therapysim.train.grpo.rollout import Rollout, Trajectory
from therapysim.train.grpo.trainer import SessionGRPOTrainer

#: The ids of a turn, from its number and the session's place in the generation.
Speech = Callable[[int, int], list[int]]


@dataclass
class Call:
    """One call of the loss.

    Attributes:
        inputs: what the trainer gave it.
        adapter: the LoRA weights at that moment.
        logps: the log-probabilities that it computed, shape (B, T).
        loss: its value.
        gradients: what the LoRA weights had gathered after the backward pass, since the update before.
    """

    inputs: dict[str, torch.Tensor]
    adapter: dict[str, torch.Tensor]
    logps: torch.Tensor
    loss: float
    gradients: dict[str, torch.Tensor] = field(default_factory=dict)


@dataclass
class Recording:
    """A run: every session played, in order, and every call of the loss."""

    starts: list[Start] = field(default_factory=list)
    episodes: list[Trajectory] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)

    def rows(self) -> list[tuple[Trajectory, Call, int]]:
        """Each row that reached the loss: the session it was made from, its call, and its place there."""
        return [(self._episode(call, k), call, k) for call in self.calls for k in range(len(call.logps))]

    def _episode(self, call: Call, k: int) -> Trajectory:
        ids = call.inputs["completion_ids"][k][call.inputs["completion_mask"][k].bool()].tolist()
        found = [e for e in self.episodes if e.completion_ids == ids]
        assert len(found) == 1, f"a row of the loss is {len(found)} of the sessions that were played"
        return found[0]


def record(
    monkeypatch: pytest.MonkeyPatch, speech: Speech | None = None, rewards: Sequence[Sequence[float]] | None = None
) -> Recording:
    """Records the next run; the policy's words and the turns' rewards may be given instead of sampled and computed."""
    seen = Recording()
    _record_sessions(monkeypatch, seen, rewards)
    _record_losses(monkeypatch, seen)
    if speech:
        _script(monkeypatch, speech)
    return seen


def _record_sessions(monkeypatch: pytest.MonkeyPatch, seen: Recording, rewards: Any) -> None:
    play = Rollout.play

    def watched(self: Rollout, trainer: Any, starts: Sequence[Start], *begun: Any) -> list[Trajectory]:
        episodes = play(self, trainer, starts, *begun)
        for episode, own in zip(episodes, rewards or [], strict=bool(rewards)):
            assert len(own) == len(episode.turn_rewards)
            episode.turn_rewards = list(own)
        seen.starts += starts
        seen.episodes += episodes
        return episodes

    monkeypatch.setattr(Rollout, "play", watched)


def _record_losses(monkeypatch: pytest.MonkeyPatch, seen: Recording) -> None:
    compute, step = SessionGRPOTrainer._compute_loss, SessionGRPOTrainer.training_step

    def watched_loss(self: Any, model: Any, inputs: dict[str, Any]) -> torch.Tensor:
        loss = compute(self, model, inputs)
        kept = {name: value.detach().clone() for name, value in inputs.items() if torch.is_tensor(value)}
        weights = {name: weight.detach().clone() for name, weight in _adapter(self)}
        seen.calls.append(Call(kept, weights, self._token_logps.clone(), loss.item()))
        return loss

    def watched_step(self: Any, *args: Any) -> torch.Tensor:
        output = step(self, *args)
        seen.calls[-1].gradients = {name: weight.grad.clone() for name, weight in _adapter(self)}
        return output

    monkeypatch.setattr(SessionGRPOTrainer, "_compute_loss", watched_loss)
    monkeypatch.setattr(SessionGRPOTrainer, "training_step", watched_step)


def _adapter(trainer: Any) -> list[tuple[str, torch.nn.Parameter]]:
    return [(name, weight) for name, weight in trainer.model.named_parameters() if weight.requires_grad]


def _script(monkeypatch: pytest.MonkeyPatch, speech: Speech) -> None:
    turn = iter(range(1000))

    def spoken(self: Any, prompts: list[list[int]], *_: Any) -> tuple[list[list[int]], None]:
        now = next(turn)
        return [speech(now, k) for k in range(len(prompts))], None

    monkeypatch.setattr(SessionGRPOTrainer, "_generate_single_turn", spoken)


def spell(tokenizer: Any, text: str, *, end: bool = True) -> list[int]:
    """The text letter by letter, as no tokenizer would cut it: tokenised again, it is other ids."""
    letters = [i for letter in text for i in tokenizer(letter)["input_ids"]]
    assert letters != tokenizer(text)["input_ids"]
    return letters + [tokenizer.eos_token_id] * end
