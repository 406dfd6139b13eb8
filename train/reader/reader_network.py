"""The network behind the reader of turns, and how it is fitted to labels of which many are not known."""

import math
import random
import time
from collections.abc import Sequence
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor, nn
from transformers import AutoModel, get_linear_schedule_with_warmup

from therapysim.errors import ConfigError
from therapysim.files import whole
from therapysim.rewards.reading.reader import Window, cut_windows
from therapysim.train.reader.made_turns import Made
from therapysim.train.reader.reader_data import NAMES, Example
from therapysim.train.reader.reader_settings import PLACES, ReaderConfig
from therapysim.train.sensor.corpus import length_batches

__all__ = ["Floats", "TurnEncoder", "build", "fit", "load_weights", "predict", "save_weights", "targets_of"]

Floats = NDArray[np.float32]


class TurnEncoder(nn.Module):
    """An encoder, means over what was heard and over the turn, and one linear layer: (n, t) ids -> (n, k) logits."""

    def __init__(self, encoder: nn.Module, dropout: float) -> None:
        super().__init__()
        self.encoder = encoder
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(2 * int(encoder.config.hidden_size), len(NAMES))  # type: ignore[union-attr, arg-type]

    def forward(self, input_ids: Tensor, types: Tensor, mask: Tensor | None = None) -> Tensor:
        mask = torch.ones_like(input_ids) if mask is None else mask
        hidden = self.encoder(input_ids=input_ids, attention_mask=mask, token_type_ids=types).last_hidden_state
        turn = (types * mask).unsqueeze(-1).to(hidden.dtype)
        heard = ((1 - types) * mask).unsqueeze(-1).to(hidden.dtype)
        means = [(hidden * part).sum(1) / part.sum(1).clamp(min=1.0) for part in (heard, turn)]
        return self.head(self.dropout(torch.cat(means, dim=-1)))  # type: ignore[no-any-return]


def build(config: ReaderConfig, vocabulary: Tokenizer) -> TurnEncoder:
    """The base encoder with a row for each token of the vocabulary; new ones begin near the mean of all."""
    encoder = AutoModel.from_pretrained(
        config.base, attn_implementation="eager", add_pooling_layer=False, dtype=torch.float32
    )
    if vocabulary.get_vocab_size() != encoder.config.vocab_size:
        encoder.resize_token_embeddings(vocabulary.get_vocab_size())
    return TurnEncoder(encoder, config.dropout)


def targets_of(examples: Sequence[Example]) -> Floats:
    """What is to be learnt, (n, k): 1, 0, NaN where nobody knows."""
    y = np.full((len(examples), len(NAMES)), np.nan, dtype=np.float32)
    column = {name: i for i, name in enumerate(NAMES)}
    for row, example in zip(y, examples, strict=True):
        for name, holds in example.labels.items():
            row[column[name]] = holds
    return y


def fit(
    model: TurnEncoder,
    vocabulary: Tokenizer,
    examples: Sequence[Example],
    config: ReaderConfig,
    *,
    seed: int,
) -> None:
    """Binary cross-entropy on the known labels, AdamW with a linear schedule; bfloat16 products on a GPU."""
    device = _device()
    torch.manual_seed(seed)
    model.to(device).train()
    rng = random.Random(seed)
    make = Made(
        examples,
        config.spoken,
        config.alone,
        both=config.both,
        apart=config.apart,
        people=config.people,
        led=config.led,
    )
    started = time.perf_counter()
    head = list(model.head.parameters())
    groups = [{"params": list(model.encoder.parameters()), "lr": config.lr}, {"params": head, "lr": config.head_lr}]
    optimizer = torch.optim.AdamW(groups, weight_decay=config.weight_decay)
    steps = config.epochs * math.ceil(len(make(random.Random(seed))) / config.batch_size)
    steps = min(steps, config.max_steps or steps)
    schedule = get_linear_schedule_with_warmup(optimizer, round(config.warmup * steps), steps)
    done, first = 0, dict[tuple[str, str], Window]()  # most examples come again in every epoch
    for epoch in range(config.epochs):
        made = make(rng)
        for key in {(e.heard, e.text) for e in made} - first.keys():
            first[key] = cut_windows(vocabulary, *key)[0]
        windows = [first[e.heard, e.text] for e in made]
        labels = torch.from_numpy(targets_of(made)).clamp(config.smoothing, 1.0 - config.smoothing)
        total = torch.zeros((), device=device)
        batches = length_batches([len(w.ids) for w in windows], config.batch_size, rng)
        batches = batches[: max(0, steps - done)]
        done += len(batches)
        for batch in batches:
            y = labels[batch].to(device)
            with torch.autocast(device.type, dtype=torch.bfloat16, enabled=config.half or device.type == "cuda"):
                logits = model(*_pad([windows[i] for i in batch], device))
            loss = _known_loss(logits.float(), y)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            total += loss.detach()
        took = time.perf_counter() - started
        print(
            f"epoch {epoch + 1} of {config.epochs}: mean loss {float(total) / max(1, len(batches)):.4f}, {took:.0f} s",
            flush=True,
        )
    model.eval()


def _known_loss(logits: Tensor, y: Tensor) -> Tensor:
    known = ~torch.isnan(y)
    loss = nn.functional.binary_cross_entropy_with_logits(logits, torch.nan_to_num(y), reduction="none")
    return (loss * known).sum() / len(y)


@torch.no_grad()
def predict(model: TurnEncoder, vocabulary: Tokenizer, examples: Sequence[Example], size: int = 256) -> Floats:
    """Logits of the fp32 model, (n, k); of a long turn the greatest over its windows."""
    device = _device()
    model.to(device).eval()
    windows = [cut_windows(vocabulary, e.heard, e.text) for e in examples]
    flat = [(i, window) for i, parts in enumerate(windows) for window in parts]
    order = sorted(range(len(flat)), key=lambda j: len(flat[j][1].ids))
    found = np.full((len(examples), len(NAMES)), -np.inf, dtype=np.float32)
    for start in range(0, len(order), size):
        chunk = order[start : start + size]
        logits = model(*_pad([flat[j][1] for j in chunk], device)).float().cpu().numpy()
        for j, row in zip(chunk, logits, strict=True):
            found[flat[j][0]] = np.maximum(found[flat[j][0]], row)
    return found


def _pad(windows: Sequence[Window], device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """One rectangular batch: ids, types and which of them are there, each (n, longest)."""
    rows = np.zeros((3, len(windows), max(len(window.ids) for window in windows)), dtype=np.int64)
    for i, window in enumerate(windows):
        rows[:, i, : len(window.ids)] = window.ids, window.types, [1] * len(window.ids)
    ids, types, mask = torch.from_numpy(rows).to(device, non_blocking=True)
    return ids, types, mask


def save_weights(model: TurnEncoder, path: Path, config: ReaderConfig) -> None:
    """The weights in half precision and the settings they were fitted with, written whole or not at all."""
    weights = {name: tensor.half().cpu() for name, tensor in model.state_dict().items()}
    with whole(path) as part:
        torch.save({"weights": weights, "settings": config.model_dump(exclude=set(PLACES)), "names": list(NAMES)}, part)


def load_weights(model: TurnEncoder, path: Path, *, others: bool = False) -> dict[str, Any]:
    """Puts kept weights into a model of the same shape. Returns the settings that they were fitted with.

    Args:
        others: its labels may be others: those it has are taken, the rest begin anew.

    Raises:
        ConfigError: the file holds no reader, or one of another shape or with other labels.
    """
    try:
        kept = torch.load(path, map_location="cpu", weights_only=True)
        names, weights = list(kept["names"]), {name: tensor.float() for name, tensor in kept["weights"].items()}
        if names != list(NAMES) and not others:
            raise RuntimeError("its labels are another edition's")
        for part, own in model.head.named_parameters(prefix="head"):
            weights[part] = _rows(own.detach(), weights[part], names)
        model.load_state_dict(weights)
    except (EOFError, KeyError, OSError, RuntimeError, TypeError, UnpicklingError) as error:
        raise ConfigError(f"{path} holds no reader of this shape: {str(error)[:200]}; fit it again") from error
    model.eval()
    return {name: value for name, value in kept["settings"].items() if name not in PLACES}


def _rows(own: Tensor, kept: Tensor, names: Sequence[str]) -> Tensor:
    """A head's rows, from the kept ones where they are of the same name."""
    place = {name: i for i, name in enumerate(names)}
    return torch.stack([kept[place[name]] if name in place else own[i] for i, name in enumerate(NAMES)])


def _device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
