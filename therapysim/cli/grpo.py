"""``therapysim train grpo``: every setting is an option, and every run begins by telling its settings."""

import argparse
import difflib
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import Field, fields
from itertools import groupby
from pathlib import Path
from typing import Any

import yaml

from therapysim.train.grpo.grpo_settings import CHOICES, GRPOSettings, load_settings, preset_notes

__all__ = ["OptionParser", "add_train_grpo", "settings_of", "tell", "train_grpo"]

_DESCRIPTION = """\
Trains a therapist policy by GRPO (Group Relative Policy Optimization) on whole sessions with simulated patients.

Settings come from a preset, a file and options; of one that is given twice, the option counts before the file, and
the file before the preset. The rest are the defaults below. All of them are printed as the run begins, those that
differ from their defaults marked, and saved as settings.json in the run's folder, which --config reads."""


class OptionParser(argparse.ArgumentParser):
    """A parser that answers an unknown option with the nearest one that there is."""

    def parse_known_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]
        """As argparse's; ends with an error where an option is unknown."""
        chosen, unknown = super().parse_known_args(args, namespace)
        for option in (text.partition("=")[0] for text in unknown if text.startswith("-")):
            near = difflib.get_close_matches(option, self._option_string_actions, n=1)
            self.error(f"option {option} is unknown; " + (f"did you mean {near[0]}?" if near else "see --help"))
        return chosen, unknown


def add_train_grpo(kinds: Any) -> None:
    """``therapysim train grpo``."""
    parser = kinds.add_parser(
        "grpo",
        help="a therapist policy, by GRPO on whole sessions",
        usage="therapysim train grpo [--preset NAME] [--config FILE] [--SETTING VALUE ...]",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,  # an abbreviation could mean another setting tomorrow
    )
    _add_sources(parser)
    for group, settings in _groups():
        options = parser.add_argument_group(group)
        for setting in settings:
            _add_setting(options, setting)
    parser.set_defaults(run=train_grpo)


def train_grpo(chosen: argparse.Namespace) -> None:
    """Tells the settings, trains, and says where the policy is."""
    settings = settings_of(chosen)
    if chosen.print:
        print(tell(settings), end="")
        return
    speaks = os.environ.get("RANK", "0") == "0"  # set by whatever starts several processes; one of them speaks
    if speaks:
        print(f"{tell(settings)}\n{settings.out}: {settings.max_steps} updates of {settings.model}", flush=True)

    from therapysim.train.grpo.run import train

    try:
        result = train(settings)
    except KeyboardInterrupt:
        if speaks and any(Path(settings.out).glob("checkpoints/checkpoint-*")):
            print(f"{settings.out}: the same command with --resume goes on from the newest checkpoint", file=sys.stderr)
        raise
    if speaks:
        print(f"{result.steps} updates in {result.seconds:.0f} s: policy in {result.policy}, metrics in {result.out}")


def settings_of(chosen: argparse.Namespace) -> GRPOSettings:
    """The preset's settings, changed by the file's, changed by the options'.

    Raises:
        ConfigError: preset, file, name or value is not allowed.
        PersonaError: a persona is unknown, or one of the test patients.
    """
    given = {f.name: getattr(chosen, f.name) for f in fields(GRPOSettings) if hasattr(chosen, f.name)}
    return load_settings(chosen.config, given, preset=chosen.preset)


def tell(settings: GRPOSettings) -> str:
    """All settings as YAML that ``load_settings`` reads, by group; those that differ from their defaults are marked."""
    lines = []
    for group, members in _groups():
        lines.append(f"# {group}")
        for setting in members:
            value = getattr(settings, setting.name)
            mark = "" if value == setting.default else f"  # default: {_shown(setting.default)}"
            lines.append(f"{setting.name}: {_yaml(value)}{mark}")
    return "\n".join(lines) + "\n"


def _groups() -> Iterable[tuple[str, Iterable[Field[Any]]]]:
    return groupby(fields(GRPOSettings), key=lambda setting: setting.metadata["group"])


def _yaml(value: Any) -> str:
    """One value on one line; texts that YAML would read otherwise, such as off, in quotes."""
    plain = list(value) if isinstance(value, tuple) else value
    text = yaml.safe_dump(plain, default_flow_style=True, allow_unicode=True, width=float("inf"))
    return text.removesuffix("...\n").strip()


def _shown(default: Any) -> str:
    """A default as one would type it behind its option."""
    if isinstance(default, bool):
        return "true" if default else "false"
    return (" ".join(default) if isinstance(default, tuple) else f"{default}") or "none"


def _add_sources(parser: argparse.ArgumentParser) -> None:
    """``--preset``, ``--config`` and ``--print``; the presets stand above them, a line each."""
    notes = preset_notes()
    width = max(map(len, notes))
    listed = "\n".join(f"{name:{width}}  {about}" for name, about in notes.items())
    sources = parser.add_argument_group("where settings come from", f"presets:\n{listed}")
    sources.add_argument("--preset", metavar="NAME", help="begin with the settings of one of these")
    sources.add_argument("--config", metavar="FILE", help="settings in YAML or JSON; they override the preset")
    sources.add_argument("--print", action="store_true", help="print the settings as YAML that --config reads, and end")


def _add_setting(options: Any, setting: Field[Any]) -> None:
    """One option of a setting's type; left out of the result unless given, so that a file's value stands."""
    name, default = setting.name, setting.default
    flags = [f"--{name.replace('_', '-')}", *(["--steps"] if name == "max_steps" else [])]
    wanted: dict[str, Any] = {"dest": name, "default": argparse.SUPPRESS}
    wanted["help"] = f"{setting.metadata['help']} (default {_shown(default)})"
    # The choices are shown here and checked by the settings, whose message names the nearest.
    metavar = "{" + ",".join(CHOICES[name]) + "}" if name in CHOICES else type(default).__name__.upper()
    if isinstance(default, bool):
        wanted["action"] = argparse.BooleanOptionalAction
    elif isinstance(default, tuple):
        wanted |= {"nargs": "*", "metavar": metavar if name in CHOICES else "NAME"}
    else:
        wanted |= {"type": type(default), "metavar": metavar}
    options.add_argument(*flags, **wanted)
