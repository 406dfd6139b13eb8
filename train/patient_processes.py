"""Patients in processes of their own, so that several cores share what they cost.

Python runs one thread at a time: beside a vLLM engine in the same process, patients in a thread slow the engine down.
A process is started as ``python -P -m therapysim.train.patient_processes``, is told how to make its
``SessionBatch``, and then takes turns until its input ends.
"""

import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO, Any

from therapysim.train.patient_pool import Office, PatientPool, answer, opened
from therapysim.train.spread_batch import SpreadBatch

__all__ = ["Office", "Patients", "SpreadBatch"]

# Seconds more that the first turn of a process may take: it imports, and opens the sensor.
_START_S = 180.0
# -P: a file of the working folder called as a package is, such as tokenizers.py, is not run in the package's place.
_COMMAND = (sys.executable, "-P", "-m", "therapysim.train.patient_processes")


class Patients(PatientPool["subprocess.Popen[bytes]"]):
    """Processes of this machine, that take turns: ``PatientPool`` says how, and what it takes."""

    called = "processes"
    # ValueError: its input was closed, UnpicklingError: it ended within an answer.
    broken = (OSError, EOFError, ValueError, pickle.UnpicklingError)

    def _start(self) -> "subprocess.Popen[bytes]":
        # A session of its own: Ctrl-C goes to the process that trains, which ends this one.
        return subprocess.Popen(_COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)

    def _started(self) -> "subprocess.Popen[bytes]":
        process = super()._started()
        _send(process.stdin, (sys.path, self._office))
        return process

    def _open(self, process: "subprocess.Popen[bytes]") -> Exception | None:
        with _killed_after(process, self.timeout_s + _START_S):
            told = _receive(process.stdout)
        return told if isinstance(told, Exception) else None

    def _asked(self, process: "subprocess.Popen[bytes]", question: tuple[Any, ...]) -> Any:
        """What it answers; one that is not done in time is killed, and so has ended within its answer."""
        with _killed_after(process, self.timeout_s):
            _send(process.stdin, question)
            return _receive(process.stdout)

    def _end(self, process: "subprocess.Popen[bytes]") -> None:
        _kill(process)
        process.wait()
        for pipe in (process.stdin, process.stdout):
            with suppress(OSError, ValueError):  # another thread may be in it
                if pipe:
                    pipe.close()


def _kill(process: "subprocess.Popen[bytes]") -> None:
    """And what it has started itself, which holds its pipes open: it leads a group of its own."""
    if process.returncode is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


@contextmanager
def _killed_after(process: "subprocess.Popen[bytes]", seconds: float) -> Iterator[None]:
    late = threading.Timer(seconds, _kill, [process])
    late.start()
    try:
        yield
    finally:
        late.cancel()


def main() -> None:
    """A process of patients: an ``Office`` first, then what it is asked, over standard input and output."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints must not end up among the answers
    try:
        paths, office = _receive(sys.stdin.buffer)
        sys.path += [path for path in paths if path not in sys.path]  # last: nothing is run in place of a package
        batch = opened(office)
        if isinstance(batch, Exception):
            return _send(answers, batch)
        _send(answers, "ready")
        while True:
            _send(answers, answer(batch, *_receive(sys.stdin.buffer)))
    except (EOFError, BrokenPipeError):  # who asked is gone
        os._exit(0)  # and nothing is left to be written


def _send(file: IO[bytes] | None, what: Any) -> None:
    if file is None:
        raise EOFError("it has no input")
    file.write(pickle.dumps(what, protocol=pickle.HIGHEST_PROTOCOL))  # whole, or not at all
    file.flush()


def _receive(file: IO[bytes] | None) -> Any:
    if file is None:
        raise EOFError("it has no output")
    return pickle.load(file)


if __name__ == "__main__":
    main()
