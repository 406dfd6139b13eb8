"""Session files: one finished or broken-off session as JSON, with all that a profile needs and a person would keep.

A record holds what no policy is shown, such as the alliance: it is written for people and for evaluation. Its numbers
are the session's own, to the last bit. What a file says is checked as it is read, against the types here, which
``docs/schemas/session.schema.json`` publishes; entries that nobody knows are left alone, so that a note of one's own
does no harm.
"""

import json
import math
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import quote

from pydantic import ConfigDict, Field, ValidatorFunctionWrapHandler, WithJsonSchema, WrapValidator

from therapysim import __version__
from therapysim.agents.sessions.misplaced import refuse_misplaced
from therapysim.documents import Unreadable, read_document
from therapysim.envs.batch import Session, Turn
from therapysim.errors import ConfigError
from therapysim.files import whole
from therapysim.messages import Message
from therapysim.records import STRICT, record_of, schema_of
from therapysim.rewards.matrix import DIMENSIONS
from therapysim.rewards.risk import Risk, RiskThresholds, risks
from therapysim.state import Ending, State

__all__ = [
    "FORMAT",
    "VERSION",
    "Count",
    "OrNan",
    "SessionRecord",
    "Share",
    "TurnRecord",
    "load_session",
    "load_sessions",
    "read_session",
    "record_session",
    "save_session",
    "session_file",
    "session_schema",
    "session_text",
]

#: What every session file says it is, and the one version that this module reads and writes.
FORMAT: Literal["therapysim-session"] = "therapysim-session"
VERSION: Literal[2] = 2


def _or_nan(value: Any, number: ValidatorFunctionWrapHandler) -> float:
    return math.nan if value is None else float(number(value))


#: A finite number, or nan where there is none, which a file writes as null.
OrNan = Annotated[float, WrapValidator(_or_nan), WithJsonSchema({"anyOf": [{"type": "number"}, {"type": "null"}]})]
Count = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]

_CONFIG = ConfigDict({**STRICT, "extra": "ignore"})


@dataclass(frozen=True, slots=True)
class TurnRecord:
    """One therapist turn and the patient's answer to it.

    Attributes:
        reward: nan where the patient failed; its terms are then empty.
        terms: each reward term by name, before its weight.
        violations, flags, acts: why the turn was unsafe, what the screen found, what kind of turn it was.
        shown: what the patient was shown of the turn; differs from the message where an attack was neutralised.
        move: what the patient's answer does; "" where the patient failed.
        alliance: after the turn, in [0, 1].
        disclosed: ids of the facts told in the answer.
        source, rejected: who worded the answer, and why earlier draws were refused.
    """

    __pydantic_config__ = _CONFIG

    reward: OrNan
    terms: dict[str, float]
    violations: tuple[str, ...]
    flags: tuple[str, ...]
    acts: tuple[str, ...]
    shown: str
    move: str
    alliance: Share
    disclosed: tuple[str, ...]
    source: str
    rejected: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SessionRecord:
    """One session as its file keeps it.

    Attributes:
        persona: the patient's id.
        policy: who spoke as the therapist; "" where nobody said.
        alliance: at the start, in [0, 1].
        messages: every message in order, the patient's opening first. Where the patient failed, the therapist's last
            one has no answer.
        states: s_0 … s_t, one a patient's turn.
        turns: one a therapist's turn; the answer to ``turns[i]`` leads to ``states[i + 1]``.
        thresholds: those that the risks go by.
        ending: why the patient closed the session, "" where it did not.
        done, failed: as in ``envs.batch.Session``.
        own_sources: name -> SHA-256 of the source of each term of one's own that scored it; empty in older files.

    Raises:
        ConfigError: messages, states and turns do not go together.
    """

    __pydantic_config__ = _CONFIG

    persona: str
    seed: Count
    policy: str
    alliance: Share
    messages: tuple[Message, ...]
    states: Annotated[tuple[State, ...], Field(min_length=1)]
    turns: tuple[TurnRecord, ...]
    thresholds: RiskThresholds
    ending: Ending
    done: bool
    failed: bool
    own_sources: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_counts(self)

    @property
    def risks(self) -> tuple[Risk, ...]:
        """The risk of each state, and with it the polarity of e_t."""
        return risks([state.affect for state in self.states], self.thresholds)


def record_session(
    session: Session, turns: Sequence[Turn], policy: str = "", thresholds: RiskThresholds | None = None
) -> SessionRecord:
    """What a file would keep of a session.

    Args:
        session: at its end, or broken off.
        turns: all of its turns, oldest first.
        policy: the therapist's name.
        thresholds: of the risk categories; -0.3 each by default.

    Raises:
        ConfigError: the turns are not those of the session, by their number.
    """
    unanswered = [Message("therapist", turn.screen.utterance) for turn in turns if turn.transition is None]
    if len(turns) - len(unanswered) != session.state.turn:
        raise ConfigError(f"{len(turns)} turns for a session of {session.state.turn}: give every turn, oldest first")
    first = turns[0].transition if turns else None
    return SessionRecord(
        persona=session.persona.id,
        seed=session.seed,
        policy=policy,
        alliance=float(first.alliance_before if first else session.latent.alliance),
        messages=(*session.transcript.messages, *unanswered),
        states=session.states,
        turns=tuple(_record_turn(turn, session.latent.alliance) for turn in turns),
        thresholds=thresholds or RiskThresholds(),
        ending=session.ending,
        done=session.done,
        failed=session.failed,
        own_sources=dict(turns[0].own_sources) if turns else {},
    )


def save_session(
    path: str | Path,
    session: Session,
    turns: Sequence[Turn],
    policy: str = "",
    thresholds: RiskThresholds | None = None,
) -> Path:
    """Writes ``record_session`` to ``path`` whole or not at all, and makes its folder if need be."""
    text, target = session_text(record_session(session, turns, policy, thresholds)), Path(path)
    with whole(target) as part:
        part.write_text(text, encoding="utf-8")
    return target


def session_text(record: SessionRecord) -> str:
    """What a session file holds."""
    return json.dumps(_as_json(record), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def session_file(folder: str | Path, policy: str, persona: str, seed: int) -> Path:
    """Where a benchmark keeps a session: a folder a policy, a file a patient and seed.

    Any policy has a folder of its own, whatever characters its name holds: those of a path are written as in a URL.
    """
    name = quote(policy, safe="")
    return Path(folder) / (name if name.strip(".") else name.replace(".", "%2E")) / f"{persona}-{seed}.json"


def load_sessions(paths: Sequence[str | Path]) -> list[SessionRecord]:
    """Every session of the files, and of the ``.json`` files in and under the folders, in that order.

    A file that is named twice, or lies in a folder that is named too, is one session.

    Raises:
        ConfigError: there is none, or ``load_session`` refuses one.
    """
    for path in map(Path, paths):
        refuse_misplaced(path)
    found = [file for path in map(Path, paths) for file in (sorted(path.rglob("*.json")) if path.is_dir() else [path])]
    if not found:
        where = ", ".join(map(str, paths)) or "no path"
        raise ConfigError(f"{where}: no session file there; `therapysim bench POLICY --sessions` writes some")
    places: dict[str, Path] = {}
    for file in found:
        places.setdefault(os.path.realpath(file), file)
    folders = [path for path in map(Path, paths) if path.is_dir()]
    return [_load_among(file, folders) for file in places.values()]


def _load_among(file: Path, folders: Sequence[Path]) -> SessionRecord:
    try:
        return load_session(file)
    except ConfigError as error:
        folder = next((folder for folder in folders if file.is_relative_to(folder)), None)
        if folder is None:
            raise
        raise ConfigError(f"{error}; or take it out of {folder}") from error


def load_session(path: str | Path) -> SessionRecord:
    """Reads a session file.

    Raises:
        ConfigError: it cannot be read, is no session file, is of another version, or an entry is wrong; names the
            file, the entry, what was found and what was expected.
    """
    where = f"session file {path}"
    try:
        content = read_document(Path(path))
    except Unreadable as error:
        raise ConfigError(f"{where}: {error}") from error
    return read_session(content, where)


def read_session(content: Any, where: str) -> SessionRecord:
    """What a session file holds, as plain data.

    Args:
        content: of the file.
        where: what an error calls it.

    Raises:
        ConfigError: as ``load_session``.
    """
    _require_format(content, where)
    record_of(content, _Head, ConfigError, where)
    return record_of(content, SessionRecord, ConfigError, where)


def _require_format(content: Any, where: str) -> None:
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ConfigError(
            f'{where}: no session, expected a JSON object with "format": "{FORMAT}"; give a file of `--sessions`'
        )
    if content.get("version") == 1:
        raise ConfigError(
            f"{where}: version is 1, expected {VERSION}; play the session again, or rename `heard` to `shown` in each "
            f"of its turns and make its version {VERSION}"
        )


def session_schema() -> dict[str, Any]:
    """The JSON schema of a session file, draft 2020-12."""
    head, own = schema_of(_Head), schema_of(SessionRecord)
    both = {part: {**head[part], **own[part]} for part in ("$defs", "properties")}
    return {**own, "title": "TherapySim session", **both, "required": [*head["required"], *own["required"]]}


@dataclass(frozen=True, slots=True)
class _Head:
    """What a file holds beside its record: what it is, and what follows from the rest, for other readers."""

    __pydantic_config__ = _CONFIG

    format: Literal["therapysim-session"]
    version: Literal[2]
    therapysim: str
    dimensions: tuple[str, str, str, str]
    risks: tuple[Risk, ...]


def _record_turn(turn: Turn, alliance: float) -> TurnRecord:
    seen = turn.transition
    return TurnRecord(
        reward=float(turn.reward),
        terms={name: float(value) for name, value in turn.terms.items()},
        violations=tuple(turn.violations),
        flags=tuple(turn.screen.flags),
        acts=tuple(sorted(seen.appraisal.acts)) if seen else (),
        shown=turn.screen.shown,
        move=str(seen.move) if seen else "",
        alliance=float(seen.alliance_after if seen else alliance),
        disclosed=tuple(seen.disclosed) if seen else (),
        source=turn.line.source if turn.line else "",
        rejected=tuple(turn.line.rejected) if turn.line else (),
    )


def _as_json(record: SessionRecord) -> dict[str, Any]:
    values = asdict(record)
    for turn in values["turns"]:
        turn["reward"] = None if math.isnan(turn["reward"]) else turn["reward"]
    return asdict(_Head(FORMAT, VERSION, __version__, DIMENSIONS, record.risks)) | values


def _check_counts(record: SessionRecord) -> None:
    """The patient speaks first and is answered in turn; a patient that failed may owe one answer, or even the first."""
    states, turns, messages = len(record.states), len(record.turns), len(record.messages)
    owed = turns + 1 - states
    if owed not in (0, int(record.failed)):
        raise ConfigError(f"number of turns is {turns}, expected {states - 1}, one fewer than the states")
    expected = 2 * turns + 1 - owed
    if messages != expected and not (record.failed and not turns and not messages):
        raise ConfigError(f"number of messages is {messages}, expected {expected} for {turns} turns")
    for i, message in enumerate(record.messages):
        if message.speaker != ("patient", "therapist")[i % 2]:
            told = f"messages[{i}].speaker is {message.speaker!r}"
            raise ConfigError(f"{told}, expected the two to take turns, the patient first")
    for i, state in enumerate(record.states):
        if state.turn != i:
            raise ConfigError(f"states[{i}].turn is {state.turn}, expected {i}, its place in the list")
