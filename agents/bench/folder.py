"""The folder of one benchmark: what decided its results, and the results as they come.

``settings.json`` holds versions, hashes, the rubric and whom was met; ``results.jsonl`` a session a line, written as it
ends; ``timing.jsonl`` seconds, which no two runs share; ``failures.json`` why a policy was not played to its end with a
simulator, until it was.
"""

import json
from collections import Counter
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from therapysim.agents.bench.bench_settings import BenchSettings, Simulator, chosen, whom
from therapysim.agents.bench.faults import unplayed
from therapysim.agents.bench.provenance import provenance, read_provenance, require_same, require_theirs
from therapysim.agents.bench.results import SessionResult, as_line, read_results, write_results
from therapysim.agents.sessions.episode import Episode
from therapysim.agents.sessions.session_file import save_session, session_file
from therapysim.agents.therapists.policies import Policy
from therapysim.envs.session import Start
from therapysim.errors import ConfigError
from therapysim.files import write_json
from therapysim.personas.own import base_name
from therapysim.records import read_record

__all__ = ["FAILURES", "RESULTS", "SETTINGS", "TIMING", "Book", "locked", "overlaps", "read_failures", "session_place"]

#: The files of a benchmark's folder.
SETTINGS, RESULTS, TIMING, SESSIONS = "settings.json", "results.jsonl", "timing.jsonl", "sessions"
FAILURES = "failures.json"

#: What a model in this process samples can hang on its neighbours in the batch: its sessions are played together.
_TOGETHER = ("model", "run")


class Book:
    """Reads what is there, and writes what comes.

    Raises:
        ConfigError: the folder holds another benchmark, or cannot be written.
    """

    def __init__(self, folder: Path, settings: BenchSettings, command: str, *, sessions: bool = False) -> None:
        self.folder, self.settings, self._sessions = folder, settings, sessions
        now, kept, rows = provenance(settings), read_provenance(folder / SETTINGS), self._read_rows()
        if rows:
            require_same(folder, kept, now)
        if kept is None or not rows:
            kept = now  # nothing was played: there is nothing to be mixed
        # Who has no session may have been another then.
        policies, simulators = {row.policy for row in rows}, {row.simulator for row in rows}
        self._head: dict[str, Any] = {
            **now.model_dump(mode="json"),
            "commands": list(dict.fromkeys([*kept.commands, *([command] if command else [])])),
            "warnings": list(kept.warnings),
            "policies": {name: about for name, about in kept.policies.items() if name in policies},
            "simulators": {name: about for name, about in kept.simulators.items() if name in simulators},
        }
        if rows:
            require_theirs(rows, kept, folder / RESULTS)
        self._results: dict[tuple[str, str, str, int], SessionResult] = {row.key: row for row in rows}
        self._failures = read_failures(folder)

    def _read_rows(self) -> list[SessionResult]:
        path = self.folder / RESULTS
        if not path.exists():
            return []
        if not (self.folder / SETTINGS).exists():
            raise ConfigError(f"{self.folder} holds {RESULTS} without {SETTINGS}; name another folder")
        return read_results(path, broken_end=True)

    def join(self, policies: Sequence[Policy], simulators: Sequence[Simulator]) -> list[str]:
        """Writes down who plays; one of the same name must be the same. Says which of them met their patients before.

        Raises:
            ConfigError: a policy or simulator is another than before, or its sessions were not kept as files.
        """
        for kind, joined in (("policies", policies), ("simulators", simulators)):
            for one in joined:
                self._require_known(kind, one.name, json.loads(json.dumps(dict(one.about))))
        met = {policy.name: overlaps(policy, whom(self.settings)) for policy in policies}
        warnings = [
            f"policy {name!r} was trained with {', '.join(ids)}, on whom it is scored here"
            for name, ids in met.items()
            if ids
        ]
        self._head["warnings"] = list(dict.fromkeys([*self._head["warnings"], *warnings]))
        asked = {(p.name, s.name) for p in policies for s in simulators}
        # Those that failed are played again; of others, rows stay as they are.
        self._results = {k: r for k, r in self._results.items() if not (r.failed and k[:2] in asked)}
        self._require_files(asked if self._sessions else set())
        with _writable(self.folder):
            write_json(self.folder / SETTINGS, self._head)
            write_results(self.folder / RESULTS, self._results.values())
        known = self._head["policies"], self._head["simulators"]
        self._failures = {key: why for key, why in self._failures.items() if key[0] in known[0] and key[1] in known[1]}
        self._write_failures()
        return warnings

    def missing(self, policy: Policy, simulator: Simulator) -> list[Start]:
        """What is to be played of a block; all of it where its sessions hang together and any is missing."""
        seeds = range(self.settings.seeds)
        starts = [Start.meeting(seed, who) for who in chosen(self.settings) for seed in seeds]
        left = [s for s in starts if (policy.name, simulator.name, str(s.patient), s.seed) not in self._results]
        together = {policy.about.get("kind"), simulator.about.get("kind")} & set(_TOGETHER)
        return starts if left and together else left

    def add(self, result: SessionResult, episode: Episode) -> None:
        """Writes a session down, unless it is there; its own file first, so that no row is without one."""
        if result.key in self._results:
            return
        if self._sessions:
            with _writable(self.folder):
                save_session(self._file(result), episode.session, episode.turns, result.policy)
        self._results[result.key] = result
        self._append(RESULTS, as_line(result))

    def answered(self, policy: str, simulator: str) -> bool:
        """Whether the patient of any session of a block did not fail."""
        return any(key[:2] == (policy, simulator) and not row.failed for key, row in self._results.items())

    def note(self, policy: str, simulator: str, reason: str) -> None:
        """Writes down why a block was not played to its end; "" where it was."""
        before = self._failures.pop((policy, simulator), "")
        if reason:
            self._failures[policy, simulator] = reason
        if reason != before:
            self._write_failures()

    def unplayed(self, asked: Container[tuple[str, str]]) -> list[str]:
        """Why blocks of those that are asked for, by policy and simulator, were not played to their end."""
        own = {key: why for key, why in self._failures.items() if key in asked}
        whole = len(whom(self.settings)) * self.settings.seeds
        return list(unplayed(own, Counter(key[:2] for key in self._results), whole))

    def time(self, row: Mapping[str, Any]) -> None:
        """Writes down what a block took."""
        self._append(TIMING, json.dumps(row))

    def close(self) -> list[SessionResult]:
        """Puts the rows in order: simulators and policies as they joined, then patients and seeds."""
        whose, order = ({name: i for i, name in enumerate(self._head[k])} for k in ("simulators", "policies"))
        rows = sorted(self._results.values(), key=lambda r: (whose[r.simulator], order[r.policy], r.persona, r.seed))
        with _writable(self.folder):
            write_results(self.folder / RESULTS, rows)
        return rows

    def _require_known(self, kind: str, name: str, about: dict[str, Any]) -> None:
        kept = self._head[kind].setdefault(name, about)
        if changed := [key for key in {**kept, **about} if kept.get(key) != about.get(key)]:
            sides = "; ".join(f"{key} was {kept.get(key)!r} and is {about.get(key)!r}" for key in changed)
            raise ConfigError(f"{self.folder}: {name!r} was another among the {kind}: {sides}; name another folder")

    def _require_files(self, asked: set[tuple[str, str]]) -> None:
        lost = [r for r in self._results.values() if (r.policy, r.simulator) in asked and not self._file(r).exists()]
        if lost:
            raise ConfigError(
                f"{self.folder} holds {len(lost)} sessions that were played without --sessions, such as "
                f"{lost[0].policy!r} with {lost[0].persona}; name another folder to have them as files"
            )

    def _file(self, result: SessionResult) -> Path:
        return session_place(self.folder, result)

    def _write_failures(self) -> None:
        held: dict[str, dict[str, str]] = {}
        for (policy, simulator), reason in self._failures.items():
            held.setdefault(policy, {})[simulator] = reason
        with _writable(self.folder):
            if held:
                write_json(self.folder / FAILURES, held)
            else:
                (self.folder / FAILURES).unlink(missing_ok=True)

    def _append(self, name: str, line: str) -> None:
        with _writable(self.folder), (self.folder / name).open("a", encoding="utf-8") as file:
            file.write(line + "\n")


def read_failures(folder: Path) -> dict[tuple[str, str], str]:
    """Why policies were not played to their end, by policy and simulator.

    Raises:
        ConfigError: the file that says so is none.
    """
    path = folder / FAILURES
    held = read_record(path, dict[str, dict[str, str]], ConfigError) if path.exists() else {}
    return {(policy, simulator): why for policy, own in held.items() for simulator, why in own.items()}


def session_place(folder: Path, result: SessionResult) -> Path:
    """Where a benchmark's folder keeps the file of a session, if it was played with ``--sessions``."""
    # Patients worded by another simulator are other sessions; its name may hold a URL.
    below = session_file(folder / SESSIONS, result.simulator, "any", 0).parent
    return session_file(below, result.policy, result.persona, result.seed)


def overlaps(policy: Policy, met: Sequence[str]) -> tuple[str, ...]:
    """Patients that a policy was trained with and is scored on, by name; variants and edits count as their patient."""
    return tuple(sorted(policy.trained_on & {base_name(i) for i in met}))


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keeps a second run out of a folder while the block lasts, where the system has file locks.

    Raises:
        ConfigError: another run writes there, or the folder cannot be made.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    with _writable(folder):
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / ".lock").open("w")
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigError(f"another run writes in {folder}; wait for it, or name another folder") from error
        except OSError:  # a file system without locks
            pass
        yield


@contextmanager
def _writable(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ConfigError(f"benchmark folder {folder}: {error.strerror or error}; name another with --out") from error
