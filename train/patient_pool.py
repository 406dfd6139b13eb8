"""Workers that take turns: a turn is a function of session and text alone, so any worker takes any turn.

``patient_processes.Patients`` has processes of this machine, ``connect.ray_workers.RayPatients`` actors of a cluster.
"""

import pickle
import threading
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from queue import SimpleQueue
from types import TracebackType
from typing import Any, ClassVar, Generic, Self, TypeVar

from therapysim.envs.batch import Session, SessionBatch, SessionConfig, Start, Turn
from therapysim.errors import (
    ActionError,
    ConfigError,
    EpisodeError,
    PatientError,
    PersonaError,
    TherapySimError,
    require_count,
)
from therapysim.models.chat import calls_at_once
from therapysim.personas.patient import Patient
from therapysim.rewards.reading.emotions import EmotionSensor, SensorSettings
from therapysim.rewards.rubric import Rubric
from therapysim.rewards.rubric_settings import RubricSettings

__all__ = ["Office", "PatientPool", "answer", "opened", "packed"]

# Workers that may end in one and the same turn before it is given up.
_TRIES = 3
# What the one who asked did wrong: told as it is.
_MISTAKES = (ActionError, ConfigError, EpisodeError, PersonaError)

Worker = TypeVar("Worker")


@dataclass(frozen=True)
class Office:
    """How a worker makes its environment, with the shipped sensor. It is pickled, and the patient with it.

    Attributes:
        config: settings of the sessions.
        rubric: scores the turns; or the name of a preset, a file or a class of one's own. A rubric of one's own
            travels as the place of its class, and its source: a worker imports it anew.
        patient: by name, as ``SessionBatch`` takes it, opened in each worker; or one of your own that pickles, of a
            module that the workers can import. How many calls it takes at once in a worker, its ``at_once`` says.
        sensor_threads: texts that a worker reads at once.
    """

    config: SessionConfig = field(default_factory=SessionConfig)
    rubric: Rubric | RubricSettings | str | None = None
    patient: Patient | str = "scripted"
    sensor_threads: int = 2

    def open(self) -> SessionBatch:
        """The environment; errors as of ``SessionBatch``."""
        sensor = EmotionSensor(settings=SensorSettings(threads=self.sensor_threads))
        batch = SessionBatch(self.config, sensor=sensor, patient=self.patient, rubric=self.rubric)
        batch.at_once = calls_at_once(batch.patient)
        return batch


class PatientPool(ABC, Generic[Worker]):
    """Several workers; any thread may take a turn, and waits where all of them are taken.

    One that dies, or is not done in time, is replaced, and its turn played again: what went wrong in it is no patient's
    silence. A patient that fails, fails its own session alone, as in ``SessionBatch``. Leaving a ``with`` block closes
    the pool.

    Args:
        office: how each makes its environment.
        count: how many.
        timeout_s: seconds that a call may take in one of them, once it has started.

    Raises:
        ConfigError: the count is below 1, or the rubric is of code that a worker cannot import.
        PatientError: a worker cannot be started; none is left behind.
    """

    #: What its workers are, for messages.
    called: ClassVar[str]
    #: How a worker that has ended, or is late, shows.
    broken: ClassVar[tuple[type[BaseException], ...]]

    def __init__(self, office: Office, count: int, timeout_s: float = 120.0) -> None:
        self.count, self.timeout_s = require_count("count", count, 1), timeout_s
        self.office, self._office = office, self._packed(office)
        self._all: list[Worker] = []
        self._free: SimpleQueue[Worker] = SimpleQueue()
        self._ready: set[Worker] = set()
        self._starting, self._closed = threading.Lock(), False
        try:
            for _ in range(count):
                self._free.put(self._started())
        except BaseException as error:
            self.close()
            if isinstance(error, OSError):
                raise PatientError(f"{count} {self.called} of patients cannot be started: {error}") from error
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _packed(self, office: Office) -> bytes:
        return packed(office)

    @abstractmethod
    def _start(self) -> Worker:
        """A new worker, which need not be ready yet."""

    @abstractmethod
    def _open(self, worker: Worker) -> Exception | None:
        """Waits until it has made its environment; tells what went wrong in that."""

    @abstractmethod
    def _asked(self, worker: Worker, question: tuple[Any, ...]) -> Any:
        """What ``answer`` makes of the question there."""

    @abstractmethod
    def _end(self, worker: Worker) -> None:
        """Ends it, whatever it does; again does no harm."""

    def step(self, sessions: Sequence[Session], texts: Sequence[str]) -> tuple[tuple[Session, ...], list[Turn | None]]:
        """One turn of each session, as ``SessionBatch.step`` takes it; the sessions after it, and the turns.

        Raises:
            ActionError, EpisodeError: as ``SessionBatch.step``.
            PatientError: its environment failed, or one worker after another ended.
        """
        return self._ask("step", tuple(sessions), list(texts))  # type: ignore[no-any-return]

    def begin(self, starts: Sequence[Start]) -> tuple[Session, ...]:
        """One session a start, as ``SessionBatch.reset`` begins them.

        Raises:
            ConfigError, PersonaError: as ``SessionBatch.reset``.
            PatientError: as ``step``.
        """
        return self._ask("begin", list(starts))  # type: ignore[no-any-return]

    def resume(self, sessions: Sequence[Session]) -> tuple[Session, ...]:
        """The sessions, those that failed from before their failure, as ``SessionBatch.resume``; errors as ``step``."""
        return self._ask("resume", tuple(sessions))  # type: ignore[no-any-return]

    def _ask(self, *question: Any) -> Any:
        """What a worker answers, once one is free."""
        worker, told = self._free.get(), None
        try:
            for tried in range(1, _TRIES + 1):
                try:
                    told = self._told(worker, question)
                    break
                except self.broken as error:
                    self._end(worker)
                    if tried == _TRIES or self._closed:
                        raise PatientError(
                            f"{tried} {self.called} of patients have ended one after another in the same turn "
                            f"({error!r}): see what they wrote above; a training goes on with --resume, a draw by the "
                            "same command"
                        ) from error
                    worker = self._replacement()
                except BaseException:
                    self._end(worker)  # it was left in the midst of a question or an answer
                    raise
        finally:
            self._free.put(worker)
        if isinstance(told, Exception):
            raise told
        return told

    def _told(self, worker: Worker, question: tuple[Any, ...]) -> Any:
        if worker not in self._ready:
            if fault := self._open(worker):
                return fault
            self._ready.add(worker)
        return self._asked(worker, question)

    def _started(self) -> Worker:
        with self._starting:
            if self._closed:
                raise PatientError(f"the patients' {self.called} were closed")
            worker = self._start()
            self._all.append(worker)
        return worker

    def _replacement(self) -> Worker:
        try:
            return self._started()
        except OSError as error:
            raise PatientError(f"one of the {self.called} of patients cannot be started: {error}") from error

    def close(self) -> None:
        """Ends the workers; again does no harm."""
        with self._starting:
            self._closed = True
        for worker in self._all:
            self._end(worker)


def packed(office: Office) -> bytes:
    """The office as bytes, which a worker unpacks once it knows where to find modules.

    Raises:
        ConfigError: its rubric or patient is of code that a worker cannot import.
    """
    kinds = [type(own) for own in (office.rubric, office.patient)]
    for kind in kinds:
        if kind.__module__ == "__main__":
            raise ConfigError(
                f"class {kind.__qualname__!r} stands in the script itself, which workers of patients cannot import; "
                "put it in a module of its own"
            )
    try:
        return pickle.dumps(office, protocol=pickle.HIGHEST_PROTOCOL)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        names = ", ".join(repr(kind.__qualname__) for kind in kinds if not kind.__module__.startswith("builtins"))
        raise ConfigError(
            f"{names} cannot be carried to workers of patients: {error}; let a class stand at the top of a module, and "
            "hold plain data alone"
        ) from error


def opened(office: bytes) -> SessionBatch | Exception:
    """The environment of a pickled ``Office``; or what went wrong."""
    try:
        return pickle.loads(office).open()  # type: ignore[no-any-return]
    except TherapySimError as error:
        return error
    except Exception as error:
        return PatientError(f"a worker of patients cannot make its environment: {error!r}")


def answer(batch: SessionBatch, what: str, *question: Any) -> Any:
    """What a worker answers: to "begin" and "resume" the sessions, to "step" sessions and turns; or what went wrong."""
    try:
        if what == "begin":
            return batch.reset(*question)
        batch.restore(question[0])
        if what == "resume":
            batch.resume()
            return batch.sessions
        turns = batch.step(question[1])
    except _MISTAKES as error:
        return error
    except Exception as error:  # told to the one who asked, who raises it
        return PatientError(f"a worker of patients failed: {error!r}")
    return batch.sessions, turns
