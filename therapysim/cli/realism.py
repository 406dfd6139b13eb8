"""``therapysim realism``: how the patients talk, beside real help-seekers."""

import argparse
from typing import Any

from therapysim.cli.options import add_patient, open_chosen

__all__ = ["add_realism_command"]

_POLICIES = ("attuned", "cbt", "eliza", "advice")


def add_realism_command(commands: Any) -> None:
    """Adds ``realism`` to the commands."""
    parser = commands.add_parser("realism", help="how the patients talk, beside statistics of real help-seekers")
    parser.add_argument("--reference", metavar="FILE", help="client talk statistics, JSON; default: our own side only")
    parser.add_argument("--sessions", type=int, default=1_000, help="default 1000")
    parser.add_argument("--turns", type=int, default=12, help="therapist turns in a session at most, default 12")
    parser.add_argument("--split", default="all", choices=("train", "dev", "test", "all"), help="patients, default all")
    parser.add_argument(
        "--policy", nargs="+", default=list(_POLICIES), metavar="NAME", help=f"baselines, default {' '.join(_POLICIES)}"
    )
    add_patient(parser)
    parser.add_argument("--seed", type=int, default=0, help="of the sessions and the bootstrap, default 0")
    parser.add_argument("--out", required=True, metavar="FOLDER", help="realism.json, realism.md and three figures")
    parser.set_defaults(run=run_realism)


def run_realism(chosen: argparse.Namespace) -> None:
    """Plays the sessions, measures, writes, and prints the table."""
    import matplotlib  # noqa: F401 - missing packages are to be named before an hour of play
    import vaderSentiment  # type: ignore[import-untyped]  # noqa: F401

    from therapysim.agents.probes.talk_counts import grouped, measure, play_talks
    from therapysim.agents.probes.talk_figures import read_reference, table, write
    from therapysim.agents.therapists.baselines import baseline
    from therapysim.envs.batch import SessionBatch, SessionConfig
    from therapysim.errors import require_count
    from therapysim.personas.load import personas

    reference = read_reference(chosen.reference) if chosen.reference else None
    require_count("seed", chosen.seed, 0)
    policies = {name: baseline(name) for name in chosen.policy}
    batch = SessionBatch(SessionConfig(max_turns=chosen.turns), patient=open_chosen(chosen.patient, chosen))
    who = personas(None if chosen.split == "all" else chosen.split)
    talks = play_talks(batch, policies, who, chosen.sessions, seed=chosen.seed)
    groups = {name: measure(own, seed=chosen.seed) for name, own in grouped(talks).items()}
    facts = {name: getattr(chosen, name) for name in ("sessions", "turns", "split", "policy", "patient", "seed")}
    write(chosen.out, groups, reference, facts)
    print(
        f"{table(groups, reference)}\n\n{chosen.out}: realism.json, realism.md, lengths.png, sentiment.png, repeats.png"
    )
