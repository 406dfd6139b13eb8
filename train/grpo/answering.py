"""Patients' answers to sessions beside an engine: each session awaits its own.

Threads wait for patients and do nothing else with the policy: its tokenizer serves the event loop's thread alone.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

from therapysim.envs.batch import Session, Turn

__all__ = ["Answering", "Answers"]

#: Sessions after a turn, the turns, and how many seconds they took.
Answers = tuple[tuple[Session, ...], list[Turn | None], float]
#: A session after a turn, and the turn.
Answer = tuple[Session, Turn | None]
#: Takes one turn of several sessions, given what is said in each.
Step = Callable[[list[Session], list[str]], Answers]


class _Asked(NamedTuple):
    """Who waits for an answer, to which words, and where it is told."""

    session: Session
    words: str
    told: asyncio.Future[Answer]


class Answering:
    """Asks patients from threads, and tells each session its own answer.

    Args:
        step: takes one turn of several sessions: ``Rollout.step``.
        threads: at least ``most`` of them.
        most: how many calls are under way at once.
        apart: each session has a call of its own, so that a slow answer holds up nobody else's; otherwise those that
            wait are shared out evenly over the calls that are free, as suits patients that take turns anyway.

    Attributes:
        asked: the calls under way.
        seconds: what all calls took.
    """

    def __init__(self, step: Step, threads: ThreadPoolExecutor, most: int, *, apart: bool) -> None:
        self._step, self._threads, self._most, self._apart = step, threads, most, apart
        self._waiting: list[_Asked] = []
        self._telling: set[asyncio.Task[None]] = set()
        self.asked: set[Future[Answers]] = set()
        self.seconds = 0.0

    async def answer(self, session: Session, words: str) -> Answer:
        """The session after the therapist's words, and the turn.

        Raises:
            PatientError: there is no answer to be had any more.
            asyncio.CancelledError: what a patient's server was asked was broken off.
        """
        loop = asyncio.get_running_loop()
        told: asyncio.Future[Answer] = loop.create_future()
        self._waiting.append(_Asked(session, words, told))
        loop.call_soon(self._ask)  # once all whose turn ended with the same step wait
        return await told

    def _ask(self) -> None:
        """Puts calls under way for those who wait, as many as may be."""
        while self._waiting and (free := self._most - len(self.asked)) > 0:
            count = 1 if self._apart else -(-len(self._waiting) // free)
            share, self._waiting = self._waiting[:count], self._waiting[count:]
            call = self._threads.submit(self._step, [one.session for one in share], [one.words for one in share])
            self.asked.add(call)
            telling = asyncio.ensure_future(self._tell(share, call))
            self._telling.add(telling)  # the loop itself would forget it
            telling.add_done_callback(self._telling.discard)

    async def _tell(self, share: list[_Asked], call: Future[Answers]) -> None:
        """Waits for a call, and tells those who asked what came of it, or what went wrong."""
        try:
            sessions, turns, seconds = await asyncio.wrap_future(call)
        except (Exception, asyncio.CancelledError) as error:
            for one in share:
                if not one.told.done():
                    one.told.set_exception(error)
        else:
            self.seconds += seconds
            for one, session, turn in zip(share, sessions, turns, strict=True):
                if not one.told.done():
                    one.told.set_result((session, turn))
        if call.done():  # else it was broken off here, and its thread still waits
            self.asked.discard(call)
        self._ask()
