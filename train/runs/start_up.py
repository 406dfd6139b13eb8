"""What every training does before it has a trainer, and what it gives back in the end."""

import atexit
import os
import warnings
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list, get_int_from_env

from therapysim.errors import ConfigError, TherapySimError
from therapysim.train.run_settings import RunSettings
from therapysim.train.runs.lock import locked
from therapysim.train.runs.run_folder import open_run

__all__ = ["TrainResult", "by_one", "check_devices", "cores", "join_processes", "open_once", "quieten"]

T = TypeVar("T")


@dataclass(frozen=True)
class TrainResult:
    """What came of a run.

    Attributes:
        policy: folder of the trained adapter; ``therapysim.models.checkpoint.load`` reads it.
        out: folder of the run; ``run_folder.py`` says what lies there.
        steps: updates made in all, those before a resume included.
        seconds: how long this call took.
        metrics: the newest value of every metric.
    """

    policy: Path
    out: Path
    steps: int
    seconds: float
    metrics: dict[str, Any]


def open_once(settings: RunSettings, held: ExitStack) -> str | None:
    """The run's folder is locked and opened by one process; the others are told the checkpoint.

    Raises:
        ConfigError: as ``open_run``, in every process.
    """

    def open_it() -> str | None:
        held.enter_context(locked(Path(settings.out)))
        return open_run(settings)

    return by_one(open_it)


def by_one(act: Callable[[], T]) -> T:
    """What one process does for all; the others wait for it and are told what came of it.

    Raises:
        TherapySimError: as ``act``, in every process: the others would wait for one that has given up.
    """
    told: list[Any] = [None, None]
    if PartialState().is_main_process:
        try:
            told[0] = act()
        except TherapySimError as error:
            told[1] = error
    broadcast_object_list(told)
    if told[1] is not None:
        raise told[1]
    found: T = told[0]
    return found


def join_processes(settings: RunSettings) -> None:
    """Meets the run's other processes where they are on a CPU: transformers would leave out how long to wait for one.

    GPUs' processes are met by transformers, which is told it as ``ddp_timeout``.
    """
    if not torch.accelerator.is_available():
        PartialState(cpu=True, timeout=timedelta(seconds=settings.process_timeout_s))
        atexit.unregister(_leave)
        atexit.register(_leave)


def _leave() -> None:
    """Leaves the other processes in order: one that ends without it is now and then aborted by gloo as it ends."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def check_devices(processes: int) -> None:
    """One process would spread each batch over all GPUs it sees, which neither TRL nor vLLM is made for."""
    if processes == 1 and torch.cuda.device_count() > 1:
        raise ConfigError(
            f"{torch.cuda.device_count()} GPUs are visible to one process; for one of them set CUDA_VISIBLE_DEVICES=0, "
            "for all of them start one process a GPU with `accelerate launch`, see docs/training.md"
        )


def quieten() -> None:
    """Drops two warnings that whoever trains can do nothing about."""
    # rollout.py is the one place to mend if rollout_func changes, and trl is pinned.
    warnings.filterwarnings("ignore", message=".*rollout_func.*experimental")
    # TRL uses a name that transformers is replacing.
    warnings.filterwarnings("ignore", message=".*gradient_checkpointing.*deprecated", category=FutureWarning)


def cores() -> int:
    """The cores that fall to this process: those of its host, shared with the others there, not with other hosts'."""
    return max(1, (os.cpu_count() or 2) // get_int_from_env(["LOCAL_WORLD_SIZE"], 1))
