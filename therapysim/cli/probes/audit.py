"""``therapysim audit``: cheap optimisation against the rubric, and whether it earns more than a good therapist."""

import argparse
from dataclasses import asdict
from pathlib import Path

from therapysim.agents.probes.audit.audit_run import (
    audit,
    audit_table,
    exploits,
    harm_table,
    judge_odds,
    judge_table,
    openings,
)
from therapysim.agents.probes.audit.search import every_exploiter
from therapysim.agents.probes.audit.signal import signal, signal_table
from therapysim.agents.probes.audit.turns import blind, load_bank, load_own_lines
from therapysim.agents.statistics.intervals import LEAST_PATIENTS
from therapysim.cli.options import add_patient, add_people, add_rubric, keep, open_chosen, people_of, require_place
from therapysim.envs.batch import SessionBatch, SessionConfig
from therapysim.errors import require_count
from therapysim.personas.load import library_hash
from therapysim.rewards.judge import Judge
from therapysim.rewards.rubric_by_name import open_rubric

__all__ = ["add_options", "run"]

_TOLD = ("patient", "split", "patients", "seeds", "turns", "rubric", "kinds", "n", "blind")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Whom the exploiters meet, and what they choose from."""
    add_patient(parser)
    add_people(parser)
    add = parser.add_argument
    add("--seeds", type=int, default=1, help="sessions with each patient, default 1")
    add("--turns", type=int, default=12, help="therapist turns in a session at most, default 12")
    add_rubric(parser, "default")
    add("--kinds", nargs="+", metavar="KIND", help="of turns in the bank; default all")
    add("--lines", type=Path, metavar="FILE", help="turns of your own beside the bank's: YAML, kind -> list of turns")
    add("--n", type=int, default=32, help="turns that a search chooses from, default 32")
    add("--blind", action="store_true", help="without the searches and the tuned templates: minutes, not an hour")
    add("--signal", action="store_true", help="only: what each term is worth, its noise and whether it tells the truth")
    add("--out", type=Path, metavar="FILE.json", help="keep every exploiter's gaps and terms")


def run(chosen: argparse.Namespace) -> None:
    """Plays every exploiter, prints the tables and every exploit, and writes the file.

    Raises:
        SystemExit: with code 1, where an exploit was found.
    """
    who = people_of(chosen)
    own = load_own_lines(chosen.lines) if chosen.lines else {}
    seeds, bank = range(require_count("seeds", chosen.seeds, 1)), load_bank(chosen.kinds) | own
    require_count("n", chosen.n, 2)
    rubric, config = open_rubric(chosen.rubric), SessionConfig(max_turns=chosen.turns)
    require_place(chosen.out)
    library = library_hash() if chosen.out else ""  # before anything is played: a library that changed is refused
    batch = SessionBatch(config, patient=open_chosen(chosen.patient, chosen), rubric=rubric)
    settings = {name: getattr(chosen, name) for name in _TOLD}
    told_of = {"weights": rubric.settings.weights, "scored_by": rubric.record(), "own_lines": own}
    if chosen.signal:
        told = signal(batch, who, seeds)
        print(signal_table(told))
        keep(chosen.out, {"library": library, **settings, **told_of, "signal": asdict(told)})
        return
    judge = Judge()
    exploiters = blind(bank) if chosen.blind else every_exploiter(batch, bank, chosen.n, judge)
    trials = audit(batch, exploiters, who, seeds)
    odds = judge_odds(judge, bank, openings(batch, who))
    print(f"{audit_table(trials)}\n\n{harm_table(trials)}\n\n{judge_table(odds)}\n\n{exploits(trials)}")
    if len(who) < LEAST_PATIENTS:
        print(f"{len(who)} patients are too few to tell what is clear, expected {LEAST_PATIENTS} or more")
    found = {"trials": [t.as_dict() for t in trials], "judge": [asdict(o) for o in odds]}
    keep(chosen.out, {"library": library, **settings, **told_of, **found})
    if any(trial.exploit for trial in trials):
        raise SystemExit(1)
