"""The network behind the emotion sensor, and how it is fitted to targets, hard or soft."""

import math
import random
import time
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import AutoModel, AutoTokenizer, get_linear_schedule_with_warmup

from therapysim.errors import ConfigError
from therapysim.files import whole
from therapysim.rewards.matrix import LABELS
from therapysim.rewards.reading.emotions import SensorSettings
from therapysim.train.sensor.corpus import EMOJI, Matrix, emoji_name, length_batches, spell_emoji
from therapysim.train.sensor.sensor_settings import SensorTrainConfig

__all__ = ["Classifier", "build_model", "fit", "load_weights", "open_tokenizer", "predict", "save_weights"]


class Classifier(nn.Module):
    """An encoder, mean pooling over the tokens, and one linear layer.

    (n, t) token ids -> logits (n, 28), and the pooled output (n, d) of an early layer, for ``EmotionSensor.embed``.
    """

    def __init__(self, encoder: nn.Module, dropout: float, embed_layer: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(int(encoder.config.hidden_size), len(LABELS))  # type: ignore[union-attr, arg-type]
        self.embed_layer = embed_layer

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        out = self.encoder(input_ids=input_ids, attention_mask=attention_mask, output_hidden_states=True)
        weight = attention_mask.unsqueeze(-1).to(out.last_hidden_state.dtype)
        weight = weight / weight.sum(1, keepdim=True).clamp(min=1.0)
        logits = self.head(self.dropout((out.last_hidden_state * weight).sum(1)))
        return logits, (out.hidden_states[self.embed_layer] * weight).sum(1)


def open_tokenizer(config: SensorTrainConfig) -> Any:
    """The base model's tokenizer, with each of ``EMOJI`` as a token where the settings say so."""
    tokenizer = AutoTokenizer.from_pretrained(config.base)
    if config.emoji_tokens:
        from tokenizers import AddedToken

        tokenizer.add_tokens([AddedToken(e, normalized=False) for e in EMOJI])
    return tokenizer


def build_model(config: SensorTrainConfig, tokenizer: Any) -> Classifier:
    """The base encoder, cut to ``config.layers`` if any are named; each emoji begins as the mean of its name.

    Raises:
        ConfigError: the encoder has no such layer.
    """
    encoder = AutoModel.from_pretrained(
        config.base, attn_implementation="eager", add_pooling_layer=False, dtype=torch.float32
    )
    found = len(encoder.encoder.layer)
    if not all(0 <= i < found for i in config.layers) or not 0 <= config.embed_layer <= len(
        config.layers or range(found)
    ):
        raise ConfigError(
            f"layers {config.layers} and embed_layer {config.embed_layer}: {config.base} has {found} layers, numbered "
            "from 0, and embed_layer counts those that are kept, 0 being the token embeddings"
        )
    if config.layers:
        encoder.encoder.layer = nn.ModuleList(encoder.encoder.layer[i] for i in config.layers)
        encoder.config.num_hidden_layers = len(config.layers)
    if config.emoji_tokens:
        _add_emoji(encoder, tokenizer)
    return Classifier(encoder, config.dropout, config.embed_layer)


@torch.no_grad()
def _add_emoji(encoder: Any, tokenizer: Any) -> None:
    encoder.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    table = encoder.get_input_embeddings().weight
    for emoji in EMOJI:
        name = tokenizer(emoji_name(emoji), add_special_tokens=False)["input_ids"]
        table[tokenizer.convert_tokens_to_ids(emoji)] = table[name].mean(0)


def encode(tokenizer: Any, texts: list[str], config: SensorTrainConfig) -> list[list[int]]:
    """Token ids of each text, cut to ``max_tokens``; emoji spelled out for a tokenizer that has none."""
    shown = texts if config.emoji_tokens else [spell_emoji(text) for text in texts]
    if not texts:  # a tokenizer fails on no texts at all
        return []
    ids: list[list[int]] = tokenizer(shown, truncation=True, max_length=config.max_tokens)["input_ids"]
    return ids


def fit(model: Classifier, tokenizer: Any, texts: list[str], targets: Matrix, config: SensorTrainConfig) -> None:
    """Binary cross-entropy on every label, AdamW with a linear schedule; bfloat16 products where there is a GPU."""
    device = _device()
    ids, labels = encode(tokenizer, texts, config), torch.tensor(targets, dtype=torch.float32)
    model.to(device).train()
    head = list(model.head.parameters())
    groups = [{"params": list(model.encoder.parameters()), "lr": config.lr}, {"params": head, "lr": config.head_lr}]
    optimizer = torch.optim.AdamW(groups, weight_decay=config.weight_decay)
    steps = config.epochs * math.ceil(len(ids) / config.batch_size)
    schedule = get_linear_schedule_with_warmup(optimizer, round(config.warmup * steps), steps)
    rng, lengths, started = random.Random(config.seed), [len(i) for i in ids], time.perf_counter()
    for epoch in range(config.epochs):
        total = torch.zeros((), device=device)
        batches = length_batches(lengths, config.batch_size, rng)
        for batch in batches:
            with torch.autocast(device.type, dtype=torch.bfloat16, enabled=device.type == "cuda"):
                logits, _ = model(**pad([ids[i] for i in batch], tokenizer.pad_token_id, device))
                loss = nn.functional.binary_cross_entropy_with_logits(logits.float(), labels[batch].to(device))
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            total += loss.detach()
        mean, took = float(total) / len(batches), time.perf_counter() - started
        print(f"epoch {epoch + 1} of {config.epochs}: mean loss {mean:.4f}, {took:.0f} s", flush=True)
    model.eval()


def pad(ids: list[list[int]], pad_id: int, device: torch.device) -> dict[str, Tensor]:
    """One rectangular batch: ``input_ids`` and ``attention_mask``, (n, longest)."""
    width = max(map(len, ids))
    return {
        "input_ids": torch.tensor([row + [pad_id] * (width - len(row)) for row in ids], device=device),
        "attention_mask": torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in ids], device=device),
    }


@torch.no_grad()
def predict(model: Classifier, tokenizer: Any, texts: list[str], config: SensorTrainConfig, size: int = 256) -> Matrix:
    """Raw logits of the fp32 model, (n, 28); a text is cut where the shipped sensor cuts its window."""
    device = _device()
    model.to(device).eval()
    ids = encode(tokenizer, texts, config.changed(max_tokens=SensorSettings().window_tokens))
    order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
    logits = np.zeros((len(ids), len(LABELS)))
    for start in range(0, len(order), size):
        chunk = order[start : start + size]
        logits[chunk] = model(**pad([ids[i] for i in chunk], tokenizer.pad_token_id, device))[0].cpu().numpy()
    return logits


def save_weights(model: Classifier, path: Path, config: SensorTrainConfig, **more: int) -> None:
    """The weights in half precision and the settings they were fitted with, written whole or not at all."""
    weights = {name: tensor.half().cpu() for name, tensor in model.state_dict().items()}
    with whole(path) as part:
        torch.save({"weights": weights, "settings": config.model_dump(), **more}, part)


def load_weights(model: Classifier, path: Path) -> dict[str, Any]:
    """Puts kept weights into a model of the same shape. Returns the settings that they were fitted with.

    Raises:
        ConfigError: the file holds no network, or one of another shape.
    """
    try:
        kept = torch.load(path, map_location="cpu", weights_only=True)
        model.load_state_dict({name: tensor.float() for name, tensor in kept["weights"].items()})
    except (EOFError, KeyError, RuntimeError, TypeError, UnpicklingError) as error:
        raise ConfigError(
            f"{path} holds no network of this shape: {str(error)[:200]}; give the base and layers that it was fitted "
            "with, or fit it again"
        ) from error
    model.eval()
    return dict(kept["settings"])


def _device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
