"""A chat-completions server that misbehaves on request, run as a process of its own: for tests and the benchmark.

python -m tests.parts.chat_server [--latency 2.0] [--key secret] [--answers 5] [--always PLAN]

Prints the port it got, then serves until it is ended.

What a request gets, its last message says: a plan, one step an attempt, steps parted by ";", the last one repeated.
A message that is no plan is answered after ``--latency`` seconds with a line that its seed alone decides; with
``--answers N``, only the first N of these are answered, and the others never. With ``--always PLAN`` every message is
taken for that plan.

    say TEXT            that text                   500, 503, 400, 404    that status, with a message
    echo                the request, as JSON        429 SECONDS           that status, with Retry-After where given
    slow SECONDS TEXT   that text, late             cut                   half a body, then the connection is cut
    empty, null         "" or null as content       malformed, nothing    broken JSON; no choices
    never               no answer                   trickle               a byte now and then, never a whole answer
    raw STATUS BASE64   these bytes as its body     content BASE64        this JSON as the reply's content
    endless             a body without an end       header                a header longer than a client takes
    long N WORD         WORD again and again, N characters in all

GET /stats gives ``{"requests", "in_flight", "max_in_flight", "attempts": {message: n}}``.
"""

import argparse
import asyncio
import json
import subprocess
import sys
from base64 import b64decode
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.request import ProxyHandler, build_opener

import numpy as np

WORDS = (
    "kitchen window river ladder winter letter bridge garden engine corner market blanket station orchard ferry candle "
    "meadow basement harbour lantern pavement attic teapot gravel curtain saddle chimney puddle willow fountain"
).split()
ROOT = Path(__file__).parents[2]
STEPS = ("say", "echo", "slow", "empty", "null", "never", "trickle", "cut", "malformed", "nothing", "raw", "content",
         "endless", "header", "long")  # fmt: skip


@contextmanager
def serving(*options: str) -> Iterator[str]:
    """The base URL of a server process that lives as long as the block."""
    command = [sys.executable, "-m", "tests.parts.chat_server", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        try:
            assert process.stdout is not None
            yield f"http://127.0.0.1:{int(process.stdout.readline())}/v1"
        finally:
            process.kill()


def stats(url: str) -> dict[str, Any]:
    """What the server at a base URL has counted."""
    opener = build_opener(ProxyHandler({}))
    with opener.open(url.removesuffix("/v1") + "/stats", timeout=10) as answer:
        return dict(json.load(answer))


@dataclass
class Server:
    """The state of one server process."""

    latency_s: float
    key: str
    answers: float = float("inf")
    always: str = ""
    attempts: Counter[str] = field(default_factory=Counter)
    in_flight: int = 0
    max_in_flight: int = 0

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answers the requests of one connection."""
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while head := (await reader.readuntil(b"\r\n\r\n")).decode():
                if head.startswith("GET /stats"):
                    await _send(writer, 200, json.dumps(self.counts()))
                    continue
                length = next(int(v.split(":")[1]) for v in head.splitlines() if v.lower().startswith("content-length"))
                body = json.loads(await reader.readexactly(length))
                await self.count(writer, head, body)
        writer.close()

    def counts(self) -> dict[str, Any]:
        attempts = dict(self.attempts)
        return {"requests": sum(attempts.values()), "attempts": attempts, "in_flight": self.in_flight,
                "max_in_flight": self.max_in_flight}  # fmt: skip

    async def count(self, writer: asyncio.StreamWriter, head: str, body: dict[str, Any]) -> None:
        self.in_flight += 1
        self.max_in_flight = max(self.max_in_flight, self.in_flight)
        try:
            await self.answer(writer, head, body)
        finally:
            self.in_flight -= 1

    async def answer(self, writer: asyncio.StreamWriter, head: str, body: dict[str, Any]) -> None:
        plan = self.always or body["messages"][-1]["content"]
        steps = [step.strip() for step in plan.split(";")]
        step = steps[min(self.attempts[plan], len(steps) - 1)]
        self.attempts[plan] += 1
        if self.key and f"Bearer {self.key}" not in head:
            got = next((v.split()[-1] for v in head.splitlines() if v.lower().startswith("authorization")), "none")
            await _send(writer, 401, _error(f"Incorrect API key provided: {got}."))
            return
        kind, _, rest = step.partition(" ")
        if kind.isdigit():
            await _send(writer, int(kind), _error(rest or "told to fail"), retry_after=rest if kind == "429" else "")
        elif kind in STEPS:
            await _misbehave(writer, kind, rest, {"head": head, **body})
        else:
            self.answers -= 1
            await asyncio.sleep(self.latency_s if self.answers >= 0 else 3600)
            await _send(writer, 200, _completion(line(int(body["seed"]))))


async def _misbehave(writer: asyncio.StreamWriter, kind: str, rest: str, body: dict[str, Any]) -> None:
    if kind == "never":
        await asyncio.sleep(3600)
    elif kind == "trickle":
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 9999\r\n\r\n")
        while True:
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(0.02)
    elif kind == "cut":
        whole = _completion("never seen whole").encode()
        writer.write(_head(200, len(whole)) + whole[: len(whole) // 2])
        await writer.drain()
        raise ConnectionResetError
    elif kind == "malformed":
        await _send(writer, 200, _completion("x")[:-3])
    elif kind == "nothing":
        await _send(writer, 200, json.dumps({"object": "chat.completion", "choices": []}))
    elif kind in ("raw", "content", "endless", "header"):
        await _overdo(writer, kind, rest, body["head"])
    else:
        await _speak(writer, kind, rest, body)


async def _overdo(writer: asyncio.StreamWriter, kind: str, rest: str, head: str) -> None:
    if kind == "raw":
        status, _, coded = rest.partition(" ")
        body = b64decode(coded)
        writer.write(_head(int(status), len(body)) + body)
    elif kind == "content":
        await _send(writer, 200, _completion(None).replace("null", b64decode(rest).decode(), 1))
    elif kind == "header":
        writer.write(b"HTTP/1.1 200 OK\r\nX-Said: " + head.replace("\r\n", " ").encode() * 200 + b"\r\n\r\n")
    else:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n")
        while True:
            writer.write(b" " * 2**20)
            await writer.drain()
    await writer.drain()


async def _speak(writer: asyncio.StreamWriter, kind: str, rest: str, body: dict[str, Any]) -> None:
    if kind == "slow":
        seconds, _, rest = rest.partition(" ")
        await asyncio.sleep(float(seconds))
    if kind == "long":
        size, _, word = rest.partition(" ")
        rest = (f"{word} " * int(size))[: int(size)]
    text = {"empty": "", "null": None, "echo": json.dumps(body)}.get(kind, rest)
    await _send(writer, 200, _completion(text))


def line(seed: int) -> str:
    """A line that a seed decides, one of some 24,000."""
    first, second, third = np.random.default_rng(seed).choice(WORDS, 3, replace=False)
    return f"I keep on thinking of a {first} near some {second}, or maybe a {third}."


def _completion(text: str | None) -> str:
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return json.dumps({"id": "1", "object": "chat.completion", "created": 0, "model": "tiny", "choices": [choice]})


def _error(message: str) -> str:
    return json.dumps({"error": {"message": message, "type": "test", "code": None}})


def _head(status: int, length: int, retry_after: str = "") -> bytes:
    more = f"Retry-After: {retry_after}\r\n" if retry_after else ""
    kind = "Content-Type: application/json\r\n"
    return f"HTTP/1.1 {status} X\r\n{kind}{more}Content-Length: {length}\r\n\r\n".encode()


async def _send(writer: asyncio.StreamWriter, status: int, text: str, retry_after: str = "") -> None:
    data = text.encode()
    writer.write(_head(status, len(data), retry_after) + data)
    await writer.drain()


async def main() -> None:
    """Serves on a free port of the loopback, and prints which."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--latency", type=float, default=0.0, help="seconds that an ordinary answer takes")
    parser.add_argument("--key", default="", help="the API key that requests must bear")
    parser.add_argument("--answers", type=float, default=float("inf"), help="ordinary requests that are answered")
    parser.add_argument("--always", default="", metavar="PLAN", help="what every request gets, whatever it says")
    options = parser.parse_args()
    served = Server(options.latency, options.key, options.answers, options.always)
    server = await asyncio.start_server(served.handle, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
