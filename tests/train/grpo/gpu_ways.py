"""What ``test_gpu.py`` runs, a process for each way of loading a model: vLLM, bitsandbytes and unsloth themselves."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("trl")
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"),
]

from tests.measures.grpo_recording import Recording, record  # noqa: E402
from therapysim.models import checkpoint  # noqa: E402
from therapysim.train.grpo.grpo_settings import GRPOSettings  # noqa: E402
from therapysim.train.grpo.run import TrainResult, train  # noqa: E402
from therapysim.train.grpo.trainer import SessionGRPOTrainer  # noqa: E402
from therapysim.train.runs.model import load_policy  # noqa: E402

LOADED: dict[str, dict[str, Any]] = {
    "bf16": {},
    "nf4": {"quantize_4bit": True},
    "unsloth": {"unsloth": True},
    "unsloth_nf4": {"unsloth": True, "quantize_4bit": True},
}
ways = pytest.mark.parametrize("way", list(LOADED))


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., TrainResult]:
    """Trains SmolLM2 for two updates of two groups of four, three turns a session."""

    def start(way: str, **changes: Any) -> TrainResult:
        if "nf4" in way:
            pytest.importorskip("bitsandbytes")
        if "unsloth" in way:
            pytest.importorskip("unsloth")
        settings = {
            "model": "smollm2", "out": str(tmp_path / "run"), "max_steps": 2, "groups": 2, "generations": 4,
            "batch_size": 4, "accumulation": 2, "max_turns": 3, "max_turn_tokens": 24, "lr": 1e-3, "save_steps": 2,
            "validate_every": 0, "mask_cut_turns": False, "vllm_gpu_memory": 0.15, "vllm_compile": False,
            **LOADED[way], **changes,
        }  # fmt: skip
        return train(GRPOSettings(**settings))

    return start


def rows(result: TrainResult) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (result.out / "metrics.jsonl").read_text().splitlines()]


@ways
def test_vllm_samples_from_the_policy_in_training(run: Callable[..., TrainResult], way: str) -> None:
    """After updates that move the policy far, too: what vLLM drew with is what the trainer computes, up to rounding."""
    pytest.importorskip("vllm")
    for row in rows(run(way, vllm="colocate", max_steps=4, save_steps=4)):
        assert row["grad_norm"] > 0
        assert row["sampling/sampling_logp_difference/mean"] < 0.1
        assert row["sampling/importance_sampling_ratio/mean"] == pytest.approx(1.0, abs=0.03)


@ways
def test_only_the_therapists_tokens_are_learned_from(
    run: Callable[..., TrainResult], way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Credit at the patient's tokens changes no gradient, and a mask over all tokens changes it."""
    found: list[tuple[float, float]] = []
    compute = SessionGRPOTrainer._compute_loss

    def gradient(trainer: Any, model: Any, inputs: dict[str, Any]) -> Any:
        weights = [w for n, w in trainer.model.named_parameters() if w.requires_grad and "lora_B" in n]
        grads = torch.autograd.grad(compute(trainer, model, inputs), weights)
        return torch.cat([g.float().flatten() for g in grads])

    def watched(trainer: Any, model: Any, inputs: dict[str, Any]) -> Any:
        mask = inputs["tool_mask"].bool()
        told = inputs["advantages"] if inputs["advantages"].dim() == 2 else inputs["advantages"][:, None]
        told = told.expand(mask.shape)
        own = gradient(trainer, model, inputs)
        elsewhere = gradient(trainer, model, inputs | {"advantages": torch.where(mask, told, told + 1000.0)})
        unmasked = gradient(trainer, model, inputs | {"tool_mask": torch.ones_like(inputs["tool_mask"])})
        scale = own.norm()
        found.append((float((elsewhere - own).norm() / scale), float((unmasked - own).norm() / scale)))
        return compute(trainer, model, inputs)

    monkeypatch.setattr(SessionGRPOTrainer, "_compute_loss", watched)
    run(way, max_steps=1, save_steps=1)
    assert found and all(ignored < 0.02 for ignored, _ in found)
    assert max(seen for _, seen in found) > 0.1


@ways
def test_the_log_probabilities_are_the_models(
    run: Callable[..., TrainResult], way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the first update the adapter adds nothing: each token's is that of transformers' own base model."""
    seen: Recording = record(monkeypatch)
    run(way, max_steps=1, save_steps=1)
    if "nf4" in way:
        model, _ = load_policy(GRPOSettings(quantize_4bit=True))
    else:
        model = checkpoint.load("smollm2")[0].cuda()
    differences = []
    for episode, call, k in seen.rows():
        ids = torch.tensor([episode.prompt_ids + episode.completion_ids], device="cuda")
        with torch.no_grad():
            logits = model(input_ids=ids).logits[0, :-1].float().log_softmax(-1)
        own = logits.gather(1, ids[0, 1:, None])[len(episode.prompt_ids) - 1 :, 0]
        mask = torch.tensor(episode.env_mask, device="cuda").bool()
        differences.append((own - call.logps[k, : len(own)])[mask].abs().mean().item())
    assert differences and max(differences) < 0.1


def test_left_padding_does_no_harm(run: Callable[..., TrainResult]) -> None:
    """Two groups whose prompts differ in length share a batch; in bfloat16 their gradient is a number all the same."""
    result = run("bf16", personas=("marta", "owen"), groups=2, batch_size=8, accumulation=1)
    assert all(row["grad_norm"] == row["grad_norm"] and row["grad_norm"] > 0 for row in rows(result))
