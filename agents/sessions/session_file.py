"""Session files: one finished or broken-off session as JSON, with all that a profile needs and a person would keep.

A record holds what no policy is shown, such as the alliance: it is written for people and for evaluation. Its numbers
are the session's own, to the last bit. What a file says is checked as it is read; entries that nobody knows are left
alone, so that a note of one's own does no harm.
"""

import json
import math
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, is_dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints
from urllib.parse import quote

from therapysim import __version__
from therapysim.envs.batch import Session, Turn
from therapysim.errors import ConfigError
from therapysim.files import whole
from therapysim.messages import Message
from therapysim.rewards.matrix import DIMENSIONS
from therapysim.rewards.risk import Risk, RiskThresholds, risks
from therapysim.state import Ending, State

__all__ = [
    "FORMAT",
    "VERSION",
    "SessionRecord",
    "TurnRecord",
    "load_session",
    "load_sessions",
    "record_session",
    "save_session",
    "session_file",
]

#: What every session file says it is, and the newest version that this module reads and the only one that it writes.
FORMAT, VERSION = "therapysim-session", 1

_PLAIN = {str: "a text", int: "a whole number", bool: "true or false"}


@dataclass(frozen=True, slots=True)
class TurnRecord:
    """One therapist turn and the patient's answer to it.

    Attributes:
        reward: nan where the patient failed; its terms are then empty.
        terms: each reward term by name, before its weight.
        violations, flags, acts: why the turn was unsafe, what the screen found, what kind of turn it was.
        heard: what the patient was shown of the turn; differs from the message where an attack was neutralised.
        move: what the patient's answer does; "" where the patient failed.
        alliance: after the turn, in [0, 1].
        disclosed: ids of the facts told in the answer.
        source, rejected: who worded the answer, and why earlier draws were refused.
    """

    reward: float
    terms: dict[str, float]
    violations: tuple[str, ...]
    flags: tuple[str, ...]
    acts: tuple[str, ...]
    heard: str
    move: str
    alliance: float
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
    """

    persona: str
    seed: int
    policy: str
    alliance: float
    messages: tuple[Message, ...]
    states: tuple[State, ...]
    turns: tuple[TurnRecord, ...]
    thresholds: RiskThresholds
    ending: Ending
    done: bool
    failed: bool

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
    unanswered = [Message("therapist", turn.screen.text) for turn in turns if turn.transition is None]
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
    )


def save_session(
    path: str | Path,
    session: Session,
    turns: Sequence[Turn],
    policy: str = "",
    thresholds: RiskThresholds | None = None,
) -> Path:
    """Writes ``record_session`` to ``path`` whole or not at all, and makes its folder if need be."""
    content = _as_json(record_session(session, turns, policy, thresholds))
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
    target = Path(path)
    with whole(target) as part:
        part.write_text(text + "\n", encoding="utf-8")
    return target


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
    found = [file for path in map(Path, paths) for file in (sorted(path.rglob("*.json")) if path.is_dir() else [path])]
    if not found:
        where = ", ".join(map(str, paths)) or "no path"
        raise ConfigError(f"{where}: no session file there; `therapysim bench POLICY --sessions` writes some")
    places: dict[str, Path] = {}
    for file in found:
        places.setdefault(os.path.realpath(file), file)
    return [load_session(file) for file in places.values()]


def load_session(path: str | Path) -> SessionRecord:
    """Reads a session file.

    Raises:
        ConfigError: it cannot be read, is no session file, is of a newer version, or an entry is wrong; names the
            file, the entry, what was found, what was expected, and what to do.
    """
    file = Path(path)
    try:
        record: SessionRecord = _read(SessionRecord, _content(file), "")
        _check_ranges(record)
        _check_counts(record)
    except OSError as error:
        raise ConfigError(f"session file {file}: {error.strerror}, expected a file; check the path") from error
    except _Wrong as error:
        raise ConfigError(f"session file {file}: {error}") from error
    return record


class _Wrong(Exception):
    """What is wrong in a file, without the file's name."""


def _record_turn(turn: Turn, alliance: float) -> TurnRecord:
    seen = turn.transition
    return TurnRecord(
        reward=float(turn.reward),
        terms={name: float(value) for name, value in turn.terms.items()},
        violations=tuple(turn.violations),
        flags=tuple(turn.screen.flags),
        acts=tuple(sorted(seen.appraisal.acts)) if seen else (),
        heard=turn.screen.heard,
        move=str(seen.move) if seen else "",
        alliance=float(seen.alliance_after if seen else alliance),
        disclosed=tuple(seen.disclosed) if seen else (),
        source=turn.line.source if turn.line else "",
        rejected=tuple(turn.line.rejected) if turn.line else (),
    )


def _as_json(record: SessionRecord) -> dict[str, Any]:
    # nan is no JSON: a failed turn's reward is null. The risks follow from the rest; they are there for other readers.
    values = asdict(record)
    for turn in values["turns"]:
        turn["reward"] = None if math.isnan(turn["reward"]) else turn["reward"]
    found = [asdict(risk) for risk in record.risks]
    head = {"format": FORMAT, "version": VERSION, "therapysim": __version__, "dimensions": DIMENSIONS}
    return {**head, **values, "risks": found}


def _content(file: Path) -> dict[str, Any]:
    try:
        value = json.loads(file.read_text(encoding="utf-8"), parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise _Wrong(f"it is not JSON ({error}), expected a session; write the file again") from error
    if not isinstance(value, dict) or value.get("format") != FORMAT:
        raise _Wrong(f'no session, expected a JSON object with "format": "{FORMAT}"; give a file of `--sessions`')
    version = _read(int, value.get("version"), "version")
    if version > VERSION:
        raise _Wrong(f"version is {version}, expected at most {VERSION}; update TherapySim to read this file")
    for turn in value["turns"] if isinstance(value.get("turns"), list) else ():
        if isinstance(turn, dict) and turn.get("reward", 0) is None:
            turn["reward"] = math.nan
    return value


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON number")


def _read(kind: Any, value: Any, place: str) -> Any:
    """``value`` as a ``kind``: a dataclass, tuple, dict, Literal, str, int, bool or float."""
    origin, inner = get_origin(kind), get_args(kind)
    if is_dataclass(kind):
        return _read_fields(kind, value, place)
    if origin is tuple:
        return _read_tuple(inner, value, place)
    if origin is dict:
        names = _require(value, dict, place, "an object")
        return {name: _read(inner[1], names[name], f"{place}.{name}") for name in names}
    if origin is Literal:
        if value not in inner:
            raise _wrong(place, value, f"one of {', '.join(map(repr, inner))}")
        return value
    return _read_plain(kind, value, place)


def _read_fields(kind: Any, value: Any, place: str) -> Any:
    given = _require(value, dict, place, "an object")
    hints, dot = get_type_hints(kind), f"{place}." if place else ""
    for name in hints:
        if name not in given:
            raise _Wrong(f"{dot}{name} is missing, expected an entry; write the file again")
    values = {name: _read(hint, given[name], f"{dot}{name}") for name, hint in hints.items()}
    try:
        return kind(**values)
    except ConfigError as error:  # settings check themselves
        raise _Wrong(f"{place}: {error}; mend the entry") from error


def _read_tuple(inner: tuple[Any, ...], value: Any, place: str) -> tuple[Any, ...]:
    items = _require(value, list, place, "a list")
    if inner[-1] is not Ellipsis and len(items) != len(inner):
        raise _wrong(place, items, f"a list of {len(inner)}")
    return tuple(_read(inner[0], item, f"{place}[{i}]") for i, item in enumerate(items))


def _read_plain(kind: Any, value: Any, place: str) -> Any:
    if kind is not float:
        return _require(value, kind, place, _PLAIN[kind])
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > 1e300:
        raise _wrong(place, value, "a finite number")
    return float(value)


def _require(value: Any, kind: type, place: str, expected: str) -> Any:
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise _wrong(place, value, expected)
    return value


def _wrong(place: str, value: Any, expected: str) -> _Wrong:
    shown = repr(value) if len(repr(value)) <= 60 else f"{repr(value)[:57]}..."
    return _Wrong(f"{place} is {shown}, expected {expected}; write the file again or mend the entry")


def _check_ranges(record: SessionRecord) -> None:
    numbers = {"alliance": (record.alliance, 0.0)}
    for i, state in enumerate(record.states):
        numbers |= {f"states[{i}].affect[{k}]": (x, -1.0) for k, x in enumerate(state.affect)}
        numbers |= {f"states[{i}].history[{k}]": (x, -1.0) for k, x in enumerate(state.history)}
    numbers |= {f"turns[{i}].alliance": (turn.alliance, 0.0) for i, turn in enumerate(record.turns)}
    for place, (value, low) in numbers.items():
        if not low <= value <= 1.0:
            raise _wrong(place, value, f"a number from {low:g} to 1")


def _check_counts(record: SessionRecord) -> None:
    """The patient speaks first and is answered in turn; a patient that failed may owe one answer, or even the first."""
    states, turns, messages = len(record.states), len(record.turns), len(record.messages)
    if not states:
        raise _wrong("states", [], "a list of at least one")
    owed = turns + 1 - states
    if owed not in (0, int(record.failed)):
        raise _wrong("number of turns", turns, f"{states - 1}, one fewer than the states")
    expected = 2 * turns + 1 - owed
    if messages != expected and not (record.failed and not turns and not messages):
        raise _wrong("number of messages", messages, f"{expected} for {turns} turns")
    for i, message in enumerate(record.messages):
        if message.speaker != ("patient", "therapist")[i % 2]:
            raise _wrong(f"messages[{i}].speaker", message.speaker, "the two to take turns, the patient first")
    for i, state in enumerate(record.states):
        if state.turn != i:
            raise _wrong(f"states[{i}].turn", state.turn, f"{i}, its place in the list")
