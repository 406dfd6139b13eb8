"""Train the reader of turns: a small encoder, fitted to acts, harms, empathy and danger together, as ONNX int8.

    python -m pip install "therapysim[sensor]"
    therapysim train reader --base MINILM --diasafety risk_response_dev.jsonl --exclude dev.jsonl \\
        --pair pair_train.jsonl --epitome epitome_train.jsonl --out rewards/reading/weights

The parts: what there is to learn (``reader_data``); a network for each fold of the patients' words, which reads turns
it has not seen, so that the thresholds are chosen on those; the network that ships, which learns from all turns.
"""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer

from therapysim.errors import ConfigError
from therapysim.files import whole
from therapysim.rewards.reading.emotions import WEIGHTS
from therapysim.rewards.reading.reader import open_vocabulary
from therapysim.train.reader.reader_card import reader_card
from therapysim.train.reader.reader_data import NAMES, Example, gather
from therapysim.train.reader.reader_network import (
    Floats,
    TurnEncoder,
    build,
    fit,
    load_weights,
    predict,
    save_weights,
)
from therapysim.train.reader.reader_scores import level_f1, pair_accuracy, pick_thresholds, scores_of
from therapysim.train.reader.reader_settings import PLACES, ReaderConfig
from therapysim.train.sensor.onnx_export import quantised

__all__ = ["export_reader", "folds_of", "train"]


def train(config: ReaderConfig, fitted: str = "") -> dict[str, Any]:
    """Runs the whole recipe and writes the reader's files. Returns the report that its card shows.

    Args:
        config: the settings.
        fitted: folder that the fitted network and its report are kept in; where it holds them, they are exported, and
            nothing is fitted: fit on a machine with a GPU, export on the one that will run it. Several that are there,
            with commas between: the mean of their weights is exported.
    """
    vocabulary = open_vocabulary(WEIGHTS / "tokenizer.json")
    kept = [Path(folder) for folder in fitted.split(",") if folder]
    if kept and all((folder / "reader.pt").is_file() for folder in kept):
        model, report = _mean(config, vocabulary, kept)
    elif len(kept) > 1:
        raise ConfigError(f"fitted names {fitted!r}, expected one folder, or several that hold a fitted reader each")
    else:
        model, report = fit_reader(config, vocabulary)
        for folder in kept:
            folder.mkdir(parents=True, exist_ok=True)
            save_weights(model, folder / "reader.pt", config)
            load_weights(model, folder / "reader.pt")  # rounded, so that a second export gives the same file
            with whole(folder / "report.json") as part:
                part.write_text(json.dumps(report), encoding="utf-8")
    export_reader(model.cpu(), report, Path(config.out))
    return report


def _mean(config: ReaderConfig, vocabulary: Tokenizer, kept: Sequence[Path]) -> tuple[TurnEncoder, dict[str, Any]]:
    """The network of the kept ones' mean weights, and the first one's report with the others' last fit."""
    model, report = build(config, vocabulary), read_report(kept[0])
    weights: list[dict[str, torch.Tensor]] = []
    for folder in kept:
        load_weights(model, folder / "reader.pt")
        weights.append({name: tensor.clone() for name, tensor in model.state_dict().items()})
    if len(weights) == 1:
        return model, report
    mean = {name: torch.stack([own[name].float() for own in weights]).mean(0).to(tensor.dtype)
            for name, tensor in weights[0].items()}  # fmt: skip
    model.load_state_dict(mean)
    others = [read_report(folder)["settings"][-1] for folder in kept[1:]]
    return model, {**report, "mean_with": others}


def fit_reader(config: ReaderConfig, vocabulary: Tokenizer) -> tuple[TurnEncoder, dict[str, Any]]:
    """The network fitted to all examples, and the figures of the folds."""
    examples = gather(config)
    if config.start:
        report = read_report(Path(config.start).parent)
        model = build(config, vocabulary)
        load_weights(model, Path(config.start), others=True)
        fit(model, vocabulary, examples, config, seed=config.seed)
        return model, {**report, "settings": [*report["settings"], _told(config)]}
    apart = _cross_fitted(config, vocabulary, examples)
    thresholds = pick_thresholds(apart, examples, config.false_alarms)
    sources = [e.source.split("/")[0] for e in examples]
    report = {
        "names": list(NAMES),
        "thresholds": thresholds,
        "folds": scores_of(apart, examples, thresholds),
        "pair": pair_accuracy(apart, examples),
        "epitome": level_f1(apart, examples),
        "examples": {source: sources.count(source) for source in sorted(set(sources))},
        "settings": [_told(config)],
        "apart": f"{config.folds} folds; the thresholds were chosen on these very readings",
    }
    model = _fitted(config, vocabulary, examples, config.seed)
    return model, report


def read_report(folder: Path) -> dict[str, Any]:
    """What was kept beside a fitted network.

    Raises:
        ConfigError: it is missing, or no report of this edition.
    """
    path = folder / "report.json"
    try:
        report = dict(json.loads(path.read_text(encoding="utf-8")))
        if report["names"] != list(NAMES) or not report["apart"]:
            raise ValueError("its labels are another edition's")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{path} is no report of a fitted reader ({error!r}); fit it again with --fitted") from error
    return report


def _told(config: ReaderConfig) -> dict[str, Any]:
    """The settings without this machine's places."""
    return config.model_dump(exclude=set(PLACES))


def _fitted(config: ReaderConfig, vocabulary: Tokenizer, examples: Sequence[Example], seed: int) -> TurnEncoder:
    torch.manual_seed(seed)
    model = build(config, vocabulary)
    print(f"fitting to {len(examples)} examples, seed {seed}", flush=True)
    fit(model, vocabulary, examples, config, seed=seed)
    return model


def _cross_fitted(config: ReaderConfig, vocabulary: Tokenizer, examples: Sequence[Example]) -> Floats:
    """Probabilities (n, k) by the network that did not see the row's context."""
    folds = folds_of(examples, config.folds, config.seed)
    apart = np.zeros((len(examples), len(NAMES)), dtype=np.float32)
    for fold in range(config.folds):
        inside = [e for e, f in zip(examples, folds, strict=True) if f != fold]
        model = _fitted(config, vocabulary, inside, config.seed + 1 + fold)
        out = np.flatnonzero(folds == fold).tolist()
        apart[out] = _sigmoid(predict(model, vocabulary, [examples[i] for i in out]))
    return apart


def folds_of(examples: Sequence[Example], count: int, seed: int) -> NDArray[np.int64]:
    """The fold of each example; what answers the same words shares one."""
    groups = [e.heard or e.text for e in examples]
    distinct = sorted(set(groups))
    order = np.random.default_rng(seed).permutation(len(distinct)) % count
    fold = dict(zip(distinct, order, strict=True))
    return np.array([fold[group] for group in groups])


def _sigmoid(x: Floats) -> Floats:
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(x, -60, 60))), dtype=np.float32)


def export_reader(model: TurnEncoder, report: dict[str, Any], target: Path) -> None:
    """Writes ``reader.onnx``, ``READER.md`` and, last, ``reader.json``, which vouches for the others."""
    target.mkdir(parents=True, exist_ok=True)
    model.eval()
    ids = torch.ones((2, 9), dtype=torch.int64)
    types = torch.tensor([[0, 0, 0, 0, 1, 1, 1, 1, 1]] * 2)
    with tempfile.TemporaryDirectory() as folder:
        network = Path(folder) / "reader.onnx"
        quantised(model, (ids, types), ["input_ids", "types"], ["logits"], network)
        if not (target / "tokenizer.json").is_file():
            shutil.copyfile(WEIGHTS / "tokenizer.json", target / "tokenizer.json")
        files = {"reader.onnx": network, "tokenizer.json": target / "tokenizer.json"}
        hashes = {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items()}
        meta = {"names": report["names"], "thresholds": report["thresholds"], "sha256": hashes}
        with whole(target / "reader.onnx") as part:
            shutil.copyfile(network, part)
        size = network.stat().st_size
    with whole(target / "READER.md") as part:
        part.write_text(reader_card(report, size), encoding="utf-8")
    with whole(target / "reader.json") as part:
        part.write_text(json.dumps(meta, indent=1) + "\n", encoding="utf-8")
