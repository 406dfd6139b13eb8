"""What decided a benchmark's results: ``settings.json`` in its folder, as it is written and read again."""

import json
import platform
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, JsonValue

from therapysim import __version__
from therapysim.agents.bench.bench_settings import BenchSettings, chosen, whom
from therapysim.agents.bench.code_hash import code_hashes, file_hashes
from therapysim.agents.bench.results import SessionResult
from therapysim.documents import Unreadable, read_bytes, read_document
from therapysim.envs.session import SessionConfig
from therapysim.errors import ConfigError
from therapysim.faults import differences
from therapysim.personas.load import library_hash, open_persona
from therapysim.records import STRICT, Record, record_of
from therapysim.rewards.rubric_by_name import open_rubric
from therapysim.rewards.rubric_record import full_record

__all__ = [
    "FORMAT",
    "VERSION",
    "Provenance",
    "provenance",
    "read_provenance",
    "require_same",
    "require_theirs",
    "weights_now",
]

#: What the settings of a benchmark say they are, and the one version that is read and written.
FORMAT: Literal["therapysim-bench"] = "therapysim-bench"
VERSION: Literal[3] = 3
_OLDER = {1: "say `heard` for `shown`", 2: "lack the measures `beliefs` and `handled`"}

_PACKAGES = ("numpy", "onnxruntime", "gymnasium", "tokenizers", "torch", "transformers", "peft")
#: What the package reads beside its code and its patients.
_WEIGHTS = ("emotions.onnx", "emotions.json", "tokenizer.json", "reader.onnx", "reader.json", "order.npz")
_Some = Annotated[int, Field(ge=1, le=1_000_000)]


class Provenance(Record):
    """All that decides the results.

    Attributes:
        format, version: what the file is.
        versions: of Python, of the machine and of packages.
        code: room -> SHA-256 of its code; see ``code_hash``.
        library, weights: SHA-256 of the patients and of each file of weights.
        rubric, session: their settings; of a rubric of one's own, the sources too.
        split, patients, seeds, turns: who is met, under seeds 0, 1, …, for at most so many turns.
        commands, warnings: what was run here, and what it warned of.
        policies, simulators: name -> what decides its lines.
    """

    model_config = ConfigDict({**STRICT, "title": "benchmark settings"})

    format: Literal["therapysim-bench"]
    version: Literal[3]
    versions: dict[str, str]
    code: dict[str, str] = Field(default_factory=dict)
    library: str
    weights: dict[str, str]
    rubric: dict[str, JsonValue]
    session: dict[str, JsonValue]
    split: str
    patients: tuple[str, ...]
    seeds: _Some
    turns: _Some
    commands: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    policies: dict[str, dict[str, JsonValue]] = Field(default_factory=dict)
    simulators: dict[str, dict[str, JsonValue]] = Field(default_factory=dict)


#: What two runs in one folder may differ in: who plays, and how it was asked for.
_JOINING = frozenset(("commands", "warnings", "policies", "simulators"))


def provenance(settings: BenchSettings) -> Provenance:
    """What would decide the results of a benchmark that is played now, before anybody joins it."""
    ids = whom(settings)
    return Provenance(
        format=FORMAT,
        version=VERSION,
        versions={
            "therapysim": __version__,
            "python": platform.python_version(),
            "machine": platform.machine(),
            **{name: _version(name) for name in _PACKAGES},
        },
        code=code_hashes(),
        library=library_hash(),
        weights=weights_now(),
        rubric=_plain(open_rubric(settings.rubric).record()),
        session=_plain(asdict(SessionConfig(max_turns=settings.turns))),
        split=", ".join(sorted({open_persona(i).split for i in chosen(settings)})),
        patients=ids,
        seeds=settings.seeds,
        turns=settings.turns,
    )


def weights_now() -> dict[str, str]:
    """SHA-256 of each file of weights that texts are read by now."""
    return file_hashes("therapysim.rewards.reading", "weights", _WEIGHTS)


def read_provenance(path: Path) -> Provenance | None:
    """The settings in a file; None where there is no such file.

    Raises:
        ConfigError: it cannot be read, is something else, is of another version, or an entry is wrong.
    """
    if not path.exists():
        return None
    where = f"settings {path}"
    try:
        held = read_document(path)
    except Unreadable as error:
        raise ConfigError(f"{where}: {error}") from error
    if not isinstance(held, dict) or held.get("format") != FORMAT:
        raise ConfigError(f"{where} hold something else than a benchmark; name another folder")
    if held.get("version") in _OLDER:
        why = _OLDER[held["version"]]
        raise ConfigError(
            f"{where}: version is {held['version']}, expected {VERSION}: its results {why}; play the benchmark again "
            "in another folder"
        )
    return record_of(held, Provenance, ConfigError, where)


def require_same(folder: Path, kept: Provenance | None, now: Provenance) -> None:
    """Refuses a folder whose results were decided by something else.

    Raises:
        ConfigError: names each entry that differs, such as the room whose code changed.
    """
    old, new = ({} if one is None else _binding(one) for one in (kept, now))
    if changed := [name for name in new if old.get(name) != new[name]]:
        sides = "; ".join(differences(name, old.get(name), new[name]) for name in changed)
        raise ConfigError(
            f"{folder} holds a benchmark with other settings: {sides}; go on with the same ones, or name another folder"
        )


def _binding(one: Provenance) -> dict[str, Any]:
    return one.model_dump(exclude=set(_JOINING)) | {"rubric": full_record(one.rubric)}


def require_theirs(rows: Sequence[SessionResult], held: Provenance, path: Path) -> None:
    """Refuses a row of a session that these settings never had.

    Args:
        rows: as they were read from ``path``.
        held: the settings beside it.
        path: the file of results.

    Raises:
        ConfigError: names the file, the line, and what is foreign: a patient, a seed, turns, a policy or a simulator.
    """
    for i, row in enumerate(rows):
        if fault := _foreign(row, held):
            raise ConfigError(
                f"results {path}: line {_line(path, i)}: {fault}; the settings beside it know no such one"
            )


def _foreign(row: SessionResult, held: Provenance) -> str:
    known = {"persona": held.patients, "policy": tuple(held.policies), "simulator": tuple(held.simulators)}
    for name, names in known.items():
        if getattr(row, name) not in names:
            return f"{name} is {getattr(row, name)!r}, expected one of {', '.join(names) or 'none'}"
    if row.seed >= held.seeds:
        return f"seed is {row.seed}, expected one from 0 to {held.seeds - 1}"
    return f"turns are {len(row.turns)}, expected at most {held.turns}" if len(row.turns) > held.turns else ""


def _line(path: Path, row: int) -> int:
    """The line of a row; blank lines are no rows."""
    return [i for i, line in enumerate(read_bytes(path, 2**30).split(b"\n"), 1) if line.strip()][row]


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"


def _plain(value: Any) -> Any:
    return json.loads(json.dumps(value))
