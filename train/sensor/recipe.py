"""Train the emotion sensor: a small encoder on GoEmotions, taught by larger ones, calibrated, exported as ONNX int8.

    python -m pip install "therapysim[sensor]"
    therapysim train emotions --data GOEMOTIONS --base MINILM --teachers runs/teachers --out rewards/reading/weights

The data folder holds ``train.tsv`` and ``dev.tsv`` (text, comma-separated label ids, comment id) and ``emotions.txt``.
The calibration and the thresholds come from dev, and the dev numbers that are reported are cross-fitted: each fold of
dev is scored with a calibration and with thresholds chosen on the other folds only. ``train/sensor/teacher.py`` says
where the teachers' labels come from; without them the raters' labels are all there is to learn from.
"""

import json
import random
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from therapysim.rewards.calibration import platt
from therapysim.rewards.matrix import LABELS
from therapysim.rewards.reading.emotions import read_logits
from therapysim.train.sensor.corpus import Matrix, file_hash, read_split
from therapysim.train.sensor.network import (
    Classifier,
    build_model,
    fit,
    load_weights,
    open_tokenizer,
    predict,
    save_weights,
)
from therapysim.train.sensor.onnx_export import export
from therapysim.train.sensor.scores import cross_fit, pick_thresholds, sigmoid
from therapysim.train.sensor.sensor_card import write_card
from therapysim.train.sensor.sensor_settings import SensorTrainConfig
from therapysim.train.sensor.teacher import soft_targets

__all__ = ["SensorTrainConfig", "train"]


def train(config: SensorTrainConfig, fitted: str = "") -> dict[str, Any]:
    """Runs the whole recipe and writes the weights folder. Returns the report that the model card shows.

    Args:
        config: the settings.
        fitted: file that the fitted network is kept in; where it exists, it is exported, and nothing is fitted: fit on
            a machine with a GPU, export on the one that will run it.
    """
    kept = Path(fitted) if fitted else None
    if kept and kept.is_file():
        tokenizer = open_tokenizer(config)
        model = build_model(config, tokenizer)
        return package(model, tokenizer, _as_fitted(config, load_weights(model, kept)))
    for folder in (Path(config.out), *([kept.parent] if kept else [])):
        folder.mkdir(parents=True, exist_ok=True)
    model, tokenizer = fit_student(config)
    if kept:
        save_weights(model, kept, config)
        load_weights(model, kept)  # rounded as they are kept, so that a second export gives the same file
    return package(model.cpu(), tokenizer, config)


def fit_student(config: SensorTrainConfig) -> tuple[Classifier, Any]:
    """The network fitted to the training texts, and to the teachers' new ones where there are any; its tokenizer."""
    random.seed(config.seed)
    torch.manual_seed(config.seed)
    texts, targets = read_split(Path(config.data), "train")
    new, targets = soft_targets(config, texts, targets)
    tokenizer = open_tokenizer(config)
    model = build_model(config, tokenizer)
    print(f"training on {len(targets)} texts, {config.epochs} epochs, seed {config.seed}", flush=True)
    fit(model, tokenizer, [*texts, *new], targets, config)
    return model, tokenizer


def _as_fitted(config: SensorTrainConfig, settings: dict[str, Any]) -> SensorTrainConfig:
    """The settings that the kept network was fitted with, at today's places."""
    places = {name: getattr(config, name) for name in ("data", "base", "out", "teachers")}
    return SensorTrainConfig(**settings | places)


def package(model: Classifier, tokenizer: Any, config: SensorTrainConfig) -> dict[str, Any]:
    """Exports a fitted network, calibrates it on dev, and writes the weights folder."""
    texts, targets = read_split(Path(config.data), "dev")
    gold, raters = read_split(Path(config.data), "train")
    with tempfile.TemporaryDirectory() as folder:
        export(model, tokenizer, Path(folder))
        report = finish(Path(folder), texts, targets, config)
        report["fp32_dev"] = cross_fit(predict(model, tokenizer, texts, config), targets, config)["scores"]
        report["gold"], report["trained"] = len(gold), len(soft_targets(config, gold, raters)[1])
        write_card(Path(folder), report)
        _replace(Path(folder), Path(config.out))
    return report


def _replace(source: Path, target: Path) -> None:
    """Moves the files over those of the target at once; ``emotions.json``, which vouches for the others, comes last."""
    target.mkdir(parents=True, exist_ok=True)
    names = sorted((file.name for file in source.iterdir()), key=lambda name: name == "emotions.json")
    for name in names:
        shutil.copyfile(source / name, target / f"{name}.part")
    for name in names:
        (target / f"{name}.part").replace(target / name)


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
    report["config"] = config.model_dump(exclude={"data", "base", "out", "teachers"})
    return report
