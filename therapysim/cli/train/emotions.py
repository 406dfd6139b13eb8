"""``therapysim train emotions``: the emotion sensor."""

import argparse

from therapysim.cli.setting_options import add_settings, given
from therapysim.train.sensor.sensor_settings import SensorTrainConfig

__all__ = ["add_options", "run"]


def add_options(parser: argparse.ArgumentParser) -> None:
    """Every setting, and where the network is kept."""
    add_settings(parser, SensorTrainConfig)
    parser.add_argument("--fitted", default="", metavar="FILE", help="keeps the network; where it exists, exports it")


def run(chosen: argparse.Namespace) -> None:
    """Trains the sensor, and prints its scores on dev."""
    from therapysim.train.sensor.recipe import train
    from therapysim.train.sensor.scores import told

    print(told(train(SensorTrainConfig(**given(chosen, SensorTrainConfig)), chosen.fitted)["scores"]))
