"""``therapysim train sft``: a therapist policy that copies others, before reinforcement learning."""

import argparse
from typing import TYPE_CHECKING

from therapysim.cli.policy_training import add_sources, carry_out
from therapysim.cli.setting_options import given
from therapysim.train.sft.sft_settings import SFTSettings, load_settings

if TYPE_CHECKING:
    from therapysim.train.runs.start_up import TrainResult

__all__ = ["add_options", "run", "settings_of"]

_DESCRIPTION = """\
Trains a therapist policy to say what other therapists said in sessions with simulated patients (supervised
fine-tuning). `therapysim train grpo --model RUN/policy` goes on from it. An option counts before the file of --config;
all settings are printed as the run begins, and saved as settings.json in its folder."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Where settings come from, and each of them."""
    parser.usage = "therapysim train sft [--config FILE] [--SETTING VALUE ...]"
    add_sources(parser, SFTSettings, _DESCRIPTION, {})


def run(chosen: argparse.Namespace) -> None:
    """Tells the settings, trains, and says where the policy is."""
    carry_out(settings_of(chosen), _train, only_print=chosen.print)


def _train(settings: SFTSettings) -> "TrainResult":
    from therapysim.train.sft.run import train

    return train(settings)


def settings_of(chosen: argparse.Namespace) -> SFTSettings:
    """The file's settings, changed by the options'.

    Raises:
        ConfigError: file, name or value is not allowed.
        PersonaError: a persona is unknown, or one of the test patients.
    """
    return load_settings(chosen.config, given(chosen, SFTSettings))
