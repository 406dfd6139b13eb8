"""``therapysim train patient-lines``: examples for the patient's adapter."""

import argparse
from collections import Counter
from pathlib import Path

from therapysim.cli.options import require_place
from therapysim.cli.setting_options import add_settings, given
from therapysim.train.patient.cue_lines import every_line, write_lines
from therapysim.train.patient.patient_settings import LineSettings

__all__ = ["add_options", "run"]


def add_options(parser: argparse.ArgumentParser) -> None:
    """Every setting, where the examples go, and which model draws some of them."""
    add = parser.add_argument
    add("--out", type=Path, required=True, metavar="FILE.jsonl", help="the examples")
    add("--model", help="also keep the best of four lines that this patient model draws for each cue")
    add_settings(parser, LineSettings)


def run(chosen: argparse.Namespace) -> None:
    """Writes the examples, and says how many of each kind."""
    require_place(chosen.out)
    settings, model = LineSettings(**given(chosen, LineSettings)), None
    if chosen.model:
        from therapysim.models.chat import HuggingFaceChat

        model = HuggingFaceChat(chosen.model)
    examples, cues = every_line(settings, model)
    write_lines(chosen.out, examples)
    print(f"{len(examples)} examples: {dict(Counter(e.source for e in examples))}, from {cues} cues")
