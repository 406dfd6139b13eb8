"""What a training of a policy says in the terminal: its settings, how to go on if broken off, where the policy is."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from therapysim.settings import describe_settings
from therapysim.train.run_settings import RunSettings

if TYPE_CHECKING:
    from therapysim.train.runs.start_up import TrainResult

__all__ = ["carry_out"]

R = TypeVar("R", bound=RunSettings)


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
