"""``therapysim bench``: policies against patients, written as it goes."""

import argparse
import shlex
import sys
from functools import partial
from typing import TYPE_CHECKING, Any

from therapysim.errors import ConfigError
from therapysim.train.options import PATIENT, add_key, open_chosen

if TYPE_CHECKING:
    from therapysim.agents.runner import BenchSettings, Opener

__all__ = ["add_bench_command"]

_POLICY = (
    "a baseline, a run's folder of train grpo, a model's folder, .gguf file or hub id, smollm2, URL#MODEL of an "
    "OpenAI-compatible server, or package.module:function"
)


def add_bench_command(commands: Any) -> None:
    """``therapysim bench``."""
    parser = commands.add_parser("bench", help="compare therapists over patients and seeds, with intervals")
    add = parser.add_argument
    add("policies", nargs="*", metavar="POLICY", help=_POLICY)
    add("--policy", action="append", default=[], metavar="POLICY", help="the same, one at a time")
    add("--out", default="runs/bench", metavar="FOLDER", help="default runs/bench; goes on where a run was broken off")
    add("--split", default="test", help="patients: train, dev or test (default)")
    add("--patients", nargs="+", default=[], metavar="N|ID", help="how many of the split, or ids; default all of it")
    add("--seeds", type=int, default=4, help="sessions with each patient, default 4")
    add("--patient", action="append", metavar="NAME",
        help=f"who words the patients: {PATIENT}; default scripted; more than one shows what a swap does")  # fmt: skip
    add("--turns", type=int, default=20, help="therapist turns in a session at most, default 20")
    add("--rubric", default="default", metavar="PRESET", help="of the reward, default default")
    add("--header", choices=("state", "none", "both"), default="state",
        help="what a language model reads before a patient's words: state (default), none, both in turn")  # fmt: skip
    add("--max-tokens", type=int, default=64, help="of one turn of a language model, default 64")
    add("--temperature", type=float, default=0.8, help="of a language model's turns, default 0.8")
    add(
        "--sessions",
        action="store_true",
        help="keep a file a session too, in OUT/sessions, for profile",
    )
    add("--dry-run", action="store_true", help="count calls and tokens, and make none")
    add_key(parser)
    parser.set_defaults(run=run_bench)


def run_bench(chosen: argparse.Namespace) -> None:
    """Plays what is missing, and prints the table of each patient."""
    from therapysim.agents.benchmark import table
    from therapysim.agents.runner import run, whom

    settings, policies, simulators = settings_of(chosen), policies_of(chosen), chosen.patient or ["scripted"]
    if chosen.dry_run:
        from therapysim.agents.forecast import forecast

        print(forecast(settings, policies, simulators, chosen.max_tokens))
        return
    patients = [(name, partial(open_chosen, name, chosen)) for name in simulators]
    command = shlex.join(["therapysim", *sys.argv[1:]])
    results = run(settings, openers(policies, chosen), patients, chosen.out, command=command, sessions=chosen.sessions)
    size = f"{len(whom(settings))} patients × {settings.seeds} seeds, at most {settings.turns} turns"
    for name in simulators:
        rows = [r for r in results if r.simulator == name]
        failed = sum(r.failed for r in rows)
        print(f"\npatient {name}: {size}" + f"; {failed} sessions failed, run again to retry" * bool(failed))
        print(table(rows))
    print(f"\nresults in {chosen.out}; for a page: therapysim report {shlex.quote(chosen.out)} --out report.html")


def settings_of(chosen: argparse.Namespace) -> "BenchSettings":
    """Whom the policies meet; one whole number for ``--patients`` is how many."""
    from therapysim.agents.runner import BenchSettings

    given: list[str] = chosen.patients
    count = int(given[0]) if len(given) == 1 and given[0].isdigit() else None
    if count == 0:
        raise ConfigError("--patients is 0, expected at least one patient")
    ids = () if count else tuple(given)
    return BenchSettings(chosen.split, ids, count or 0, chosen.seeds, chosen.turns, chosen.rubric)


def policies_of(chosen: argparse.Namespace) -> list[tuple[str, str, bool]]:
    """Each policy's shown name, name, and whether it reads the state header.

    Raises:
        ConfigError: there is none, or a name is none.
    """
    from therapysim.agents.policies import kind_of, require_policy, shown_name

    names = [*chosen.policies, *chosen.policy]
    if not names:
        raise ConfigError(f"no policy is given, expected at least one: {_POLICY}")
    found = []
    for name in names:
        require_policy(name)
        ways = {"state": [True], "none": [False], "both": [True, False]}[chosen.header]
        for state in ways if kind_of(name) in ("model", "server") else [True]:
            found.append((shown_name(name, state), name, state))
    return found


def openers(policies: list[tuple[str, str, bool]], chosen: argparse.Namespace) -> "list[Opener]":
    """What opens each policy when its turn comes."""
    from therapysim.agents.policies import open_policy
    from therapysim.chat import Sampling

    sampling = Sampling(max_tokens=chosen.max_tokens, temperature=chosen.temperature)
    ask = partial(open_policy, sampling=sampling, api_key_env=chosen.api_key_env)
    return [(shown, partial(ask, name, show_state=state)) for shown, name, state in policies]
