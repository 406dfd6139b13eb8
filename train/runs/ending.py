"""How a training of a policy ends before its time: by SIGTERM, or by what goes wrong outside of it.

SIGTERM, by which schedulers and operators end a process, saves a checkpoint first.
"""

import errno
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any

from accelerate.utils import gather_object
from safetensors import SafetensorError
from torch.distributed import DistError
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from therapysim.errors import TrainingError

__all__ = ["Terminated", "told"]

_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EACCES, errno.EFBIG}


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
