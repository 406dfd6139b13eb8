"""Ray: patients in actors, on as many hosts as its cluster has; needs ``ray``.

    with RayPatients(Office(SessionConfig(max_turns=8)), count=64) as patients:
        batch = SpreadBatch(patients)  # as SessionBatch

The cluster is that of ``ray.init``; where nobody called it, Ray's own default: ``RAY_ADDRESS``, else this machine.
Every host of it has this package.
"""

from contextlib import suppress
from typing import Any

import ray
from ray import cloudpickle
from ray.exceptions import GetTimeoutError, RayError

from therapysim.envs.batch import SessionBatch
from therapysim.errors import EpisodeError, PatientError
from therapysim.train.patient_pool import Office, PatientPool, answer, opened
from therapysim.train.spread_batch import SpreadBatch

__all__ = ["Office", "RayPatients", "SpreadBatch"]


class Desk:
    """What an actor is: the other end of ``RayPatients``."""

    def __init__(self) -> None:
        self._batch: SessionBatch | None = None

    def open(self, office: bytes) -> Exception | None:
        """Makes the environment; tells what went wrong in that."""
        made = opened(office)
        if isinstance(made, Exception):
            return made
        self._batch = made
        return None

    def answer(self, question: tuple[Any, ...]) -> Any:
        """What ``patient_pool.answer`` makes of the question."""
        return answer(self._batch, *question) if self._batch else EpisodeError("the actor was not opened")


class RayPatients(PatientPool[Any]):
    """Actors that take turns: ``PatientPool`` says how.

    Args:
        office: how each makes its environment; Ray pickles by value a patient of ``__main__``, as of a notebook.
        count: how many actors.
        timeout_s: seconds that a call may take in one of them, once it has started.
        start_s: seconds that an actor may take to start: to find a place, to import, to open sensor and patient.
        options: of the actors, as ``ray.remote`` takes them: ``num_cpus`` (1 by default), ``num_gpus``,
            ``runtime_env``, ``scheduling_strategy``, ….

    Raises:
        ConfigError: the count is below 1.
        PatientError: when a turn is asked for, where no actor starts.
    """

    called = "actors"
    broken = (RayError,)

    def __init__(
        self, office: Office, count: int, timeout_s: float = 120.0, *, start_s: float = 300.0, **options: Any
    ) -> None:
        self.start_s, self._options = start_s, {"num_cpus": 1, **options}
        super().__init__(office, count, timeout_s)

    def _packed(self, office: Office) -> bytes:
        return cloudpickle.dumps(office)  # type: ignore[no-any-return]

    def _start(self) -> Any:
        return ray.remote(Desk).options(**self._options).remote()

    def _open(self, worker: Any) -> Exception | None:
        try:
            return ray.get(worker.open.remote(self._office), timeout=self.start_s)  # type: ignore[no-any-return]
        except GetTimeoutError:
            there = ray.cluster_resources()
            return PatientError(
                f"an actor of patients did not start in {self.start_s:g} s: {self.count} actors were asked for, with "
                f"{self._options} each, and the cluster has {there.get('CPU', 0):g} CPUs and {there.get('GPU', 0):g} "
                "GPUs; start more hosts, ask for fewer actors, or give a smaller num_cpus"
            )

    def _asked(self, worker: Any, question: tuple[Any, ...]) -> Any:
        return ray.get(worker.answer.remote(question), timeout=self.timeout_s)

    def _end(self, worker: Any) -> None:
        if ray.is_initialized():
            with suppress(RayError):
                ray.kill(worker)
