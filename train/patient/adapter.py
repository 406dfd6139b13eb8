"""``therapysim train patient``: a LoRA adapter that teaches a small model to word a patient's cues, from examples.

Reads top to bottom: examples -> tokens with the line alone as target -> LoRA -> a plain training loop -> the adapter.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peft import LoraConfig, get_peft_model

from therapysim.errors import ConfigError, ModelError
from therapysim.files import write_json
from therapysim.models.checkpoint import load
from therapysim.train.patient.cue_lines import Example
from therapysim.train.patient.patient_settings import AdapterSettings

__all__ = ["train_adapter"]

_TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
_IGNORED = -100


@dataclass(frozen=True, slots=True)
class _Row:
    ids: list[int]
    start: int


def train_adapter(examples: Sequence[Example], settings: AdapterSettings, out: Path) -> dict[str, Any]:
    """Trains the adapter and writes it, with its settings and losses, to a folder.

    Args:
        examples: what to learn; the text of each ``line`` is the target.
        settings: how.
        out: the adapter's folder; it must not hold an adapter yet.

    Returns:
        What ``training.json`` holds: settings, counts, the losses in nats a token.

    Raises:
        ConfigError: too few examples, or the folder holds an adapter or cannot be made.
        ModelError: the base model cannot be had, or the loss is no number.
    """
    if len(examples) < 2 * settings.batch_size:
        raise ConfigError(
            f"{len(examples)} examples for batches of {settings.batch_size}, expected two batches at least"
        )
    if (out / "adapter_config.json").exists():
        raise ConfigError(f"{out} holds an adapter already, expected none; name another folder")
    _make(out)
    torch.manual_seed(settings.seed)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    base, tokenizer = load(settings.model, dtype="float32" if device == "cpu" else "bfloat16")
    lora = LoraConfig(
        r=settings.rank, lora_alpha=settings.alpha, lora_dropout=settings.dropout, target_modules=list(_TARGETS),
        task_type="CAUSAL_LM",
    )  # fmt: skip
    model = get_peft_model(base, lora).to(device)
    rows = [_row(example, tokenizer) for example in examples]
    order = np.random.default_rng(settings.seed).permutation(len(rows))
    held = max(1, round(settings.held_out * len(rows)))
    kept, learnt = [rows[i] for i in order[:held]], [rows[i] for i in order[held:]]
    before = _loss_of(model, kept, tokenizer, settings)
    losses = _learn(model, learnt, tokenizer, settings)
    record = {
        "settings": settings.model_dump(), "examples": len(learnt), "held_out": held, "loss_before": before,
        "losses": losses, "loss_after": _loss_of(model, kept, tokenizer, settings),
    }  # fmt: skip
    _save(model, settings, record, out)
    _save_end(model, rows[0].ids[-1], tokenizer, out)
    return record


def _make(folder: Path) -> None:
    """Makes the folder before anything is trained that could not be kept."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"adapter folder {folder}: {error.strerror}, expected one to write in; name another"
        ) from error


def _row(example: Example, tokenizer: Any) -> _Row:
    """The chat's tokens, the line's, and the token that ends a turn; the target begins where the line does.

    The end is what the chat template puts behind a turn: a tokenizer's own end token may be another.
    """
    said: list[Any] = [*example.chat, {"role": "assistant", "content": example.line}]
    chat = tokenizer.apply_chat_template(list(example.chat), add_generation_prompt=True, tokenize=False)
    whole_chat = tokenizer.apply_chat_template(said, tokenize=False)
    prompt, rest = _ids(tokenizer, chat), _ids(tokenizer, whole_chat[len(chat) :])
    line = _ids(tokenizer, example.line)
    if not whole_chat.startswith(chat) or rest[: len(line)] != line or len(rest) == len(line):
        raise ModelError("the chat template rewrites a turn once it is over; choose a model whose template appends")
    return _Row([*prompt, *rest[: len(line) + 1]], len(prompt))


def _ids(tokenizer: Any, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def _learn(model: Any, rows: Sequence[_Row], tokenizer: Any, settings: AdapterSettings) -> list[float]:
    """The loop; returns the mean loss of each epoch."""
    weights = [p for p in model.parameters() if p.requires_grad]
    steps = settings.epochs * math.ceil(len(rows) / settings.batch_size)
    optimiser = torch.optim.AdamW(weights, lr=settings.lr, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _rate(step, steps, settings.warmup))
    rng, losses = np.random.default_rng(settings.seed), []
    model.train()
    for _ in range(settings.epochs):
        total = torch.zeros((), device=next(model.parameters()).device)
        for batch in _batches(rows, tokenizer, settings.batch_size, rng):
            loss = _loss(model, batch)
            if not torch.isfinite(loss):
                raise ModelError(f"training: the loss is {float(loss.detach())}; lower lr ({settings.lr})")
            loss.backward()
            torch.nn.utils.clip_grad_norm_(weights, 1.0)
            optimiser.step()
            optimiser.zero_grad()
            schedule.step()
            total += loss.detach() * len(batch["input_ids"])
        losses.append(float(total) / len(rows))
        print(f"epoch {len(losses)}: loss {losses[-1]:.3f}", flush=True)
    return losses


def _rate(step: int, steps: int, warmup: float) -> float:
    up = max(1, round(warmup * steps))
    return (step + 1) / up if step < up else 0.5 * (1 + math.cos(math.pi * (step - up) / max(1, steps - up)))


def _batches(
    rows: Sequence[_Row], tokenizer: Any, size: int, rng: np.random.Generator | None = None
) -> Iterator[dict[str, Any]]:
    order = rng.permutation(len(rows)) if rng is not None else np.arange(len(rows))
    for start in range(0, len(rows), size):
        yield _collate([rows[i] for i in order[start : start + size]], tokenizer.pad_token_id)


def _collate(rows: Sequence[_Row], pad: int) -> dict[str, Any]:
    """Padded on the right, where no token of a line sees it, so that no mask is needed: with one, half precision's
    kernels gave gradients of nan where lengths differ much."""
    width = max(len(row.ids) for row in rows)
    ids = torch.full((len(rows), width), pad)
    targets = torch.full((len(rows), width), _IGNORED)
    for i, row in enumerate(rows):
        ids[i, : len(row.ids)] = torch.tensor(row.ids)
        # Each token is predicted at the place before it.
        targets[i, row.start - 1 : len(row.ids) - 1] = torch.tensor(row.ids[row.start :])
    return {"input_ids": ids, "targets": targets}


def _loss(model: Any, batch: dict[str, Any]) -> Any:
    """Cross-entropy in nats a target token; logits are computed where there is a target alone."""
    device, base = next(model.parameters()).device, model.get_base_model() if hasattr(model, "peft_config") else model
    ids, targets = (batch[name].to(device) for name in ("input_ids", "targets"))
    hidden = base.get_decoder()(input_ids=ids).last_hidden_state
    wanted = targets != _IGNORED
    logits = base.get_output_embeddings()(hidden[wanted])
    return torch.nn.functional.cross_entropy(logits.float(), targets[wanted])


def _loss_of(model: Any, rows: Sequence[_Row], tokenizer: Any, settings: AdapterSettings) -> float:
    model.eval()
    with torch.no_grad():
        losses = [float(_loss(model, batch)) for batch in _batches(rows, tokenizer, settings.batch_size)]
    return float(np.mean(losses))


def _save(model: Any, settings: AdapterSettings, record: dict[str, Any], out: Path) -> None:
    """In bfloat16: half the size, and finer than what the training moved."""
    for weight in model.parameters():
        if weight.requires_grad:
            weight.data = weight.data.to(torch.bfloat16)
    model.peft_config["default"].base_model_name_or_path = settings.model
    model.save_pretrained(str(out))
    (out / "README.md").unlink(missing_ok=True)  # peft's empty card
    write_json(out / "training.json", record)


def _save_end(model: Any, end: int, tokenizer: Any, out: Path) -> None:
    """Which tokens end a reply of the adapter, beside it: ``therapysim.models.checkpoint.load`` reads them."""
    known = model.generation_config.eos_token_id
    ends = {end, *(known if isinstance(known, list) else [known])} - {None}
    told = {"eos_token_id": sorted(ends), "pad_token_id": tokenizer.pad_token_id}
    write_json(out / "generation_config.json", told)
