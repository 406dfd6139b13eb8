"""``therapysim train sft``: a therapist policy that copies others, before reinforcement learning."""

import argparse
import os

from therapysim.cli.setting_options import add_settings, given
from therapysim.settings import describe_settings
from therapysim.train.sft.sft_settings import SFTSettings, load_settings

__all__ = ["add_options", "run"]

_DESCRIPTION = """\
Trains a therapist policy to say what other therapists said in sessions with simulated patients (supervised
fine-tuning). `therapysim train grpo --model RUN/policy` goes on from it. An option counts before the file of --config;
all settings are printed as the run begins, and saved as settings.json in its folder."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Where settings come from, and each of them."""
    parser.usage = "therapysim train sft [--config FILE] [--SETTING VALUE ...]"
    parser.description, parser.formatter_class = _DESCRIPTION, argparse.RawDescriptionHelpFormatter
    parser.allow_abbrev = False  # an abbreviation could mean another setting tomorrow
    add = parser.add_argument_group("where settings come from").add_argument
    add("--config", metavar="FILE", help="settings in YAML or JSON")
    add("--print", action="store_true", help="print the settings as YAML that --config reads, and end")
    add_settings(parser, SFTSettings, also={"max_steps": ["--steps"]})


def run(chosen: argparse.Namespace) -> None:
    """Tells the settings, trains, and says where the policy is."""
    settings = load_settings(chosen.config, given(chosen, SFTSettings))
    if chosen.print:
        print(describe_settings(settings), end="")
        return
    speaks = os.environ.get("RANK", "0") == "0"  # set by whatever starts several processes; one of them speaks
    if speaks:
        begun = f"{settings.out}: {settings.max_steps} updates of {settings.model}"
        print(f"{describe_settings(settings)}\n{begun}", flush=True)

    from therapysim.train.sft.run import train

    result = train(settings)
    if speaks:
        print(f"{result.steps} updates in {result.seconds:.0f} s: policy in {result.policy}, metrics in {result.out}")
