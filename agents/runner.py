"""A benchmark that is written as it goes, and goes on where it was broken off.

Its folder holds ``settings.json`` (what decides the results: versions, hashes, rubric, whom it met), ``results.jsonl``
(a session a line, written as it ends) and ``timing.jsonl`` (seconds, which no two runs share). A block is one policy
with one simulator: its sessions advance together, since what a model samples can hang on its neighbours in a batch. A
block that was broken off is therefore played again whole, and its finished sessions are kept as they were written. At
the end the rows are put in order, so that a broken run ends with the same bytes as an unbroken one.
"""

import hashlib
import json
import platform
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TextIO

import gymnasium
import numpy as np
import onnxruntime

from therapysim import __version__
from therapysim.agents.benchmark import play_policy
from therapysim.agents.policies import Policy
from therapysim.agents.progress import Progress, Watched
from therapysim.agents.results import Result, as_line, read_results, write_results
from therapysim.envs.batch import SessionBatch, SessionConfig, Start
from therapysim.errors import ConfigError, require_count
from therapysim.files import write_json
from therapysim.personas.load import find, library_hash, personas
from therapysim.personas.patient import Patient
from therapysim.rewards.emotions import WEIGHTS
from therapysim.rewards.rubric import Rubric

__all__ = ["FORMAT", "RESULTS", "SETTINGS", "TIMING", "BenchSettings", "Opener", "overlaps", "run", "whom"]

#: The files of a benchmark's folder, and what its settings say they are.
SETTINGS, RESULTS, TIMING = "settings.json", "results.jsonl", "timing.jsonl"
FORMAT, VERSION = "therapysim-bench", 1

#: A name, and what opens it: a policy, or a patient. Opened when its turn comes, so that one model is held at a time.
Opener = tuple[str, Callable[[], Policy]]
PatientOpener = tuple[str, Callable[[], Patient]]


@dataclass(frozen=True, slots=True)
class BenchSettings:
    """Whom every policy meets.

    Attributes:
        split: train, dev or test.
        patients: ids; empty for all of the split.
        people: so many of the split's patients, the first in order; 0 for all.
        seeds: sessions with each patient, under seeds 0, 1, ….
        turns: therapist turns in a session at most.
        rubric: a preset's name.
    """

    split: str = "test"
    patients: tuple[str, ...] = ()
    people: int = 0
    seeds: int = 4
    turns: int = 20
    rubric: str = "default"

    def __post_init__(self) -> None:
        require_count("seeds", self.seeds, 1)
        require_count("turns", self.turns, 1)
        require_count("people", self.people, 0)
        if self.patients and self.people:
            raise ConfigError("both ids and a number of patients are given: give one")
        whom(self)
        Rubric(self.rubric)


def whom(settings: BenchSettings) -> tuple[str, ...]:
    """Ids of the patients that are met.

    Raises:
        PersonaError: an id or the split is unknown.
        ConfigError: an id is given twice, or the split has fewer patients.
    """
    if settings.patients:
        if len(set(settings.patients)) < len(settings.patients):
            raise ConfigError(f"patients {', '.join(settings.patients)}: one is given twice")
        return tuple(find(i).id for i in settings.patients)
    there = [p.id for p in personas(settings.split)]
    if settings.people > len(there):
        raise ConfigError(
            f"people is {settings.people}, expected at most {len(there)}: split {settings.split} has no more"
        )
    return tuple(there[: settings.people or None])


def run(
    settings: BenchSettings,
    policies: Sequence[Opener],
    patients: Sequence[PatientOpener],
    out: str | Path,
    *,
    command: str = "",
    stream: TextIO | None = None,
    sessions: bool = False,
) -> list[Result]:
    """Plays what is missing of policies × simulators × patients × seeds; sessions whose patient failed, again.

    Args:
        settings: whom they meet.
        policies, patients: names, and what opens them.
        out: the folder; made, or gone on with where it holds the same benchmark. More policies and patients may join.
        command: kept with the settings, so that the results say how they were made.
        stream: where progress is shown.
        sessions: keep a file a session too, in the folder's ``sessions``; see ``agents.record``.

    Returns:
        Every result in the folder, in the order of patients' simulators, policies, patients, seeds.

    Raises:
        ConfigError: the folder holds another benchmark, cannot be written, or a name comes twice.
    """
    for kind, names in (("policy", [n for n, _ in policies]), ("patient", [n for n, _ in patients])):
        if not names or len(set(names)) < len(names):
            raise ConfigError(f"{kind} names are {', '.join(names) or 'none'}, expected at least one and none twice")
    shown = stream or sys.stderr
    kept = Path(out) / "sessions" if sessions else None
    book = _Book(Path(out), settings, command, shown)
    starts = [Start(seed, persona) for persona in whom(settings) for seed in range(settings.seeds)]
    missing = [(p, s) for s in patients for p in policies if book.lacks(p[0], s[0], starts)]
    progress = Progress(len(missing) * len(starts) * settings.turns, shown)
    for simulator in patients:
        own = [policy for policy, met in missing if met is simulator]
        if own:
            batch = SessionBatch(
                SessionConfig(max_turns=settings.turns), patient=simulator[1](), rubric=settings.rubric
            )
        for name, opener in own:
            policy = opener()
            progress.begin(f"{name} with {simulator[0]}")
            _play_block(book, batch, policy, name, simulator[0], starts, progress, kept)
    progress.end()
    return book.close([n for n, _ in policies], [n for n, _ in patients])


def overlaps(policy: Policy, met: Sequence[str]) -> tuple[str, ...]:
    """Ids of the patients that a policy was trained with and is scored on; a variant counts as its patient."""
    return tuple(sorted(policy.trained_on & {i.partition("~")[0] for i in met}))


def _play_block(
    book: "_Book",
    batch: SessionBatch,
    policy: Policy,
    name: str,
    simulator: str,
    starts: Sequence[Start],
    progress: Progress,
    sessions: Path | None,
) -> None:
    book.join(name, policy)
    watched, began = Watched(policy.therapist, progress), time.perf_counter()

    def take(result: Result) -> None:
        progress.drop(book.settings.turns - len(result.turns))
        book.add(result)

    results = play_policy(batch, watched, starts, name, simulator, on_result=take, sessions=sessions)
    seconds = time.perf_counter() - began
    book.time(
        {
            "policy": name,
            "simulator": simulator,
            "sessions": len(results),
            "turns": sum(len(result.turns) for result in results),
            "seconds_policy": round(watched.seconds, 3),
            "seconds_environment": round(seconds - watched.seconds, 3),
        }
    )


class _Book:
    """The folder of one benchmark."""

    def __init__(self, folder: Path, settings: BenchSettings, command: str, stream: TextIO) -> None:
        self.folder, self.settings, self.stream = folder, settings, stream
        now = _provenance(settings)
        kept = _read_settings(folder)
        if kept:
            _require_same(folder, kept, now)
        elif (folder / RESULTS).exists():
            raise ConfigError(f"{folder} holds {RESULTS} without {SETTINGS}; name another folder")
        self._head = {**now, "command": command or kept.get("command", ""), "warnings": kept.get("warnings", []),
                      "policies": kept.get("policies", {})}  # fmt: skip
        self._results: dict[tuple[str, str, str, int], Result] = {}
        if (folder / RESULTS).exists():
            found = read_results(folder / RESULTS, broken_end=True)
            self._results = {result.key: result for result in found if not result.failed}
        with _writable(folder):
            write_json(folder / SETTINGS, self._head)
            write_results(folder / RESULTS, self._results.values())

    def lacks(self, policy: str, simulator: str, starts: Sequence[Start]) -> bool:
        """Whether any session of a block is not there yet."""
        return any((policy, simulator, str(s.persona), s.seed) not in self._results for s in starts)

    def join(self, name: str, policy: Policy) -> None:
        """Writes down what a policy is; one of the same name must be the same.

        Raises:
            ConfigError: it is another.
        """
        about, kept = dict(policy.about), self._head["policies"].get(name)
        if kept is not None and kept != about:
            changed = [key for key in about if kept.get(key) != about[key]]
            raise ConfigError(
                f"{self.folder}: policy {name!r} was another: {', '.join(changed)} differs; name another folder"
            )
        met = overlaps(policy, whom(self.settings))
        warning = f"policy {name!r} was trained with {', '.join(met)}, on whom it is scored here"
        if met and warning not in self._head["warnings"]:
            self._head["warnings"].append(warning)
        self._head["policies"][name] = about
        if met:
            print(f"therapysim: warning: {warning}", file=self.stream, flush=True)
        with _writable(self.folder):
            write_json(self.folder / SETTINGS, self._head)

    def add(self, result: Result) -> None:
        """Writes a result down, unless it is there."""
        if result.key in self._results:
            return
        self._results[result.key] = result
        self._append(RESULTS, as_line(result))

    def time(self, row: Mapping[str, Any]) -> None:
        """Writes down what a block took."""
        self._append(TIMING, json.dumps(row))

    def close(self, policies: Sequence[str], simulators: Sequence[str]) -> list[Result]:
        """Puts the rows in order."""
        order = {name: i for i, name in enumerate(dict.fromkeys([*policies, *(k[0] for k in self._results)]))}
        whose = {name: i for i, name in enumerate(dict.fromkeys([*simulators, *(k[1] for k in self._results)]))}
        rows = sorted(self._results.values(), key=lambda r: (whose[r.simulator], order[r.policy], r.persona, r.seed))
        with _writable(self.folder):
            write_results(self.folder / RESULTS, rows)
        return rows

    def _append(self, name: str, line: str) -> None:
        with _writable(self.folder), (self.folder / name).open("a", encoding="utf-8") as file:
            file.write(line + "\n")


@contextmanager
def _writable(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ConfigError(f"benchmark folder {folder}: {error.strerror or error}; name another with --out") from error


def _provenance(settings: BenchSettings) -> dict[str, Any]:
    """All that decides the results but the policies."""
    batch = SessionConfig(max_turns=settings.turns)
    return {
        "format": FORMAT,
        "version": VERSION,
        "versions": {
            "therapysim": __version__,
            "python": platform.python_version(),
            "numpy": np.__version__,
            "onnxruntime": onnxruntime.__version__,
            "gymnasium": gymnasium.__version__,
            "machine": platform.machine(),
        },
        "library": library_hash(),
        "weights": {name: _sha256(WEIGHTS / name) for name in ("emotions.onnx", "heads.npz")},
        "rubric": {"preset": settings.rubric, **_plain(asdict(Rubric(settings.rubric).settings))},
        "session": _plain(asdict(batch)),
        "split": settings.split,
        "patients": list(whom(settings)),
        "seeds": settings.seeds,
        "turns": settings.turns,
    }


def _plain(value: Any) -> Any:
    return json.loads(json.dumps(value))


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _read_settings(folder: Path) -> dict[str, Any]:
    path = folder / SETTINGS
    if not path.exists():
        return {}
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read: {error}; name another folder") from error
    if not isinstance(kept, dict) or kept.get("format") != FORMAT:
        raise ConfigError(f"{folder} holds something else than a benchmark; name another folder")
    return kept


def _require_same(folder: Path, kept: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    changed = [name for name in now if kept.get(name) != now[name]]
    if changed:
        raise ConfigError(
            f"{folder} holds a benchmark with other settings: {', '.join(changed)} differs; go on with the same ones, "
            "or name another folder"
        )
