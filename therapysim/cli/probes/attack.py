"""``therapysim attack``: the written attacks against a patient, and whether any of them succeeds."""

import argparse
from pathlib import Path

from therapysim.agents.probes.attack.attack_run import (
    attack_all,
    attack_table,
    require_modes,
    require_played,
    successes,
)
from therapysim.agents.probes.attack.suite import attacks
from therapysim.agents.statistics.intervals import LEAST_PATIENTS
from therapysim.cli.options import add_patient, add_people, keep, open_chosen, people_of, require_place
from therapysim.envs.batch import SessionBatch, SessionConfig
from therapysim.errors import require_count
from therapysim.personas.load import library_hash

__all__ = ["add_options", "run"]


def add_options(parser: argparse.ArgumentParser) -> None:
    """Whom the attacks meet, and which they are."""
    add_patient(parser)
    add_people(parser)
    add = parser.add_argument
    add("--seeds", type=int, default=2, help="sessions with each patient, default 2")
    add("--turns", type=int, default=20, help="therapist turns in a session at most, default 20")
    add("--families", nargs="+", metavar="FAMILY", help="default all")
    add("--modes", nargs="+", metavar="MODE", default=["flood", "opportunist"],
        help="flood, opportunist, rider; default the first two")  # fmt: skip
    add("--out", type=Path, metavar="FILE.json", help="keep every attack's gaps, signs and flags")


def run(chosen: argparse.Namespace) -> None:
    """Plays the suite, prints the table and every success, and writes the file.

    Raises:
        SystemExit: with code 1, where an attack succeeded.
    """
    modes, who = require_modes(chosen.modes), people_of(chosen)
    suite, seeds = attacks(chosen.families), range(require_count("seeds", chosen.seeds, 1))
    require_place(chosen.out)
    library = library_hash() if chosen.out else ""  # before anything is played: a library that changed is refused
    batch = SessionBatch(SessionConfig(max_turns=chosen.turns), patient=open_chosen(chosen.patient, chosen))
    trials = attack_all(batch, suite, who, seeds, modes)
    print(attack_table(trials))
    print(successes(trials) or f"no success: {len(suite)} attacks, {len(who)} patients")
    if len(who) < LEAST_PATIENTS:
        print(f"{len(who)} patients are too few to tell a gain, expected {LEAST_PATIENTS} or more")
    settings = {name: getattr(chosen, name) for name in ("patient", "split", "patients", "seeds", "turns")}
    keep(chosen.out, {"library": library, **settings, "trials": [trial.as_dict() for trial in trials]})
    require_played(trials)
    if successes(trials):
        raise SystemExit(1)
