"""``therapysim portrayal``: how well language models play the patient."""

import argparse
from pathlib import Path

from therapysim.agents.probes.portrayal import compare_portrayals, portrayal_table
from therapysim.cli.options import PATIENT, add_key, keep, open_chosen, require_place
from therapysim.personas.load import library_hash
from therapysim.rewards.reading.emotions import shipped_sensor

__all__ = ["add_options", "run"]


def add_options(parser: argparse.ArgumentParser) -> None:
    """Who is compared, and on which cues."""
    add = parser.add_argument
    add("patients", nargs="+", metavar="PATIENT", help=PATIENT)
    add("--split", default="test", help="patients: train, dev or test (default)")
    add("--cues", type=int, default=400, help="how many cues each words, default 400")
    add("--prompt", choices=("full", "brief"), help="default: brief for 'llm', full for others")
    add("--seed", type=int, default=0, help="of the cues, default 0")
    add("--out", type=Path, metavar="FILE.json", help="keep the figures, and every line")
    add_key(parser)


def run(chosen: argparse.Namespace) -> None:
    """Every patient words the same cues; prints the table."""
    require_place(chosen.out)
    told = {"library": library_hash(), "split": chosen.split, "seed": chosen.seed}
    patients = ((name, open_chosen(name, chosen, chosen.prompt)) for name in chosen.patients)
    feel = shipped_sensor().affect
    found, rows = compare_portrayals(patients, feel, split=chosen.split, cues=chosen.cues, seed=chosen.seed)
    print(portrayal_table(found))
    keep(chosen.out, {**told, "patients": rows})
