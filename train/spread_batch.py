"""SpreadBatch: as ``SessionBatch``, with the turns taken by workers.

with Patients(Office(SessionConfig(max_turns=8), patient="scripted"), count=4) as patients:
    batch = SpreadBatch(patients)
    batch.reset([Start(seed) for seed in range(1000)])
    turns = batch.step(["What has this week been like for you?"] * 1000)
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from therapysim.envs.asking import awaited
from therapysim.envs.batch import Session, Start, Turn, numbered
from therapysim.envs.session import require_texts
from therapysim.rewards.rubric_by_name import open_rubric
from therapysim.train.patient_pool import PatientPool

__all__ = ["SpreadBatch"]

# Sessions in one call of a worker, which has a limit of time.
_MOST_A_CALL = 256

Asked = TypeVar("Asked")
Told = TypeVar("Told")


class SpreadBatch:
    """As ``SessionBatch``, with each call shared out over the workers of a pool.

    Args:
        patients: whose workers; the caller closes them. Ctrl-C within a call closes them too, and waits for none.

    Attributes:
        sessions: as they stand.
        rubric: as that of each worker, which scores the turns.
    """

    def __init__(self, patients: PatientPool[Any]) -> None:
        self._patients, self.rubric = patients, open_rubric(patients.office.rubric)
        self.sessions: tuple[Session, ...] = ()

    def reset(self, starts: Sequence[Start]) -> tuple[Session, ...]:
        """Begins one session a start; errors as ``PatientPool.begin``."""
        self.sessions = numbered(self._shared(self._patients.begin, list(starts)))
        return self.sessions

    def snapshot(self) -> tuple[Session, ...]:
        """The sessions as they stand."""
        return self.sessions

    def restore(self, sessions: Sequence[Session]) -> None:
        """Goes on from kept sessions."""
        self.sessions = tuple(sessions)

    def resume(self) -> int:
        """Lets sessions that failed go on, as ``SessionBatch.resume``; says how many."""
        failed = [i for i, session in enumerate(self.sessions) if session.failed]
        sessions = list(self.sessions)
        for i, session in zip(failed, self._shared(self._patients.resume, [sessions[i] for i in failed]), strict=True):
            sessions[i] = session
        self.sessions = tuple(sessions)
        return len(failed)

    def step(self, texts: Sequence[str | None]) -> list[Turn | None]:
        """One therapist turn in every session that goes on; None for the others.

        Raises:
            ActionError, EpisodeError: as ``SessionBatch.step``.
            PatientError: as ``PatientPool.step``; the sessions stand as before the turn.
        """
        require_texts(texts, self.sessions)
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
        """What the call makes of each, in order; a worker a share, the shares alike in size."""
        size = max(1, min(_MOST_A_CALL, -(-len(asked) // self._patients.count)))
        shares = [asked[at : at + size] for at in range(0, len(asked), size)]
        with ThreadPoolExecutor(max(1, min(len(shares), self._patients.count))) as threads:
            calls = [threads.submit(call, share) for share in shares]
            try:
                return [one for under_way in calls for one in awaited(under_way)]
            except BaseException as error:
                for under_way in calls:
                    under_way.cancel()
                if not isinstance(error, Exception):
                    self._patients.close()
                raise
