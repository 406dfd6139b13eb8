"""``therapysim train emotions`` and what belongs to it: teachers, new texts and labels, the valence map, heads."""

import argparse
from dataclasses import fields
from typing import Any

__all__ = ["add_sensor_commands"]

_HELP = {
    "trust": "weight of the teachers against the raters, 0 to 1",
    "epochs": "times through the data",
    "batch_size": "texts in a batch",
    "lr": "learning rate of the encoder",
    "head_lr": "learning rate of the last layer",
    "seed": "of batches, dropout and first weights",
    "folds": "of the teachers and of dev",
}


def add_sensor_commands(kinds: Any) -> None:
    """Adds the six commands to ``therapysim train``."""
    _add_emotions(kinds)
    _add_teacher(kinds)
    _add_texts(kinds)
    _add_labels(kinds)
    _add_valence(kinds)
    _add_heads(kinds)


def _add_emotions(kinds: Any) -> None:
    parser = kinds.add_parser("emotions", help="the emotion sensor, on GoEmotions")
    _add_places(parser, "where the weights go")
    parser.add_argument("--teachers", default="", metavar="FOLDER", help="what emotions-labels wrote; default none")
    parser.add_argument("--fitted", default="", metavar="FILE", help="keeps the network; where it exists, exports it")
    parser.add_argument("--layers", type=int, nargs="*", default=argparse.SUPPRESS, help="layers kept; default all")
    parser.set_defaults(run=train_emotions)


def train_emotions(chosen: argparse.Namespace) -> None:
    """Trains the sensor, and prints its scores on dev."""
    from therapysim.train.sensor.recipe import train

    report = train(_config(chosen, teachers=chosen.teachers), chosen.fitted)
    print(", ".join(f"{name} {value:.4f}" for name, value in report["scores"].items()))


def _add_teacher(kinds: Any) -> None:
    parser = kinds.add_parser("emotions-teacher", help="a large encoder that labels texts for the sensor, one fold")
    _add_places(parser, "where all teachers go")
    parser.add_argument("--fold", type=int, required=True, help="the part of the training texts that is left out")
    parser.set_defaults(run=train_teacher)


def train_teacher(chosen: argparse.Namespace) -> None:
    """Fits one teacher, and prints its scores on dev."""
    from therapysim.train.sensor.teacher import teach

    scores = teach(_config(chosen, emoji_tokens=False), chosen.fold)
    print(", ".join(f"{name} {value:.4f}" for name, value in scores.items()))


def _add_texts(kinds: Any) -> None:
    parser = kinds.add_parser("emotions-texts", help="new texts for the sensor, written by a small language model")
    parser.add_argument("--data", required=True, metavar="FOLDER", help="GoEmotions: train.tsv, dev.tsv, emotions.txt")
    parser.add_argument("--model", default="smollm2", help="model folder, .gguf file, hub id, or smollm2 (default)")
    parser.add_argument("--out", required=True, metavar="FILE", help="a JSON list of texts")
    parser.add_argument("--n", type=int, default=100_000, help="how many are drawn, default 100000")
    parser.add_argument("--seed", type=int, default=0, help="default 0")
    parser.set_defaults(run=write_texts)


def write_texts(chosen: argparse.Namespace) -> None:
    """Tunes the model, and writes the texts."""
    from therapysim.train.sensor.new_texts import TextSettings
    from therapysim.train.sensor.new_texts import write_texts as write

    kept = write(TextSettings(chosen.data, chosen.model, chosen.out, n=chosen.n, seed=chosen.seed))
    print(f"{kept} texts in {chosen.out}")


def _add_labels(kinds: Any) -> None:
    parser = kinds.add_parser("emotions-labels", help="labels of all teachers, for train emotions --teachers")
    parser.add_argument("--data", required=True, metavar="FOLDER", help="GoEmotions: train.tsv, dev.tsv, emotions.txt")
    parser.add_argument("--teachers", required=True, metavar="FOLDER", help="the teachers, and where the labels go")
    parser.add_argument("--texts", required=True, metavar="FILE", help="what emotions-texts wrote")
    parser.add_argument("--emoji", type=int, default=20_000, help="lines with emoji that are added, default 20000")
    parser.set_defaults(run=write_labels)


def write_labels(chosen: argparse.Namespace) -> None:
    """Labels the texts, and prints the teachers' common scores on dev."""
    from therapysim.train.sensor.teacher import label

    report = label(chosen.data, chosen.teachers, chosen.texts, chosen.emoji)
    print(", ".join(f"{name} {value:.4f}" for name, value in report["scores"].items()))


def _add_valence(kinds: Any) -> None:
    parser = kinds.add_parser("valence", help="the map from the sensor's reading to people's ratings, on EmoBank")
    parser.add_argument("--data", required=True, metavar="FILE", help="emobank.csv")
    parser.add_argument("--out", required=True, metavar="FILE", help="the map, JSON")
    parser.add_argument("--grid", action="store_true", help="compares settings on the train rows first")
    parser.set_defaults(run=train_valence)


def train_valence(chosen: argparse.Namespace) -> None:
    """Fits the map, and prints r after each step as a Markdown table."""
    from therapysim.train.sensor.valence_map import fit_valence, grid

    for row in grid(chosen.data, (1.0, 1.5, 2.0, 2.5, 3.0), (0.05, 0.1, 0.2)) if chosen.grid else []:
        print(f"T {row['T']:g}, w {row['w']:g}: r {row['r']:.3f}, cross-fitted on train", flush=True)
    print("| reading | r with human valence, EmoBank dev | 95 % interval |\n|---|---|---|")
    for row in fit_valence(chosen.data, chosen.out):
        print(f"| {row['step']} | {row['r']:.3f} | {row['low']:.3f} to {row['high']:.3f} |")


def _add_heads(kinds: Any) -> None:
    parser = kinds.add_parser(
        "heads", help="the linear heads on the sensor's encoder: acts, empathy, two classes of harm"
    )
    parser.add_argument("--data", required=True, metavar="FILE", help="DiaSafety: context, response, category, label")
    parser.add_argument("--exclude", default="", metavar="FILE", help="pairs whose contexts are left out")
    parser.add_argument("--out", required=True, metavar="FOLDER", help="where heads.json and heads.npz go")
    parser.set_defaults(run=train_heads)


def train_heads(chosen: argparse.Namespace) -> None:
    """Fits the heads, and prints how well each does in the folds."""
    from therapysim.train.sensor.fit_heads import HeadsConfig, train

    train(HeadsConfig(data=chosen.data, exclude=chosen.exclude, out=chosen.out))


def _add_places(parser: argparse.ArgumentParser, out: str) -> None:
    """The folders that every fit needs, and the settings that can be given on the command line."""
    parser.add_argument("--data", required=True, metavar="FOLDER", help="GoEmotions: train.tsv, dev.tsv, emotions.txt")
    parser.add_argument("--base", required=True, metavar="FOLDER", help="the pretrained encoder")
    parser.add_argument("--out", required=True, metavar="FOLDER", help=out)
    for name, text in _HELP.items():
        kind = float if name in ("trust", "lr", "head_lr") else int
        parser.add_argument(f"--{name.replace('_', '-')}", type=kind, default=argparse.SUPPRESS, help=text)


def _config(chosen: argparse.Namespace, **more: Any) -> Any:
    from therapysim.train.sensor.sensor_settings import SensorTrainConfig

    given = {f.name: getattr(chosen, f.name) for f in fields(SensorTrainConfig) if hasattr(chosen, f.name)}
    given |= {"layers": tuple(given["layers"])} if "layers" in given else {}
    return SensorTrainConfig(**given | more)
