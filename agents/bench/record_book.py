"""The folder of a recording: who spoke, each call of a policy's model with its prompt and reply, and tokens.

record.json    the benchmark's settings, and who spoke: name, model, sampling, prompt
calls.jsonl    a call of a policy's model a line: its place, its prompt, its reply
tokens.jsonl   a turn of a finished session a line: the tokens that its policy read and wrote so far
patients/      the calls of patients' models, see ``therapysim.models.replay``
"""

import hashlib
import json
import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import zip_longest
from pathlib import Path
from typing import Any, Literal, TypeVar
from urllib.parse import quote

from pydantic import Field, JsonValue

from therapysim import __version__
from therapysim.agents.bench.bench_settings import BenchSettings, Simulator
from therapysim.agents.therapists.policies import Policy
from therapysim.envs.session import Session
from therapysim.errors import ConfigError
from therapysim.faults import differences
from therapysim.files import write_json
from therapysim.models.chat import ChatMessage
from therapysim.records import STRICT, Record, read_record, read_rows
from therapysim.rewards.rubric_by_name import open_rubric

__all__ = ["Book", "Head", "join", "mend", "patients_of", "plain", "read_head", "rubric_now"]

HEAD, CALLS, TOKENS, PATIENTS = "record.json", "calls.jsonl", "tokens.jsonl", "patients"

#: Characters of a message that an error shows.
_EXCERPT = 60
_Row = TypeVar("_Row", "Call", "Counted")


class Head(Record):
    """``record.json``.

    Attributes:
        settings: of the benchmark, as ``BenchSettings`` has them.
        policies: name -> model, sampling, prompt.
        trained_on: name -> the patients that the policy was trained with.
        patients: names of who words the patients, in order.
        abouts: name -> what decides its lines.
        rubric: as ``Rubric.record`` tells it; empty in recordings of earlier versions.
        played: name -> what it is, of all policies in the order of joining; empty in recordings of earlier versions.
        met: whose sessions with a patient's model were recorded from the first on: policy, patient.
    """

    format: Literal["therapysim-record"]
    version: Literal[1]
    therapysim: str
    settings: dict[str, JsonValue]
    policies: dict[str, dict[str, JsonValue]]
    trained_on: dict[str, tuple[str, ...]]
    patients: tuple[str, ...]
    abouts: dict[str, dict[str, JsonValue]]
    rubric: dict[str, JsonValue] = Field(default_factory=dict)
    played: dict[str, dict[str, JsonValue]] = Field(default_factory=dict)
    met: tuple[tuple[str, str], ...] = ()

    def bench_settings(self) -> BenchSettings:
        """Of the benchmark that was recorded.

        Raises:
            ConfigError: they are none.
        """
        told: dict[str, Any] = dict(self.settings)
        try:
            return BenchSettings(**{**told, "patients": tuple(told["patients"])})
        except (TypeError, LookupError) as error:
            raise ConfigError(f"record: its settings are none of a benchmark ({error}); record again") from error


@dataclass(frozen=True)
class Call:
    """One reply of a policy's model: whose session, the therapist's turn from 1, what it read and said."""

    __pydantic_config__ = STRICT

    policy: str
    patient: str
    seed: int
    turn: int
    messages: list[ChatMessage]
    reply: ChatMessage
    checksum: str


@dataclass(frozen=True)
class Counted:
    """The tokens of a session up to one of its turns, told by the SHA-256 of the talk and the patient's answer."""

    __pydantic_config__ = STRICT

    policy: str
    talk: str
    read: int
    written: int


class Book:
    """The calls of a folder, by their place; new ones are appended as they come."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._calls: defaultdict[tuple[str, str, int, int], list[Call]] = defaultdict(list)
        for i, call in enumerate(_rows(folder / CALLS, Call), 1):
            if call.checksum != checksum(call):
                raise ConfigError(
                    f"record {folder / CALLS}: call {i} is damaged, its checksum is another; record again"
                )
            self._calls[_place(call)].append(call)
        self._tokens = {(row.policy, row.talk): row for row in _rows(folder / TOKENS, Counted)}

    def find(self, policy: str, session: Session, chat: Sequence[ChatMessage]) -> ChatMessage | None:
        """The reply to just this prompt, None where there is none."""
        own = self._calls.get((policy, session.persona.id, session.seed, session.state.turn + 1), ())
        return next((call.reply for call in own if call.messages == list(chat)), None)

    def keep(self, policy: str, session: Session, chat: list[ChatMessage], reply: ChatMessage) -> None:
        call = Call(policy, session.persona.id, session.seed, session.state.turn + 1, chat, reply, "")
        call = replace(call, checksum=checksum(call))
        self._append(CALLS, asdict(call))
        self._calls[_place(call)].append(call)

    def holds(self, policy: str, patient: str, seed: int, turns: int) -> bool:
        """Whether each of so many turns of a session was recorded."""
        return all((policy, patient, seed, turn + 1) in self._calls for turn in range(turns))

    def reaches(self, policy: str, patient: str, seed: int, turn: int) -> bool:
        """Whether a session has a call at this turn or later."""
        return any(place[:3] == (policy, patient, seed) and place[3] >= turn for place in self._calls)

    def tokens(self, policy: str, talk: Sequence[ChatMessage]) -> tuple[int, int] | None:
        row = self._tokens.get((policy, _digest(list(talk))))
        return (row.read, row.written) if row else None

    def keep_tokens(self, policy: str, talk: Sequence[ChatMessage], tokens: tuple[int, int]) -> None:
        row = Counted(policy, _digest(list(talk)), *tokens)
        if (policy, row.talk) not in self._tokens:
            self._append(TOKENS, asdict(row))
            self._tokens[policy, row.talk] = row

    def difference(self, policy: str, session: Session, chat: Sequence[ChatMessage]) -> tuple[str, str]:
        """Where it is asked what was not recorded, and what differs, in words."""
        turn = session.state.turn + 1
        where = f"policy {policy!r} with patient {session.persona.id!r}, seed {session.seed}, turn {turn}"
        own = self._calls.get((policy, session.persona.id, session.seed, turn), [])
        if own:
            nearest = max(own, key=lambda call: _alike(call.messages, chat))
            return where, _told_difference(nearest.messages, chat)
        places = [place for place in self._calls if place[0] == policy]
        people, seeds = sorted({p[1] for p in places}), sorted({p[2] for p in places})
        met = places and (
            f"patients {', '.join(people)}, seeds {', '.join(map(str, seeds))}, up to turn {max(p[3] for p in places)}"
        )
        return where, f"no such call was recorded, which has {met or 'none of this policy'}"

    def _append(self, name: str, row: dict[str, Any]) -> None:
        try:
            with (self.folder / name).open("ab") as file:
                file.write((json.dumps(row, ensure_ascii=True) + "\n").encode("ascii"))
        except OSError as error:
            raise ConfigError(
                f"record {self.folder}: {error.strerror or error}; what was recorded is kept: make room, and give the "
                "same command again"
            ) from error


def join(
    folder: Path,
    settings: BenchSettings,
    policies: Sequence[Policy],
    simulators: Sequence[Simulator],
    met: Sequence[tuple[str, str]] = (),
    played: Sequence[Policy] = (),
) -> None:
    """Writes down who is recorded, and who plays beside; a recorded one of the same name must be the same, and so must
    the settings."""
    own = Head(
        format="therapysim-record",
        version=1,
        therapysim=__version__,
        settings=plain(asdict(settings)),
        policies={policy.name: plain(dict(policy.about)) for policy in policies},
        trained_on={policy.name: tuple(sorted(policy.trained_on)) for policy in policies},
        patients=tuple(simulator.name for simulator in simulators),
        abouts={simulator.name: plain(dict(simulator.about)) for simulator in simulators},
        rubric=rubric_now(settings),
        played={policy.name: plain(dict(policy.about)) for policy in played or policies},
        met=tuple(met),
    )
    kept = read_head(folder) or own
    for part in ("therapysim", "settings", "rubric", "policies", "abouts"):
        _require_same(folder, part, getattr(kept, part), getattr(own, part))
    joined = kept.model_copy(
        update={
            "policies": {**kept.policies, **own.policies},
            "trained_on": {**kept.trained_on, **own.trained_on},
            "patients": tuple(dict.fromkeys([*kept.patients, *own.patients])),
            "abouts": {**kept.abouts, **own.abouts},
            "played": {**(kept.played or kept.policies), **own.played},
            "met": tuple(dict.fromkeys([*kept.met, *own.met])),
        }
    )
    try:
        write_json(folder / HEAD, joined.model_dump(mode="json"))
    except OSError as error:
        raise ConfigError(f"record {folder} cannot be written: {error.strerror or error}; name another") from error


def rubric_now(settings: BenchSettings) -> dict[str, JsonValue]:
    """The record of the rubric that a benchmark's settings name, as it is now."""
    return dict(plain(open_rubric(settings.rubric).record()))


def _require_same(folder: Path, part: str, kept: Any, own: Any) -> None:
    if isinstance(own, dict):
        own = {name: value for name, value in own.items() if name in kept}
        kept = {name: kept[name] for name in own}
    if kept != own:
        raise ConfigError(
            f"record {folder} is of another benchmark: {differences(part, kept, own)}; name another folder"
        )


def patients_of(folder: Path, name: str) -> Path:
    """Where the calls of a patient's model are kept."""
    return folder / PATIENTS / quote(name, safe="").replace(".", "%2E")


def read_head(folder: Path) -> Head | None:
    path = folder / HEAD
    return read_record(path, Head, ConfigError, f"record {path}") if path.is_file() else None


def _rows(path: Path, kind: type[_Row]) -> Iterator[_Row]:
    if path.is_file():
        yield from read_rows(path, kind, ConfigError, f"record {path}", broken_end=True)


def mend(folder: Path) -> None:
    """Cuts off what a killed run left of a row."""
    for path in (folder / CALLS, folder / TOKENS):
        _cut_off(path)


def _cut_off(path: Path) -> None:
    if path.is_file() and not (data := path.read_bytes()).endswith(b"\n"):
        os.truncate(path, data.rfind(b"\n") + 1)


def _place(call: Call) -> tuple[str, str, int, int]:
    return call.policy, call.patient, call.seed, call.turn


def checksum(call: Call) -> str:
    return _digest([*_place(call), call.messages, call.reply])


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode("ascii")).hexdigest()


def plain(value: Any) -> Any:
    """As JSON gives it back."""
    return json.loads(json.dumps(value))


def _alike(one: Sequence[ChatMessage], other: Sequence[ChatMessage]) -> int:
    """How many messages they begin with alike."""
    return next((i for i, (a, b) in enumerate(zip_longest(one, other)) if a != b), len(one))


def _told_difference(recorded: Sequence[ChatMessage], asked: Sequence[ChatMessage]) -> str:
    """The first message that differs, in words."""
    i = _alike(recorded, asked)
    if i >= min(len(recorded), len(asked)):
        return f"the prompt had {len(recorded)} messages and has {len(asked)}"
    part = next(name for name in ("role", "content", "sampled") if recorded[i].get(name) != asked[i].get(name))
    before, now = (str(side[i].get(part, "")) for side in (recorded, asked))
    k = max(0, next((k for k, (a, b) in enumerate(zip_longest(before, now)) if a != b), 0) - 20)
    told = "" if part == "content" else f"'s {part}"
    who = recorded[i]["role"]
    return (
        f"message {i + 1} of the prompt ({who}){told} was {before[k : k + _EXCERPT]!r} and is {now[k : k + _EXCERPT]!r}"
    )
