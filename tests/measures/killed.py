"""A run killed at random moments, again and again, beside one that is not: does anything get lost?

    python -m tests.measures.killed --kills 10 --seed 0

A tiny random model is trained by GRPO on the shipped patients, by the command line. The process is killed (SIGKILL)
at moments that the seed decides, from the start of Python to the last write, and taken up by ``--resume`` each time.
Printed: at which update each kill came, and whether metrics and policy are, in the end, those of the undisturbed run.
"""

import argparse
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from safetensors.torch import load_file

from tests.parts.run_files import rows
from tests.parts.tiny import make_tiny

#: The share of a longer run, and tokens spent, those of broken-off updates too.
APART = ("epoch", "num_tokens")


def command(model: Path, out: Path, *more: str) -> list[str]:
    """One training."""
    settings = (
        "--model", str(model), "--out", str(out), "--max-steps", "60", "--generations", "4", "--max-turns", "2",
        "--max-turn-tokens", "6", "--lr", "1e-2", "--save-steps", "2", "--no-mask-cut-turns", "--validate-every", "10",
        "--validate-sessions", "2",
    )  # fmt: skip
    return [sys.executable, "-m", "therapysim.cli.main", "train", "grpo", *settings, *more]


def killed(model: Path, out: Path, kills: int, chance: random.Random, whole_s: float) -> list[int]:
    """At how many updates the kills came; a run that ends before its kill is let end."""
    came: list[int] = []
    while len(came) < kills:
        process = subprocess.Popen(
            command(model, out, "--resume"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            process.wait(chance.uniform(0.1, 0.4) * whole_s)
            break
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            came.append(len(rows(out)))
    return came


def main() -> None:
    """Prints what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        model, whole, parts = (Path(place) / name for name in ("model", "whole", "parts"))
        make_tiny(model)
        began = time.perf_counter()
        subprocess.run(command(model, whole), check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        came = killed(model, parts, chosen.kills, random.Random(chosen.seed), time.perf_counter() - began)
        if not (parts / "policy" / "policy.json").exists():
            subprocess.run(command(model, parts, "--resume"), check=True, stdout=subprocess.DEVNULL)
        a, b = (load_file(out / "policy" / "adapter_model.safetensors") for out in (whole, parts))
        said = [(out / "completions.jsonl").read_text() for out in (whole, parts)]
        print(f"killed {len(came)} times, with {', '.join(map(str, came))} updates logged")
        print(f"metrics equal: {rows(whole, *APART) == rows(parts, *APART)}; sessions equal: {said[0] == said[1]}; "
              f"policy equal: {a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)}")  # fmt: skip


if __name__ == "__main__":
    main()
