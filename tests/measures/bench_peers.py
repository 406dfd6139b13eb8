"""Turns a second with both speakers behind one chat server: ours, and verifiers' loop of a simulated user, in one run.

python -m tests.measures.bench_peers [--sessions 256] [--turns 6] [--latency 0.3] [--rounds 3] [--peer-python PYTHON]

Both play the same dialogue: the patient opens, then each turn is one therapist call and one patient call, all to the
server of ``chat_server``, which answers every request after the same time, however many there are. The least that a
dialogue can take is ``(2 * turns + 1) * latency``. Ours reads, guards and scores every turn on top; the guard is set
loose, as in ``bench_remote``. verifiers records its traces and scores nothing, and its prompts are shorter.

verifiers plays as its own evaluation runner would, its bundled ``user-sim`` environment with all episodes at once, in
the best settings found: a chat loop in its own process, which its harness contract allows (the bundled one starts a
program for every turn), no limit on agents at once, and 8 sessions to an interception server (the default, 32, was
slower, and all on one slowest). It is shown in one process, and with its sessions split over two.

verifiers is no dependency of this package. It may stand in an environment of its own, without therapysim:

    python3 -m venv PEERS
    PEERS/bin/pip install -c constraints-cpu.txt verifiers==0.4.0 aiohttp==3.14.5 httpx==0.28.1 pydantic==2.14.4
    python -m tests.measures.bench_peers --peer-python PEERS/bin/python

Nothing here passes or fails.
"""

import argparse
import asyncio
import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from types import ModuleType
from typing import Any

from tests.parts.chat_server import serving

ROOT = Path(__file__).parents[2]
WARM_UP = 8  # sessions
MULTIPLEX = 8  # sessions to one of verifiers' interception servers
PLUGIN = "fixed_dialogue"
INSTALL = "pip install -c constraints-cpu.txt verifiers==0.4.0, here or for --peer-python"


class Watch:
    """Tells the parent process when a side is warm, waits for its word, and reports the time from then on."""

    def start(self) -> None:
        print("ready", flush=True)
        sys.stdin.readline()
        self.began, self.cpu_s = time.perf_counter(), time.process_time()

    def stop(self, turns: int, failed: int) -> None:
        seconds, cpu_s = time.perf_counter() - self.began, time.process_time() - self.cpu_s
        print(json.dumps({"seconds": seconds, "cpu_s": cpu_s, "turns": turns, "failed": failed}), flush=True)


def play_ours(url: str, sessions: int, turns: int, watch: Watch) -> None:
    """``SessionBatch`` with a patient and a therapist behind the server, all sensing and scoring included."""
    from tests.measures.bench_remote import LOOSE
    from therapysim.agents.sessions.episode import play
    from therapysim.agents.therapists.therapist import ChatTherapist
    from therapysim.envs.batch import SessionBatch, SessionConfig, Start
    from therapysim.models.remote import RemoteChat, RemoteSettings
    from therapysim.personas.llm.llm_patient import LLMPatient, LLMPatientSettings
    from therapysim.personas.scripted.scripted_patient import ScriptedPatient

    model = RemoteChat(url, "any", settings=RemoteSettings(concurrency=sessions))
    batch = SessionBatch(SessionConfig(max_turns=turns))
    feel = batch.sensor.affect
    batch.patient = LLMPatient(model, ScriptedPatient(feel), feel, LLMPatientSettings(guard=LOOSE))
    therapist = ChatTherapist(model)
    play(batch, therapist, [Start(seed=sessions + i) for i in range(WARM_UP)])  # other seeds: nothing is cached
    watch.start()
    episodes = play(batch, therapist, [Start(seed=i) for i in range(sessions)])
    watch.stop(sum(len(e.turns) for e in episodes), sum(e.session.failed for e in episodes))


def play_theirs(url: str, sessions: int, turns: int, watch: Watch) -> None:
    """verifiers' user-sim environment, all episodes at once."""
    logging.disable(logging.INFO)
    asyncio.run(_play_theirs(url, sessions, turns, watch))


async def _play_theirs(url: str, sessions: int, turns: int, watch: Watch) -> None:
    import aiohttp
    from verifiers.v1.clients import EvalClientConfig, ModelContext
    from verifiers.v1.utils.loaders import load_environment, resolve_env_config

    context = ModelContext(model="any", client=EvalClientConfig(base_url=url, api_key_var="BENCH_PEERS_KEY"))
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
        sys.modules[PLUGIN] = plugin(http, sessions)
        env = load_environment(resolve_env_config(settings(turns)))

        async def play(number: int) -> list[Any]:
            slots = [slot for task in env.taskset.take(number) for slot in env.slots(task)]
            return await asyncio.gather(*(env.run_slot(slot, context) for slot in slots))

        async with env.serving():
            await play(WARM_UP)
            watch.start()
            episodes = await play(sessions)
            traces = [t for e in episodes for t in e.traces if t.agent.name == "assistant"]
            watch.stop(sum(t.num_turns for t in traces), sum(not e.ok for e in episodes))


def settings(turns: int) -> dict[str, Any]:
    """The environment's configuration; the patient speaks once more than the therapist, as it opens."""
    seat = {"harness": {"id": PLUGIN}, "runtime": {"type": "subprocess"}}
    return {
        "id": "user-sim",
        "taskset": {"id": PLUGIN},
        "max_concurrent_agents": None,
        "interception": {"type": "elastic", "multiplex": MULTIPLEX},
        "assistant": {**seat, "max_turns": turns},
        "user": {**seat, "max_turns": turns + 1},
    }


def plugin(http: Any, sessions: int) -> ModuleType:
    """The module in which verifiers finds a taskset and a harness: they are made here, as it may be absent."""
    import verifiers.v1 as vf
    from verifiers.v1.dialects.chat import message_to_wire
    from verifiers.v1.runtimes import ProgramResult

    class Dialogue(vf.Taskset[vf.Task, vf.TasksetConfig]):
        def load(self) -> Any:
            for i in range(sessions):
                scenario = "You have slept badly since you lost your work, and want to talk about it."
                system = "You are a psychotherapist. Answer in one to three short sentences."
                yield vf.Task(vf.TaskData(idx=i, prompt=scenario, system_prompt=system), self.config.task)

    class InProcess(vf.Harness[vf.HarnessConfig]):
        APPENDS_SYSTEM_PROMPT = SUPPORTS_RESUME = True
        EXECUTES_CODE = NEEDS_CONTAINER = False

        async def launch(
            self, ctx: Any, trace: Any, runtime: Any, endpoint: str, secret: str, mcp_urls: Any, data: Any
        ) -> Any:
            system, prompt = self.resolve_prompt(data)
            messages = [{"role": "system", "content": system}, *map(message_to_wire, prompt)]
            body = {"model": ctx.model, "messages": messages, "max_tokens": 64, "seed": data.idx + len(messages)}
            key = {"Authorization": f"Bearer {secret}"}
            async with http.post(f"{endpoint}/chat/completions", json=body, headers=key) as answer:
                text = await answer.text()
            return ProgramResult(0, "", "") if answer.ok else ProgramResult(1, "", text)

    module = ModuleType(PLUGIN)
    vars(module).update(Dialogue=Dialogue, InProcess=InProcess, __all__=["Dialogue", "InProcess"])
    return module


SIDES: dict[str, Callable[[str, int, int, Watch], None]] = {"therapysim": play_ours, "verifiers": play_theirs}


def race(side: str, python: str, processes: int, options: argparse.Namespace) -> dict[str, float]:
    """One side's run, in fresh processes that all start when the last of them is warm, with a server of its own."""
    with serving("--latency", str(options.latency)) as url, ExitStack() as stack:
        command = [
            python,
            "-m",
            "tests.measures.bench_peers",
            "--side",
            side,
            "--url",
            url,
            "--turns",
            str(options.turns),
        ]
        commands = [[*command, "--sessions", str(share)] for share in shares(options.sessions, processes)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "cwd": ROOT}
        runs = [stack.enter_context(subprocess.Popen(c, **pipes)) for c in commands]
        for run in runs:
            hear(run, side)
        for run in runs:
            run.stdin.write("go\n")
            run.stdin.flush()
        results = [json.loads(hear(run, side)) for run in runs]
    total = {name: sum(r[name] for r in results) for name in ("cpu_s", "turns", "failed")}
    return {**total, "seconds": max(r["seconds"] for r in results)}


def hear(run: "subprocess.Popen[str]", side: str) -> str:
    """The next line of a run: that it is ready, or its result."""
    if not (line := run.stdout.readline()):
        raise SystemExit(f"{side} ended before it was done; its own words stand above")
    return line


def shares(sessions: int, processes: int) -> list[int]:
    """Sessions a process, as even as they come."""
    return [(sessions + i) // processes for i in range(processes)]


def has_verifiers(python: str) -> bool:
    """Whether that interpreter has the peer."""
    return subprocess.run([python, "-c", "import verifiers.v1"], capture_output=True, cwd=ROOT).returncode == 0


def compare(options: argparse.Namespace) -> None:
    """Runs the sides in turn, in one order and then the other, and prints each run and the medians."""
    rows = {"therapysim": ("therapysim", sys.executable, 1)}
    if has_verifiers(options.peer_python):
        rows["verifiers"] = ("verifiers", options.peer_python, 1)
        rows["verifiers, two processes"] = ("verifiers", options.peer_python, 2)
    else:
        print(f"no verifiers in {options.peer_python}, so ours stands alone: {INSTALL}")
    floor_s = (2 * options.turns + 1) * options.latency
    print(
        f"{os.cpu_count()} cores; {options.sessions} sessions of {options.turns} turns at once, {options.latency:g} s "
        f"a reply: {floor_s:.2f} s at least, {options.sessions * options.turns / floor_s:.0f} turns a second"
    )
    found: dict[str, list[dict[str, float]]] = {name: [] for name in rows}
    for number in range(options.rounds):
        for name in list(rows)[:: 1 if number % 2 == 0 else -1]:
            found[name].append(race(*rows[name], options))
            line = describe(name, found[name][-1:], floor_s)
            print(f"round {number + 1}, {line}; load {os.getloadavg()[0]:.1f}", flush=True)
    print("\nmedians")
    for name, results in found.items():
        print(describe(name, results, floor_s) + beside(found["therapysim"], results))


def beside(ours: Sequence[dict[str, float]], theirs: Sequence[dict[str, float]]) -> str:
    """Our speed against theirs, round by round; nothing where they are the same."""
    if ours is theirs:
        return ""
    ratios = [speed(a) / speed(b) for a, b in zip(ours, theirs, strict=True)]
    return f"; ours {median(ratios):.2f} × as fast ({min(ratios):.2f} to {max(ratios):.2f})"


def speed(result: dict[str, float]) -> float:
    """Turns a second."""
    return result["turns"] / result["seconds"]


def describe(name: str, results: Sequence[dict[str, float]], floor_s: float) -> str:
    """One line about one side's runs."""
    seconds = median(r["seconds"] for r in results)
    cpu_ms = median(1000 * r["cpu_s"] / r["turns"] for r in results)
    counts = ", ".join(f"{r['turns']:.0f}" for r in results)
    failed = sum(r["failed"] for r in results)
    return (
        f"{name}: {median(map(speed, results)):.1f} turns a second, {seconds:.2f} s ({seconds / floor_s:.2f} × the "
        f"least), {cpu_ms:.2f} ms CPU a turn; {counts} turns" + (f", {failed:.0f} sessions failed" if failed else "")
    )


def main() -> None:
    """Compares; or, told a side, plays it once under a parent's watch."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, default=256)
    parser.add_argument("--turns", type=int, default=6)
    parser.add_argument("--latency", type=float, default=0.3, help="seconds until the server answers")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peer-python", default=sys.executable, help="an interpreter that has verifiers")
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        SIDES[options.side](options.url, options.sessions, options.turns, Watch())
    else:
        compare(options)


if __name__ == "__main__":
    main()
