"""What the commands of ``therapysim data`` share: their options, and what they say in the end."""

import argparse
from math import isnan

from therapysim.cli.options import add_key
from therapysim.cli.setting_options import add_settings, given
from therapysim.settings import describe_settings, layered, read_settings
from therapysim.train.pairs.pair_settings import PairSettings
from therapysim.train.pairs.set_folder import Kind
from therapysim.train.pairs.shortcuts import LEAST

__all__ = ["add_set_options", "make", "settings_of"]


def add_set_options(parser: argparse.ArgumentParser, *, usage: str, told: str) -> None:
    """Where settings come from, and each of them."""
    parser.usage, parser.description = usage, told
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.allow_abbrev = False
    add = parser.add_argument_group("where settings come from").add_argument
    add("--config", metavar="FILE", help="settings in YAML or JSON")
    add("--print", action="store_true", help="print the settings as YAML that --config reads, and end")
    add_key(parser)
    add_settings(parser, PairSettings, also={"personas": ["--patients"]})


def make(kind: Kind, chosen: argparse.Namespace) -> None:
    """Draws a set, and prints where it lies and how far it can be trusted."""
    settings = settings_of(chosen)
    if chosen.print:
        print(describe_settings(settings), end="")
        return
    from therapysim.train.pairs.run import draw_set

    result = draw_set(kind, settings, api_key_env=chosen.api_key_env)
    sheet, seen = result.sheet, result.sheet["shortcuts"]["after"]
    rate = f", {60 * result.drawn / result.seconds:.0f} states a minute" if result.drawn else ""
    print(f"{sheet['rows']} {kind} of {sheet['states']} states: {result.file}")
    print("dropped: " + (", ".join(f"{n} {why}" for why, n in sheet["dropped"].items()) or "none"))
    few = f"too few pairs, or patients, to tell how far shortcuts go: expected {LEAST} pairs of two patients or more"
    told = f"told apart by length {seen['length']:.2f}, by surface {seen['surface']:.2f} (AUC)"
    print(few if isnan(seen["surface"]) else told)
    print(f"{result.drawn} states drawn in {result.seconds:.0f} s{rate}; more in {result.file.parent / 'sheet.md'}")


def settings_of(chosen: argparse.Namespace) -> PairSettings:
    """The file's settings, changed by the options'.

    Raises:
        ConfigError: file, name or value is not allowed.
        PersonaError: a persona is unknown, or one of the test patients.
    """
    named = read_settings(chosen.config) if chosen.config else {}
    return layered(PairSettings, [(f"settings file {chosen.config}", named), ("", given(chosen, PairSettings))])
