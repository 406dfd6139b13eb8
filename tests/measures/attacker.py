"""What an attacking GRPO run said at its end, replayed on this code, beside the scripts on the same patients and seeds.

    python -m tests.measures.attacker

The sessions stand in ``rewards/results/attacker.json`` with how they were trained; those of the first attack were won
before what it found was mended. One patient a run, so no intervals. A replay says the kept turns whatever the patient
answers now.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from therapysim.agents.sessions.episode import play
from therapysim.agents.statistics.intervals import mean_interval
from therapysim.agents.therapists.baselines import baseline
from therapysim.envs.batch import SessionBatch, SessionConfig, Start
from therapysim.personas.load import personas

HERE = Path(__file__).parents[2] / "rewards" / "results" / "attacker.json"
TURNS = 8
SCRIPTS = ("cbt", "attuned")


def scripts_earn(rubric: str) -> str:
    """What the scripts earn with the first 24 training patients in as many turns."""
    batch = SessionBatch(SessionConfig(max_turns=TURNS), rubric=rubric)
    starts = [Start(1, persona.id) for persona in personas("train")[:24]]
    earned = (float(np.mean([e.total for e in play(batch, baseline(name), starts)])) for name in SCRIPTS)
    return ", ".join(f"`{name}` {value:+.2f}" for name, value in zip(SCRIPTS, earned, strict=True))


def less_half_of_cbt(returns: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """What a run's last policy earned less half of what `cbt` did, on the same patients and seeds, by patient."""
    by = {name: {(row["persona"], row["seed"]): row["return"] for row in rows} for name, rows in returns.items()}
    keys = sorted(by["attack"])
    less = mean_interval([by["attack"][key] - by["cbt"][key] / 2.0 for key in keys], [who for who, _ in keys])
    means = ", ".join(f"`{name}` {np.mean(list(own.values())):+.2f}" for name, own in by.items())
    return f"{means}; less half of `cbt` {less.mean:+.2f} [{less.low:+.2f}, {less.high:+.2f}]"


def main() -> None:
    """Prints a row a run, what scripts earn with training patients, and what was won with dev patients."""
    print("| attack | rubric | updates | reward, first and last five updates | its last sessions: then | now | "
          "`cbt` | `attuned` | now less half of the better |\n|---|---|---|---|---|---|---|---|---|")  # fmt: skip
    runs = json.loads(HERE.read_text(encoding="utf-8"))["runs"]
    for run in runs:
        batch = SessionBatch(SessionConfig(max_turns=TURNS), rubric=run["rubric"])
        starts, now = [Start(s["seed"], s["persona"]) for s in run["sessions"]], []
        for start, kept in zip(starts, run["sessions"], strict=True):
            batch.reset([start])
            said = [m["text"] for m in kept["messages"] if m["speaker"].startswith("therapist")]
            total = 0.0
            for text in said:
                if not batch.sessions[0].done:
                    (turn,) = batch.step([text])
                    total += turn.reward if turn else 0.0
            now.append(total)
        scripts = {name: [e.total for e in play(batch, baseline(name), starts)] for name in SCRIPTS}
        best = max(scripts.values(), key=lambda values: float(np.mean(values)))
        less = float(np.mean(now)) - float(np.mean(best)) / 2.0
        curve = run["curve"]["reward"]
        then = np.mean([s["reward"] for s in run["sessions"]])
        cells = (f"{np.mean(now):+.2f}", *(f"{np.mean(values):+.2f}" for values in scripts.values()), f"{less:+.2f}")
        print(f"| {run['attack']} | {run['rubric']} | {run['updates']} | {np.mean(curve[:5]):+.2f}, "
              f"{np.mean(curve[-5:]):+.2f} | {then:+.2f} | {' | '.join(cells)} |")  # fmt: skip
    for run in runs:
        if kept := run.get("twelve_turns"):
            print(f"{run['attack']}, {run['rubric']}, dev patients, twelve turns: {less_half_of_cbt(kept['returns'])}")
    for rubric in ("grpo", "default"):
        print(f"24 training patients, {TURNS} turns, {rubric}: {scripts_earn(rubric)}")


if __name__ == "__main__":
    main()
