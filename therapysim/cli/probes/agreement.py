"""``therapysim agreement``: do patients rank the same therapists alike?"""

import argparse
from dataclasses import asdict
from pathlib import Path

from therapysim.agents.bench.benchmark import benchmark, results_table
from therapysim.agents.bench.faults import failures, replacements
from therapysim.agents.probes.agreement import agreement, agreement_table
from therapysim.agents.therapists.baselines import BASELINES, baseline
from therapysim.cli.options import PATIENT, add_key, keep, open_chosen, require_place
from therapysim.envs.batch import SessionBatch, SessionConfig
from therapysim.errors import ConfigError
from therapysim.personas.load import personas

__all__ = ["add_options", "run"]


def add_options(parser: argparse.ArgumentParser) -> None:
    """Who is compared, and whom they meet."""
    add = parser.add_argument
    add("patients", nargs="+", metavar="PATIENT", help=PATIENT)
    add("--therapists", nargs="+", metavar="NAME", help="baselines to rank, default all")
    add("--split", default="test", help="patients: train, dev or test (default)")
    add("--people", type=int, metavar="N", help="the split's first N patients, default all")
    add("--seeds", type=int, default=1, help="sessions with each patient, default 1")
    add("--turns", type=int, default=10, help="therapist turns in a session at most, default 10")
    add("--out", type=Path, metavar="FILE.json", help="keep every result")
    add_key(parser)


def run(chosen: argparse.Namespace) -> None:
    """Every patient meets the same therapists; prints both tables."""
    if len(chosen.patients) < 2:
        raise ConfigError("agreement needs two patients or more, such as: scripted llm")
    require_place(chosen.out)
    who, config = [p.id for p in personas(chosen.split)][: chosen.people], SessionConfig(max_turns=chosen.turns)
    policies, results = {name: baseline(name) for name in chosen.therapists or BASELINES}, {}
    for name in chosen.patients:
        batch = SessionBatch(config, patient=open_chosen(name, chosen))
        results[name] = benchmark(batch, policies, who, range(chosen.seeds))
        print(f"{name}\n{results_table(results[name], ('total', 'alliance', 'turns'))}\n", flush=True)
        for text in (*failures(results[name]), *replacements(results[name])):
            print(f"warning: {text}\n", flush=True)
    print(agreement_table(agreement(results)))
    keep(chosen.out, {name: [asdict(row) for row in rows] for name, rows in results.items()})
