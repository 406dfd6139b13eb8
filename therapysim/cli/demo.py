"""``therapysim demo``: the whole path once."""

import argparse

__all__ = ["add_options", "run"]


def add_options(parser: argparse.ArgumentParser) -> None:
    """What the demo is set to."""
    add = parser.add_argument
    add("--model", default="smollm2", help="model folder, .gguf file, hub id, or smollm2 (default)")
    add("--out", default="runs/demo", metavar="FOLDER", help="default runs/demo; a new one each time")
    add("--copies", type=int, default=18, help="SFT updates, default 18")
    add("--steps", type=int, default=3, help="GRPO updates, default 3")
    add("--seed", type=int, default=0, help="default 0")


def run(chosen: argparse.Namespace) -> None:
    """Runs it."""
    from therapysim.train.demo import DemoSettings
    from therapysim.train.demo import run as demonstrate

    demonstrate(
        DemoSettings(model=chosen.model, out=chosen.out, copies=chosen.copies, steps=chosen.steps, seed=chosen.seed)
    )
