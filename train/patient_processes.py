"""Scripted patients in processes of their own, so that several cores share what they cost.

Python runs one thread at a time: beside a vLLM engine in the same process, patients in a thread slow the engine down.
A process is started as ``python -P -m therapysim.train.patient_processes``, is told how to make its
``SessionBatch``, and then takes turns until its input ends. A turn is a function of session and text alone, so that who
computes it makes no difference.
"""

import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from queue import SimpleQueue
from typing import IO, Any, TypeVar

from therapysim.envs.batch import Session, SessionBatch, SessionConfig, Start, Turn
from therapysim.errors import ActionError, ConfigError, PatientError, TherapySimError
from therapysim.rewards.reading.emotions import EmotionSensor, SensorSettings
from therapysim.rewards.rubric import Rubric, RubricSettings

__all__ = ["Office", "Patients", "SpreadBatch"]

_SENSOR_THREADS = 2
# Processes that may end in one and the same turn before it is given up.
_TRIES = 3
# Sessions in one call of a process, which has a limit of time.
_MOST_A_CALL = 256
# Seconds more that the first turn of a process may take: it imports, and opens the sensor.
_START_S = 180.0
# -P: a file of the working folder called as a package is, such as tokenizers.py, is not run in the package's place.
_COMMAND = (sys.executable, "-P", "-m", "therapysim.train.patient_processes")
_READY = "ready"
# How a process that has ended shows; ValueError: its input was closed, UnpicklingError: it ended within an answer.
_BROKEN = (OSError, EOFError, ValueError, pickle.UnpicklingError)

Asked = TypeVar("Asked")
Told = TypeVar("Told")


@dataclass(frozen=True)
class Office:
    """How a process makes its environment: scripted patients, the shipped sensor, a rubric.

    A rubric of one's own travels as the place of its class, and its source: the process imports it anew.
    """

    config: SessionConfig
    rubric: Rubric | RubricSettings

    def open(self) -> SessionBatch:
        """The environment."""
        sensor = EmotionSensor(settings=SensorSettings(threads=_SENSOR_THREADS))
        return SessionBatch(self.config, sensor=sensor, rubric=self.rubric)


class Patients:
    """Several such processes; any thread may take a turn, and waits where all of them are taken.

    One that dies, or is not done in time, is replaced, and its turn played again: what went wrong in it is no patient's
    silence. The run ends where that does not help.

    Args:
        office: how each makes its environment.
        count: how many.
        timeout_s: seconds that a call of ``step`` may take in one of them, once it has started.

    Raises:
        ConfigError: the rubric is of code that another process cannot import.
        PatientError: a process cannot be started; none is left behind.
    """

    def __init__(self, office: Office, count: int, timeout_s: float = 120.0) -> None:
        self.count, self.timeout_s = count, timeout_s
        self._office = _packed(office)
        self._all: list[subprocess.Popen[bytes]] = []
        self._free: SimpleQueue[subprocess.Popen[bytes]] = SimpleQueue()
        self._ready: set[subprocess.Popen[bytes]] = set()
        self._starting, self._closed = threading.Lock(), False
        try:
            for _ in range(count):
                self._free.put(self._started())
        except BaseException as error:
            self.close()
            if isinstance(error, OSError):
                raise PatientError(f"{count} processes of patients cannot be started: {error}") from error
            raise

    def _started(self) -> subprocess.Popen[bytes]:
        with self._starting:
            if self._closed:
                raise PatientError("the patients' processes were closed")
            # A session of its own: Ctrl-C goes to the process that trains, which ends this one.
            process = subprocess.Popen(_COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)
            self._all.append(process)
        _send(process.stdin, (sys.path, self._office))
        return process

    def step(self, sessions: Sequence[Session], texts: Sequence[str]) -> tuple[tuple[Session, ...], list[Turn | None]]:
        """One turn of each session, as ``SessionBatch.step`` takes it; the sessions after it, and the turns.

        Raises:
            PatientError: its environment failed, or one process after another ended.
        """
        return self._ask("step", (tuple(sessions), list(texts)))  # type: ignore[no-any-return]

    def begin(self, starts: Sequence[Start]) -> tuple[Session, ...]:
        """One session a start, as ``SessionBatch.reset`` begins them.

        Raises:
            PatientError: its environment failed, or one process after another ended.
        """
        return self._ask("begin", (list(starts),))  # type: ignore[no-any-return]

    def _ask(self, what: str, question: tuple[Any, ...]) -> Any:
        """What a process answers, once one is free."""
        process, answer = self._free.get(), None
        try:
            for tried in range(1, _TRIES + 1):
                try:
                    answer = self._asked(process, (what, *question))
                    break
                except _BROKEN as error:
                    _end(process)
                    if tried == _TRIES or self._closed:
                        raise PatientError(
                            f"{tried} processes of patients have ended one after another in the same turn ({error!r}): "
                            "see what they wrote above; a training goes on with --resume, a draw by the same command"
                        ) from error
                    process = self._replacement()
        finally:
            self._free.put(process)
        if isinstance(answer, str):
            raise PatientError(f"a process of patients failed: {answer}")
        return answer

    def _replacement(self) -> subprocess.Popen[bytes]:
        try:
            return self._started()
        except OSError as error:
            raise PatientError(f"a process of patients cannot be started: {error}") from error

    def _asked(self, process: "subprocess.Popen[bytes]", question: Any) -> Any:
        """What it answers; one that is not done in time is killed, and so has ended within its answer."""
        if process not in self._ready:  # it says once that it has made its environment
            with _killed_after(process, self.timeout_s + _START_S):
                told = _receive(process.stdout)
            if told != _READY:
                raise PatientError(f"a process of patients cannot be opened: {told}")
            self._ready.add(process)
        with _killed_after(process, self.timeout_s):
            _send(process.stdin, question)
            return _receive(process.stdout)

    def close(self) -> None:
        """Ends the processes; again does no harm."""
        with self._starting:
            self._closed = True
        for process in self._all:
            _end(process)


class SpreadBatch:
    """As ``SessionBatch``, with each call shared out over the processes of ``Patients``.

    Args:
        patients: whose processes; the caller closes them.

    Attributes:
        sessions: as they stand.
    """

    def __init__(self, patients: Patients) -> None:
        self._patients = patients
        self.sessions: tuple[Session, ...] = ()

    def reset(self, starts: Sequence[Start]) -> tuple[Session, ...]:
        """Begins one session a start; errors as ``Patients.begin``."""
        self.sessions = tuple(self._shared(self._patients.begin, list(starts)))
        return self.sessions

    def restore(self, sessions: Sequence[Session]) -> None:
        """Goes on from kept sessions."""
        self.sessions = tuple(sessions)

    def step(self, texts: Sequence[str | None]) -> list[Turn | None]:
        """One therapist turn in every session that goes on; None for the others.

        Raises:
            ActionError: the wrong number of texts.
            PatientError: as ``Patients.step``.
        """
        if len(texts) != len(self.sessions):
            raise ActionError(f"step got {len(texts)} texts for {len(self.sessions)} sessions, expected one a session")
        going = [(i, text) for i, text in enumerate(texts) if text is not None]

        def share(part: list[tuple[int, str]]) -> list[tuple[Session, Turn | None]]:
            after, turns = self._patients.step([self.sessions[i] for i, _ in part], [text for _, text in part])
            return list(zip(after, turns, strict=True))

        sessions = list(self.sessions)
        found: list[Turn | None] = [None] * len(texts)
        for (i, _), (session, turn) in zip(going, self._shared(share, going), strict=True):
            sessions[i], found[i] = session, turn
        self.sessions = tuple(sessions)
        return found

    def _shared(self, call: Callable[[list[Asked]], Sequence[Told]], asked: list[Asked]) -> list[Told]:
        """What the call makes of each, in order; a process a share, the shares alike in size."""
        size = max(1, min(_MOST_A_CALL, -(-len(asked) // self._patients.count)))
        shares = [asked[at : at + size] for at in range(0, len(asked), size)] if asked else []
        with ThreadPoolExecutor(max(1, min(len(shares), self._patients.count))) as threads:
            return [one for told in threads.map(call, shares) for one in told]


@contextmanager
def _killed_after(process: "subprocess.Popen[bytes]", seconds: float) -> Iterator[None]:
    late = threading.Timer(seconds, process.kill)
    late.start()
    try:
        yield
    finally:
        late.cancel()


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        with suppress(OSError, ValueError):  # another thread may be in it
            if pipe:
                pipe.close()


def main() -> None:
    """A process of patients: an ``Office`` first, then what it is asked, over standard input and output."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints must not end up among the answers
    try:
        paths, office = _receive(sys.stdin.buffer)
    except EOFError:  # who started it is gone already
        return
    sys.path += [path for path in paths if path not in sys.path]  # last: nothing is run in place of a package
    try:
        batch = pickle.loads(office).open()
    except TherapySimError as error:  # a rubric of one's own is not what it was
        _send(answers, str(error))
        return
    try:
        _send(answers, _READY)
        while True:
            _send(answers, _answer(batch, *_receive(sys.stdin.buffer)))
    except (EOFError, BrokenPipeError):  # who asked is gone
        os._exit(0)  # and nothing is left to be written


def _packed(office: Office) -> bytes:
    """The office as bytes, which a process unpacks once it knows where to find modules.

    Raises:
        ConfigError: its rubric is of code that another process cannot import.
    """
    kind = type(office.rubric)
    if kind.__module__ == "__main__":
        raise ConfigError(
            f"the rubric's class {kind.__qualname__!r} stands in the script itself, which processes of patients cannot "
            "import; put it in a module of its own"
        )
    try:
        return pickle.dumps(office, protocol=pickle.HIGHEST_PROTOCOL)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise ConfigError(
            f"the rubric {kind.__qualname__!r} cannot be carried into processes of patients: {error}; let its class "
            "stand at the top of a module, and hold plain data alone"
        ) from error


def _answer(batch: SessionBatch, what: str, *question: Any) -> Any:
    """What was asked for; or, as text, what went wrong."""
    try:
        if what == "begin":
            return batch.reset(*question)
        sessions, texts = question
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
