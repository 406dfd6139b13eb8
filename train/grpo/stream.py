"""Sessions beside a vLLM engine in this process or a vLLM server, a coroutine each: it goes on as soon as its own
patient has answered.

All coroutines run in the thread that plays, which steps the engine too: the policy's tokenizer and the engine's device
belong to it. Threads wait for patients alone (``answering.py``).
"""

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from therapysim.envs.asking import awaited, let_go
from therapysim.models.chat import calls_at_once
from therapysim.train.grpo.answering import Answering
from therapysim.train.grpo.sampler import Engine, Said
from therapysim.train.grpo.served import Server, ServerTurns
from therapysim.train.grpo.trajectory import Trajectory

if TYPE_CHECKING:
    from therapysim.train.grpo.rollout import Rollout

__all__ = ["Stream", "Turns"]

# Calls at once of a patient that does not say how many it takes.
_UNSAID = 64
# Seconds of one wait for a turn.
_WAIT_S = 0.1


class Turns:
    """Turns of one engine, awaited: a single pump steps it for as long as any is under way.

    Args:
        engine: samples.
        spent: is told what time went into, and since when.
        check: called before each step; what it raises ends all turns.
    """

    def __init__(self, engine: Engine, spent: Callable[[str, float], None], check: Callable[[], None]) -> None:
        self.engine, self._spent, self._check = engine, spent, check
        self._under_way: dict[str, asyncio.Future[Said]] = {}
        self._asked = asyncio.Event()

    async def say(self, prompt: list[int]) -> Said:
        """The turn that the engine samples after these tokens."""
        began = time.perf_counter()
        name = self.engine.ask(prompt)
        self._spent("generation", began)
        told = self._under_way[name] = asyncio.get_running_loop().create_future()
        self._asked.set()
        return await told

    async def pump(self) -> None:
        """Steps the engine, and lets others run in between; what goes wrong is told to all who wait for a turn."""
        try:
            while True:
                await self._until_asked()
                self._check()
                self._step()
                await asyncio.sleep(0)
        except Exception as error:
            for told in self._under_way.values():
                if not told.done():
                    told.set_exception(error)

    async def _until_asked(self) -> None:
        while not self._under_way:
            began = time.perf_counter()
            self._asked.clear()
            try:  # in short waits, since a signal just before a long one may go unseen
                async with asyncio.timeout(_WAIT_S):
                    await self._asked.wait()
            except TimeoutError:
                self._check()
            finally:
                self._spent("environment", began)

    def _step(self) -> None:
        began = time.perf_counter()
        said = self.engine.take()
        self._spent("generation", began)
        for turn in said:
            told = self._under_way.pop(turn.name, None)
            if told and not told.done():
                told.set_result(turn)


class Stream:
    """Sessions whose turns an engine says.

    Args:
        rollout: whose sessions they are.
        engine: samples, in this process or behind a server.
        episodes: the sessions, begun.
    """

    def __init__(self, rollout: "Rollout", engine: Engine | Server, episodes: Sequence[Trajectory]) -> None:
        self.rollout, self.engine, self.episodes = rollout, engine, episodes

    def play(self) -> None:
        """All of them to their ends."""
        rollout = self.rollout
        most, apart = _calls(rollout)
        with ThreadPoolExecutor(most) as threads:
            self.patients = Answering(rollout.step, threads, most, apart=apart)
            with self._patients_let_go():
                _run(self._play())
        rollout.seconds["environment_busy"] += self.patients.seconds

    async def _play(self) -> None:
        self.turns = _turns(self.engine, self.rollout)
        pump = asyncio.ensure_future(self.turns.pump())
        sessions = [asyncio.ensure_future(self._session(episode)) for episode in self.episodes]
        try:
            await asyncio.gather(*sessions)
        finally:
            for task in (pump, *sessions):
                task.cancel()
            await asyncio.gather(pump, *sessions, return_exceptions=True)

    async def _session(self, episode: Trajectory) -> None:
        """One session from where it stands to its end."""
        while self.rollout.goes_on(episode) and episode.session:
            episode.hear()
            said = await self.turns.say(episode.prompt_ids + episode.completion_ids)
            self.rollout.say(episode, said.ids, said.logprobs, self.engine.ends)
            self.rollout.heed(episode, *await self.patients.answer(episode.session, episode.words))
            self.rollout.break_off()

    @contextmanager
    def _patients_let_go(self) -> Iterator[None]:
        """Where the block is broken off, no thread waits any longer for a process or a server."""
        with let_go(self.patients.asked, self.rollout.batch.patient):
            try:
                yield
            except BaseException:
                self.rollout.close()
                raise


def _turns(engine: Engine | Server, rollout: "Rollout") -> "Turns | ServerTurns":
    if isinstance(engine, Server):
        return ServerTurns(engine, rollout.spent, rollout.break_off)
    return Turns(engine, rollout.spent, rollout.break_off)


def _calls(rollout: "Rollout") -> tuple[int, bool]:
    """How many calls of patients may be under way at once, and whether each session has its own.

    Processes of patients share out who waits, and so does one that answers a single call at a time, in a batch.
    """
    if rollout.patients:
        return rollout.patients.count, False
    most = rollout.settings.patients_at_once or calls_at_once(rollout.batch.patient, _UNSAID)
    return most, most > 1


def _run(work: Coroutine[Any, Any, None]) -> None:
    """To its end; in a thread of its own where this one has a loop that runs already, as a notebook's does."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        asyncio.run(work)
    else:
        _run_in_thread(work)


def _run_in_thread(work: Coroutine[Any, Any, None]) -> None:
    under_way: list[tuple[asyncio.AbstractEventLoop, asyncio.Task[None]]] = []

    async def told() -> None:
        under_way.append((asyncio.get_running_loop(), asyncio.current_task()))  # type: ignore[arg-type]
        await work

    with ThreadPoolExecutor(1) as thread:
        done = thread.submit(asyncio.run, told())
        try:
            awaited(done)
        except BaseException:
            for loop, task in [] if done.done() else under_way:  # it was this thread that was broken off
                loop.call_soon_threadsafe(task.cancel)
            raise
