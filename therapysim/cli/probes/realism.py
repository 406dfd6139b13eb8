"""``therapysim realism``: how the patients talk, beside real help-seekers."""

import argparse

from therapysim.agents.probes.talk_counts import grouped, measure, play_talks
from therapysim.agents.probes.talk_figures import read_reference, talk_table, write
from therapysim.agents.therapists.baselines import baseline
from therapysim.cli.options import add_patient, open_chosen
from therapysim.envs.batch import SessionBatch, SessionConfig
from therapysim.errors import require_count
from therapysim.personas.load import personas

__all__ = ["add_options", "run"]

_POLICIES = ("attuned", "cbt", "eliza", "advice")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Which sessions are played, and what they are put beside."""
    add = parser.add_argument
    add("--reference", metavar="FILE", help="client talk statistics, JSON; default: our own side only")
    add("--sessions", type=int, default=1_000, help="default 1000")
    add("--turns", type=int, default=12, help="therapist turns in a session at most, default 12")
    add("--split", default="all", choices=("train", "dev", "test", "all"), help="patients, default all")
    add("--policy", nargs="+", default=list(_POLICIES), metavar="NAME",
        help=f"baselines, default {' '.join(_POLICIES)}")  # fmt: skip
    add_patient(parser)
    add("--seed", type=int, default=0, help="of the sessions, default 0")
    add("--out", required=True, metavar="FOLDER", help="realism.json, realism.md and three figures")


def run(chosen: argparse.Namespace) -> None:
    """Plays the sessions, measures, writes, and prints the table."""
    import matplotlib  # noqa: F401 - missing packages are to be named before an hour of play
    import vaderSentiment  # type: ignore[import-untyped]  # noqa: F401

    reference = read_reference(chosen.reference) if chosen.reference else None
    require_count("seed", chosen.seed, 0)
    policies = {name: baseline(name) for name in chosen.policy}
    batch = SessionBatch(SessionConfig(max_turns=chosen.turns), patient=open_chosen(chosen.patient, chosen))
    who = personas(None if chosen.split == "all" else chosen.split)
    talks = play_talks(batch, policies, who, chosen.sessions, seed=chosen.seed)
    groups = {name: measure(own) for name, own in grouped(talks).items()}
    facts = {name: getattr(chosen, name) for name in ("sessions", "turns", "split", "policy", "patient", "seed")}
    write(chosen.out, groups, reference, facts)
    print(
        f"{talk_table(groups, reference)}\n\n"
        f"{chosen.out}: realism.json, realism.md, lengths.png, sentiment.png, repeats.png"
    )
