"""Train the emotion sensor: a small encoder on GoEmotions, taught by larger ones, calibrated, exported as ONNX int8.

    python -m pip install "therapysim[sensor]"
    therapysim train emotions --data GOEMOTIONS --base MINILM --teachers runs/teachers --out rewards/weights

The data folder holds ``train.tsv`` and ``dev.tsv`` (text, comma-separated label ids, comment id) and ``emotions.txt``.
The calibration and the thresholds come from dev, and the dev numbers that are reported are cross-fitted: each fold of
dev is scored with a calibration and with thresholds chosen on the other folds only. ``train/teacher.py`` says where the
teachers' labels come from; without them the raters' labels are all there is to learn from.
"""

import hashlib
import json
import random
import shutil
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from therapysim.rewards.calibration import platt
from therapysim.rewards.emotions import read_logits
from therapysim.rewards.matrix import LABELS
from therapysim.train.card import write_card
from therapysim.train.sensor_config import SensorTrainConfig
from therapysim.train.sensor_data import Matrix, read_split
from therapysim.train.sensor_export import export
from therapysim.train.sensor_model import (
    Classifier,
    build_model,
    fit,
    load_weights,
    open_tokenizer,
    predict,
    save_weights,
)
from therapysim.train.sensor_scores import cross_fit, pick_thresholds, sigmoid
from therapysim.train.teacher import soft_targets

__all__ = ["SensorTrainConfig", "train"]


def train(config: SensorTrainConfig, fitted: str = "") -> dict[str, Any]:
    """Runs the whole recipe and writes the weights folder. Returns the report that the model card shows.

    Args:
        config: the settings.
        fitted: file that the fitted network is kept in; where it exists, it is exported, and nothing is fitted: fit on
            a machine with a GPU, export on the one that will run it.
    """
    random.seed(config.seed)
    torch.manual_seed(config.seed)
    texts, targets = read_split(Path(config.data), "train")
    new, targets = soft_targets(config, targets)
    tokenizer = open_tokenizer(config)
    model = build_model(config, tokenizer)
    if not (fitted and Path(fitted).is_file()):
        print(f"training on {len(targets)} texts, {config.epochs} epochs, seed {config.seed}", flush=True)
        fit(model, tokenizer, [*texts, *new], targets, config)
    if fitted:
        _keep(model, Path(fitted))
    return package(model.cpu(), tokenizer, config, (len(texts), len(targets)))


def _keep(model: Classifier, path: Path) -> None:
    """Goes on with the weights as they are kept, so that a second export gives the same file."""
    if not path.is_file():
        save_weights(model, path)
    load_weights(model, path)


def package(model: Classifier, tokenizer: Any, config: SensorTrainConfig, learnt: tuple[int, int]) -> dict[str, Any]:
    """Exports a fitted network, calibrates it on dev, and writes the weights folder."""
    texts, targets = read_split(Path(config.data), "dev")
    with tempfile.TemporaryDirectory() as folder:
        export(model, tokenizer, Path(folder))
        report = finish(Path(folder), texts, targets, config)
        report["fp32_dev"] = cross_fit(predict(model, tokenizer, texts, config), targets, config)["scores"]
        report["gold"], report["trained"] = learnt
        write_card(Path(folder), report)
        Path(config.out).mkdir(parents=True, exist_ok=True)
        for file in Path(folder).iterdir():
            shutil.copyfile(file, Path(config.out) / file.name)
    return report


def finish(folder: Path, texts: list[str], targets: Matrix, config: SensorTrainConfig) -> dict[str, Any]:
    """Calibrates the exported model on dev, writes ``emotions.json``, and returns the report."""
    logits = read_logits(folder / "emotions.onnx", folder / "tokenizer.json", texts).astype(np.float64)
    report = cross_fit(logits, targets, config)
    slope, intercept = platt(logits, targets)
    thresholds = pick_thresholds(sigmoid(logits * slope + intercept), config)
    meta = {
        "labels": list(LABELS),
        "slope": [round(float(v), 6) for v in slope],
        "intercept": [round(float(v), 6) for v in intercept],
        "thresholds": [round(float(v), 4) for v in thresholds],
        "sha256": {f: file_hash(folder / f) for f in ("emotions.onnx", "tokenizer.json")},
    }
    (folder / "emotions.json").write_text(json.dumps(meta, indent=1) + "\n", encoding="utf-8")
    report["bytes"] = (folder / "emotions.onnx").stat().st_size
    report["taught"] = bool(config.teachers)
    report["config"] = {k: v for k, v in asdict(config).items() if k not in ("data", "base", "out", "teachers")}
    return report


def file_hash(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
