"""``therapysim train heads``: the linear heads on the sensor's encoder."""

import argparse

from therapysim.cli.setting_options import add_settings, given
from therapysim.train.sensor.sensor_settings import HeadsConfig

__all__ = ["add_options", "run"]


def add_options(parser: argparse.ArgumentParser) -> None:
    """Every setting."""
    add_settings(parser, HeadsConfig)


def run(chosen: argparse.Namespace) -> None:
    """Fits the heads, and prints how well each does in the folds."""
    from therapysim.train.sensor.fit_heads import train

    train(HeadsConfig(**given(chosen, HeadsConfig)))
