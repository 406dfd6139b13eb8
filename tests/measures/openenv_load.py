"""A server of sessions under load; needs ``openenv``. Nothing here passes or fails.

    python -m tests.measures.openenv_load --sessions 64 256 1000 [--turns 4] [--client plain]

For each number of sessions, starts ``therapysim serve`` in a process of its own, opens that many from this one, and
lets each take a turn as soon as its last is answered. Told: seconds until all had begun, turns a second, the time from
a turn to its answer, median and 99th percentile, and the server's CPU time a turn; beside it, the same sessions and
turns by ``SessionBatch`` in a new process. ``--client``: ``plain``, WebSockets of one event loop that speak the same
messages; ``library``, OpenEnv's client in one event loop; ``threads``, OpenEnv's client by its ``sync()``, each in a
thread.

    python -m tests.measures.openenv_load --churn 10000 [--at-once 50]

Opens that many sessions one after another, so many at once, of which every second vanishes without a word after its
first turn, and tells the server's memory after each tenth of them.
"""

import argparse
import asyncio
import json
import multiprocessing
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Protocol
from urllib.request import urlopen

import numpy as np
from websockets.asyncio.client import ClientConnection, connect

from therapysim.envs.batch import SessionBatch, SessionConfig, Start
from therapysim.train.connect.openenv import TherapyAction, TherapyClient

SAID = (
    "It sounds as if getting up costs you everything. What is the hardest part?",
    "You carry that alone. What goes through your mind then?",
    "What would it mean if that were true?",
    "Shall we look at one day of this week together?",
)


def main() -> None:
    """Measures each number of sessions, and prints a line of JSON for it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, nargs="*", default=[])
    parser.add_argument("--turns", type=int, default=4)
    parser.add_argument("--client", choices=CLIENTS, default="plain")
    parser.add_argument("--churn", type=int, default=0)
    parser.add_argument("--at-once", type=int, default=50)
    chosen = parser.parse_args()
    for count in chosen.sessions:
        told = {"sessions": count, "client": chosen.client, **served(count, chosen.turns, chosen.client)}
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as fresh:
            told["in_process"] = fresh.submit(alone, count, chosen.turns).result()
        print(json.dumps(told), flush=True)
    if chosen.churn:
        churn(chosen.churn, chosen.at_once)


def said(number: int) -> str:
    return SAID[number % len(SAID)]


def alone(count: int, turns: int) -> dict[str, float]:
    """In this process."""
    batch = SessionBatch(SessionConfig(max_turns=turns), rubric="grpo")
    opened = time.perf_counter()
    batch.reset([Start(seed) for seed in range(count)])
    began, spent, taken = time.perf_counter(), time.process_time(), 0
    for number in range(turns):
        going = [None if session.done else said(number) for session in batch.sessions]
        batch.step(going)
        taken += sum(text is not None for text in going)
    spent, took = time.process_time() - spent, time.perf_counter() - began
    return {"open_s": round(began - opened, 1), "turns_a_second": round(taken / took, 1),
            "cpu_ms_a_turn": round(1000 * spent / taken, 2)}  # fmt: skip


@contextmanager
def server(most: int, turns: int) -> Iterator[tuple[str, int]]:
    """Its address and process."""
    own = ["serve", "--port", "0", "--most", str(most), "--turns", str(turns)]
    command = [sys.executable, "-m", "therapysim.cli.main", *own]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        address = re.match(r"(http\S+)/", process.stderr.readline())
        assert address
        try:
            yield address[1], process.pid
        finally:
            process.kill()


def served(count: int, turns: int, client: str) -> dict[str, Any]:
    """Through a server."""
    with server(count, turns) as (address, process):
        play = _in_threads if client == "threads" else _in_a_loop
        return play(Watched(address, process), count, turns, client)


class Watched(NamedTuple):
    """A server, and its process."""

    address: str
    process: int

    def spent(self) -> float:
        """Seconds of CPU time, of all its threads."""
        after_name = Path(f"/proc/{self.process}/stat").read_text().rpartition(")")[2].split()
        return sum(map(int, after_name[11:13])) / os.sysconf("SC_CLK_TCK")


class Client(Protocol):
    """What is measured of any client; ``step`` says whether the session is over."""

    async def reset(self, seed: int) -> None: ...
    async def step(self, text: str) -> bool: ...


class Plain:
    """A WebSocket that speaks the wire's messages."""

    def __init__(self, wire: ClientConnection) -> None:
        self.wire = wire

    @classmethod
    async def open(cls, address: str) -> "Plain":
        return cls(await connect(address.replace("http", "ws") + "/ws", open_timeout=None, ping_interval=None))

    async def reset(self, seed: int) -> None:
        await self._ask("reset", {"seed": seed})

    async def step(self, text: str) -> bool:
        return bool((await self._ask("step", {"text": text}))["done"])

    async def _ask(self, kind: str, data: dict[str, Any]) -> dict[str, Any]:
        await self.wire.send(json.dumps({"type": kind, "data": data}))
        told = json.loads(await self.wire.recv())
        assert told["type"] == "observation", told
        return dict(told["data"])


class Library:
    """OpenEnv's own client."""

    def __init__(self, client: TherapyClient) -> None:
        self.client = client

    @classmethod
    async def open(cls, address: str) -> "Library":
        return cls(await TherapyClient(address).connect())

    async def reset(self, seed: int) -> None:
        await self.client.reset(seed=seed)

    async def step(self, text: str) -> bool:
        return bool((await self.client.step(TherapyAction(text=text))).done)


CLIENTS: dict[str, Any] = {"plain": Plain, "library": Library, "threads": None}


def _in_a_loop(watched: Watched, count: int, turns: int, client: str) -> dict[str, Any]:
    times: list[float] = []

    async def one(session: Client) -> None:
        for number in range(turns):
            began = time.perf_counter()
            done = await session.step(said(number))
            times.append(time.perf_counter() - began)
            if done:
                return

    async def begin(seed: int) -> Client:
        session: Client = await CLIENTS[client].open(watched.address)
        await session.reset(seed)
        return session

    async def play() -> dict[str, Any]:
        opened = time.perf_counter()
        sessions = await asyncio.gather(*map(begin, range(count)))
        began, spent = time.perf_counter(), watched.spent()
        await asyncio.gather(*map(one, sessions))
        return _told(times, began - opened, time.perf_counter() - began, watched.spent() - spent)

    return asyncio.run(play())


def _in_threads(watched: Watched, count: int, turns: int, client: str) -> dict[str, Any]:
    times: list[float] = []

    def begin(seed: int) -> Any:
        session = TherapyClient(watched.address).sync()
        session.connect()
        session.reset(seed=seed)
        return session

    def one(session: Any) -> None:
        for number in range(turns):
            began = time.perf_counter()
            done = session.step(TherapyAction(text=said(number))).done
            times.append(time.perf_counter() - began)
            if done:
                break

    with ThreadPoolExecutor(count) as threads:
        opened = time.perf_counter()
        sessions = list(threads.map(begin, range(count)))
        began, spent = time.perf_counter(), watched.spent()
        list(threads.map(one, sessions))
        told = _told(times, began - opened, time.perf_counter() - began, watched.spent() - spent)
        list(threads.map(lambda session: session.close(), sessions))
    return told


def _told(times: list[float], opened: float, took: float, spent: float) -> dict[str, Any]:
    half, most = np.percentile(times, [50, 99])
    return {
        "open_s": round(opened, 1),
        "turns": len(times),
        "turns_a_second": round(len(times) / took, 1),
        "p50_s": round(half, 3),
        "p99_s": round(most, 3),
        "cpu_ms_a_turn": round(1000 * spent / len(times), 2),
    }


def churn(count: int, at_once: int) -> None:
    """Sessions that come and go; a line of JSON for each tenth of them."""
    with server(at_once, 4) as (address, process):
        for tenth in range(10):
            asyncio.run(_come_and_go(address, tenth * count // 10, (tenth + 1) * count // 10, at_once))
            _until_empty(address)
            print(json.dumps({"sessions": (tenth + 1) * count // 10, **_memory(process)}), flush=True)


async def _come_and_go(address: str, first: int, end: int, at_once: int) -> None:
    seeds = iter(range(first, end))

    async def comer() -> None:
        for seed in seeds:
            session = await Plain.open(address)
            await session.reset(seed % 500)
            await session.step(said(seed))
            if seed % 2:
                session.wire.transport.abort()
            else:
                await session.wire.close()

    await asyncio.gather(*(comer() for _ in range(at_once)))


def _until_empty(address: str) -> None:
    while True:
        with urlopen(address + "/metrics") as told:
            if b"therapysim_sessions_open 0\n" in told.read():
                return
        time.sleep(0.1)


def _memory(process: int) -> dict[str, int]:
    status = dict(line.split(":", 1) for line in Path(f"/proc/{process}/status").read_text().splitlines())
    return {"resident_mb": int(status["VmRSS"].split()[0]) // 1024, "threads": int(status["Threads"])}


if __name__ == "__main__":
    main()
