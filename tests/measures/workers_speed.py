"""Turns a second by workers beside one process, and what a turn costs the driver; nothing here passes or fails.

    python -m tests.measures.workers_speed [speed] [slow] [costs] [--rounds 3]

speed   scripted patients: one process, local processes and Ray's actors, in turn; the best of the rounds. Every text is
        new to the sensor, which has one thread, and two where it says so.
slow    1,000 sessions, one turn of each: the patient sleeps a log-normal time (median 0.5 s, σ 0.5) that its cue's seed
        decides, and takes 64 calls at once from a worker. Its lines are known to the sensor: what is left is waiting.
costs   seconds of processor time of a turn in a worker and in the driver, sizes and times of pickles, and what they say
        of more workers: each has a core, and the driver has one.

Ray's rows need the extra ``ray``, and are left out without.
"""

import argparse
import importlib.util
import os
import pickle
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tests.measures.many_sessions import LINES
from therapysim.envs.batch import Session, SessionBatch, SessionConfig, Start
from therapysim.personas.patient import Cue, Line
from therapysim.train.patient_pool import Office, PatientPool
from therapysim.train.patient_processes import Patients
from therapysim.train.spread_batch import SpreadBatch

TOPICS = "work sleep school home letters buses Sundays dinner gardens money phones".split()
SESSIONS, TURNS, SLOW_SESSIONS, WORKERS = 64, 4, 1000, (1, 2, 4)
Batch = SessionBatch | SpreadBatch


@dataclass(frozen=True)
class Slow:
    """Says one line, each time after a wait that the cue's seed decides; none at the opening."""

    at_once: int = 64

    def speak(self, cues: Sequence[Cue]) -> list[Line]:
        """One line a cue."""
        for cue in cues:
            if cue.transcript.messages:
                time.sleep(0.5 * np.random.default_rng(cue.seed).lognormal(0.0, 0.5))
        return [Line("I do not know what to say.") for _ in cues]


def said(session: Session) -> str | None:
    """A turn that no other session hears."""
    rng = np.random.default_rng([session.seed, session.state.turn])
    one, two, three = rng.choice(TOPICS, 3)
    return None if session.done else f"{rng.choice(LINES)} I think of {one}, {two} and {three}, {session.seed}."


def office(**own: Any) -> Office:
    """Long sessions, rewarded as in training."""
    return Office(SessionConfig(max_turns=20), "grpo", **own)


def kinds() -> dict[str, Callable[[Office, int], PatientPool[Any]]]:
    """Local processes, and Ray's actors where there are any."""
    found: dict[str, Callable[[Office, int], PatientPool[Any]]] = {"processes": Patients}
    if importlib.util.find_spec("ray"):
        import ray

        from therapysim.train.connect.ray_workers import RayPatients

        ray.is_initialized() or ray.init(num_cpus=sum(WORKERS), include_dashboard=False, log_to_driver=False)
        found["ray"] = RayPatients
    return found


def timed(batch: Batch, first: int, sessions: int, turns: int, text: Callable[[Session], str | None]) -> float:
    """Turns a second of so many sessions, begun before the clock is."""
    batch.reset([Start(first + i) for i in range(sessions)])
    began, taken = time.perf_counter(), 0
    for _ in range(turns):
        taken += sum(turn is not None for turn in batch.step([text(session) for session in batch.sessions]))
    return taken / (time.perf_counter() - began)


def speed(rounds: int) -> None:
    """Prints the first table."""
    with ExitStack() as stack:
        ways: dict[str, Batch] = {"one process": office(sensor_threads=1).open()}
        ways["one process, 2 threads"] = office().open()
        for kind, pool in kinds().items():
            for count in WORKERS:
                ways[f"{kind} {count}"] = SpreadBatch(stack.enter_context(pool(office(sensor_threads=1), count)))
        for batch in ways.values():
            timed(batch, 10**6, 8, 1, said)  # imports, sensor
        rates: dict[str, list[float]] = {way: [] for way in ways}
        for number in range(rounds):
            for way, batch in ways.items():  # both batches of this process share what it remembers of words
                first = 1000 * number + 10**5 * ("2 threads" in way)
                rates[way].append(timed(batch, first, SESSIONS, TURNS, said))
    show(f"{SESSIONS} sessions of {TURNS} turns", {way: max(rate) for way, rate in rates.items()})


def slow() -> None:
    """Prints the second table."""
    from tests.measures.workers_speed import Slow  # of the module's own name, under which workers find it

    rates = {}
    for at_once in (64, 256):
        rates[f"one process, {at_once} calls at once"] = slowly(office(patient=Slow(at_once)).open())
    for kind, pool in kinds().items():
        for count in WORKERS:
            with pool(office(patient=Slow()), count) as opened:
                rates[f"{kind} {count}"] = slowly(SpreadBatch(opened))
    show(f"{SLOW_SESSIONS} sessions, a slow patient", rates)


def slowly(batch: Batch) -> float:
    """Turns a second, once the lines are known."""
    timed(batch, 0, 16, 1, lambda session: LINES[session.seed % len(LINES)])
    return timed(batch, 0, SLOW_SESSIONS, 1, lambda session: LINES[session.seed % len(LINES)])


def show(what: str, rates: dict[str, float]) -> None:
    """A row a way, beside the first."""
    first = next(iter(rates.values()))
    print(f"{what}; load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    for way, rate in rates.items():
        print(f"  {way:34} {rate:7.1f} turns/s {rate / first:6.2f} x", flush=True)


def costs() -> None:
    """Prints what a turn costs, and the reckoning."""
    batch, shares = office(sensor_threads=1).open(), (1, 10, 250)
    timed(batch, 10**6, 8, 1, said)
    cpu_s = {share: worker_cost(batch, share) for share in shares}
    for share, own in cpu_s.items():
        print(f"a call of {share:3} sessions: {own * 1000:.1f} ms of processor time a turn")
        print("   " + pickles(batch, share), flush=True)
    for kind, pool in kinds().items():
        with pool(office(sensor_threads=1), 1) as opened:
            driver_s = {share: driver_cost(opened, share) for share in shares}
            print(f"{kind}: an empty call takes {empty_call(opened) * 1000:.2f} ms; the driver's processor time a turn")
            for share, own in driver_s.items():
                print(f"   in calls of {share:3}: {own * 1000:.2f} ms; {reckoned(own, cpu_s[share])}", flush=True)


def reckoned(driver_s: float, worker_s: float) -> str:
    """What many workers make, each with a core, of a driver that has one."""
    most = 1 / driver_s
    workers = most * worker_s
    return f"at most {most:.0f} turns/s, reached with {workers:.0f} workers; 100 make {min(most, 100 / worker_s):.0f}"


def worker_cost(batch: SessionBatch, share: int) -> float:
    """Seconds of processor time of a turn in calls of so many sessions."""
    spent, taken = 0.0, 0
    for number in range(-(-250 // share)):
        batch.reset([Start(10**4 * share + share * number + i) for i in range(share)])
        texts = [said(session) for session in batch.sessions]
        began = time.process_time()
        batch.step(texts)
        spent, taken = spent + time.process_time() - began, taken + share
    return spent / taken


def pickles(batch: SessionBatch, share: int) -> str:
    """Sizes and times of what goes to a worker and comes back."""
    batch.reset([Start(i) for i in range(share)])
    for _ in range(TURNS):
        turns = batch.step([said(session) for session in batch.sessions])
    told = []
    whats = {
        "a persona": [session.persona for session in batch.sessions],
        "a session": batch.sessions,
        "session and turn": (batch.sessions, turns),
    }
    for name, what in whats.items():
        data = pickle.dumps(what, pickle.HIGHEST_PROTOCOL)
        there = quickest(lambda what=what: pickle.dumps(what, pickle.HIGHEST_PROTOCOL))
        back = quickest(lambda data=data: pickle.loads(data))
        told.append(f"{name} {len(data) / share / 1000:.1f} kB, {there / share * 1e3:.2f} ms to pickle, "
                    f"{back / share * 1e3:.2f} ms to read")  # fmt: skip
    return "; ".join(told)


def quickest(call: Callable[[], Any]) -> float:
    """Seconds of processor time, the least of ten."""
    found = []
    for _ in range(10):
        began = time.process_time()
        call()
        found.append(time.process_time() - began)
    return min(found)


def driver_cost(pool: PatientPool[Any], share: int) -> float:
    """Seconds of this process's processor time a turn: pickles, pipes, and what Ray's threads do in it."""
    begun = pool.begin([Start(i) for i in range(share)])
    texts = [str(said(session)) for session in begun]
    pool.step(begun, texts)
    calls = max(3, 100 // share)
    began = time.process_time()
    for _ in range(calls):
        pool.step(begun, texts)  # the same turn again: what the worker makes of it is no matter here
    return (time.process_time() - began) / calls / share


def empty_call(pool: PatientPool[Any]) -> float:
    """Seconds of a call with no session in it, the median of 200."""
    found = []
    for _ in range(200):
        began = time.perf_counter()
        pool.resume(())
        found.append(time.perf_counter() - began)
    return statistics.median(found)


def main() -> None:
    """Prints what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", default=["speed", "slow", "costs"])
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    root = str(Path(__file__).parents[2])  # workers import the slow patient
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    parts = {"speed": lambda: speed(chosen.rounds), "slow": slow, "costs": costs}
    if wrong := [name for name in chosen.parts if name not in parts]:
        parser.error(f"{wrong[0]!r} is no part, expected {', '.join(parts)}")
    for name in chosen.parts:
        parts[name]()


if __name__ == "__main__":
    main()
