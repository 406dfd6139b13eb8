"""Sessions beside a vLLM engine in this process: each goes on as soon as its own patient has answered."""

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from therapysim.envs.batch import Session, Start, Turn
from therapysim.models.chat import interrupt
from therapysim.train.grpo.sampler import Engine
from therapysim.train.grpo.trajectory import Trajectory

if TYPE_CHECKING:
    from therapysim.train.grpo.rollout import Rollout

__all__ = ["Answers", "Stream", "turn_seeds"]

# Seconds until those who still wait for a patient are broken off again.
_AGAIN_S = 0.1

#: Sessions after a turn, the turns, and how many seconds they took.
Answers = tuple[tuple[Session, ...], list[Turn | None], float]


class Stream:
    """Sessions whose turns an engine says; those whose turn ended while all patients were asked wait for one.

    Threads wait for patients and do nothing else: a tokenizer serves one thread at a time.

    Args:
        rollout: whose sessions they are.
        engine: samples.
        episodes: the sessions, begun.
        seeds: what each one's turns are drawn from.
    """

    def __init__(self, rollout: "Rollout", engine: Engine, episodes: list[Trajectory], seeds: list[int]) -> None:
        self.rollout, self.engine, self.episodes, self.seeds = rollout, engine, episodes, seeds
        self.most = rollout.patients.count if rollout.patients else 1  # an environment takes one turn at a time
        self.answering: dict[Future[Answers], list[Trajectory]] = {}

    def play(self) -> None:
        """All of them to their ends."""
        number = {id(episode): i for i, episode in enumerate(self.episodes)}
        waiting: list[Trajectory] = []
        with ThreadPoolExecutor(self.most) as threads, self._patients_let_go():
            self._ask(range(len(self.episodes)))
            while self.engine.busy or waiting or self.answering:
                self.rollout.break_off()
                if self.engine.busy:
                    waiting += self._take()
                for done in self._answered(wait_for_one=not self.engine.busy and len(self.answering) > 0):
                    share = self.answering.pop(done)
                    self.rollout.heed(share, done.result())
                    self._ask([number[id(e)] for e in share])
                free = self.most - len(self.answering)
                for share in _shares(waiting, free):
                    self.answering[threads.submit(self.rollout.step, *self.rollout.spoken(share))] = share
                waiting = [] if free else waiting

    @contextmanager
    def _patients_let_go(self) -> Iterator[None]:
        """Where the block is broken off, as by Ctrl-C, no thread waits any longer for a process or a server."""
        try:
            yield
        except BaseException:
            self.rollout.close()
            while wait(self.answering, _AGAIN_S).not_done:  # one may have been between two calls
                interrupt(self.rollout.batch.patient)
            raise

    def _answered(self, *, wait_for_one: bool) -> list[Future[Answers]]:
        """Those that are done; where nothing else is left to do, at least one."""
        if wait_for_one:
            began = time.perf_counter()
            wait(self.answering, return_when=FIRST_COMPLETED)
            self.rollout.spent("environment", began)
        return [future for future in self.answering if future.done()]

    def _ask(self, numbers: Sequence[int]) -> None:
        """Puts the next turn of each session that goes on under way."""
        live = [(i, e) for i in numbers if self.rollout.goes_on(e := self.episodes[i])]
        for _, episode in live:
            episode.hear()
        began = time.perf_counter()
        self.engine.ask(
            [i for i, _ in live],
            [e.prompt_ids + e.completion_ids for _, e in live],
            [_mix(self.seeds[i], len(e.turn_rewards)) for i, e in live],
        )
        self.rollout.spent("generation", began)

    def _take(self) -> list[Trajectory]:
        """The sessions whose turn has ended with the engine's next step."""
        began = time.perf_counter()
        said = self.engine.take()
        self.rollout.spent("generation", began)
        for turn in said:
            self.rollout.say(self.episodes[turn.number], turn.ids, turn.logprobs, self.engine.ends)
        return [self.episodes[turn.number] for turn in said]


def turn_seeds(seed: int, starts: Sequence[Start], process: int, first: int = 0) -> list[int]:
    """What each session's turns are drawn from: members of a group share their start, and not this.

    Args:
        seed: the run's.
        starts: whom each meets.
        process: the number of this one.
        first: the number of a group's first member.
    """
    met = Counter(dict.fromkeys(starts, first))
    seeds = []
    for start in starts:
        seeds.append(_mix(seed, process, start.seed, met[start]))
        met[start] += 1
    return seeds


def _shares(episodes: list[Trajectory], most: int) -> Iterator[list[Trajectory]]:
    """The episodes in at most so many shares of about equal size."""
    count = min(most, len(episodes))
    yield from (episodes[k::count] for k in range(count))


def _mix(*entropy: int) -> int:
    """One seed of 63 bits from several numbers."""
    return int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0] >> np.uint64(1))
