"""``therapysim train emotions-teacher``: one fold's large encoder, which labels texts for the sensor."""

import argparse

from therapysim.cli.setting_options import add_settings, given
from therapysim.train.sensor.sensor_settings import SensorTrainConfig

__all__ = ["add_options", "run"]


def add_options(parser: argparse.ArgumentParser) -> None:
    """The settings of a teacher, which keeps all its layers and learns from the raters alone."""
    add_settings(parser, SensorTrainConfig, without=("teachers", "layers", "emoji_tokens"))
    parser.add_argument("--fold", type=int, required=True, help="the part of the training texts that is left out")


def run(chosen: argparse.Namespace) -> None:
    """Fits one teacher, and prints its scores on dev."""
    from therapysim.train.sensor.scores import told
    from therapysim.train.sensor.teacher import teach

    settings = SensorTrainConfig(**given(chosen, SensorTrainConfig), emoji_tokens=False)
    print(told(teach(settings, chosen.fold)))
