"""A server of sessions under load; needs ``openenv``. Nothing here passes or fails.

    python -m tests.measures.openenv_load --sessions 16 [--turns 4]

Starts ``therapysim serve`` in a process of its own, opens so many sessions, each a client in a thread, and lets all
take a turn as soon as the last is answered. Told: turns a second, and the time from a turn to its answer, median and
99th percentile; beside it, the same sessions in one process by ``SessionBatch``.
"""

import argparse
import json
import re
import subprocess
import sys
import threading
import time
from typing import Any

import numpy as np

from therapysim.envs.batch import SessionBatch, SessionConfig, Start
from therapysim.train.connect.openenv import TherapyAction, TherapyClient

SAID = "It sounds as if getting up costs you everything. What is the hardest part?"


def main() -> None:
    """Measures each number of sessions, and prints a line of JSON for it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, nargs="+", default=[64, 256])
    parser.add_argument("--turns", type=int, default=4)
    chosen = parser.parse_args()
    for count in chosen.sessions:
        print(json.dumps({"sessions": count, **served(count, chosen.turns), "in_process": alone(count, chosen.turns)}))


def alone(count: int, turns: int) -> dict[str, float]:
    """Turns a second in this process."""
    batch = SessionBatch(SessionConfig(max_turns=turns), rubric="grpo")
    batch.reset([Start(seed) for seed in range(count)])
    began, taken = time.perf_counter(), 0
    for _ in range(turns):
        going = [None if session.done else SAID for session in batch.sessions]
        batch.step(going)
        taken += sum(text is not None for text in going)
    return {"turns_a_second": round(taken / (time.perf_counter() - began), 1)}


def served(count: int, turns: int) -> dict[str, Any]:
    """Through a server."""
    command = [
        sys.executable,
        "-m",
        "therapysim.cli.main",
        "serve",
        "--port",
        "0",
        "--most",
        str(count),
        "--turns",
        str(turns),
    ]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr
        address = re.match(r"(http\S+)/", server.stderr.readline())
        assert address
        try:
            return _play(address[1], count, turns)
        finally:
            server.kill()


def _play(address: str, count: int, turns: int) -> dict[str, Any]:
    times: list[float] = []
    ready = threading.Barrier(count + 1)

    def one(seed: int) -> None:
        with TherapyClient(address).sync() as client:
            client.reset(seed=seed)
            ready.wait()
            for _ in range(turns):
                began = time.perf_counter()
                told = client.step(TherapyAction(text=SAID))
                times.append(time.perf_counter() - began)
                if told.done:
                    break

    threads = [threading.Thread(target=one, args=(seed,), daemon=True) for seed in range(count)]
    for thread in threads:
        thread.start()
    ready.wait(300)
    began = time.perf_counter()
    for thread in threads:
        thread.join(300)
    half, most = np.percentile(times, [50, 99])
    return {"turns": len(times), "turns_a_second": round(len(times) / (time.perf_counter() - began), 1),
            "p50_s": round(half, 3), "p99_s": round(most, 3)}  # fmt: skip


if __name__ == "__main__":
    main()
