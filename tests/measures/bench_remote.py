"""Many sessions at once with a patient behind a chat server: seconds, beside those of the server's latency alone.

python -m tests.measures.bench_remote [--sessions 256] [--turns 5] [--latency 2] [--concurrency 256] [--profile]

The server of ``chat_server`` answers every request after a fixed time, however many there are. The ideal is one such
time a turn, the opening included. The guard is set so loose that no line is refused but for a word-for-word repeat:
a second draw would double a turn, and how often a real model needs one is not this measurement's business. What the
guard costs in computing is still in it. Nothing here passes or fails.
"""

import argparse
import cProfile
import os
import pstats
import time
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

from tests.parts.chat_server import serving, stats
from therapysim.envs.batch import SessionBatch, SessionConfig, Start, Turn
from therapysim.models.chat import ChatMessage, ChatModel, Sampling
from therapysim.models.remote import RemoteChat, RemoteSettings
from therapysim.personas.llm.guard import GuardSettings
from therapysim.personas.llm.llm_patient import LLMPatient, LLMPatientSettings
from therapysim.personas.scripted.scripted_patient import ScriptedPatient

LOOSE = GuardSettings(max_mood_distance=9.0, max_leak=1.0, min_fact=0.0, max_similarity=1.0)
# Attuned and short; each turn's is another, so that nobody is asked the same twice.
THERAPIST = (
    "That sounds heavy. What is it like for you?",
    "It seems that a lot has been on your shoulders lately. What weighs most?",
    "I can hear how tiring this is. How do you get through a day?",
    "So part of you wants it to change, and part of you is worn out.",
    "You have been alone with this for long. What would help a little?",
)


class Timed:
    """A chat model that notes how long each call took."""

    def __init__(self, model: ChatModel) -> None:
        self.model, self.seconds, self.chats, self.cpu_s = model, [], [], 0.0  # type: ignore[var-annotated]

    def reply(self, chats: Sequence[Sequence[ChatMessage]], sampling: Sampling, seeds: Sequence[int]) -> list[str]:
        began, cpu = time.perf_counter(), time.process_time()
        replies = self.model.reply(chats, sampling, seeds)
        self.seconds.append(time.perf_counter() - began)
        self.cpu_s += time.process_time() - cpu
        self.chats.append(len(chats))
        return replies


def play(batch: SessionBatch, sessions: int, turns: int) -> tuple[list[float], list[Turn]]:
    """Seconds of the opening and of each turn, and all turns taken."""
    marks, taken = [time.perf_counter()], []
    batch.reset([Start(seed=i) for i in range(sessions)])
    marks.append(time.perf_counter())
    for turn in range(turns):
        text = THERAPIST[turn % len(THERAPIST)]
        taken += [t for t in batch.step([None if s.done else text for s in batch.sessions]) if t]
        marks.append(time.perf_counter())
    return [b - a for a, b in pairwise(marks)], taken


def report(seconds: list[float], taken: list[Turn], model: Timed, latency: float) -> None:
    """Prints what was measured against the ideal, and where the rest went."""
    ideal, measured = latency * len(seconds), sum(seconds)
    lines = [turn.line for turn in taken if turn.line]
    faults = Counter(fault for line in lines for fault in line.rejected)
    asked = [f"{s:.2f} ({n} chats)" for s, n in zip(model.seconds, model.chats, strict=True)]
    print(f"ideal {ideal:.2f} s, measured {measured:.2f} s, ratio {measured / ideal:.3f}")
    print(f"opening and turns, s: {', '.join(f'{s:.2f}' for s in seconds)}")
    print(f"of these in the chat model, s: {', '.join(asked)}")
    waited = latency * len(model.seconds)
    over = {
        f"requests ({sum(model.chats)} sent and received)": sum(model.seconds) - waited,
        "environment (sensor, guard, dynamics, rubric)": measured - sum(model.seconds),
        "second draws": waited - ideal,
    }
    print("over the ideal, s: " + ", ".join(f"{name} {value:.2f}" for name, value in over.items()))
    print(f"{len(taken)} turns; lines {dict(Counter(line.source for line in lines))}; refused draws {dict(faults)}")


def main() -> None:
    """Measures once; the sensor, its cache and the personas are warm."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, default=256)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--latency", type=float, default=2.0, help="seconds until the server answers")
    parser.add_argument("--concurrency", type=int, default=256)
    parser.add_argument("--profile", action="store_true", help="where the computing of the main thread goes")
    options = parser.parse_args()
    with serving("--latency", str(options.latency)) as url:
        model = Timed(RemoteChat(url, "any", settings=RemoteSettings(concurrency=options.concurrency)))
        batch = SessionBatch(SessionConfig(max_turns=options.turns + 1))
        play(batch, 2, options.turns)  # with the scripted patient: it warms all but the connections
        feel = batch.sensor.affect
        batch.patient = LLMPatient(model, ScriptedPatient(feel), feel, LLMPatientSettings(guard=LOOSE))
        profile = cProfile.Profile()
        if options.profile:
            profile.enable()
        cpu_s = -time.process_time()
        seconds, taken = play(batch, options.sessions, options.turns)
        cpu_s += time.process_time()
        profile.disable()
        print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; {options.sessions} sessions, "
              f"{options.turns} turns, latency {options.latency:g} s, concurrency {options.concurrency}")  # fmt: skip
        report(seconds, taken, model, options.latency)
        print(f"CPU seconds: {model.cpu_s:.2f} for requests, {cpu_s - model.cpu_s:.2f} in the environment")
        print(f"the server saw {stats(url)['max_in_flight']} requests at once")
        if options.profile:
            pstats.Stats(profile).sort_stats("cumulative").print_stats("therapysim", 30)


if __name__ == "__main__":
    main()
