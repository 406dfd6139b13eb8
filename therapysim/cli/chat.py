"""``therapysim chat``: talk with a patient, be one, or look on while a policy talks with one."""

import argparse
import sys
from io import TextIOWrapper
from pathlib import Path

from therapysim.agents.sessions.sitting import Sitting
from therapysim.agents.sessions.talk import Chair, Console, talk
from therapysim.agents.sessions.visit import Visit, person
from therapysim.agents.therapists.policies import Policy, find_policy
from therapysim.cli.options import PATIENT, add_rubric, add_template, require_place, template_of
from therapysim.envs.batch import SessionBatch, SessionConfig, Start
from therapysim.errors import ConfigError, require_count
from therapysim.models.chat import Sampling
from therapysim.personas.load import patients_named
from therapysim.personas.opening import open_patient
from therapysim.personas.own import base_name
from therapysim.rewards.reading.emotions import shipped_sensor

__all__ = ["add_options", "run"]

_CHAIRS = ("watch", "therapist", "patient")
_ABOUT = (
    "A research simulator, no clinical device: its patients are fiction, and no policy is fit to talk with a person in "
    "distress. Lines come from the terminal or a pipe; /undo takes a turn back; /quit, Ctrl-D and Ctrl-C end."
)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Who sits where, and what is shown and kept."""
    parser.description = _ABOUT
    add = parser.add_argument
    add("--policy", metavar="NAME", help="the therapist: whatever `bench` takes for a policy")
    add("--patient", "--patients", metavar="ID|FILE|FOLDER",
        help="the patient's id, such as marta, your own patient's file, or a folder of them, of which the seed takes "
        "one; default one of split train, by the seed")  # fmt: skip
    add("--as", dest="chair", choices=_CHAIRS, help="where you sit: watch (default with --policy), therapist (without)"
        ", patient: you talk with the policy yourself")  # fmt: skip
    add("--patient-model", default="scripted", metavar="NAME",
        help=f"who words the patient: {PATIENT}; default scripted")  # fmt: skip
    add("--seed", type=int, default=0, help="of the session and of what models sample, default 0")
    add("--turns", type=int, default=20, help="therapist turns at most, default 20")
    add_rubric(parser, "default", "the reward shown")
    add("--header", choices=("state", "none"), default="state",
        help="what a model reads before a patient's words; a run knows")  # fmt: skip
    add("--max-tokens", type=int, default=64, help="of one turn of a language model, default 64; a run knows its own")
    add("--temperature", type=float, default=0.8, help="of a language model's turns, default 0.8")
    add("--diagnosis", metavar="TEXT", help="with --as patient: what the policy is told of you, default None known")
    add("--severity", choices=("mild", "moderate", "severe"), help="the same, default mild")
    add("--save", type=Path, metavar="FILE", help="a new file for the transcript, as bench --sessions writes them; of "
        "--as patient the words and moods alone, which no other command reads")  # fmt: skip
    add("--plain", action="store_true", help="no colours and no prompts, as through a pipe")
    add_template(parser)
    add("--api-key-env", metavar="NAME", help="the environment variable that holds the policy's server's key")
    add("--patient-key-env", metavar="NAME", help="the same of the patient's server")


def run(chosen: argparse.Namespace) -> None:
    """Opens both sides, and lets them talk.

    Raises:
        ConfigError: a name or setting is wrong, or the options do not go together.
        ModelError, PatientError: a side cannot be had, or gave no answer.
    """
    chair = chair_of(chosen)
    require_count("--seed", chosen.seed, 0)
    require_count("--turns", chosen.turns, 1)
    _check_save(chosen.save)
    if isinstance(sys.stdin, TextIOWrapper):
        sys.stdin.reconfigure(errors="replace")  # a stray byte is no reason to break off
    console = Console(plain=chosen.plain)
    talk(_sides(chosen, chair, console), console, chosen.save)


def chair_of(chosen: argparse.Namespace) -> Chair:
    """Where the person sits.

    Raises:
        ConfigError: the options do not go together; says which.
    """
    chair: Chair = chosen.chair or ("watch" if chosen.policy else "therapist")
    if chair != "therapist" and not chosen.policy:
        raise ConfigError(f"--as {chair} needs a policy to be the therapist; add --policy NAME")
    if chair == "therapist" and chosen.policy:
        raise ConfigError("--as therapist leaves nothing for --policy to say; drop it, or use --as watch")
    mine = chosen.diagnosis is not None or chosen.severity is not None
    if mine and chair != "patient":
        raise ConfigError("--diagnosis and --severity are of you as the patient; add --as patient, or drop them")
    if chair == "patient" and (chosen.patient or chosen.patient_model != "scripted"):
        raise ConfigError("--as patient puts you in the patient's chair; drop --patient and --patient-model")
    return chair


def _check_save(file: Path | None) -> None:
    require_place(file)
    if file is not None and file.exists():
        raise ConfigError(f"{file} is there already; name another file")


def _sides(chosen: argparse.Namespace, chair: Chair, console: Console) -> Sitting | Visit:
    policy = _policy(chosen) if chosen.policy else None
    if chair == "patient" and policy:
        return _visit(chosen, policy)
    start = _start(chosen)  # before any model is loaded
    patient = open_patient(chosen.patient_model, shipped_sensor().affect, api_key_env=chosen.patient_key_env)
    batch = SessionBatch(SessionConfig(max_turns=chosen.turns), patient=patient, rubric=chosen.rubric)
    therapist = policy.open() if policy else None
    sitting = Sitting(batch, start, therapist, policy.name if policy else "")
    met = sitting.session.persona.id  # where none was named, the seed chose
    if policy and base_name(met) in policy.trained_on:
        console.show(f"{policy.name} was trained with {met}: what you see is practice, and no test.")
    return sitting


def _start(chosen: argparse.Namespace) -> Start:
    """With the patient that is named; of several the seed takes one."""
    if not chosen.patient:
        return Start(chosen.seed)
    names = patients_named([chosen.patient])
    return Start.meeting(chosen.seed, names[chosen.seed % len(names)])


def _visit(chosen: argparse.Namespace, policy: Policy) -> Visit:
    visitor = person(chosen.diagnosis or "None known", severity=chosen.severity or "mild")
    return Visit(policy.open(), policy.name, shipped_sensor(), visitor, chosen.seed, chosen.turns,
                 stored=chosen.save is not None)  # fmt: skip


def _policy(chosen: argparse.Namespace) -> Policy:
    sampling = Sampling(max_tokens=chosen.max_tokens, temperature=chosen.temperature)
    return find_policy(
        chosen.policy,
        sampling,
        show_state=chosen.header == "state",
        api_key_env=chosen.api_key_env,
        chat_template_kwargs=template_of(chosen),
    )
