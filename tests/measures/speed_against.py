"""Speed of a benchmark beside another checkout's, both in one run: 16 test patients × 4 seeds × 12 turns.

python -m tests.measures.speed_against FOLDER [--rounds 8] [--policy attuned]

FOLDER is another checkout, such as an older one: ``git worktree add FOLDER COMMIT``. Each side plays in a process of
its own, and they take turns; the ratio is of the median CPU times. Nothing here passes or fails.
"""

import argparse
import os
import statistics
import subprocess
import sys
from pathlib import Path

_SIDE = """
import sys, time
from therapysim.agents import baseline, benchmark
from therapysim.envs import SessionBatch, SessionConfig
from therapysim.personas import personas
from therapysim.rewards import EmotionSensor
policy, who = sys.argv[1], [p.id for p in personas("test")]
for _ in sys.stdin:
    batch = SessionBatch(SessionConfig(max_turns=12), sensor=EmotionSensor())  # which remembers nothing yet
    began = time.process_time()
    benchmark(batch, {policy: baseline(policy)}, who, range(4))
    print(time.process_time() - began, flush=True)
"""


def start(folder: Path, policy: str) -> subprocess.Popen[str]:
    """A process that plays the benchmark each time it is sent a line, and answers with CPU seconds."""
    pipe, environment = subprocess.PIPE, {**os.environ, "PYTHONPATH": str(folder), "PYTHONSAFEPATH": "1"}
    return subprocess.Popen(
        [sys.executable, "-c", _SIDE, policy], stdin=pipe, stdout=pipe, text=True, env=environment, cwd=folder
    )


def play(side: subprocess.Popen[str]) -> float:
    """CPU seconds of one benchmark.

    Raises:
        RuntimeError: the process has ended.
    """
    assert side.stdin and side.stdout
    print("go", file=side.stdin, flush=True)
    if not (line := side.stdout.readline()):
        raise RuntimeError("one side ended; what it wrote says why")
    return float(line)


def main() -> None:
    """Prints each side's times and the ratio of speed, this checkout over the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="the other checkout")
    parser.add_argument("--rounds", type=int, default=8, help="default 8, after one to warm up")
    parser.add_argument("--policy", default="attuned", help="a baseline, default attuned")
    chosen = parser.parse_args()
    sides = {"other": start(chosen.folder, chosen.policy), "this": start(Path(__file__).parents[2], chosen.policy)}
    rounds = [{name: play(sides[name]) for name in sorted(sides, reverse=i % 2)} for i in range(chosen.rounds + 1)][1:]
    middle = {name: statistics.median(row[name] for row in rounds) for name in sides}
    for name in sides:
        print(f"{name}: median {middle[name]:.2f} CPU s of {' '.join(f'{row[name]:.2f}' for row in rounds)}")
    print(f"speed, this over the other: {middle['other'] / middle['this']:.2f}")


if __name__ == "__main__":
    main()
