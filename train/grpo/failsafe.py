"""What keeps a run from learning from nothing, and from losing what it has learnt.

A generation that cannot be learnt from, since patients failed or a gradient is no number, changes no weight: the run
goes back to where its sessions began and tries the same rows again, after a pause. SIGTERM, by which schedulers and
operators end a process, saves a checkpoint first.
"""

import errno
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

from accelerate.utils import broadcast_object_list, gather_object
from safetensors import SafetensorError
from torch.distributed import DistError
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from therapysim.errors import TrainingError
from therapysim.train.runs.checkpoints import checkpoint_step, newest_sound
from therapysim.train.runs.run_folder import announce, forget_after
from therapysim.train.runs.safe_trainer import TryAgain

__all__ = ["Stopped", "Terminated", "run_to_end", "told"]

_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EACCES, errno.EFBIG}


class Stopped(Exception):
    """SIGTERM came while sessions were played: the weights are those of the last update."""


class Terminated(TrainerCallback):
    """Notes SIGTERM, and ends the run after the generation it came in; one process alone need not wait for that.

    A context: within it the signal is noted, where this is the main thread; after it, all is as before.

    Attributes:
        asked: this process was told to end.
        stopped: the run ends for it, before it would have.
        every: updates that a generation serves, over all processes.
        tell: called as the signal comes, so that nobody waits on for what takes long.
    """

    def __init__(self) -> None:
        self.asked = self.stopped = False
        self.tell: Callable[[], None] = lambda: None
        self.every = 1
        self._before: Any = None

    def __enter__(self) -> "Terminated":
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGTERM, self._note)
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        if self._before is not None:
            signal.signal(signal.SIGTERM, self._before)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.asked = True
        self.tell()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if state.global_step % self.every:  # a checkpoint here would cut a generation in two
            return
        if any(gather_object([self.asked])) and state.global_step < state.max_steps:  # told to whichever process
            self.stopped = control.should_save = control.should_training_stop = True


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


def _left_alone(error: RuntimeError) -> bool:
    """Whether processes have lost one another; gloo's errors are of no class of their own."""
    return isinstance(error, DistError) or "gloo" in str(error)


def _words(error: RuntimeError) -> str:
    """What went wrong between processes, without the place in the library's source, and its advice."""
    first = str(error).splitlines()[0]
    return (first.partition("] ")[2] if first.startswith("[") else first).partition(". ")[0]


@contextmanager
def told(out: str, trainer: Any) -> Iterator[None]:
    """What goes wrong with files, connections or other processes while the run goes on, in words that say how to go on.

    Raises:
        TrainingError: it; so in each of several processes that another one has left, or kept waiting for too long.
    """
    try:
        yield
    except RuntimeError as error:
        if not _left_alone(error):
            raise
        raise TrainingError(
            f"run {out} stopped after {trainer.state.global_step} updates: another of its processes has ended, or was "
            f"not heard of for process_timeout_s ({_words(error)}); see what it wrote, and go on with --resume, on as "
            "many processes"
        ) from error
    except (OSError, SafetensorError) as error:
        full = isinstance(error, SafetensorError) or error.errno in _DISK
        why = f"a file cannot be written: {error}" if full else repr(error)
        raise TrainingError(
            f"run {out} stopped after {trainer.state.global_step} updates: {why}; mend that, and go on with --resume"
        ) from error
