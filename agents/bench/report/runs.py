"""What a report is made of: results, and the settings and timing beside them; refused where they are not alike."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from therapysim.agents.bench.results import Result, read_results
from therapysim.errors import ConfigError

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
    """

    name: str
    sha256: str
    sessions: int
    settings: Mapping[str, Any]

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the run itself warned of, such as patients that a policy was trained with."""
        told = self.settings.get("warnings")
        return tuple(map(str, told)) if isinstance(told, list) else ()


@dataclass(frozen=True)
class Timing:
    """Seconds that one policy's sessions with one simulator took, all together."""

    sessions: int
    policy: float
    environment: float


@dataclass(frozen=True)
class Runs:
    """All that was read: the sessions in the order of the files, and timing by (policy, simulator)."""

    results: tuple[Result, ...]
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
    sources = tuple(_source(file, len(own)) for file, own in zip(files, found, strict=True))
    _refuse_empty(files, found)
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


def _source(file: Path, sessions: int) -> Source:
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    return Source(str(Path(*file.parts[-2:])), digest, sessions, _settings(file.with_name("settings.json")))


def _settings(file: Path) -> dict[str, Any]:
    try:
        held = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ConfigError(f"settings {file} cannot be read: {error}; run the same `therapysim bench` again") from error
    if not isinstance(held, dict):
        raise ConfigError(f"settings {file} hold {type(held).__name__}, expected an object of settings")
    return held


def _refuse_empty(files: Sequence[Path], found: Sequence[list[Result]]) -> None:
    for file, own in zip(files, found, strict=True):
        if not own:
            raise ConfigError(f"results {file} hold no session, expected at least one; run `therapysim bench` first")


def _refuse_twice(files: Sequence[Path], found: Sequence[list[Result]]) -> None:
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
        first, second = (dict(flat({name: own.settings.get(name) for name in SHARED})) for own in (told[0], other))
        unlike = [name for name in {**first, **second} if first.get(name) != second.get(name)]
        if unlike:
            sides = "; ".join(f"{name} is {_short(first, name)} and {_short(second, name)}" for name in unlike)
            raise ConfigError(
                f"{told[0].name} and {other.name} were run with different settings (settings.json): {sides}; "
                "report them apart"
            )


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


def _add_timing(timing: dict[tuple[str, str], Timing], file: Path) -> None:
    """Adds one file's rows; a run that went on after a break has several a policy."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:
        raise ConfigError(f"timing {file} cannot be read: {error}; mend or remove it") from error
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
            key, sessions = (str(row["policy"]), str(row["simulator"])), int(row["sessions"])
            own = Timing(sessions, float(row["seconds_policy"]), float(row["seconds_environment"]))
        except (ValueError, TypeError, KeyError) as error:
            raise ConfigError(f"timing {file}: line {number} is no timing ({error!r}); mend or remove it") from error
        old = timing.get(key, Timing(0, 0.0, 0.0))
        timing[key] = Timing(old.sessions + own.sessions, old.policy + own.policy, old.environment + own.environment)
