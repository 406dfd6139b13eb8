"""Policies that a run keeps, each in a folder that is whole or not there; and which one is the best so far.

A policy is judged by its mean return with the same dev patients at each validation. What counts as the best so far is
what ``validation.jsonl`` says up to now, so that a resumed run judges as a whole one would.
"""

import math
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, Field

from therapysim.errors import ConfigError
from therapysim.files import write_json
from therapysim.records import Record, read_record

__all__ = ["Standing", "best_step", "drop", "held_return", "keep_best", "keep_policy", "mend", "seen_updates"]


@dataclass(frozen=True)
class Standing:
    """How the validations of a run have gone.

    Attributes:
        best: the highest return so far; minus infinity before the first validation.
        step: updates that the best policy has seen.
        since: validations in a row, up to now, without a better return.
    """

    best: float = -math.inf
    step: int = 0
    since: int = 0

    def after(self, step: int, value: float) -> "Standing":
        """With one more validation; an equal return is not a better one."""
        if value > self.best:
            return Standing(value, step, 0)
        return Standing(self.best, self.step, self.since + 1)

    @classmethod
    def of(cls, rows: Iterable[Mapping[str, Any]], asked: int) -> "Standing":
        """Read back from ``validation.jsonl``.

        Args:
            rows: oldest first; those in which all sessions failed have no return.
            asked: sessions in a validation: those of another number met other patients, and are left out.
        """
        standing = cls()
        for row in rows:
            if row.get("validation/return") is not None and row.get("asked") == asked:
                standing = standing.after(row["step"], row["validation/return"])
        return standing


def keep_best(folder: Path, about: Mapping[str, Any], save: Callable[[Path], None]) -> None:
    """As ``keep_policy``, for ``best/`` of a run, with ``about`` in its ``best.json``."""
    _put(folder, "best.json", about, save)


def keep_policy(folder: Path, step: int, save: Callable[[Path], None]) -> None:
    """Puts a policy into ``folder``, whole or not at all, in the place of the one there.

    Args:
        folder: ``policy/`` of a run.
        step: updates that it has seen, for its ``policy.json``.
        save: writes the policy's files into a folder.
    """
    _put(folder, "policy.json", {"step": step}, save)


def _put(folder: Path, name: str, about: Mapping[str, Any], save: Callable[[Path], None]) -> None:
    mend(folder)
    fresh, old = _beside(folder, "part"), _beside(folder, "old")
    try:
        fresh.mkdir(parents=True)
        save(fresh)
        write_json(fresh / name, about)
        if folder.exists():
            folder.rename(old)
        fresh.rename(folder)
    finally:
        mend(folder)


def mend(folder: Path) -> None:
    """After a crash while a policy was kept: the older policy takes its place again, and what was half written goes."""
    shutil.rmtree(_beside(folder, "part"), ignore_errors=True)
    old = _beside(folder, "old")
    if old.exists() and not folder.exists():
        old.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def drop(folder: Path) -> None:
    """Removes a kept policy; a folder of that name that holds anything else stays."""
    if (folder / "best.json").is_file():
        shutil.rmtree(folder)


def held_return(folder: Path, asked: int) -> float | None:
    """The return that ``best.json`` tells, over so many sessions; None where there is none to compare with."""
    try:
        held = read_record(folder / "best.json", _Held, ConfigError)
    except ConfigError:
        return None
    return held.value if held.asked == asked else None


def best_step(folder: Path) -> int:
    """Updates that the kept policy has seen.

    Raises:
        ConfigError: ``best.json`` does not tell.
    """
    return read_record(folder / "best.json", _Seen, ConfigError).step


def seen_updates(folder: Path) -> int | None:
    """Updates that a run's ``policy/`` has seen; None where it is not there, or does not tell."""
    try:
        return read_record(folder / "policy.json", _Seen, ConfigError).step
    except ConfigError:
        return None


class _Seen(Record):
    model_config = ConfigDict(extra="ignore")

    step: int


class _Held(Record):
    model_config = ConfigDict(extra="ignore")

    value: float = Field(alias="return")
    asked: int


def _beside(folder: Path, ending: str) -> Path:
    return folder.with_name(f"{folder.name}.{ending}")
