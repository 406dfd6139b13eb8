"""``therapysim train reader``: the reader of turns."""

import argparse

from therapysim.cli.setting_options import add_settings, given
from therapysim.train.reader.reader_settings import ReaderConfig

__all__ = ["add_options", "run"]


def add_options(parser: argparse.ArgumentParser) -> None:
    """Every setting, and where the network is kept."""
    add_settings(parser, ReaderConfig)
    parser.add_argument(
        "--fitted",
        default="",
        metavar="FOLDER",
        help="keeps the network; if it is there, exports it; FOLDER,FOLDER: the mean of several",
    )


def run(chosen: argparse.Namespace) -> None:
    """Trains the reader, and prints how well it does in the folds."""
    from therapysim.train.reader.fit_reader import train
    from therapysim.train.reader.reader_scores import table_of

    print(table_of(train(ReaderConfig(**given(chosen, ReaderConfig)), chosen.fitted)["folds"]))
