"""What a benchmark's models were asked and said, kept in a folder, and played again without a model or a network.

A replay asks the same of the record as a run asks of the model: a prompt that was recorded otherwise ends it.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from therapysim.agents.bench.bench_settings import BenchSettings, Simulator
from therapysim.agents.bench.folder import locked
from therapysim.agents.bench.record_book import PATIENTS, Book, join, mend, read_head, rubric_now
from therapysim.agents.bench.results import SessionResult
from therapysim.agents.therapists.policies import Policy
from therapysim.agents.therapists.therapist import ChatTherapist, Therapist
from therapysim.envs.session import Session
from therapysim.errors import ConfigError, ModelError
from therapysim.faults import differences
from therapysim.models.chat import ChatMessage, ChatModel, Sampling
from therapysim.models.replay import RecordedChat
from therapysim.models.speech import say_behind_server
from therapysim.personas.llm.guard import Feel
from therapysim.personas.llm.llm_patient import LLMPatient
from therapysim.personas.opening import open_patient, settings_of
from therapysim.personas.patient import Patient
from therapysim.personas.scripted.scripted_patient import ScriptedPatient

__all__ = ["Replay", "record_patient", "recording", "replay_of", "require_recorded"]

_KINDS = ("model", "run", "server")
_PLAIN = " (no header)"


class _Recorded(ChatTherapist):
    """A policy whose calls are kept; what was kept of an earlier run is said again, and the model is not asked."""

    def __init__(self, own: ChatTherapist, name: str, book: Book) -> None:
        super().__init__(own.model, own.sampling, show_state=own.show_state)
        self.name, self._book = name, book

    def answer(self, sessions: Sequence[Session], chats: Sequence[list[ChatMessage]]) -> list[ChatMessage]:
        found = [self._book.find(self.name, s, chat) for s, chat in zip(sessions, chats, strict=True)]
        missing = [i for i, reply in enumerate(found) if reply is None]
        try:
            new = super().answer([sessions[i] for i in missing], [chats[i] for i in missing]) if missing else []
        except ModelError as error:
            for i, reply in zip(missing, error.replies or (), strict=False):
                if reply is not None:
                    said: ChatMessage = {"role": "assistant", "content": say_behind_server(reply)}
                    self._book.keep(self.name, sessions[i], chats[i], said)
            raise
        for i, message in zip(missing, new, strict=True):
            self._book.keep(self.name, sessions[i], chats[i], message)
            found[i] = message
        return [reply for reply in found if reply is not None]

    def tokens(self, session: Session) -> tuple[int, int]:
        counted = super().tokens(session)
        self._book.keep_tokens(self.name, self.conversation(session), counted)
        return counted


class _NoModel:
    """Stands where a replay has no model."""

    def reply(self, chats: Sequence[Sequence[ChatMessage]], sampling: Sampling, seeds: Sequence[int]) -> list[str]:
        raise ModelError("a replay asks no model")


class _Replayed(ChatTherapist):
    """A policy that says what was recorded.

    Raises:
        ConfigError: it is asked what was not; says which patient, which turn, and what differs.
    """

    def __init__(self, name: str, about: dict[str, Any], book: Book) -> None:
        sampling = Sampling(int(about["max_tokens"]), float(about["temperature"]), float(about["top_p"]))
        super().__init__(_NoModel(), sampling, show_state=bool(about["show_state"]))
        self.name, self._book = name, book

    def answer(self, sessions: Sequence[Session], chats: Sequence[list[ChatMessage]]) -> list[ChatMessage]:
        said = []
        for session, chat in zip(sessions, chats, strict=True):
            reply = self._book.find(self.name, session, chat)
            if reply is None:
                raise ConfigError(
                    f"replay {self._book.folder}: {self._book.difference(self.name, session, chat)}. Play the "
                    "patients, seeds, turns and version that were recorded, or record again in another folder"
                )
            said.append(reply)
        return said

    def tokens(self, session: Session) -> tuple[int, int]:
        counted = self._book.tokens(self.name, self.conversation(session))
        if counted is None and session.transcript.said_by("therapist"):
            raise ConfigError(
                f"replay {self._book.folder}: the recording of {self.name!r} with {session.persona.id}, seed "
                f"{session.seed}, was broken off before the session's end; give its command with --record again"
            )
        return counted or (0, 0)


@contextmanager
def recording(
    folder: str | Path,
    settings: BenchSettings,
    policies: Sequence[Policy],
    simulators: Sequence[Simulator],
    before: Sequence[SessionResult] = (),
) -> Iterator[list[Policy]]:
    """The policies, those with a model recorded in a folder as they are played; it is kept while the block lasts.

    A folder that holds a recording of the same benchmark goes on: what it holds is not asked again. Policies and
    patients may join it.

    Args:
        folder: made if need be.
        settings, policies, simulators: of the benchmark. Patients with a model record themselves if they were opened
            with ``record_patient``.
        before: the results that are there already, and are not played again.

    Raises:
        ConfigError: there is no model to record, a patient's model was met before without being recorded, the folder
            holds another recording or cannot be written, or another run writes there.
    """
    place = Path(folder)
    spoken = [policy for policy in policies if policy.about.get("kind") in _KINDS]
    if not spoken and all(simulator.about.get("kind") == "scripted" for simulator in simulators):
        raise ConfigError("--record: no policy and no patient here is a language model, so there is nothing to record")
    heard = [simulator.name for simulator in simulators if simulator.about.get("kind") != "scripted"]
    met = [(policy.name, simulator) for policy in policies for simulator in heard]
    with locked(place):
        _require_unmet(place, met, before)
        join(place, settings, spoken, simulators, met)
        mend(place)
        book = Book(place)
        yield [_recorded(policy, book) if policy in spoken else policy for policy in policies]


def record_patient(folder: str | Path, name: str, feel: Feel, api_key_env: str | None = None) -> Patient:
    """``open_patient``, with its model's replies recorded."""

    def around(model: ChatModel) -> ChatModel:
        return RecordedChat(model, _patients(Path(folder), name))

    return open_patient(name, feel, api_key_env=api_key_env, around=around)


def require_recorded(folder: str | Path, results: Sequence[SessionResult]) -> None:
    """Refuses results that were there before they were recorded: a replay could not play them.

    Raises:
        ConfigError: says how many.
    """
    place = Path(folder)
    head, book = read_head(place), Book(place)
    own = [row for row in results if head and row.policy in head.policies and not row.failed]
    lost = [row for row in own if not book.holds(row.policy, row.persona, row.seed, len(row.turns))]
    _refuse_lost(place, lost, len(own))


def _require_unmet(place: Path, met: Sequence[tuple[str, str]], before: Sequence[SessionResult]) -> None:
    """Refuses what a patient's model said before it was recorded; the file of a reply does not say of whom it is."""
    head = read_head(place)
    new = set(met) - set(head.met if head else ())
    own = [row for row in before if (row.policy, row.simulator) in met and not row.failed]
    _refuse_lost(place, [row for row in own if (row.policy, row.simulator) in new], len(own))


def _refuse_lost(place: Path, lost: Sequence[SessionResult], of: int) -> None:
    if lost:
        raise ConfigError(
            f"record {place}: {len(lost)} of {of} sessions were played before without --record, such as "
            f"{lost[0].policy!r} with {lost[0].persona}, seed {lost[0].seed}; name another --out to have all recorded"
        )


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
    """

    folder: Path
    settings: BenchSettings
    policies: tuple[Policy, ...]
    simulators: tuple[Simulator, ...]
    missed: Sequence[str] = ()
    rubric: Mapping[str, Any] = field(default_factory=dict)

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
        """Those of these names, with a header or without; all for none.

        Raises:
            ConfigError: one was not recorded.
        """
        known = [policy.name for policy in self.policies]
        for name in names:
            if not {name, f"{name}{_PLAIN}"} & set(known):
                raise ConfigError(
                    f"replay {self.folder}: policy {name!r} was not recorded, expected one of "
                    f"{', '.join(map(repr, known)) or 'none'}"
                )
        return [p for p in self.policies if not names or p.name in names or p.name.removesuffix(_PLAIN) in names]

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
        Policy(name, partial(_Replayed, name, dict(about), book), about, frozenset(head.trained_on[name]))
        for name, about in head.policies.items()
    )
    simulators = tuple(
        Simulator(name, partial(_replay_patient, place, name, feel, missed), head.abouts[name])
        for name in head.patients
    )
    return Replay(place, head.bench_settings(), policies, simulators, missed, head.rubric)


class _ReplayedChat(RecordedChat):
    """A patient's recorded model; what it has no reply to is noted, since a session takes it for a failed patient."""

    missed: list[str]

    def reply(self, chats: Sequence[Sequence[ChatMessage]], sampling: Sampling, seeds: Sequence[int]) -> list[str]:
        try:
            return super().reply(chats, sampling, seeds)
        except ModelError as error:
            newest = chats[0][-1]["content"]
            self.missed.append(f"replay of a patient's model: {error}. Its newest message was {newest!r:.200}")
            raise


def _replay_patient(folder: Path, name: str, feel: Feel, missed: list[str]) -> Patient:
    if name == "scripted":
        return ScriptedPatient(feel)
    chat = _ReplayedChat(None, _patients(folder, name), "replay")
    chat.missed = missed
    return LLMPatient(chat, ScriptedPatient(feel), feel, settings_of(name))


def _patients(folder: Path, name: str) -> Path:
    return folder / PATIENTS / quote(name, safe="").replace(".", "%2E")


def _recorded(policy: Policy, book: Book) -> Policy:
    def open_it() -> Therapist:
        own = policy.open()
        if not isinstance(own, ChatTherapist):
            raise ConfigError(f"policy {policy.name!r} is {type(own).__name__}, and only a language model is recorded")
        return _Recorded(own, policy.name, book)

    return Policy(policy.name, open_it, policy.about, policy.trained_on)
