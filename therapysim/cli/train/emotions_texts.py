"""``therapysim train emotions-texts``: new texts for the sensor, by a small language model."""

import argparse

from therapysim.cli.setting_options import add_settings, given
from therapysim.train.sensor.sensor_settings import TextSettings

__all__ = ["add_options", "run"]


def add_options(parser: argparse.ArgumentParser) -> None:
    """Every setting."""
    add_settings(parser, TextSettings)


def run(chosen: argparse.Namespace) -> None:
    """Tunes the model, and writes the texts."""
    from therapysim.train.sensor.new_texts import write_texts

    settings = TextSettings(**given(chosen, TextSettings))
    print(f"{write_texts(settings)} texts in {settings.out}")
