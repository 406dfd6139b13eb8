"""``therapysim bench``: policies against patients, written as it goes."""

import argparse
import shlex
import sys
from collections import Counter
from collections.abc import Container, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import product
from pathlib import Path

from therapysim.agents.bench.bench_settings import BenchSettings, Simulator, whom
from therapysim.agents.bench.benchmark import results_table
from therapysim.agents.bench.faults import failures, replacements, silences, uncounted
from therapysim.agents.bench.folder import RESULTS, SETTINGS
from therapysim.agents.bench.forecast import forecast
from therapysim.agents.bench.provenance import read_provenance
from therapysim.agents.bench.recording import record_patient, recording, require_recorded
from therapysim.agents.bench.replaying import Replay, replay_of
from therapysim.agents.bench.report.compared import differences_table
from therapysim.agents.bench.results import SessionResult, read_results
from therapysim.agents.bench.runner import Unplayed
from therapysim.agents.bench.runner import run as play
from therapysim.agents.therapists.policies import Engine, Policy, find_policy, kind_of
from therapysim.cli.options import PATIENT, add_template, template_of
from therapysim.errors import ConfigError
from therapysim.models.chat import Sampling
from therapysim.personas.opening import describe_patient, open_patient
from therapysim.rewards.reading.emotions import shipped_sensor
from therapysim.rewards.rubric_by_name import RUBRICS

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
    add("--split", help="patients: train, dev or test (default)")
    add("--patients", nargs="+", default=[], metavar="N|ID|FILE|FOLDER",
        help="how many of the split, ids, or files and folders of your own patients; default all of it")  # fmt: skip
    add("--seeds", type=int, help="sessions with each patient, default 4")
    add("--patient", action="append", metavar="NAME",
        help=f"who words the patients: {PATIENT}; default scripted; more than one shows what a swap does")  # fmt: skip
    add("--engine", choices=("transformers", "vllm"),
        help="runs a policy's model here: transformers (default); vllm needs a GPU, several times as fast")  # fmt: skip
    add("--gpu-memory", type=float, default=0.5, help="share of the GPU's memory that vllm takes, default 0.5")
    add("--turns", type=int, help="therapist turns in a session at most, default 20")
    add("--rubric", metavar="NAME", help=f"of the reward: {RUBRICS}; default default")
    add("--header", choices=("state", "none", "both"),
        help="what a language model reads before a patient's words: state (default), none, both in turn")  # fmt: skip
    add("--max-tokens", type=int, help="of one turn of a language model, default 64")
    add("--temperature", type=float, help="of a language model's turns, default 0.8")
    add("--reference", metavar="POLICY", help="what the others are compared to, session by session; default: the first")
    add("--sessions", action="store_true", help="keep a file a session too, in OUT/sessions, for profile")
    add("--record", type=Path, metavar="FOLDER", help="keep what every language model here was asked and said")
    add("--replay", type=Path, metavar="FOLDER",
        help="play a recording again, with its settings and without its models; POLICY chooses of it")  # fmt: skip
    add("--dry-run", action="store_true", help="count calls and tokens, and make none")
    add_template(parser)
    add("--api-key-env", metavar="NAME", help="the environment variable that holds the policy's server's key")
    add("--patient-key-env", metavar="NAME", help="the same of the patient's server")


def run(chosen: argparse.Namespace) -> None:
    """Plays what is missing, and prints the table of each patient.

    Raises:
        ConfigError: a name or setting is wrong, or no session could be played.
        Unplayed: a model failed; what did not need it was played, and is shown.
    """
    replay = _replay(chosen)
    settings, policies = settings_of(chosen, replay.settings if replay else None), policies_of(chosen, replay)
    simulators = simulators_of(chosen, replay)
    _check_reference(chosen, policies)
    if chosen.dry_run:
        print(forecast(settings, policies, [s.name for s in simulators]))
        return
    if chosen.record and chosen.record.resolve() == Path(chosen.out).resolve():
        raise ConfigError(f"--record and --out are both {chosen.out}, expected two folders; name another to record in")
    before = _before(chosen)
    _open_servers(settings, policies, simulators, before)
    command, unplayed = shlex.join(["therapysim", *sys.argv[1:]]), None
    with _heard(chosen, settings, policies, simulators, before) as speaking:
        try:
            results = play(settings, speaking, simulators, chosen.out, command=command, sessions=chosen.sessions)
        except Unplayed as error:
            results, unplayed = error.results, error
        if chosen.record:
            require_recorded(chosen.record, results)
        if replay and replay.missed:
            raise ConfigError(replay.missed[0])
    if chosen.record and not unplayed:
        again = shlex.join(["therapysim", "bench", "--replay", str(chosen.record)])
        print(f"recorded in {chosen.record}; to play it again: {again}")
    for simulator in simulators:
        if rows := [r for r in results if r.simulator == simulator.name]:
            _show(settings, rows, simulator.name, chosen.reference)
    _conclude(chosen, {p.name for p in policies}, results, unplayed)


def _conclude(
    chosen: argparse.Namespace, asked: Container[str], results: Sequence[SessionResult], unplayed: Unplayed | None
) -> None:
    """Says how to make a page of it, and raises what was not played."""
    if any(not r.failed for r in results if r.policy in asked):
        page = ["therapysim", "report", chosen.out, "--out", "report.html"]
        page += ["--reference", chosen.reference] if chosen.reference in {r.policy for r in results} else []
        print(f"\nresults in {chosen.out}; for a page: {shlex.join(page)}")
    elif not unplayed:
        raise ConfigError("every session failed: the patient gave no answer; see that its model or server is there")
    if unplayed:
        raise unplayed


def _before(chosen: argparse.Namespace) -> list[SessionResult]:
    """The results that are there already."""
    rows = Path(chosen.out) / RESULTS
    if not rows.exists():
        return []
    read_provenance(rows.with_name(SETTINGS))  # says so where they are of an earlier version
    return read_results(rows, broken_end=True)


def _open_servers(
    settings: BenchSettings,
    policies: Sequence[Policy],
    simulators: Sequence[Simulator],
    before: Sequence[SessionResult],
) -> None:
    """Opens each server that is still to be asked, before anything is played or written; that sends nothing.

    Raises:
        ConfigError: its key's variable is not set, or one such as THERAPYSIM_TIMEOUT_S holds no such setting.
    """
    done, whole = Counter(r.key[:2] for r in before if not r.failed), len(whom(settings)) * settings.seeds
    left = [pair for pair in product(policies, simulators) if done[pair[0].name, pair[1].name] < whole]
    players: list[Policy | Simulator] = [*policies, *simulators]
    for one in players:
        if one.about.get("kind") == "server" and any(one in pair for pair in left):
            one.open()


def _check_reference(chosen: argparse.Namespace, policies: Sequence[Policy]) -> None:
    """Refuses, before hours of play, a policy that neither is played nor was in this folder."""
    if chosen.reference is None or chosen.reference in {policy.name for policy in policies}:
        return
    kept = read_provenance(Path(chosen.out) / SETTINGS)
    names = dict.fromkeys([*(p.name for p in policies), *(kept.policies if kept else ())])
    if chosen.reference not in names:
        raise ConfigError(f"--reference is {chosen.reference!r}, expected a policy that is played: {', '.join(names)}")


def _show(settings: BenchSettings, rows: list[SessionResult], simulator: str, reference: str | None) -> None:
    failed = sum(r.failed for r in rows)
    size = f"{len(whom(settings))} patients × {settings.seeds} seeds, at most {settings.turns} turns"
    print(f"\npatient {simulator}: {size}")
    if failed:
        print(f"{failed} of {len(rows)} sessions failed and are left out; the same command plays them again")
        print("".join(f"  {text}\n" for text in failures(rows)), end="")
    print(results_table(rows))
    if differences := differences_table(rows, reference or rows[0].policy, simulator):
        print(f"\nsame patients and seeds; p after Holm over the policies\n{differences}")
    print("".join(f"warning: {text}\n" for text in (*replacements(rows), *silences(rows), *uncounted(rows))), end="")


def _replay(chosen: argparse.Namespace) -> Replay | None:
    """What ``--replay`` names.

    Raises:
        ConfigError: it holds no recording, or an option is given that the recording decides.
    """
    if not chosen.replay:
        return None
    if chosen.record:
        raise ConfigError("--record and --replay are both given: a replay asks no model; give one")
    for name in ("header", "engine", "max_tokens", "temperature", "chat_template_kwargs", "api_key_env"):
        if getattr(chosen, name) not in (None, [], {}):
            option = f"--{name.replace('_', '-')}"
            raise ConfigError(f"{option} is given, and a replay has the models as they were recorded; leave it out")
    replay = replay_of(chosen.replay, shipped_sensor().affect)
    if chosen.rubric is None:
        replay.require_rubric()
    return replay


@contextmanager
def _heard(
    chosen: argparse.Namespace,
    settings: BenchSettings,
    policies: Sequence[Policy],
    simulators: Sequence[Simulator],
    before: Sequence[SessionResult],
) -> Iterator[Sequence[Policy]]:
    """The policies, recorded where that is asked for."""
    if not chosen.record:
        yield policies
        return
    with recording(chosen.record, settings, policies, simulators, before) as recorded:
        yield recorded


def settings_of(chosen: argparse.Namespace, base: BenchSettings | None = None) -> BenchSettings:
    """Whom the policies meet; one whole number for ``--patients`` is how many; a folder of that name is ``./8``.

    Args:
        chosen: the options.
        base: what stands where none is given: of a recording, or the defaults.
    """
    base = base or BenchSettings()
    given: list[str] = chosen.patients
    counted = [name for name in given if name.isascii() and name.isdigit()]
    if counted and len(given) > 1:
        raise ConfigError(
            f"--patients is {' '.join(given)}, expected one number, or ids, files and folders; policies go before the "
            "options"
        )
    count = int(counted[0]) if counted else None
    if count == 0:
        raise ConfigError("--patients is 0, expected at least one patient")
    ids = () if count else tuple(given)
    elsewhere = chosen.split is not None  # another split has other patients
    return BenchSettings(
        split=chosen.split if elsewhere else base.split,
        patients=ids if given or elsewhere else base.patients,
        people=(count or 0) if given or elsewhere else base.people,
        seeds=base.seeds if chosen.seeds is None else chosen.seeds,
        turns=base.turns if chosen.turns is None else chosen.turns,
        rubric=base.rubric if chosen.rubric is None else chosen.rubric,
    )


def policies_of(chosen: argparse.Namespace, replay: Replay | None = None) -> list[Policy]:
    """The policies, none of them opened; see ``Replay.policies_of``.

    Raises:
        ConfigError: there is none, or a name is none.
    """
    names = [*chosen.policies, *chosen.policy]
    if replay:
        return replay.policies_of(names)
    if not names:
        raise ConfigError(f"no policy is given, expected at least one: {_POLICY}")
    engine = Engine(chosen.engine or "transformers", chosen.gpu_memory)
    usual = Sampling()
    sampling = Sampling(
        max_tokens=usual.max_tokens if chosen.max_tokens is None else chosen.max_tokens,
        temperature=usual.temperature if chosen.temperature is None else chosen.temperature,
    )
    ways = _WAYS[chosen.header or "state"]
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


def simulators_of(chosen: argparse.Namespace, replay: Replay | None = None) -> list[Simulator]:
    """Who words the patients, none of them opened.

    Raises:
        ConfigError: a name is none, or was not recorded.
    """
    if replay:
        return replay.simulators_of(chosen.patient or ())
    feel, key = shipped_sensor().affect, chosen.patient_key_env
    if chosen.record:
        way = partial(record_patient, chosen.record, feel=feel, api_key_env=key)
    else:
        way = partial(open_patient, feel=feel, api_key_env=key)
    return [Simulator(name, partial(way, name), describe_patient(name)) for name in chosen.patient or ["scripted"]]
