"""What keeps a run from learning from nothing, and from losing what it has learnt.

A generation that cannot be learnt from, since patients failed or a gradient is no number, changes no weight: the run
goes back to where its sessions began and tries the same rows again, after a pause.
"""

import time
from pathlib import Path
from typing import Any

from accelerate.utils import broadcast_object_list, gather_object

from therapysim.errors import TrainingError
from therapysim.train.runs.checkpoints import checkpoint_step, newest_sound
from therapysim.train.runs.ending import Terminated
from therapysim.train.runs.run_folder import announce, forget_after
from therapysim.train.runs.safe_trainer import TryAgain

__all__ = ["Stopped", "run_to_end"]


class Stopped(Exception):
    """SIGTERM came while sessions were played: the weights are those of the last update."""


def run_to_end(trainer: Any, checkpoint: str | None, terminated: Terminated) -> None:
    """Trains, and tries again what could not be learnt from.

    Args:
        trainer: a ``SessionGRPOTrainer``.
        checkpoint: where it goes on from.
        terminated: whether SIGTERM came.

    Raises:
        TrainingError: trying again did not help, or SIGTERM came.
    """
    folder, settings = Path(trainer.settings.out), trainer.settings
    terminated.every = trainer.updates_per_generation
    failures, at = 0, -1
    trainer.remember_start()
    while not terminated.stopped:
        try:
            trainer.train(resume_from_checkpoint=checkpoint)
            break
        except Stopped:
            terminated.stopped = True
            _go_back(trainer)
        except TryAgain as error:
            step = trainer.state.global_step
            failures, at = 1 if step > at else failures + 1, step
            checkpoint = _go_back(trainer)
            if failures > settings.retries:
                raise TrainingError(
                    f"run {folder} stopped after {step} updates: {error}, {failures} times; none of it was learnt "
                    "from. Mend the cause, and go on with --resume"
                ) from error
            seconds = settings.retry_pause_s * 2 ** (failures - 1) if error.pause else 0.0
            if trainer.accelerator.is_main_process:
                announce(f"update {step + 1}: {error}; the same rows again in {seconds:g} s")
            _pause(seconds, terminated)
            terminated.stopped = any(gather_object([terminated.asked]))
    if terminated.stopped:
        raise TrainingError(
            f"run {folder} was stopped by SIGTERM after {trainer.state.global_step} updates; go on with --resume"
        )


def _pause(seconds: float, terminated: Terminated) -> None:
    """Waits, and no longer than until SIGTERM."""
    until = time.monotonic() + seconds
    while time.monotonic() < until and not terminated.asked:
        time.sleep(min(1.0, max(0.0, until - time.monotonic())))


def _go_back(trainer: Any) -> str | None:
    """A checkpoint of where the present generation began, the same in all processes; None at the start of the run.

    Raises:
        TrainingError: within a generation there is none to be had, since weights have moved and no earlier was kept.
    """
    step, settings = trainer.state.global_step, trainer.settings
    found: list[str | None] = [None]
    if step:
        if step % trainer.updates_per_generation == 0:
            trainer.save_now()
        if trainer.accelerator.is_main_process:
            found[0], _ = newest_sound(Path(trainer.args.output_dir))
        broadcast_object_list(found)
        if found[0] is None:
            raise TrainingError(
                f"run {settings.out} stopped after {step} updates, within a generation and before its first "
                "checkpoint; begin again with --resume, and with smaller save_steps"
            )
    if trainer.accelerator.is_main_process:
        forget_after(Path(settings.out), checkpoint_step(found[0]))
    trainer.begin_again(from_start=found[0] is None)
    return found[0]
