"""Turns of many sessions played together: whatever has come in while a batch was played is the next batch.

One thread plays, so that what all patients need is read once, and the event loop stays free to answer; a patient that
takes several calls at once, as one behind a server does, has as many threads, and a session waits for no other.
"""

import time
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from itertools import groupby
from queue import Empty, SimpleQueue
from threading import Thread

from therapysim.envs.batch import Session, SessionBatch, SessionConfig, Start, Turn
from therapysim.train.connect.retrying import begin_each, take_each
from therapysim.train.connect.serve.metrics import Metrics

__all__ = ["Asked", "Gatherer", "Played"]


@dataclass(frozen=True, slots=True)
class Asked:
    """A session to be begun, or a turn of one that goes on.

    Attributes:
        config: settings of the session.
        before: how it begins, or as it stands.
        text: the therapist's, of one that goes on.
    """

    config: SessionConfig
    before: Start | Session
    text: str = ""


@dataclass(frozen=True, slots=True)
class Played:
    """A session after what was asked, and the turn that was taken; none where it was begun."""

    config: SessionConfig
    session: Session
    turn: Turn | None


@dataclass(frozen=True, slots=True)
class _Waiting:
    asked: Asked
    answer: Future[Played]
    since: float

    @property
    def kind(self) -> tuple[Hashable, ...]:
        return self.asked.config, isinstance(self.asked.before, Start)


class Gatherer:
    """Plays what sessions ask for.

    Args:
        open_batch: a batch of sessions with such settings; all batches share a patient.
        metrics: counts what is played.
        threads: how many batches are played at once.
        together: sessions in a batch, at most.
        retries: how often a patient that failed is asked for the same turn again.
    """

    def __init__(
        self,
        open_batch: Callable[[SessionConfig], SessionBatch],
        metrics: Metrics,
        *,
        threads: int = 1,
        together: int = 64,
        retries: int = 2,
    ) -> None:
        self._open, self._metrics, self._together, self._retries = open_batch, metrics, together, retries
        self._queue: SimpleQueue[_Waiting | None] = SimpleQueue()
        self._threads = [Thread(target=self._run, name=f"turns-{i}", daemon=True) for i in range(threads)]
        for thread in self._threads:
            thread.start()

    def ask(self, asked: Asked) -> Future[Played]:
        """Has it played; the answer comes with the batch that it falls into.

        An error is the asker's own: who shares a batch with something that cannot be played is not touched.
        """
        answer: Future[Played] = Future()
        self._queue.put(_Waiting(asked, answer, time.monotonic()))
        return answer

    def close(self) -> None:
        """Plays what was asked before, then ends."""
        for _ in self._threads:
            self._queue.put(None)
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        while (first := self._queue.get()) is not None:
            waiting, ended = self._gathered(first)
            for _, alike in groupby(sorted(waiting, key=lambda one: hash(one.kind)), key=lambda one: one.kind):
                self._answer([one for one in alike if one.answer.set_running_or_notify_cancel()])
            if ended:
                return

    def _gathered(self, first: _Waiting) -> tuple[list[_Waiting], bool]:
        """All that waits by now, and whether the end came with it."""
        waiting = [first]
        while len(waiting) < self._together:
            try:
                following = self._queue.get_nowait()
            except Empty:
                break
            if following is None:
                return waiting, True
            waiting.append(following)
        return waiting, False

    def _answer(self, waiting: Sequence[_Waiting]) -> None:
        try:
            played = self._play([one.asked for one in waiting])
        except Exception as error:
            if len(waiting) > 1:  # each by itself, so that the one at fault alone is told
                for one in waiting:
                    self._answer([one])
            else:
                waiting[0].answer.set_exception(error)
            return
        for one, result in zip(waiting, played, strict=True):
            begun = isinstance(one.asked.before, Start)
            self._metrics.played(time.monotonic() - one.since, begun=begun, failed=result.session.failed)
            one.answer.set_result(result)

    def _play(self, asked: Sequence[Asked]) -> list[Played]:
        if not asked:
            return []
        config = asked[0].config
        batch, turns = self._open(config), list[Turn | None]([None] * len(asked))
        starts = [one.before for one in asked if isinstance(one.before, Start)]
        if starts:
            begin_each(batch, starts, self._retries)
        else:
            batch.restore([one.before for one in asked if isinstance(one.before, Session)])
            turns = take_each(batch, [one.text for one in asked], self._retries)
        return [Played(config, *row) for row in zip(batch.sessions, turns, strict=True)]
