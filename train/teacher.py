"""Teachers of the emotion sensor: large encoders, fitted in folds, that label what the small one learns from.

Each teacher is fitted without one fold of the training texts, and labels that fold: what a small model learns from a
text is never what a large one memorised of it. New texts are labelled by all teachers together.

    for k in 0 1 2 3 4: therapysim train emotions-teacher --data GOEMOTIONS --base MPNET --out runs/teachers --fold k
    therapysim train emotions-texts --data GOEMOTIONS --model smollm2 --out runs/texts.json
    therapysim train emotions-labels --data GOEMOTIONS --teachers runs/teachers --texts runs/texts.json

Source: Hinton, Vinyals & Dean 2015, "Distilling the Knowledge in a Neural Network"; cross-fitting after Chernozhukov et
al. 2018, "Double/debiased machine learning".
"""

import json
import random
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from therapysim.errors import ConfigError
from therapysim.train.sensor_config import SensorTrainConfig
from therapysim.train.sensor_data import Matrix, emoji_lines, read_split
from therapysim.train.sensor_model import build_model, fit, load_weights, open_tokenizer, predict, save_weights
from therapysim.train.sensor_scores import cross_fit, sigmoid

__all__ = ["fold_of", "label", "soft_targets", "teach"]


def fold_of(n: int, folds: int) -> NDArray[np.int64]:
    """Which fold each of ``n`` texts is in, (n,); the same for every teacher."""
    return np.asarray(np.random.default_rng(0).permutation(n) % folds)


def teach(config: SensorTrainConfig, fold: int) -> dict[str, float]:
    """Fits one teacher without its fold, and keeps it under ``out``. Returns its scores on dev."""
    random.seed(config.seed)
    torch.manual_seed(config.seed + fold)
    texts, targets = read_split(Path(config.data), "train")
    kept = np.flatnonzero(fold_of(len(texts), config.folds) != fold)
    tokenizer = open_tokenizer(config)
    model = build_model(config, tokenizer)
    fit(model, tokenizer, [texts[i] for i in kept], targets[kept], replace(config, seed=config.seed + fold))
    folder = Path(config.out)
    folder.mkdir(parents=True, exist_ok=True)
    name = f"{Path(config.base).name}-{fold}"
    save_weights(model, folder / f"{name}.pt")
    (folder / f"{name}.json").write_text(json.dumps(asdict(config) | {"fold": fold}, indent=1), encoding="utf-8")
    dev_texts, dev_targets = read_split(Path(config.data), "dev")
    scores: dict[str, float] = cross_fit(predict(model, tokenizer, dev_texts, config), dev_targets, config)["scores"]
    return scores


def label(data: str, teachers: str, texts: str, emoji: int = 20_000) -> dict[str, Any]:
    """Labels the training texts out of fold, and new texts by every teacher; writes ``labels.npz`` and ``texts.json``.

    Args:
        data: folder of GoEmotions.
        teachers: folder of ``teach``, and where the labels go.
        texts: JSON list of new texts.
        emoji: how many lines with emoji are added to them.

    Returns:
        The ensemble's scores on dev.
    """
    folder, goemotions = Path(teachers), Path(data)
    train, _ = read_split(goemotions, "train")
    dev, dev_targets = read_split(goemotions, "dev")
    new = list(json.loads(Path(texts).read_text(encoding="utf-8")))
    new += emoji_lines([*train, *new], emoji, seed=0)
    members = [SensorTrainConfig(**_known(path)) for path in sorted(folder.glob("*-?.json"))]
    folds = [json.loads(path.read_text(encoding="utf-8"))["fold"] for path in sorted(folder.glob("*-?.json"))]
    own = fold_of(len(train), members[0].folds if members else 1)
    if not members or set(folds) != set(own.tolist()):
        expected = members[0].folds if members else "the folds"
        raise ConfigError(
            f"{folder} holds teachers of the folds {sorted(set(folds))}, expected every one of {expected}: run "
            "`therapysim train emotions-teacher` for each"
        )
    sums = {"train": np.zeros((len(train), 28)), "new": np.zeros((len(new), 28)), "dev": np.zeros((len(dev), 28))}
    counts = np.array([folds.count(k) for k in own])[:, None]
    for member, fold in zip(members, folds, strict=True):
        tokenizer = open_tokenizer(member)
        model = load_weights(build_model(member, tokenizer), Path(member.out) / f"{Path(member.base).name}-{fold}.pt")
        unseen = np.flatnonzero(own == fold)
        sums["train"][unseen] += sigmoid(predict(model, tokenizer, [train[i] for i in unseen], member))
        sums["new"] += sigmoid(predict(model, tokenizer, new, member))
        sums["dev"] += sigmoid(predict(model, tokenizer, dev, member))
    probabilities = {"train": sums["train"] / counts, "new": sums["new"] / len(members)}
    np.savez_compressed(folder / "labels.npz", **{k: v.astype(np.float16) for k, v in probabilities.items()})  # type: ignore[arg-type]
    (folder / "texts.json").write_text(json.dumps(new, ensure_ascii=False), encoding="utf-8")
    ensemble = np.clip(sums["dev"] / len(members), 1e-6, 1 - 1e-6)
    return cross_fit(np.log(ensemble / (1 - ensemble)), dev_targets, members[0])


def _known(path: Path) -> dict[str, Any]:
    settings = json.loads(path.read_text(encoding="utf-8"))
    return {k: tuple(v) if k == "layers" else v for k, v in settings.items() if k != "fold"}


def soft_targets(config: SensorTrainConfig, targets: Matrix) -> tuple[list[str], Matrix]:
    """What a small model learns from beside the raters' labels: the new texts, and the targets of all texts.

    Returns:
        The new texts, and (n + m, 28) targets: ``trust`` × the teachers' + (1 - ``trust``) × the raters' for the n
        training texts, the teachers' alone for the m new ones.
    """
    if not config.teachers:
        return [], targets
    folder = Path(config.teachers)
    labels = np.load(folder / "labels.npz")
    mixed = config.trust * labels["train"].astype(float) + (1 - config.trust) * targets
    return json.loads((folder / "texts.json").read_text(encoding="utf-8")), np.concatenate([mixed, labels["new"]])
