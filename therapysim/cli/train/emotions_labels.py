"""``therapysim train emotions-labels``: the labels of all teachers."""

import argparse

__all__ = ["add_options", "run"]


def add_options(parser: argparse.ArgumentParser) -> None:
    """The texts, and who labels them."""
    add = parser.add_argument
    add("--data", required=True, metavar="FOLDER", help="GoEmotions: train.tsv, dev.tsv, emotions.txt")
    add("--teachers", required=True, metavar="FOLDER", help="the teachers, and where the labels go")
    add("--texts", required=True, metavar="FILE", help="what emotions-texts wrote")
    add("--emoji", type=int, default=20_000, help="lines with emoji that are added, default 20000")


def run(chosen: argparse.Namespace) -> None:
    """Labels the texts, and prints the teachers' common scores on dev."""
    from therapysim.train.sensor.scores import told
    from therapysim.train.sensor.teacher import label

    print(told(label(chosen.data, chosen.teachers, chosen.texts, chosen.emoji)["scores"]))
