"""The loss and its gradient against the paper's formula, worked out by hand and in plain torch.

The example is one patient, three sessions, two turns each:

    rewards            A  0, 1        B  2, 0        C  1, 2
    a session's sum    A  1           B  2           C  3         mean 2, deviation sqrt((1 + 0 + 1) / 2) = 1
    the first turn's reward-to-go is that sum; the second's is its own reward:
                       A  1           B  0           C  2         mean 1, deviation sqrt((0 + 1 + 1) / 2) = 1

    trajectory         A -1, -1       B  0,  0       C  1,  1     (sum - 2) / 1
    turn               A -1,  0       B  0, -1       C  1,  1     second turn: (1 - 1) / 1, (0 - 1) / 1, (2 - 1) / 1
    mixed, turn 1/4    A -1, -3/4     B  0, -1/4     C  1,  1     3/4 trajectory + 1/4 turn

each divided by 1.0001 instead of 1, since 1e-4 is added to the deviation.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("trl")

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.measures.grpo_recording import Recording, record, spell
from therapysim.envs.batch import SessionBatch
from therapysim.train.grpo.grpo_settings import GRPOSettings
from therapysim.train.grpo.rollout import Episode
from therapysim.train.grpo.run import train

Weights = dict[str, torch.Tensor]

REWARDS = ((0.0, 1.0), (2.0, 0.0), (1.0, 2.0))
ADVANTAGES = {
    "trajectory": ((-1.0, -1.0), (0.0, 0.0), (1.0, 1.0)),
    "turn": ((-1.0, 0.0), (0.0, -1.0), (1.0, 1.0)),
    "mixed": ((-1.0, -0.75), (0.0, -0.25), (1.0, 1.0)),
}
# What A, B and C say in either turn: of different lengths, or a mean over sessions would be one over tokens.
WORDS = (("Why?", "Tell me about your day."), ("How did that feel?", "Go on."), ("I see.", "And what then?"))
SETTINGS = {
    "generations": 3, "turn_weight": 0.25, "beta": 0.3, "clip": 0.02, "temperature": 0.9, "lr": 0.05, "lora_r": 4,
    "lora_alpha": 8, "max_turn_tokens": 40, "max_completion_tokens": 400, "max_grad_norm": 0.0, "save_steps": 3,
    "validate_every": 0, "transcripts_every": 0,
}  # fmt: skip
# Sessions in a forward pass, passes in an update, updates. The first learns from one session at a time, so that its
# second and third update are off-policy; the others from the whole group at once, with padding, and bit by bit.
LAYOUTS = {"off-policy": (1, 1, 3), "one batch": (3, 1, 2), "accumulated": (1, 3, 2)}


@pytest.fixture
def trained(
    tiny_model: Path, make_batch: Callable[..., SessionBatch], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[GRPOSettings, Recording]]:
    """Trains on the example, and returns what reached the loss."""

    def start(layout: str, **changes: Any) -> tuple[GRPOSettings, Recording]:
        batch, accumulation, steps = LAYOUTS[layout]
        shape = {"batch_size": batch, "accumulation": accumulation, "max_steps": steps}
        settings = GRPOSettings(model=str(tiny_model), out=str(tmp_path / "run"), **SETTINGS | shape | changes)
        tokenizer = AutoTokenizer.from_pretrained(tiny_model)
        seen = record(monkeypatch, lambda turn, k: spell(tokenizer, WORDS[k][turn % 2]), REWARDS)
        train(settings, make_batch(max_turns=2))
        return settings, seen

    return start


@pytest.mark.parametrize("advantage", ["trajectory", "turn", "mixed"])
def test_each_turn_is_credited_with_its_own_advantage(trained: Callable[..., Any], advantage: str) -> None:
    _, seen = trained("one batch", advantage=advantage, max_steps=1)
    for episode, call, k in seen.rows():
        credit = call.inputs["advantages"]
        assert credit.dim() == (1 if advantage == "trajectory" else 2)
        by_token = (credit[:, None] if credit.dim() == 1 else credit).expand(call.logps.shape)[k].tolist()
        own = ADVANTAGES[advantage][seen.episodes.index(episode)]
        for value, turn in zip(by_token, episode.turn_ids, strict=False):
            if turn >= 0:
                assert value == pytest.approx(own[turn] / 1.0001, abs=1e-6)
        if credit.dim() == 2:  # the patient's tokens and the padding
            rest = [t < 0 for t in episode.turn_ids] + [True] * (len(by_token) - len(episode.turn_ids))
            assert not any(value for value, other in zip(by_token, rest, strict=True) if other)


@pytest.mark.parametrize(
    ("layout", "advantage", "loss_type"),
    [
        ("off-policy", "trajectory", "grpo"),
        ("off-policy", "turn", "grpo"),
        ("off-policy", "mixed", "grpo"),
        ("off-policy", "mixed", "dr_grpo"),
        ("off-policy", "mixed", "dapo"),
        ("one batch", "mixed", "grpo"),
        ("one batch", "turn", "dr_grpo"),
        ("one batch", "turn", "dapo"),
        ("accumulated", "turn", "grpo"),
        ("accumulated", "mixed", "dr_grpo"),
        ("accumulated", "mixed", "dapo"),
    ],
)
def test_loss_and_gradient_are_the_papers(
    trained: Callable[..., Any], tiny_model: Path, layout: str, advantage: str, loss_type: str
) -> None:
    settings, seen = trained(layout, advantage=advantage, loss_type=loss_type)
    paper = Paper(settings, AutoModelForCausalLM.from_pretrained(tiny_model), seen)
    gathered: Weights = {}
    for number, call in enumerate(seen.calls):
        if number % settings.accumulation == 0:
            gathered = {name: torch.zeros_like(weight) for name, weight in call.adapter.items()}
        loss, gradient = paper.of(number)
        gathered = {name: value + gradient[name] for name, value in gathered.items()}
        assert call.loss == pytest.approx(loss, abs=1e-6)
        largest = max(value.abs().max().item() for value in gathered.values())
        for name, value in gathered.items():
            torch.testing.assert_close(call.gradients[name], value, rtol=0, atol=2e-5 * largest, msg=name)
        assert largest > 1e-5
    if layout == "off-policy":
        assert paper.ratios and min(paper.ratios) < 1 - settings.clip and max(paper.ratios) > 1 + settings.clip


class Paper:
    """GRPO of one recorded run, in plain torch: session by session, without padding, adapter library or trainer.

    Source: Shao et al. 2024, DeepSeekMath, equations 3 and 4, with turns' advantages; DeepSeek-V3.2 (2025), for the
    divergence times the ratio, TRL's default, without which its gradient is not the divergence's; Liu et al. 2025,
    Understanding R1-Zero-Like Training (dr_grpo); Yu et al. 2025, DAPO.
    """

    def __init__(self, settings: GRPOSettings, model: Any, seen: Recording) -> None:
        self.settings, self.model, self.seen = settings, model.requires_grad_(False), seen
        self.ratios: list[float] = []

    def of(self, number: int) -> tuple[float, Weights]:
        """The loss of one call and its gradient by every weight of the adapter."""
        call = self.seen.calls[number]
        adapter = {name: weight.clone().requires_grad_() for name, weight in call.adapter.items()}
        sampled_by = self.seen.calls[self._generation(number)].adapter
        episodes = [episode for episode, own, _ in self.seen.rows() if own is call]
        loss = self._weigh([self._losses(e, adapter, sampled_by) for e in episodes], number)
        gradients = torch.autograd.grad(loss, list(adapter.values()))
        return loss.item(), dict(zip(adapter, gradients, strict=True))

    def _generation(self, number: int) -> int:
        """The first call that learned from the same generation."""
        return number - number % (3 // self.settings.batch_size)

    def _losses(self, episode: Episode, adapter: Weights, sampled_by: Weights) -> torch.Tensor:
        """The loss of each of the therapist's tokens."""
        new = self._logps(episode, adapter)
        with torch.no_grad():
            old, reference = self._logps(episode, sampled_by), self._logps(episode, {})
        own = ADVANTAGES[self.settings.advantage][self.seen.episodes.index(episode) % 3]
        advantage = torch.tensor([own[turn] / 1.0001 for turn in episode.turn_ids if turn >= 0])
        ratio, clip = (new - old).exp(), self.settings.clip
        self.ratios += ratio.tolist()
        surrogate = torch.minimum(ratio * advantage, ratio.clamp(1 - clip, 1 + clip) * advantage)
        divergence = ratio * ((reference - new).exp() - (reference - new) - 1)
        return self.settings.beta * divergence - surrogate

    def _weigh(self, losses: list[torch.Tensor], number: int) -> torch.Tensor:
        """One number from the tokens' losses; the passes of an update add up to the update's loss."""
        if self.settings.loss_type == "grpo":  # the mean over a session's tokens, then over sessions
            return torch.stack([own.mean() for own in losses]).mean() / self.settings.accumulation
        total = torch.cat(losses).sum()
        if self.settings.loss_type == "dr_grpo":  # over what a session might have at most
            most = len(losses) * self.settings.max_completion_tokens
            return total / most / self.settings.accumulation
        # dapo: over the tokens of the update; of an update that learns from a part of a generation, over that part's
        # share by count of sessions.
        first = self._generation(number) * self.settings.batch_size
        tokens = sum(sum(e.env_mask) for e in self.seen.episodes[first : first + 3])
        return total / (tokens * self.settings.batch_size * self.settings.accumulation / 3)

    def _logps(self, episode: Episode, adapter: Weights) -> torch.Tensor:
        """Log-probabilities of the therapist's tokens under the model with an adapter; none is the reference."""
        ids, start = torch.tensor([episode.prompt_ids + episode.completion_ids]), len(episode.prompt_ids)
        logits = torch.func.functional_call(self.model, self._merged(adapter), (ids,)).logits[0]
        scores = (logits / self.settings.temperature).log_softmax(-1)
        spoken = [start + i for i, turn in enumerate(episode.turn_ids) if turn >= 0]
        return torch.stack([scores[place - 1, ids[0, place]] for place in spoken])

    def _merged(self, adapter: Weights) -> Weights:
        """The layers' weights with the adapter's product added: W + alpha / r * B A."""
        weights, scale = dict(self.model.named_parameters()), self.settings.lora_alpha / self.settings.lora_r
        for name, down in adapter.items():
            if ".lora_A." in name:
                layer = name.removeprefix("base_model.model.").replace(".lora_A.default", "")
                up = adapter[name.replace(".lora_A.", ".lora_B.")]
                weights[layer] = weights[layer] + scale * up @ down
        return weights


def test_an_update_is_one_step_along_that_gradient(trained: Callable[..., Any]) -> None:
    _, seen = trained("one batch", advantage="turn")
    first, second = seen.calls
    for name, gradient in first.gradients.items():
        step = second.adapter[name] - first.adapter[name]
        moved = gradient.abs() > 1e-6  # Adam's first step has the learning rate's length, against the gradient
        torch.testing.assert_close(step[moved], -SETTINGS["lr"] * gradient[moved].sign(), rtol=0.02, atol=1e-6)


def test_the_example_is_what_the_trainer_credits(trained: Callable[..., Any]) -> None:
    """The ratio is 1 in a first update, so that the loss is the mean of the advantages, by hand."""
    _, seen = trained("one batch", advantage="mixed", max_steps=1)
    (call,) = seen.calls
    # Tokens of a turn are its letters and the end token: A 5 and 24, B 19 and 7, C 7 and 15.
    sessions = ((5 * -1.0 + 24 * -0.75) / 29, (19 * 0.0 + 7 * -0.25) / 26, 1.0)
    assert call.loss == pytest.approx(-sum(sessions) / 3 / 1.0001, abs=1e-6)
