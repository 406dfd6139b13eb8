"""``therapysim train dpo``: a therapist policy that learns which of two answers is better."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from therapysim.cli.policy_training import add_sources, carry_out
from therapysim.cli.setting_options import given
from therapysim.train.dpo.axolotl import write_axolotl
from therapysim.train.dpo.dpo_settings import DPOSettings, load_settings, preset_notes

if TYPE_CHECKING:
    from therapysim.train.runs.start_up import TrainResult

__all__ = ["add_options", "run", "settings_of"]

_DESCRIPTION = """\
Trains a therapist policy to prefer the better of two answers (DPO, direct preference optimisation), on files of pairs
such as `therapysim data pairs` writes: prompt, chosen, rejected. The policy it starts from is the reference.

Settings come from a preset, a file and options; of one that is given twice, the option counts before the file, and
the file before the preset. The rest are the defaults below. All of them are printed as the run begins, those that
differ from their defaults marked, and saved as settings.json in the run's folder, which --config reads."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Where settings come from, and each of them; the presets stand above, a line each."""
    parser.usage = "therapysim train dpo --pairs FILE... [--preset NAME] [--config FILE] [--SETTING VALUE ...]"
    add = add_sources(parser, DPOSettings, _DESCRIPTION, preset_notes())
    add("--axolotl", type=Path, metavar="FILE", help="write the same run as an Axolotl config, and end")


def run(chosen: argparse.Namespace) -> None:
    """Tells the settings, trains, and says where the policy is; or writes the run down for Axolotl."""
    settings = settings_of(chosen)
    if chosen.axolotl:
        write_axolotl(settings, chosen.axolotl)
        print(f"{chosen.axolotl}: the run as an Axolotl config; train it by `axolotl train {chosen.axolotl}`")
        return
    carry_out(settings, _train, only_print=chosen.print)


def _train(settings: DPOSettings) -> "TrainResult":
    from therapysim.train.dpo.run import train

    return train(settings)


def settings_of(chosen: argparse.Namespace) -> DPOSettings:
    """The preset's settings, changed by the file's, changed by the options'.

    Raises:
        ConfigError: preset, file, name or value is not allowed.
        PersonaError: a persona is unknown, or one of the test patients.
    """
    return load_settings(chosen.config, given(chosen, DPOSettings), preset=chosen.preset)
