"""Train the emotion sensor: MiniLM, fine-tuned on GoEmotions, calibrated, exported as ONNX int8.

    python -m pip install "therapysim[sensor]"
    therapysim train emotions --data GOEMOTIONS_FOLDER --base MINILM_FOLDER --out rewards/weights

The data folder holds ``train.tsv`` and ``dev.tsv`` (text, comma-separated label ids, comment id) and ``emotions.txt``.
Every training text is trained on for a fixed number of epochs. The calibration and the thresholds come from dev, and
the dev numbers that are reported are cross-fitted: each fold of dev is scored with a calibration and with thresholds
chosen on the other folds only.
"""

import hashlib
import json
import math
import random
import shutil
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import AutoModel, AutoTokenizer, get_linear_schedule_with_warmup

from therapysim.errors import ConfigError
from therapysim.rewards.matrix import LABELS
from therapysim.train.card import write_card

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class SensorTrainConfig:
    """Settings of one training run; saved with the weights."""

    data: str
    base: str
    out: str
    seed: int = 0
    layers: tuple[int, ...] = (0, 1, 3, 5)
    frozen_layers: int = 1
    epochs: int = 3
    batch_size: int = 32
    lr: float = 2e-4
    head_lr: float = 1e-3
    weight_decay: float = 0.01
    warmup: float = 0.1
    dropout: float = 0.1
    max_tokens: int = 64
    folds: int = 5
    shrinkage: float = 60.0

    def __post_init__(self) -> None:
        for field, files in (("data", ("train.tsv", "dev.tsv", "emotions.txt")), ("base", ("config.json",))):
            missing = [f for f in files if not (Path(getattr(self, field)) / f).is_file()]
            if missing:
                raise ConfigError(f"{field} folder {getattr(self, field)!r} lacks {', '.join(missing)}")
        if self.epochs < 1 or self.folds < 2:
            raise ConfigError(f"epochs {self.epochs} and folds {self.folds}: expected at least 1 and 2")


class Classifier(nn.Module):
    """A BERT encoder, mean pooling over the tokens, and one linear layer: (n, t) token ids -> (n, 28) logits."""

    def __init__(self, encoder: nn.Module, dropout: float) -> None:
        super().__init__()
        self.encoder = encoder
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(int(encoder.config.hidden_size), len(LABELS))  # type: ignore[union-attr, arg-type]

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        hidden = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        weight = attention_mask.unsqueeze(-1).to(hidden.dtype)
        pooled = (hidden * weight).sum(1) / weight.sum(1).clamp(min=1.0)
        logits: Tensor = self.head(self.dropout(pooled))
        return logits


def train(config: SensorTrainConfig) -> dict[str, Any]:
    """Runs the whole recipe and writes the weights folder. Returns the report that the model card shows."""
    random.seed(config.seed)
    torch.manual_seed(config.seed)
    tokenizer = AutoTokenizer.from_pretrained(config.base)
    texts, targets = read_split(Path(config.data), "train")
    dev_texts, dev_targets = read_split(Path(config.data), "dev")
    model = build_model(config)
    print(f"training on {len(texts)} texts, {config.epochs} epochs, seed {config.seed}", flush=True)
    fit(model, tokenizer, texts, targets, config)
    with tempfile.TemporaryDirectory() as folder:
        export(model, tokenizer, Path(folder), config)
        report = finish(Path(folder), dev_texts, dev_targets, config)
        report["fp32_dev"] = cross_fit(predict(model, tokenizer, dev_texts), dev_targets, config)["scores"]
        report["trained"] = len(texts)
        write_card(Path(folder), report)
        Path(config.out).mkdir(parents=True, exist_ok=True)
        for file in Path(folder).iterdir():
            shutil.copyfile(file, Path(config.out) / file.name)
    return report


def read_split(folder: Path, split: str) -> tuple[list[str], Matrix]:
    """Reads ``split.tsv``: the texts and their (n, 28) multi-hot targets."""
    names = (folder / "emotions.txt").read_text().split()
    if tuple(names) != LABELS:
        raise ConfigError(f"{folder / 'emotions.txt'} lists {len(names)} labels in another order than this package's")
    rows = [line.split("\t") for line in (folder / f"{split}.tsv").read_text().splitlines() if line]
    targets = np.zeros((len(rows), len(LABELS)))
    for target, row in zip(targets, rows, strict=True):
        target[[int(label) for label in row[1].split(",")]] = 1.0
    return [row[0] for row in rows], targets


def build_model(config: SensorTrainConfig) -> Classifier:
    """The base encoder cut to ``config.layers``, its embeddings and lowest layers frozen."""
    encoder = AutoModel.from_pretrained(config.base, attn_implementation="eager", add_pooling_layer=False)
    encoder.encoder.layer = nn.ModuleList(encoder.encoder.layer[i] for i in config.layers)
    encoder.config.num_hidden_layers = len(config.layers)
    for part in (encoder.embeddings, *encoder.encoder.layer[: config.frozen_layers]):
        part.requires_grad_(False)
    return Classifier(encoder, config.dropout)


def fit(model: Classifier, tokenizer: Any, texts: list[str], targets: Matrix, config: SensorTrainConfig) -> None:
    """Binary cross-entropy on every label, AdamW with a linear schedule; batches of like length."""
    ids = tokenizer(texts, truncation=True, max_length=config.max_tokens)["input_ids"]
    labels = torch.tensor(targets, dtype=torch.float32)
    head = list(model.head.parameters())
    body = [p for p in model.encoder.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(
        [{"params": body, "lr": config.lr}, {"params": head, "lr": config.head_lr}], weight_decay=config.weight_decay
    )
    steps = config.epochs * math.ceil(len(ids) / config.batch_size)
    schedule = get_linear_schedule_with_warmup(optimizer, round(config.warmup * steps), steps)
    loss_of = nn.BCEWithLogitsLoss()
    rng = random.Random(config.seed)
    model.train()
    done, started = 0, time.perf_counter()
    for epoch in range(config.epochs):
        total = 0.0
        batches = length_batches([len(i) for i in ids], config.batch_size, rng)
        for batch in batches:
            logits = model(**pad([ids[i] for i in batch], tokenizer.pad_token_id))
            loss = loss_of(logits, labels[batch])
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            total += loss.item()
            done += 1
            if done % 100 == 0:
                print(f"step {done}/{steps}, loss {loss.item():.4f}, {time.perf_counter() - started:.0f} s", flush=True)
        print(f"epoch {epoch + 1}: mean loss {total / len(batches):.4f}", flush=True)
    model.eval()


def length_batches(lengths: list[int], size: int, rng: random.Random) -> list[list[int]]:
    """Shuffled batches of indices; texts of like length share a batch, so that little is padding."""
    order = list(range(len(lengths)))
    rng.shuffle(order)
    pool = size * 64
    batches = []
    for start in range(0, len(order), pool):
        near = sorted(order[start : start + pool], key=lambda i: lengths[i])
        batches += [near[i : i + size] for i in range(0, len(near), size)]
    rng.shuffle(batches)
    return batches


def pad(ids: list[list[int]], pad_id: int) -> dict[str, Tensor]:
    width = max(map(len, ids))
    return {
        "input_ids": torch.tensor([row + [pad_id] * (width - len(row)) for row in ids]),
        "attention_mask": torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in ids]),
    }


@torch.no_grad()
def predict(model: Classifier, tokenizer: Any, texts: list[str], size: int = 64) -> Matrix:
    """Raw logits of the fp32 model, (n, 28)."""
    model.eval()
    ids = tokenizer(texts, truncation=True, max_length=128)["input_ids"]
    order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
    logits = np.zeros((len(ids), len(LABELS)))
    for start in range(0, len(order), size):
        chunk = order[start : start + size]
        logits[chunk] = model(**pad([ids[i] for i in chunk], tokenizer.pad_token_id)).numpy()
    return logits


def export(model: Classifier, tokenizer: Any, folder: Path, config: SensorTrainConfig) -> None:
    """Writes ``emotions.onnx`` (dynamic int8) and ``tokenizer.json``."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    model.eval()
    example = (torch.ones((2, 9), dtype=torch.int64), torch.ones((2, 9), dtype=torch.int64))
    dim = torch.export.Dim
    shape = {0: dim("n", min=1, max=4096), 1: dim("t", min=2, max=512)}
    raw = folder / "fp32.onnx"
    torch.onnx.export(
        model,
        example,
        raw,
        input_names=["input_ids", "attention_mask"],
        output_names=["logits"],
        dynamic_shapes=(shape, shape),
        dynamo=True,
        external_data=False,
    )
    # reduce_range: 7-bit weights, since processors without VNNI saturate when they add two products of 8-bit numbers.
    quantize_dynamic(raw, folder / "emotions.onnx", weight_type=QuantType.QInt8, per_channel=True, reduce_range=True)
    raw.unlink()
    strip_traces(folder / "emotions.onnx")
    tokenizer.backend_tokenizer.save(str(folder / "tokenizer.json"))


def strip_traces(path: Path) -> None:
    """Drops what the exporter notes of the code it traced, stack traces with this machine's paths among it."""
    import onnx

    model = onnx.load(path)
    del model.metadata_props[:], model.graph.metadata_props[:]
    for part in (*model.graph.node, *model.graph.value_info, *model.graph.input, *model.graph.output):
        part.doc_string = ""
        del part.metadata_props[:]
    for tensor in model.graph.initializer:
        del tensor.metadata_props[:]
    onnx.save(model, path)


def finish(folder: Path, texts: list[str], targets: Matrix, config: SensorTrainConfig) -> dict[str, Any]:
    """Calibrates the exported model on dev, writes ``emotions.json``, and returns the report."""
    from therapysim.rewards.emotions import read_logits

    logits = read_logits(folder / "emotions.onnx", folder / "tokenizer.json", texts).astype(np.float64)
    report = cross_fit(logits, targets, config)
    slope, intercept = platt(logits, targets)
    meta = {
        "labels": list(LABELS),
        "slope": [round(float(v), 6) for v in slope],
        "intercept": [round(float(v), 6) for v in intercept],
        "thresholds": [
            round(float(v), 4) for v in pick_thresholds(sigmoid(logits * slope + intercept), targets, config)
        ],
        "sha256": {f: file_hash(folder / f) for f in ("emotions.onnx", "tokenizer.json")},
    }
    (folder / "emotions.json").write_text(json.dumps(meta, indent=1) + "\n")
    report["bytes"] = (folder / "emotions.onnx").stat().st_size
    report["config"] = {k: v for k, v in asdict(config).items() if k not in ("data", "base", "out")}
    return report


def file_hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def cross_fit(logits: Matrix, targets: Matrix, config: SensorTrainConfig) -> dict[str, Any]:
    """Scores every fold of dev with a calibration and thresholds chosen on the others."""
    fold = np.random.default_rng(config.seed).permutation(len(logits)) % config.folds
    probabilities, predicted = np.zeros_like(logits), np.zeros(logits.shape, dtype=bool)
    for k in range(config.folds):
        own, others = fold == k, fold != k
        slope, intercept = platt(logits[others], targets[others])
        probabilities[own] = sigmoid(logits[own] * slope + intercept)
        rest = sigmoid(logits[others] * slope + intercept)
        predicted[own] = probabilities[own] > pick_thresholds(rest, targets[others], config)
    return {
        "scores": scores(predicted, targets) | {"ece": calibration_error(probabilities, targets)},
        "labels": label_table(predicted, targets),
        "texts": len(logits),
    }


def platt(logits: Matrix, targets: Matrix, steps: int = 50) -> tuple[Matrix, Matrix]:
    """Per-label Platt scaling by Newton's method on Platt's smoothed targets.

    Returns:
        slope and intercept, each (28,).

    Source: Platt 1999, "Probabilistic Outputs for Support Vector Machines", eq. 8; Lin, Lin & Weng 2007.
    """
    positive = targets.sum(0)
    high, low = (positive + 1) / (positive + 2), 1 / (len(targets) - positive + 2)
    soft = np.where(targets > 0, high, low)
    slope, intercept = np.ones(targets.shape[1]), np.zeros(targets.shape[1])
    for _ in range(steps):
        p = sigmoid(logits * slope + intercept)
        error, weight = p - soft, p * (1 - p)
        g1, g0 = (error * logits).sum(0), error.sum(0)
        h11, h10, h00 = (weight * logits**2).sum(0) + 1e-6, (weight * logits).sum(0), weight.sum(0) + 1e-6
        det = h11 * h00 - h10**2
        slope = slope - (h00 * g1 - h10 * g0) / det
        intercept = intercept - (h11 * g0 - h10 * g1) / det
    return slope, intercept


def sigmoid(values: Matrix) -> Matrix:
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(values, -60, 60))))


def pick_thresholds(probabilities: Matrix, targets: Matrix, config: SensorTrainConfig) -> Matrix:
    """Per-label thresholds, shrunk towards the best global one by n / (n + shrinkage), n = the label's positives."""
    grid = np.linspace(0.05, 0.7, 66)
    per_label = np.array([f1_table(probabilities > t, targets) for t in grid])
    best_global = grid[per_label.mean(1).argmax()]
    best = grid[per_label.argmax(0)]
    trust = targets.sum(0) / (targets.sum(0) + config.shrinkage)
    return np.asarray(trust * best + (1 - trust) * best_global)


def f1_table(predicted: NDArray[np.bool_], targets: Matrix) -> Matrix:
    hits = (predicted & (targets > 0)).sum(0)
    return np.asarray(2 * hits / np.maximum(1, predicted.sum(0) + targets.sum(0)))


def scores(predicted: NDArray[np.bool_], targets: Matrix) -> dict[str, float]:
    hits = float((predicted & (targets > 0)).sum())
    micro = 2 * hits / (float(predicted.sum()) + float(targets.sum()))
    return {"macro_f1": float(f1_table(predicted, targets).mean()), "micro_f1": micro}


def label_table(predicted: NDArray[np.bool_], targets: Matrix) -> dict[str, dict[str, float]]:
    """Precision, recall, F1 and the number of positives of every label."""
    hits = (predicted & (targets > 0)).sum(0)
    precision, recall = hits / np.maximum(1, predicted.sum(0)), hits / np.maximum(1, targets.sum(0))
    columns = {"precision": precision, "recall": recall, "f1": f1_table(predicted, targets), "n": targets.sum(0)}
    return {label: {k: round(float(v[i]), 4) for k, v in columns.items()} for i, label in enumerate(LABELS)}


def calibration_error(probabilities: Matrix, targets: Matrix, bins: int = 15) -> float:
    """Expected calibration error over all labels pooled, equal-width bins. Source: Guo et al. 2017."""
    p, y = probabilities.ravel(), targets.ravel()
    bucket = np.minimum((p * bins).astype(int), bins - 1)
    gaps = [abs(p[bucket == b].sum() - y[bucket == b].sum()) for b in range(bins)]
    return float(sum(gaps) / len(p))
