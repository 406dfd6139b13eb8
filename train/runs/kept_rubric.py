"""``rubric.json`` in a run's folder: which rubric it learns by, with the sources of what is the user's own."""

import json
from pathlib import Path
from typing import Any

from therapysim.errors import ConfigError, TherapySimError
from therapysim.faults import differences
from therapysim.files import write_json
from therapysim.rewards.rubric import Rubric
from therapysim.rewards.rubric_record import full_record, is_shipped
from therapysim.rewards.rubric_settings import TERMS, RubricSettings

__all__ = ["RUBRIC", "keep_rubric", "kept_record", "kept_settings", "rubric_name"]

RUBRIC = "rubric.json"


def keep_rubric(folder: Path, rubric: Rubric, *, resumed: bool) -> None:
    """Writes a rubric's record down; that of a run which goes on must be the same.

    Args:
        folder: of the run.
        rubric: what it learns by now.
        resumed: whether it goes on from a checkpoint.

    Raises:
        ConfigError: it goes on by another rubric, or by another source of the same; names what differs.
    """
    now = rubric.record()
    if resumed and (folder / RUBRIC).exists():
        before = kept_record(folder / RUBRIC)
        if changed := [name for name in before if name != "preset" and before[name] != now.get(name)]:
            sides = "; ".join(differences(name, before[name], now.get(name)) for name in changed)
            raise ConfigError(
                f"run {folder} learned by another rubric: {sides}; set that back, or start a new run in another folder"
            )
    write_json(folder / RUBRIC, now)


def kept_record(file: Path) -> dict[str, Any]:
    """A file's record, as ``Rubric.record`` gives it.

    Raises:
        ConfigError: the file cannot be read, or is none.
    """
    try:
        told = json.loads(file.read_text(encoding="utf-8"))
        return full_record({**{name: told[name] for name in TERMS}, **told, "gates": list(told["gates"])})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"rubric {file} is none of a training ({error!r}), expected every term's weight") from error


def kept_settings(file: Path) -> RubricSettings | None:
    """A file's weights and gates; None where the user's own code decides too, which a file does not hold.

    Raises:
        ConfigError: the file cannot be read, or is none.
    """
    told = kept_record(file)
    if not is_shipped(told):
        return None
    try:
        return RubricSettings(**{**{name: told[name] for name in TERMS}, "gates": tuple(told["gates"])})
    except TherapySimError as error:
        raise ConfigError(f"rubric {file} is none of a training ({error!r}), expected every term's weight") from error


def rubric_name(folder: Path, name: str) -> str:
    """What a run's rubric is called, beside its source where that is the user's own, so that two are told apart.

    Raises:
        ConfigError: the file cannot be read, or is none.
    """
    if not (folder / RUBRIC).exists():
        return name
    told = kept_record(folder / RUBRIC)
    sources = [told["source"], *(own["source"] for own in told["own"].values())]
    shown = ", ".join(source[:8] for source in sources if source)
    return f"{told.get('preset') or name} (source {shown})" if shown else name
