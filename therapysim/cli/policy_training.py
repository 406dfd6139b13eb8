"""What a training of a policy says in the terminal: its settings, how to go on if broken off, where the policy is."""

import argparse
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from therapysim.cli.setting_options import add_settings
from therapysim.settings import describe_settings
from therapysim.train.run_settings import RunSettings

if TYPE_CHECKING:
    from therapysim.train.runs.start_up import TrainResult

__all__ = ["add_sources", "carry_out"]

R = TypeVar("R", bound=RunSettings)


def add_sources(
    parser: argparse.ArgumentParser, kind: type[RunSettings], description: str, notes: Mapping[str, str]
) -> Any:
    """Where the settings of a training come from, and each of them; presets stand above, a line each.

    Args:
        parser: of the command.
        kind: the settings.
        description: what the command does.
        notes: preset -> a line on it; none for a training without presets.

    Returns:
        ``add_argument`` of the group of the sources, for what a training has beside these.
    """
    parser.description, parser.formatter_class = description, argparse.RawDescriptionHelpFormatter
    parser.allow_abbrev = False  # an abbreviation could mean another setting tomorrow
    listed = "\n".join(f"{name:{max(map(len, notes))}}  {about}" for name, about in notes.items())
    group = parser.add_argument_group("where settings come from", f"presets:\n{listed}" if notes else None)
    if notes:
        group.add_argument("--preset", metavar="NAME", help="begin with the settings of one of these")
    over = "; they override the preset" if notes else ""
    group.add_argument("--config", metavar="FILE", help=f"settings in YAML or JSON{over}")
    group.add_argument("--print", action="store_true", help="print the settings as YAML that --config reads, and end")
    add_settings(parser, kind, also={"max_steps": ["--steps"], "personas": ["--patients"]})
    return group.add_argument


def carry_out(settings: R, train: "Callable[[R], TrainResult]", *, only_print: bool) -> None:
    """Trains, or tells the settings alone. Of several processes, one speaks.

    Args:
        settings: of the run.
        train: imports what needs torch only when it is called, after the settings were told.
        only_print: end with the settings.
    """
    if only_print:
        print(describe_settings(settings), end="")
        return
    speaks = os.environ.get("RANK", "0") == "0"  # set by whatever starts several processes
    if speaks:
        begun = f"{settings.out}: {settings.max_steps} updates of {settings.model}"
        print(f"{describe_settings(settings)}\n{begun}", flush=True)
    try:
        result = train(settings)
    except KeyboardInterrupt:
        if speaks and any(Path(settings.out).glob("checkpoints/checkpoint-*")):
            print(f"{settings.out}: the same command with --resume goes on from the newest checkpoint", file=sys.stderr)
        raise
    if speaks:
        print(f"{result.steps} updates in {result.seconds:.0f} s: policy in {result.policy}, metrics in {result.out}")
