"""``therapysim bench``: policies against patients, written as it goes."""

import argparse
import shlex
import sys
from functools import partial

from therapysim.agents.bench.bench_settings import BenchSettings, Simulator, whom
from therapysim.agents.bench.benchmark import results_table
from therapysim.agents.bench.forecast import forecast
from therapysim.agents.bench.results import SessionResult
from therapysim.agents.bench.runner import run as play
from therapysim.agents.therapists.policies import Engine, Policy, find_policy, kind_of
from therapysim.cli.options import PATIENT, add_rubric, add_template, template_of
from therapysim.errors import ConfigError
from therapysim.models.chat import Sampling
from therapysim.personas.opening import describe_patient, open_patient
from therapysim.rewards.reading.emotions import shipped_sensor

__all__ = ["add_options", "run"]

_WAYS = {"state": (True,), "none": (False,), "both": (True, False)}
_POLICY = (
    "a baseline, a run's folder of train grpo, sft or dpo, a model's folder, .gguf file or hub id, smollm2, URL#MODEL "
    "of an OpenAI-compatible server, or package.module:function"
)


def add_options(parser: argparse.ArgumentParser) -> None:
    """The policies, whom they meet, and how they are played."""
    add = parser.add_argument
    add("policies", nargs="*", metavar="POLICY", help=_POLICY)
    add("--policy", action="append", default=[], metavar="POLICY", help="the same, one at a time")
    add("--out", default="runs/bench", metavar="FOLDER", help="default runs/bench; goes on where a run was broken off")
    add("--split", default="test", help="patients: train, dev or test (default)")
    add("--patients", nargs="+", default=[], metavar="N|ID", help="how many of the split, or ids; default all of it")
    add("--seeds", type=int, default=4, help="sessions with each patient, default 4")
    add("--patient", action="append", metavar="NAME",
        help=f"who words the patients: {PATIENT}; default scripted; more than one shows what a swap does")  # fmt: skip
    add("--engine", choices=("transformers", "vllm"), default="transformers",
        help="what runs a policy's model here; vllm needs a GPU and is several times as fast")  # fmt: skip
    add("--gpu-memory", type=float, default=0.5, help="share of the GPU's memory that vllm takes, default 0.5")
    add("--turns", type=int, default=20, help="therapist turns in a session at most, default 20")
    add_rubric(parser, "default")
    add("--header", choices=("state", "none", "both"), default="state",
        help="what a language model reads before a patient's words: state (default), none, both in turn")  # fmt: skip
    add("--max-tokens", type=int, default=64, help="of one turn of a language model, default 64")
    add("--temperature", type=float, default=0.8, help="of a language model's turns, default 0.8")
    add("--sessions", action="store_true", help="keep a file a session too, in OUT/sessions, for profile")
    add("--dry-run", action="store_true", help="count calls and tokens, and make none")
    add_template(parser)
    add("--api-key-env", metavar="NAME", help="the environment variable that holds the policy's server's key")
    add("--patient-key-env", metavar="NAME", help="the same of the patient's server")


def run(chosen: argparse.Namespace) -> None:
    """Plays what is missing, and prints the table of each patient.

    Raises:
        ConfigError: a name or setting is wrong, or no session could be played.
    """
    settings, policies, simulators = settings_of(chosen), policies_of(chosen), simulators_of(chosen)
    if chosen.dry_run:
        print(forecast(settings, policies, [s.name for s in simulators]))
        return
    command = shlex.join(["therapysim", *sys.argv[1:]])
    results = play(settings, policies, simulators, chosen.out, command=command, sessions=chosen.sessions)
    for simulator in simulators:
        _show(settings, [r for r in results if r.simulator == simulator.name], simulator.name)
    asked = {p.name for p in policies}
    if all(r.failed for r in results if r.policy in asked):
        raise ConfigError("every session failed: the patient gave no answer; see that its model or server is there")
    print(f"\nresults in {chosen.out}; for a page: therapysim report {shlex.quote(chosen.out)} --out report.html")


def _show(settings: BenchSettings, rows: list[SessionResult], simulator: str) -> None:
    failed = sum(r.failed for r in rows)
    size = f"{len(whom(settings))} patients × {settings.seeds} seeds, at most {settings.turns} turns"
    print(f"\npatient {simulator}: {size}")
    if failed:
        print(f"{failed} of {len(rows)} sessions failed and are left out; the same command plays them again")
    print(results_table(rows))


def settings_of(chosen: argparse.Namespace) -> BenchSettings:
    """Whom the policies meet; one whole number for ``--patients`` is how many."""
    given: list[str] = chosen.patients
    counted = [name for name in given if name.isascii() and name.isdigit()]
    if counted and len(given) > 1:
        raise ConfigError(
            f"--patients is {' '.join(given)}, expected one number, or ids; policies go before the options"
        )
    count = int(counted[0]) if counted else None
    if count == 0:
        raise ConfigError("--patients is 0, expected at least one patient")
    ids = () if count else tuple(given)
    return BenchSettings(chosen.split, ids, count or 0, chosen.seeds, chosen.turns, chosen.rubric)


def policies_of(chosen: argparse.Namespace) -> list[Policy]:
    """The policies, none of them opened.

    Raises:
        ConfigError: there is none, or a name is none.
    """
    names = [*chosen.policies, *chosen.policy]
    if not names:
        raise ConfigError(f"no policy is given, expected at least one: {_POLICY}")
    engine = Engine(chosen.engine, chosen.gpu_memory)
    sampling, ways = Sampling(max_tokens=chosen.max_tokens, temperature=chosen.temperature), _WAYS[chosen.header]
    return [
        find_policy(
            name,
            sampling,
            show_state=state,
            api_key_env=chosen.api_key_env,
            engine=engine,
            chat_template_kwargs=template_of(chosen),
        )
        for name in names
        for state in (ways if kind_of(name) in ("model", "server") else (True,))
    ]


def simulators_of(chosen: argparse.Namespace) -> list[Simulator]:
    """Who words the patients, none of them opened.

    Raises:
        ConfigError: a name is none.
    """
    feel = shipped_sensor().affect
    return [
        Simulator(name, partial(open_patient, name, feel, api_key_env=chosen.patient_key_env), describe_patient(name))
        for name in chosen.patient or ["scripted"]
    ]
