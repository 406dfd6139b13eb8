"""What a report is made of: results, and the settings and timing beside them; refused where they are not alike."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import ConfigDict, Field

from therapysim.agents.bench.faults import unplayed
from therapysim.agents.bench.folder import read_failures
from therapysim.agents.bench.provenance import Provenance, read_provenance, require_theirs
from therapysim.agents.bench.results import SessionResult, read_results
from therapysim.agents.sessions.session_file import Count
from therapysim.errors import ConfigError
from therapysim.models.server import refuse_secrets
from therapysim.records import STRICT, read_rows
from therapysim.rewards.rubric_record import full_record

__all__ = ["Runs", "Source", "Timing", "flat", "read_runs"]

#: Settings that must agree before results may stand in one table.
SHARED = ("split", "turns", "rubric", "library", "weights", "session")
_FILES = ("results.jsonl", "results.jsonl.gz")


@dataclass(frozen=True)
class Source:
    """One file of results.

    Attributes:
        name: the file and its folder.
        sha256: of the file's bytes.
        sessions: how many it holds.
        settings: what ``settings.json`` beside it says; empty where there is none.
        unplayed: by those settings, what a run that was broken off has not played, and why; a line each.
    """

    name: str
    sha256: str
    sessions: int
    settings: Mapping[str, Any]
    unplayed: tuple[str, ...] = ()

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the run itself warned of, such as patients that a policy was trained with."""
        return tuple(self.settings.get("warnings", ()))


@dataclass(frozen=True)
class Timing:
    """Seconds that one policy's sessions with one simulator took, all together."""

    sessions: int
    policy: float
    environment: float


@dataclass(frozen=True)
class Runs:
    """All that was read: the sessions in the order of the files, and timing by (policy, simulator)."""

    results: tuple[SessionResult, ...]
    sources: tuple[Source, ...]
    timing: Mapping[tuple[str, str], Timing]

    @property
    def told(self) -> dict[str, str]:
        """The limit of turns and the rubric's name, where a run's settings tell them."""
        settings = next((source.settings for source in self.sources if source.settings), {})
        rows = dict(flat(settings))
        found = {"turns": rows.get("turns"), "rubric": rows.get("rubric.preset", rows.get("rubric"))}
        return {name: value for name, value in found.items() if value}


def read_runs(paths: Sequence[str | Path]) -> Runs:
    """Reads results folders and files of results.

    Args:
        paths: each a folder with ``results.jsonl`` or ``results.jsonl.gz``, or such a file of any name.

    Raises:
        ConfigError: one cannot be read or holds no session, two hold the same session, or their settings differ.
    """
    if not paths:
        raise ConfigError("a report of no results, expected at least one folder or file that `therapysim bench` wrote")
    files = [_file(Path(path)) for path in paths]
    found = [read_results(file) for file in files]
    for file, own in zip(files, found, strict=True):
        for name in {name for result in own for name in (result.policy, result.simulator)}:
            refuse_secrets(name, f"results {file}: a name in it")
    sources = tuple(_source(file, own) for file, own in zip(files, found, strict=True))
    _refuse_empty(files, sources)
    _refuse_unlike(sources)
    _refuse_twice(files, found)
    timing: dict[tuple[str, str], Timing] = {}
    for folder in dict.fromkeys(file.parent for file in files):
        _add_timing(timing, folder / "timing.jsonl")
    return Runs(tuple(result for own in found for result in own), sources, timing)


def _file(path: Path) -> Path:
    if not path.is_dir():
        return path
    held = [path / name for name in _FILES if (path / name).is_file()]
    if len(held) != 1:
        what = "both" if held else "neither"
        raise ConfigError(f"results folder {path} holds {what} of {' and '.join(_FILES)}, expected one; name a file")
    return held[0]


def _source(file: Path, rows: Sequence[SessionResult]) -> Source:
    digest, settings = hashlib.sha256(file.read_bytes()).hexdigest(), file.with_name("settings.json")
    if settings.exists():  # an earlier version kept what it was given; no error may show it
        refuse_secrets(settings.read_text(encoding="utf-8", errors="replace"), f"settings {settings}")
    held = read_provenance(settings)
    if held is not None:
        require_theirs(rows, held, file)
    told = {} if held is None else held.model_dump(mode="json", exclude_unset=True)
    left = () if held is None else tuple(_unplayed(held, rows, read_failures(file.parent)))
    return Source(str(Path(*file.parts[-2:])), digest, len(rows), told, left)


def _unplayed(held: Provenance, rows: Sequence[SessionResult], reasons: Mapping[tuple[str, str], str]) -> Iterator[str]:
    """Who joined and was not played to the end, and why as far as it is known; the run's command goes on with them."""
    played, whole = Counter((row.policy, row.simulator) for row in rows), len(held.patients) * held.seeds
    yield from (f"{line}." for line in unplayed(reasons, played, whole))
    for (policy, simulator), count in played.items():
        if count < whole and (policy, simulator) not in reasons:
            yield f"{count} of {whole} sessions of {policy} with {simulator} were played."
    for kind, place in (("policies", 0), ("simulators", 1)):
        for name in sorted(set(getattr(held, kind)) - {pair[place] for pair in (*played, *reasons)}):
            yield f"0 sessions with {name} were played."


def _refuse_empty(files: Sequence[Path], sources: Sequence[Source]) -> None:
    for file, own in zip(files, sources, strict=True):
        if not own.sessions:
            told = f": {' '.join(own.unplayed).rstrip('.')}" if own.unplayed else ""
            raise ConfigError(
                f"results {file} hold no session, expected at least one{told}; run `therapysim bench` first"
            )


def _refuse_twice(files: Sequence[Path], found: Sequence[list[SessionResult]]) -> None:
    seen: dict[tuple[str, str, str, int], Path] = {}
    for file, own in zip(files, found, strict=True):
        for result in own:
            if result.key in seen:
                policy, simulator, persona, seed = result.key
                raise ConfigError(
                    f"{policy!r} with patient {persona!r} ({simulator}), seed {seed}, is in {seen[result.key]} and "
                    f"again in {file}, expected once; leave one out or rename a policy"
                )
            seen[result.key] = file


def _refuse_unlike(sources: Sequence[Source]) -> None:
    told = [source for source in sources if source.settings]
    for other in told[1:]:
        first, second = (dict(flat(_shared(own.settings))) for own in (told[0], other))
        unlike = [name for name in {**first, **second} if first.get(name) != second.get(name)]
        if unlike:
            sides = "; ".join(f"{name} is {_short(first, name)} and {_short(second, name)}" for name in unlike)
            raise ConfigError(
                f"{told[0].name} and {other.name} were run with different settings (settings.json): {sides}; "
                "report them apart"
            )


def _shared(settings: Mapping[str, Any]) -> dict[str, Any]:
    held = {name: settings.get(name) for name in SHARED}
    return held | {"rubric": full_record(held["rubric"] or {})}


def flat(settings: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    """Nested settings as text, a row each: ``versions.numpy``."""
    for name, value in settings.items():
        if isinstance(value, dict) and value:
            yield from flat(value, f"{above}{name}.")
        else:
            yield f"{above}{name}", value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _short(rows: Mapping[str, str], name: str) -> str:
    text = rows.get(name, "missing")
    return text if len(text) <= 40 else f"{text[:39]}…"


_Seconds = Annotated[float, Field(ge=0.0)]


@dataclass(frozen=True)
class _Timed:
    """A row of ``timing.jsonl``; other entries do no harm."""

    __pydantic_config__ = ConfigDict({**STRICT, "extra": "ignore"})

    policy: str
    simulator: str
    sessions: Count
    seconds_policy: _Seconds
    seconds_environment: _Seconds


def _add_timing(timing: dict[tuple[str, str], Timing], file: Path) -> None:
    """Adds one file's rows; a run that went on after a break has several a policy."""
    for row in read_rows(file, _Timed, ConfigError, f"timing {file}") if file.exists() else ():
        old = timing.get(key := (row.policy, row.simulator), Timing(0, 0.0, 0.0))
        seconds = old.policy + row.seconds_policy, old.environment + row.seconds_environment
        timing[key] = Timing(old.sessions + row.sessions, *seconds)
