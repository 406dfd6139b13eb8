"""``therapysim train patient``: the patient's adapter, from examples."""

import argparse
from pathlib import Path

from therapysim.cli.setting_options import add_settings, given
from therapysim.train.patient.cue_lines import read_lines
from therapysim.train.patient.patient_settings import AdapterSettings

__all__ = ["add_options", "run"]


def add_options(parser: argparse.ArgumentParser) -> None:
    """Every setting, the examples, and where the adapter goes."""
    add = parser.add_argument
    add("--examples", type=Path, nargs="+", required=True, metavar="FILE.jsonl", help="what patient-lines wrote")
    add("--out", type=Path, required=True, metavar="FOLDER", help="the adapter")
    add_settings(parser, AdapterSettings)


def run(chosen: argparse.Namespace) -> None:
    """Trains the adapter."""
    from therapysim.train.patient.adapter import train_adapter

    examples = [example for path in chosen.examples for example in read_lines(path)]
    record = train_adapter(examples, AdapterSettings(**given(chosen, AdapterSettings)), chosen.out)
    print(f"{record['examples']} examples: loss {record['loss_before']:.3f} before, {record['loss_after']:.3f} after, "
          f"on {record['held_out']} held out; the adapter is in {chosen.out}")  # fmt: skip
