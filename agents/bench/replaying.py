"""A recorded benchmark, played again without a model or a network.

A replay asks the same of the record as a run asks of the model: a prompt that was recorded otherwise ends it.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from therapysim import __version__
from therapysim.agents.bench.bench_settings import BenchSettings, Simulator, whom
from therapysim.agents.bench.record_book import Book, Head, patients_of, plain, read_head, rubric_now
from therapysim.agents.therapists.policies import Policy, find_policy, kind_of
from therapysim.agents.therapists.therapist import ChatTherapist
from therapysim.envs.session import Session
from therapysim.errors import ConfigError, ModelError
from therapysim.faults import differences
from therapysim.models.chat import ChatMessage, Sampling
from therapysim.models.replay import RecordedChat
from therapysim.personas.llm.guard import Feel
from therapysim.personas.llm.llm_patient import LLMPatient
from therapysim.personas.opening import settings_of
from therapysim.personas.patient import Patient
from therapysim.personas.scripted.scripted_patient import ScriptedPatient

__all__ = ["Replay", "replay_of"]

_PLAIN = " (no header)"


class _NoModel:
    """Stands where a replay has no model."""

    def reply(self, chats: Sequence[Sequence[ChatMessage]], sampling: Sampling, seeds: Sequence[int]) -> list[str]:
        raise ModelError("a replay asks no model")


class _Replayed(ChatTherapist):
    """A policy that says what was recorded.

    Raises:
        ConfigError: it is asked what was not; says which patient, which turn, and what differs.
    """

    def __init__(self, name: str, head: Head, book: Book) -> None:
        about: dict[str, Any] = dict(head.policies[name])
        sampling = Sampling(int(about["max_tokens"]), float(about["temperature"]), float(about["top_p"]))
        super().__init__(_NoModel(), sampling, show_state=bool(about["show_state"]))
        self.name, self._head, self._book = name, head, book

    def answer(self, sessions: Sequence[Session], chats: Sequence[list[ChatMessage]]) -> list[ChatMessage]:
        said = []
        for session, chat in zip(sessions, chats, strict=True):
            reply = self._book.find(self.name, session, chat)
            if reply is None:
                raise ConfigError(f"replay {self._book.folder}: {self._missing(session, chat)}")
            said.append(reply)
        return said

    def tokens(self, session: Session) -> tuple[float, float]:
        """As they were counted; nan where a session is shorter than was recorded, and nobody counted so far."""
        counted, turns = self._book.tokens(self.name, self.conversation(session)), session.state.turn
        if counted or session.failed or not turns:
            return counted or (0, 0)
        if turns < self._head.bench_settings().turns and not session.ending:
            return math.nan, math.nan
        raise ConfigError(
            f"replay {self._book.folder}: the recording of {self.name!r} with {session.persona.id}, seed "
            f"{session.seed}, was broken off before the session's end; {_onward(self._book.folder)}"
        )

    def _missing(self, session: Session, chat: list[ChatMessage]) -> str:
        """What was not recorded, and what to do."""
        where, difference = self._book.difference(self.name, session, chat)
        if self._broken_off(session):
            return f"{where}: the recording was broken off before it; {_onward(self._book.folder)}"
        return (
            f"{where}: {difference}. Play the patients, seeds, turns and version that were recorded, or record again "
            "in another folder"
        )

    def _broken_off(self, session: Session) -> bool:
        """Whether this turn was to be recorded, and the session's calls end before it."""
        settings, turn = self._head.bench_settings(), session.state.turn + 1
        asked = session.persona.id in whom(settings) and session.seed < settings.seeds and turn <= settings.turns
        reached = self._book.reaches(self.name, session.persona.id, session.seed, turn)
        return asked and not reached and self._head.therapysim == __version__


def _onward(folder: Path) -> str:
    return f"the same `therapysim bench … --record {folder}` goes on there, and asks for what is missing alone"


@dataclass(frozen=True)
class Replay:
    """What a folder holds.

    Attributes:
        folder: of the record.
        settings: of the benchmark that was recorded.
        policies: those that can be played again, models and sampling as they were.
        simulators: the patients, likewise.
        missed: what patients' models were asked that was not recorded, in words; their sessions failed.
        rubric: the record of what it was scored by; empty where an earlier version recorded.
        played: name -> what it was, of all policies that played, baselines and functions too; likewise.
    """

    folder: Path
    settings: BenchSettings
    policies: tuple[Policy, ...]
    simulators: tuple[Simulator, ...]
    missed: Sequence[str] = ()
    rubric: Mapping[str, Any] = field(default_factory=dict)
    played: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def require_rubric(self) -> None:
        """Refuses to score by another rubric of the recorded name.

        Raises:
            ConfigError: says what differs.
        """
        now = rubric_now(self.settings)
        if self.rubric and self.rubric != now:
            raise ConfigError(
                f"replay {self.folder}: {differences('rubric', self.rubric, now)}; set that back, or give --rubric to "
                "score it by another"
            )

    def policies_of(self, names: Sequence[str]) -> list[Policy]:
        """Those of these names, in their order; for none all that played, in the order of joining.

        A recorded one comes with a header and without, as it was recorded. Baselines and functions may be named too.

        Raises:
            ConfigError: one was not recorded, or none is named and a function that played changed or is gone.
        """
        if names:
            return list({policy.name: policy for name in names for policy in self._named(name)}.values())
        heard = {policy.name: policy for policy in self.policies}
        return [heard.get(name) or self._beside(name) for name in self.played or heard]

    def _named(self, name: str) -> list[Policy]:
        if heard := [p for p in self.policies if name in (p.name, p.name.removesuffix(_PLAIN))]:
            return heard
        if kind_of(name) in ("baseline", "function"):
            return [find_policy(name)]
        known = ", ".join(repr(policy.name) for policy in self.policies)
        raise ConfigError(f"replay {self.folder}: policy {name!r} was not recorded, expected one of {known or 'none'}")

    def _beside(self, name: str) -> Policy:
        """A baseline or a function as it was when it played."""
        try:
            policy = find_policy(name)
        except ConfigError as error:
            raise ConfigError(f"replay {self.folder}: {error}; or name the policies to play without it") from error
        if (now := plain(dict(policy.about))) != self.played[name]:
            raise ConfigError(
                f"replay {self.folder}: {differences(name, self.played[name], now)}; set that back, or name the "
                "policies to play"
            )
        return policy

    def simulators_of(self, names: Sequence[str]) -> list[Simulator]:
        """The patients of these names; all for none.

        Raises:
            ConfigError: one was not recorded.
        """
        known = {simulator.name: simulator for simulator in self.simulators}
        if unknown := [name for name in names if name not in known]:
            raise ConfigError(
                f"replay {self.folder}: patient {unknown[0]!r} was not recorded, expected one of {', '.join(known)}"
            )
        return [known[name] for name in names or known]


def replay_of(folder: str | Path, feel: Feel) -> Replay:
    """Whose words a folder holds, ready to be said again; no model is loaded, and none is asked.

    Args:
        folder: of ``recording``.
        feel: reads texts into affect, for patients.

    Raises:
        ConfigError: it holds no recording, or a damaged one.
    """
    place, missed = Path(folder), list[str]()
    head = read_head(place)
    if head is None:
        raise ConfigError(f"replay {place}: it holds no recording; make one with `therapysim bench … --record {place}`")
    book = Book(place)
    policies = tuple(
        Policy(name, partial(_Replayed, name, head, book), about, frozenset(head.trained_on[name]))
        for name, about in head.policies.items()
    )
    simulators = tuple(
        Simulator(name, partial(_replay_patient, place, name, feel, missed), head.abouts[name])
        for name in head.patients
    )
    return Replay(place, head.bench_settings(), policies, simulators, missed, head.rubric, head.played)


class _ReplayedChat(RecordedChat):
    """A patient's recorded model; what it has no reply to is noted, since a session takes it for a failed patient."""

    missed: list[str]
    onward: str

    def reply(self, chats: Sequence[Sequence[ChatMessage]], sampling: Sampling, seeds: Sequence[int]) -> list[str]:
        try:
            return super().reply(chats, sampling, seeds)
        except ModelError as error:
            newest = chats[0][-1]["content"]
            self.missed.append(
                f"replay of a patient's model: {error}. Its newest message was {newest!r:.200}. If the recording was "
                f"broken off, {self.onward}"
            )
            raise


def _replay_patient(folder: Path, name: str, feel: Feel, missed: list[str]) -> Patient:
    if name == "scripted":
        return ScriptedPatient(feel)
    place = patients_of(folder, name)
    if not any(place.glob("*/*.json")):
        raise ConfigError(f"replay {folder}: no reply of patient {name!r} was kept; {_onward(folder)}")
    chat = _ReplayedChat(None, place, "replay")
    chat.missed, chat.onward = missed, _onward(folder)
    return LLMPatient(chat, ScriptedPatient(feel), feel, settings_of(name))
