"""Teachers of the emotion sensor: large encoders, fitted in folds, that label what the small one learns from.

Each teacher is fitted without one fold of the training texts, and labels that fold: what a small model learns from a
text is never what a large one memorised of it. New texts are labelled by all teachers together.

    for k in 0 1 2 3 4: therapysim train emotions-teacher --data GOEMOTIONS --base MPNET --out runs/teachers --fold k \\
        --epochs 4 --batch-size 64 --lr 5e-5 --head-lr 5e-4
    therapysim train emotions-texts --data GOEMOTIONS --model smollm2 --out runs/texts.json
    therapysim train emotions-labels --data GOEMOTIONS --teachers runs/teachers --texts runs/texts.json

The defaults of ``SensorTrainConfig`` are the student's; a larger encoder needs a smaller learning rate.

Source: Hinton, Vinyals & Dean 2015, "Distilling the Knowledge in a Neural Network"; cross-fitting after Chernozhukov et
al. 2018, "Double/debiased machine learning".
"""

import hashlib
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from therapysim.errors import ConfigError
from therapysim.files import whole
from therapysim.records import read_record
from therapysim.train.sensor.corpus import Matrix, emoji_lines, read_split
from therapysim.train.sensor.network import build_model, fit, load_weights, open_tokenizer, predict, save_weights
from therapysim.train.sensor.scores import cross_fit, sigmoid
from therapysim.train.sensor.sensor_settings import LABELS_FILE, SensorTrainConfig

__all__ = ["fold_of", "label", "soft_targets", "teach"]


@dataclass(frozen=True)
class Teacher:
    """One fitted teacher: its settings, the fold it was fitted without, and its weights."""

    config: SensorTrainConfig
    fold: int
    weights: Path

    def read(self, texts: list[str]) -> Matrix:
        """Probabilities, (n, 28)."""
        tokenizer = open_tokenizer(self.config)
        model = build_model(self.config, tokenizer)
        load_weights(model, self.weights)
        return sigmoid(predict(model, tokenizer, texts, self.config))


def fold_of(n: int, folds: int) -> NDArray[np.int64]:
    """Which fold each of ``n`` texts is in, (n,); the same for every teacher."""
    return np.asarray(np.random.default_rng(0).permutation(n) % folds)


def teach(config: SensorTrainConfig, fold: int) -> dict[str, float]:
    """Fits one teacher without its fold, and keeps it under ``out``. Returns its scores on dev.

    Raises:
        ConfigError: there is no such fold.
    """
    if not 0 <= fold < config.folds:
        raise ConfigError(f"fold is {fold}, expected 0 to {config.folds - 1}: there are {config.folds} folds")
    random.seed(config.seed)
    torch.manual_seed(config.seed + fold)
    texts, targets = read_split(Path(config.data), "train")
    kept = np.flatnonzero(fold_of(len(texts), config.folds) != fold)
    tokenizer = open_tokenizer(config)
    model = build_model(config, tokenizer)
    Path(config.out).mkdir(parents=True, exist_ok=True)
    fit(model, tokenizer, [texts[i] for i in kept], targets[kept], config.changed(seed=config.seed + fold))
    name = f"{Path(config.base).name}-seed{config.seed}-fold{fold}"
    save_weights(model, Path(config.out) / f"{name}.pt", config, fold=fold)
    dev_texts, dev_targets = read_split(Path(config.data), "dev")
    scores: dict[str, float] = cross_fit(predict(model, tokenizer, dev_texts, config), dev_targets, config)["scores"]
    return scores


def label(data: str, teachers: str, texts: str, emoji: int = 20_000) -> dict[str, Any]:
    """Labels the training texts out of fold, and new texts by every teacher; writes ``labels.npz``.

    Args:
        data: folder of GoEmotions.
        teachers: folder of ``teach``, and where the labels go.
        texts: JSON list of new texts.
        emoji: how many lines with emoji are added to them.

    Returns:
        The ensemble's scores on dev.

    Raises:
        ConfigError: a fold has no teacher, or teachers were fitted with different numbers of folds.
    """
    train, dev = (read_split(Path(data), split) for split in ("train", "dev"))
    new = read_record(texts, list[str], ConfigError, f"texts {texts}, which `train emotions-texts` writes")
    new += emoji_lines([*train[0], *new], emoji, seed=0)
    members = _members(Path(teachers))
    own = fold_of(len(train[0]), members[0].config.folds)
    labels = np.zeros((len(own), 28))
    others = np.zeros((len(new) + len(dev[0]), 28))
    for member in members:
        unseen = np.flatnonzero(own == member.fold)
        together = sum(other.fold == member.fold for other in members)
        labels[unseen] += member.read([train[0][i] for i in unseen]) / together
        others += member.read([*new, *dev[0]]) / len(members)
    _write(Path(teachers) / LABELS_FILE, train[0], labels, new, others[: len(new)])
    ensemble = np.clip(others[len(new) :], 1e-6, 1 - 1e-6)
    return cross_fit(np.log(ensemble / (1 - ensemble)), dev[1], members[0].config)


def soft_targets(config: SensorTrainConfig, texts: list[str], targets: Matrix) -> tuple[list[str], Matrix]:
    """What a small model learns from beside the raters' labels: the new texts, and the targets of all texts.

    Returns:
        The new texts, and (n + m, 28) targets: ``trust`` × the teachers' + (1 - ``trust``) × the raters' for the n
        training texts, the teachers' alone for the m new ones.

    Raises:
        ConfigError: the labels are those of other training texts.
    """
    if not config.teachers:
        return [], targets
    path = Path(config.teachers) / LABELS_FILE
    labels = np.load(path)
    if str(labels["digest"]) != _digest(texts):
        raise ConfigError(f"{path} labels other training texts than those of {config.data}: run emotions-labels again")
    mixed = config.trust * labels["train"].astype(float) + (1 - config.trust) * targets
    return json.loads(labels["texts"].tobytes().decode()), np.concatenate([mixed, labels["new"]])


def _members(folder: Path) -> list[Teacher]:
    members = []
    for path in sorted(folder.glob("*-fold*.pt")):
        kept = torch.load(path, map_location="cpu", weights_only=True)
        config = SensorTrainConfig(**kept["settings"])
        members.append(Teacher(config, kept["fold"], path))
    counts = {member.config.folds for member in members}
    found = sorted({member.fold for member in members})
    if len(counts) != 1 or found != list(range(*counts)):
        raise ConfigError(
            f"{folder} holds teachers of the folds {found}, fitted in {sorted(counts) or 'no'} parts; expected every "
            "fold of one number of parts: run `therapysim train emotions-teacher` for each"
        )
    return members


def _write(path: Path, train: Sequence[str], labels: Matrix, new: list[str], new_labels: Matrix) -> None:
    """One file for texts and labels, whole or not at all, so that they cannot fall apart."""
    with whole(path) as part, part.open("wb") as file:
        np.savez_compressed(
            file,
            train=labels.astype(np.float16),
            new=new_labels.astype(np.float16),
            texts=np.frombuffer(json.dumps(new, ensure_ascii=False).encode(), dtype=np.uint8),
            digest=np.array(_digest(train)),
        )


def _digest(texts: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()
