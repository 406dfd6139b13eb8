"""Sessions that were kept, by a benchmark or as files, in one form: what was said, in which states, what it earned."""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from therapysim.agents.bench.folder import session_place
from therapysim.agents.bench.provenance import weights_now
from therapysim.agents.bench.report.runs import Source, read_runs
from therapysim.agents.bench.results import SessionResult, TurnResult
from therapysim.agents.sessions.pay import paid
from therapysim.agents.sessions.session_file import SessionRecord, TurnRecord, load_session, load_sessions
from therapysim.errors import ConfigError, PersonaError
from therapysim.messages import Message
from therapysim.personas.load import find
from therapysim.rewards.reading.emotions import shipped_sensor
from therapysim.rewards.rubric import Rubric
from therapysim.state import WINDOW, Attributes, Ending, State, Vector

__all__ = ["RUBRIC", "Found", "Kept", "read_kept"]

#: What session files are scored by: a file does not say by which rubric it was played.
RUBRIC = "default"
_RESULTS = ("results.jsonl", "results.jsonl.gz")


@dataclass(frozen=True)
class Kept:
    """One session, whose patient did not fail.

    Attributes:
        policy: who spoke as the therapist; "" where nobody said.
        simulator: who worded the patient; "" where a file does not say.
        persona, split, seed: who the patient is; the split is "unknown" of one who is not in the library.
        ending: "goal", "rupture", "crisis", or "" at the turn limit.
        total: the return.
        messages: the patient first, the two in turn.
        states: one a patient's message.
        turns: one a therapist's message.
        rewards: one a turn.
    """

    policy: str
    simulator: str
    persona: str
    split: str
    seed: int
    ending: Ending
    total: float
    messages: tuple[Message, ...]
    states: tuple[State, ...]
    turns: tuple[TurnResult | TurnRecord, ...]
    rewards: tuple[float, ...]


@dataclass(frozen=True)
class Found:
    """What lies in a place.

    Attributes:
        kept: the sessions, in the order of the place; those without a turn of the therapist's are left out.
        left_out: how many failed, or had no such turn.
        source: what a card says of the place: name, kind, SHA-256, settings.
    """

    kept: tuple[Kept, ...]
    left_out: int
    source: Mapping[str, Any]


def read_kept(place: str | Path, *, trends: bool = True) -> Found:
    """The sessions of a benchmark's folder, of its file of results, or of a folder of session files.

    A benchmark keeps e_t to five digits and no h_t. Where it kept session files too, their states are taken; else h_t
    is read again from the patient's words, by the very weights that the benchmark says it had.

    Args:
        place: as ``therapysim bench`` left it, with ``--sessions`` or without; or files of ``chat`` and ``play``.
        trends: h_t is wanted, as the long header shows it.

    Raises:
        ConfigError: nothing is there, it is of another version, or h_t is wanted and cannot be had.
    """
    path = Path(place)
    if not path.exists():
        raise ConfigError(
            f"results {path}: there is no such place, expected a benchmark's folder, its file of results, or session "
            "files; check the path"
        )
    if path.name.endswith((".jsonl", ".jsonl.gz")) or any((path / name).is_file() for name in _RESULTS):
        return _of_benchmark(path, trends)
    return _of_files(path)


def _of_benchmark(path: Path, trends: bool) -> Found:
    runs = read_runs([path])
    [source] = runs.sources
    sound = [row for row in runs.results if not row.failed and row.turns]
    folder = path if path.is_dir() else path.parent
    filed = {row.key: session_place(folder, row) for row in sound}
    rebuilt = {row.key for row in sound if not filed[row.key].is_file()}
    if trends and rebuilt:
        _require_weights(source)
    kept = tuple(
        _of_row(row, _states(row, trends) if row.key in rebuilt else _filed_states(row, filed[row.key]))
        for row in sound
    )
    told = {
        "name": source.name,
        "kind": "benchmark",
        "sha256": source.sha256,
        "states": {"from session files": len(sound) - len(rebuilt), "rebuilt from the results": len(rebuilt)},
        "settings": dict(source.settings),
    }
    return Found(kept, len(runs.results) - len(sound), told)


def _of_row(row: SessionResult, states: tuple[State, ...]) -> Kept:
    return Kept(
        policy=row.policy,
        simulator=row.simulator,
        persona=row.persona,
        split=row.split,
        seed=row.seed,
        ending=row.ending,
        total=row["total"],
        messages=_messages(row),
        states=states,
        turns=row.turns,
        rewards=tuple(turn.reward for turn in row.turns),
    )


def _messages(row: SessionResult) -> tuple[Message, ...]:
    said = [Message("patient", row.opening)]
    for turn in row.turns:
        said += [Message("therapist", turn.therapist), Message("patient", turn.patient)]
    return tuple(said)


def _filed_states(row: SessionResult, file: Path) -> tuple[State, ...]:
    record = load_session(file)
    if record.messages != _messages(row):
        raise ConfigError(
            f"session file {file}: its words are not those of the results beside it, expected one session; play the "
            "benchmark again in another folder"
        )
    return record.states


def _states(row: SessionResult, trends: bool) -> tuple[State, ...]:
    """Each state of a session: e_t as the results round it, h_t by reading the patient's words again."""
    affects: list[Vector] = [row.affect, *(turn.affect for turn in row.turns)]
    who = Attributes(row.persona, row.diagnosis, row.severity, _age(row.persona))
    words = [message.text for message in _messages(row) if message.speaker == "patient"]
    past = [reading.polarity for reading in shipped_sensor().read(words)] if trends else [0.0] * len(words)
    return tuple(
        State(who, tuple(past[max(0, turn + 1 - WINDOW) : turn + 1]), affect, turn)
        for turn, affect in enumerate(affects)
    )


def _age(persona: str) -> int:
    try:
        return find(persona).age
    except PersonaError:  # of a later library; no header shows it
        return 0


def _require_weights(source: Source) -> None:
    """Refuses to read words again by other weights than they were read by."""
    then, now = source.settings.get("weights"), weights_now()
    if then != now:
        why = "settings.json beside it is missing" if then is None else "its sensor had other weights than this one"
        raise ConfigError(
            f"{source.name}: {why}, so that the header's trend cannot be told; give --header short or none, or play "
            "with --sessions"
        )


def _of_files(path: Path) -> Found:
    records = load_sessions([path])
    rubric = Rubric(RUBRIC)
    sound = [record for record in records if record.turns and not record.failed]
    told = {
        "name": Path(*path.parts[-2:]).as_posix(),
        "kind": "session files",
        "sha256": _digest(path),
        "states": {"from session files": len(sound)},
        "settings": {"rubric": {"preset": RUBRIC}},
    }
    return Found(tuple(_of_record(record, rubric) for record in sound), len(records) - len(sound), told)


def _of_record(record: SessionRecord, rubric: Rubric) -> Kept:
    rewards = paid(record, rubric)
    return Kept(
        policy=record.policy,
        simulator="",
        persona=record.persona,
        split=_split(record.persona),
        seed=record.seed,
        ending=record.ending,
        total=math.fsum(rewards),
        messages=record.messages,
        states=record.states,
        turns=record.turns,
        rewards=rewards,
    )


def _split(persona: str) -> str:
    try:
        return find(persona).split
    except PersonaError:
        return "unknown"


def _digest(path: Path) -> str:
    """Of every file's place and bytes."""
    whole = hashlib.sha256()
    for file in sorted(path.rglob("*.json")) if path.is_dir() else [path]:
        whole.update(f"{file.relative_to(path).as_posix()}\0".encode())
        whole.update(hashlib.sha256(file.read_bytes()).digest())
    return whole.hexdigest()
