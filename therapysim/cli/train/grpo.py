"""``therapysim train grpo``: every setting is an option, and every run begins by telling its settings."""

import argparse
from typing import TYPE_CHECKING

from therapysim.cli.policy_training import add_sources, carry_out
from therapysim.cli.setting_options import given
from therapysim.train.grpo.grpo_settings import GRPOSettings, load_settings, preset_notes

if TYPE_CHECKING:
    from therapysim.train.runs.start_up import TrainResult

__all__ = ["add_options", "run", "settings_of"]

_DESCRIPTION = """\
Trains a therapist policy by GRPO (Group Relative Policy Optimization) on whole sessions with simulated patients.

Settings come from a preset, a file and options; of one that is given twice, the option counts before the file, and
the file before the preset. The rest are the defaults below. All of them are printed as the run begins, those that
differ from their defaults marked, and saved as settings.json in the run's folder, which --config reads."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Where settings come from, and each of them; the presets stand above, a line each."""
    parser.usage = "therapysim train grpo [--preset NAME] [--config FILE] [--SETTING VALUE ...]"
    add_sources(parser, GRPOSettings, _DESCRIPTION, preset_notes())


def run(chosen: argparse.Namespace) -> None:
    """Tells the settings, trains, and says where the policy is."""
    carry_out(settings_of(chosen), _train, only_print=chosen.print)


def _train(settings: GRPOSettings) -> "TrainResult":
    from therapysim.train.grpo.run import train

    return train(settings)


def settings_of(chosen: argparse.Namespace) -> GRPOSettings:
    """The preset's settings, changed by the file's, changed by the options'.

    Raises:
        ConfigError: preset, file, name or value is not allowed.
        PersonaError: a persona is unknown, or one of the test patients.
    """
    return load_settings(chosen.config, given(chosen, GRPOSettings), preset=chosen.preset)
