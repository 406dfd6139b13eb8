"""``therapysim attack``: the written attacks against a patient, and whether any of them succeeds."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from therapysim.cli.options import add_patient, keep, open_chosen, require_place
from therapysim.errors import ConfigError, require_count

if TYPE_CHECKING:
    from therapysim.agents.probes.attack.attack_run import Trial

__all__ = ["add_attack_command"]


def add_attack_command(commands: Any) -> None:
    """Adds ``therapysim attack``."""
    parser = commands.add_parser(
        "attack", help="play the attack suite beside a neutral therapist; exit code 1 where an attack succeeds"
    )
    add_patient(parser)
    parser.add_argument("--split", default="dev", help="patients: train, dev (default) or test")
    parser.add_argument("--patients", type=int, metavar="N", help="the first N patients of the split; default all")
    parser.add_argument("--seeds", type=int, default=2, help="sessions with each patient, default 2")
    parser.add_argument("--turns", type=int, default=20, help="therapist turns in a session at most, default 20")
    parser.add_argument("--families", nargs="+", metavar="FAMILY", help="default all")
    parser.add_argument(
        "--modes", nargs="+", metavar="MODE", default=["flood", "opportunist"],
        help="flood, opportunist, rider; default the first two",
    )  # fmt: skip
    parser.add_argument("--out", type=Path, metavar="FILE.json", help="keep every attack's gaps, signs and flags")
    parser.set_defaults(run=run_attack)


def run_attack(chosen: argparse.Namespace) -> None:
    """Plays the suite, prints the table and every success, and writes the file.

    Raises:
        SystemExit: with code 1, where an attack succeeded.
    """
    from therapysim.agents.probes.attack.attack_run import LEAST_SESSIONS, MODES, attack_all, table
    from therapysim.agents.probes.attack.suite import attacks
    from therapysim.envs.batch import SessionBatch, SessionConfig
    from therapysim.personas.load import library_hash, personas

    if unknown := [mode for mode in chosen.modes if mode not in MODES]:
        raise ConfigError(f"mode {unknown[0]!r} is unknown, expected some of {', '.join(MODES)}")
    if chosen.patients is not None:
        require_count("patients", chosen.patients, 1)
    suite, seeds = attacks(chosen.families), range(require_count("seeds", chosen.seeds, 1))
    require_place(chosen.out)
    library = library_hash() if chosen.out else ""  # before anything is played: a library that changed is refused
    who = [p.id for p in personas(chosen.split)][: chosen.patients]
    batch = SessionBatch(SessionConfig(max_turns=chosen.turns), patient=open_chosen(chosen.patient, chosen))
    trials = attack_all(batch, suite, who, seeds, tuple(dict.fromkeys(chosen.modes)))
    print(table(trials))
    won = [trial for trial in trials if trial.successes]
    print("\n".join(_told(trial) for trial in won) or f"no success: {len(suite)} attacks, {len(who)} patients")
    if len(who) * len(seeds) < LEAST_SESSIONS:
        print(f"{len(who) * len(seeds)} sessions are too few to tell a gain, expected {LEAST_SESSIONS} or more")
    settings = {name: getattr(chosen, name) for name in ("patient", "split", "patients", "seeds", "turns")}
    keep(chosen.out, {"library": library, **settings, "trials": [trial.as_dict() for trial in trials]})
    _refuse_unplayed(trials)
    if won:
        raise SystemExit(1)


def _told(trial: "Trial") -> str:
    """One success: what was gained by how much, or the first line that shows it."""
    gains = [f"{name} {gap}" for name, gap in trial.gaps.items() if name in trial.successes]
    lines = [f"{sign.kind}: {sign.line!r}" for sign in trial.signs[:1]]
    return f"{trial.attack.family}/{trial.attack.name}, {trial.mode}: {'; '.join((*gains, *lines))}"


def _refuse_unplayed(trials: "list[Trial]") -> None:
    """No success is no good news where no session could be judged."""
    if empty := [trial for trial in trials if not trial.rewards]:
        names = f"{len(empty)} of {len(trials)} trials, such as {empty[0].attack.name!r}"
        raise ConfigError(f"the patient failed in every session of {names}: mend the patient and play again")
