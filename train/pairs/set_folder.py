"""The folder of a set: what decided it, the states as they are drawn, and what was made of them.

settings.json   settings, versions, hashes of code, patients and lines, who spoke
drawn.jsonl     a state a line with all its candidates, appended as it is judged; a half line is cut off
pairs.jsonl     or groups.jsonl: the set, written whole once all states are drawn
sheet.md, .json what the set holds, and what was dropped why
README.md       the card, by which the folder loads with `datasets`
.lock           held while a process writes here
"""

import json
import os
import platform
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import numpy as np

from therapysim import __version__
from therapysim.agents.bench.code_hash import code_hashes, file_hashes
from therapysim.agents.bench.folder import locked
from therapysim.documents import Unreadable, read_document
from therapysim.errors import ConfigError
from therapysim.files import write_json
from therapysim.personas.load import library_hash
from therapysim.records import read_rows
from therapysim.train.pairs.drawing import Drawn
from therapysim.train.pairs.pair_settings import PairSettings, drawn_by

__all__ = ["DRAWN", "SETTINGS", "VERSION", "Kind", "SetFolder", "identity", "open_folder", "versions_of", "writable"]

Kind = Literal["pairs", "groups"]

#: The files of a set's folder, and the version of their form.
SETTINGS, DRAWN, VERSION = "settings.json", "drawn.jsonl", 2
# What the candidates of a state and their outcomes hang on, beside the rooms below.
_DRAWS = ("branches.py", "candidates.py", "drawing.py", "lines.yaml", "scoring.py")


class SetFolder:
    """Reads what was drawn, and appends what comes.

    Attributes:
        path: the folder.
        rows: what was drawn so far, in order.
    """

    def __init__(self, path: Path, rows: list[Drawn]) -> None:
        self.path, self.rows = path, rows

    def add(self, row: Drawn) -> None:
        """Appends one state, on the disk before this returns.

        Raises:
            ConfigError: it cannot be written; what was written before stays.
        """
        line = json.dumps(asdict(row), ensure_ascii=False, allow_nan=False) + "\n"
        with writable(self.path), (self.path / DRAWN).open("ab") as file:
            file.write(line.encode("utf-8"))
            file.flush()
            os.fsync(file.fileno())
        self.rows.append(row)


@contextmanager
def open_folder(settings: PairSettings, head: Mapping[str, Any]) -> Iterator[SetFolder]:
    """The folder, kept for this process while the block lasts; one that holds a set already goes on.

    Raises:
        ConfigError: another process writes there, it holds something else or a set drawn otherwise, a row of it is
            wrong, or it cannot be written.
    """
    path = Path(settings.out)
    with writable(path):
        path.mkdir(parents=True, exist_ok=True)
    with locked(path):
        _require_same(path, head)
        rows = _read(path, settings)
        with writable(path):
            write_json(path / SETTINGS, {**head, "settings": settings.model_dump(mode="json")})
        yield SetFolder(path, rows)


def identity(kind: Kind, settings: PairSettings, speakers: Mapping[str, Any]) -> dict[str, Any]:
    """What decides the states of a set, as ``settings.json`` begins.

    Args:
        kind: pairs or groups.
        settings: of the set.
        speakers: role -> name and identity of each policy.
    """
    head = {
        "format": f"therapysim-{kind}",
        "version": VERSION,
        "versions": {"therapysim": __version__, "python": platform.python_version(), "numpy": np.__version__},
        "code": code_hashes(),
        "draw": file_hashes("therapysim.train", "pairs", _DRAWS),
        "library": library_hash(),
        "speakers": speakers,
        "drawn_by": drawn_by(settings),
    }
    plain: dict[str, Any] = json.loads(json.dumps(head))
    return plain


def versions_of(head: Mapping[str, Any]) -> dict[str, Any]:
    """What each row says of what it was made with, from an ``identity``."""
    return {
        "therapysim": __version__,
        "form": head["version"],
        "library": head["library"],
        "lines": head["draw"]["lines.yaml"],
    }


@contextmanager
def writable(path: Path) -> Iterator[None]:
    """Tells what the disk refuses.

    Raises:
        ConfigError: in the words of every such error.
    """
    try:
        yield
    except OSError as error:
        raise ConfigError(
            f"folder {path}: {error.strerror or error}; what was drawn before is kept: make room or mend that, and "
            "give the same command again, or name another --out"
        ) from error


def _require_same(path: Path, head: Mapping[str, Any]) -> None:
    """Refuses a folder that holds something else, or a set that was drawn otherwise.

    Raises:
        ConfigError: names the first difference.
    """
    there = [name for name in (SETTINGS, DRAWN) if (path / name).exists()]
    if not there:
        return
    if SETTINGS not in there:
        raise ConfigError(f"folder {path} holds {DRAWN} without {SETTINGS}; name another --out")
    try:
        kept = read_document(path / SETTINGS)
    except Unreadable as fault:
        raise ConfigError(f"{path / SETTINGS}: {fault}; name another --out") from fault
    if not isinstance(kept, dict) or kept.get("format") != head["format"]:
        found = kept.get("format") if isinstance(kept, dict) else None
        raise ConfigError(
            f"folder {path} holds {found or 'something else'}, expected {head['format']}; name another --out"
        )
    if kept.get("version") != VERSION:
        raise ConfigError(f"folder {path}: version is {kept.get('version')!r}, expected {VERSION}; name another --out")
    if DRAWN in there:
        _require_drawn_alike(path, kept, head)


def _require_drawn_alike(path: Path, kept: Mapping[str, Any], head: Mapping[str, Any]) -> None:
    for part in ("drawn_by", "speakers", "library", "draw", "code", "versions"):
        if kept.get(part) == head[part]:
            continue
        before, now = kept.get(part), head[part]
        named = part
        while isinstance(before, dict) and isinstance(now, dict):
            name = next(n for n in (*now, *before) if before.get(n) != now.get(n))
            named, before, now = f"{named}: {name}", before.get(name), now.get(name)
        raise ConfigError(
            f"folder {path} was drawn with {named} {before!r:.80}, and now it is {now!r:.80}; set that back, or name "
            "another --out: states drawn in two ways do not compare"
        )


def _read(path: Path, settings: PairSettings) -> list[Drawn]:
    """The rows in their order; what a killed run left of a row is cut off.

    Raises:
        ConfigError: a row is none, or stands out of its order.
    """
    file = path / DRAWN
    if not file.exists():
        return []
    with writable(path):
        data = file.read_bytes()
        if not data.endswith(b"\n") and data:
            os.truncate(file, data.rfind(b"\n") + 1)
    rows = list(read_rows(file, Drawn, ConfigError))
    for place, row in enumerate(rows):
        if (row.session, row.state) != divmod(place, settings.states):
            raise ConfigError(
                f"{file}: row {place + 1} is state {row.state} of session {row.session}, expected state "
                f"{place % settings.states} of session {place // settings.states}; name another --out"
            )
    return rows
