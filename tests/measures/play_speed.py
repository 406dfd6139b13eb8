"""How soon the page answers, and how large it is; nothing here passes or fails.

    python -m tests.measures.play_speed [--sessions 20]

From the command to the first answer, the bytes of page, style and script, and of turns, one after another, the time
from the request to the answer: median and 99th percentile.
"""

import argparse
import json
import re
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from therapysim.agents.web.server import STATIC

SAID = "It sounds as if getting up costs you everything. What is the hardest part?"


def main() -> None:
    """Starts the page in a process of its own, and asks it as a browser would."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, default=20)
    count = parser.parse_args().sessions
    with TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "therapysim.cli.main", "play", "--no-open", "--port", "0", "--out", folder]
        began = time.perf_counter()
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
            assert server.stderr
            address = re.match(r"http\S+", server.stderr.readline())
            assert address
            first = ask(address[0] + "api/start")
            ready = time.perf_counter() - began
            times = [taken for seed in range(count) for taken in played(address[0], first["patients"][0]["id"], seed)]
            server.terminate()
    sizes = {path.name: path.stat().st_size for path in sorted(Path(STATIC).iterdir())}
    half, most = np.percentile(times, [50, 99])
    print(json.dumps({"first_answer_s": round(ready, 2), "bytes": sizes, "turns": len(times),
                      "turn_ms": {"p50": round(1000 * half), "p99": round(1000 * most)}}))  # fmt: skip


def played(address: str, patient: str, seed: int) -> list[float]:
    """Seconds of each of a session's first eight turns."""
    told, times = ask(address + "api/sessions", {"patient": patient, "seed": seed}), []
    for _ in range(8):
        began = time.perf_counter()
        told = ask(f"{address}api/sessions/{told['id']}/say", {"text": SAID})
        times.append(time.perf_counter() - began)
        if told["done"]:
            break
    return times


def ask(address: str, body: dict[str, Any] | None = None) -> Any:
    """The answer of the server."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(address, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


if __name__ == "__main__":
    main()
