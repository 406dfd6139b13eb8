"""``therapysim persona new``: a new patient's file, a commented example that already works."""

import argparse
from pathlib import Path

from therapysim.personas.template import write_template

__all__ = ["add_options", "run"]


def add_options(parser: argparse.ArgumentParser) -> None:
    """The file, and what is filled in."""
    add = parser.add_argument
    add("file", type=Path, metavar="FILE.yaml", help="a new file; its name is the patient's id")
    add("--name", default="", help="what the patient is called; default the id")
    add("--split", choices=("train", "dev", "test"), default="train",
        help="train (default): policies may practise on it; test: never, it is for benchmarks")  # fmt: skip
    add("--risk", type=int, choices=(0, 1), default=0, help="1 adds a danger and its ladder of answers; default 0")


def run(chosen: argparse.Namespace) -> None:
    """Writes it, and says what to do with it.

    Raises:
        PersonaError: the file is there already, or its name is no id.
    """
    persona = write_template(chosen.file, name=chosen.name, split=chosen.split, risk=chosen.risk)
    print(
        f"{chosen.file}: {persona.name}, a made-up example that already works; change it line by line, then\n"
        f"  therapysim persona check {chosen.file}\n"
        f"  therapysim chat --patient {chosen.file}"
    )
