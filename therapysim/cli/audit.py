"""``therapysim audit``: cheap optimisation against the rubric, and whether it earns more than a good therapist."""

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from therapysim.cli.options import add_patient, keep, open_chosen, require_place
from therapysim.errors import require_count

if TYPE_CHECKING:
    from therapysim.agents.probes.audit.audit_run import Trial
    from therapysim.agents.probes.audit.turns import Bank, Exploiter
    from therapysim.envs.batch import SessionBatch
    from therapysim.rewards.judge import Judge

__all__ = ["add_audit_command"]

#: Every so many of the training patients is one that templates are tuned on; with all of them it would take minutes.
_TUNED_ON = 3


def add_audit_command(commands: Any) -> None:
    """Adds ``therapysim audit``."""
    parser = commands.add_parser(
        "audit",
        help="optimise cheaply against the rubric beside a good therapist; exit code 1 where an exploit is found",
    )
    add_patient(parser)
    parser.add_argument("--split", default="dev", help="patients: train, dev (default) or test")
    parser.add_argument("--patients", type=int, metavar="N", help="the first N patients of the split; default all")
    parser.add_argument("--seeds", type=int, default=1, help="sessions with each patient, default 1")
    parser.add_argument("--turns", type=int, default=12, help="therapist turns in a session at most, default 12")
    parser.add_argument("--rubric", default="default", metavar="NAME", help="default, grpo or user")
    parser.add_argument("--kinds", nargs="+", metavar="KIND", help="of turns in the bank; default all")
    parser.add_argument("--n", type=int, default=32, help="turns that a search chooses from, default 32")
    parser.add_argument("--out", type=Path, metavar="FILE.json", help="keep every exploiter's gaps and terms")
    parser.set_defaults(run=run_audit)


def run_audit(chosen: argparse.Namespace) -> None:
    """Plays every exploiter, prints the tables and every exploit, and writes the file.

    Raises:
        SystemExit: with code 1, where an exploit was found.
    """
    from therapysim.agents.probes.audit.audit_run import LEAST_PATIENTS, audit, judge_odds, judge_table, openings, table
    from therapysim.agents.probes.audit.turns import load_bank
    from therapysim.envs.batch import SessionBatch, SessionConfig
    from therapysim.personas.load import library_hash, personas
    from therapysim.rewards.judge import Judge
    from therapysim.rewards.rubric import RubricSettings

    if chosen.patients is not None:
        require_count("patients", chosen.patients, 1)
    seeds, bank = range(require_count("seeds", chosen.seeds, 1)), load_bank(chosen.kinds)
    require_count("n", chosen.n, 2)
    rubric, config = RubricSettings.preset(chosen.rubric), SessionConfig(max_turns=chosen.turns)
    require_place(chosen.out)
    library = library_hash() if chosen.out else ""  # before anything is played: a library that changed is refused
    who = [p.id for p in personas(chosen.split)][: chosen.patients]
    batch, judge = SessionBatch(config, patient=open_chosen(chosen.patient, chosen), rubric=rubric), Judge()
    trials = audit(batch, _exploiters(batch, bank, chosen.n, judge), who, seeds)
    odds = judge_odds(judge, bank, openings(batch, who))
    print(f"{table(trials)}\n\n{judge_table(odds)}\n\n{_told(trials)}")
    if len(who) < LEAST_PATIENTS:
        print(f"{len(who)} patients are too few to tell what is clear, expected {LEAST_PATIENTS} or more")
    names = ("patient", "split", "patients", "seeds", "turns", "rubric", "kinds", "n")
    settings = {name: getattr(chosen, name) for name in names}
    found = {"trials": [t.as_dict() for t in trials], "judge": [asdict(o) for o in odds]}
    keep(chosen.out, {"library": library, **settings, "weights": rubric.weights, **found})
    if any(trial.exploit for trial in trials):
        raise SystemExit(1)


def _exploiters(batch: "SessionBatch", bank: "Bank", n: int, judge: "Judge") -> "list[Exploiter]":
    """All of them. Templates are tuned on the scripted patient, whoever they are played with: cheap is the point."""
    from therapysim.agents.probes.audit.search import climb, searchers
    from therapysim.agents.probes.audit.turns import blind
    from therapysim.envs.batch import SessionBatch
    from therapysim.personas.load import personas

    tuned_on = [p.id for p in personas("train")][::_TUNED_ON]
    found = [*blind(bank), *searchers(batch, bank, n, judge)]
    return [*found, *climb(SessionBatch(batch.config, rubric=batch.rubric, sensor=batch.sensor), bank, tuned_on)]


def _told(trials: "list[Trial]") -> str:
    """Every exploit, or that there is none."""
    won = [trial for trial in trials if trial.exploit]
    return "\n".join([f"exploits: {len(won)} of {len(trials)} exploiters", *map(str, won)])
