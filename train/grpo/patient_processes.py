"""Scripted patients in processes of their own, so that what they cost does not hold up the sampler.

Python runs one thread at a time: beside a vLLM engine in the same process, patients in a thread slow the engine down.
A process is started as ``python -P -m therapysim.train.grpo.patient_processes``, is told how to make its
``SessionBatch``, and then takes turns until its input ends. A turn is a function of session and text alone, so that who
computes it makes no difference.
"""

import os
import pickle
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from typing import IO, Any

from therapysim.envs.batch import Session, SessionBatch, SessionConfig, Turn
from therapysim.errors import PatientError
from therapysim.rewards.reading.emotions import EmotionSensor, SensorSettings
from therapysim.rewards.rubric import RubricSettings

__all__ = ["Office", "Patients"]

_SENSOR_THREADS = 2
# -P: a file of the working folder called as a package is, such as tokenizers.py, is not run in the package's place.
_COMMAND = (sys.executable, "-P", "-m", "therapysim.train.grpo.patient_processes")
# How a process that has ended shows; ValueError: its input was closed, UnpicklingError: it ended within an answer.
_BROKEN = (OSError, EOFError, ValueError, pickle.UnpicklingError)


@dataclass(frozen=True)
class Office:
    """How a process makes its environment: scripted patients, the shipped sensor, a rubric."""

    config: SessionConfig
    rubric: RubricSettings

    def open(self) -> SessionBatch:
        """The environment."""
        sensor = EmotionSensor(settings=SensorSettings(threads=_SENSOR_THREADS))
        return SessionBatch(self.config, sensor=sensor, rubric=self.rubric)


class Patients:
    """Several such processes; any thread may take a turn, and waits where all of them are taken.

    What goes wrong here is no patient's silence, which would fail a session alone: it ends the run.

    Args:
        office: how each makes its environment.
        count: how many.

    Raises:
        PatientError: a process cannot be started; none is left behind.
    """

    def __init__(self, office: Office, count: int) -> None:
        self.count = count
        self._all: list[subprocess.Popen[bytes]] = []
        self._free: SimpleQueue[subprocess.Popen[bytes]] = SimpleQueue()
        try:
            for _ in range(count):
                self._start(office)
        except BaseException as error:
            self.close()
            if isinstance(error, OSError):
                raise PatientError(f"{count} processes of patients cannot be started: {error}") from error
            raise

    def _start(self, office: Office) -> None:
        # A session of its own: Ctrl-C goes to the process that trains, which ends this one.
        process = subprocess.Popen(_COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)
        self._all.append(process)
        _send(process.stdin, office)
        self._free.put(process)

    def step(self, sessions: Sequence[Session], texts: Sequence[str]) -> tuple[tuple[Session, ...], list[Turn | None]]:
        """One turn of each session, as ``SessionBatch.step`` takes it; the sessions after it, and the turns.

        Raises:
            PatientError: the process has ended, or its environment failed.
        """
        process = self._free.get()
        try:
            _send(process.stdin, (tuple(sessions), list(texts)))
            answer = _receive(process.stdout)
        except _BROKEN as error:
            raise PatientError(
                f"a process of patients has ended ({error!r}): see what it wrote above, and go on with --resume"
            ) from error
        finally:
            self._free.put(process)
        if isinstance(answer, str):
            raise PatientError(f"a process of patients failed: {answer}")
        return answer[0], answer[1]

    def close(self) -> None:
        """Ends the processes; again does no harm."""
        for process in self._all:
            process.kill()
            process.communicate()


def main() -> None:
    """A process of patients: an ``Office`` first, then sessions and texts, over standard input and output."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints must not end up among the answers
    try:
        office = _receive(sys.stdin.buffer)
    except EOFError:  # who started it is gone already
        return
    batch = office.open()
    try:
        while True:
            _send(answers, _take_turn(batch, *_receive(sys.stdin.buffer)))
    except (EOFError, BrokenPipeError):  # who asked is gone
        os._exit(0)  # and nothing is left to be written


def _take_turn(batch: SessionBatch, sessions: Sequence[Session], texts: Sequence[str]) -> Any:
    """Sessions and turns; or, as text, what went wrong."""
    try:
        batch.restore(sessions)
        turns = batch.step(texts)
    except Exception as error:  # told to the process that asked, which raises it
        return repr(error)
    return batch.sessions, turns


def _send(file: IO[bytes] | None, what: Any) -> None:
    if file is None:
        raise EOFError("it has no input")
    pickle.dump(what, file, protocol=pickle.HIGHEST_PROTOCOL)
    file.flush()


def _receive(file: IO[bytes] | None) -> Any:
    if file is None:
        raise EOFError("it has no output")
    return pickle.load(file)


if __name__ == "__main__":
    main()
