"""What a benchmark's models were asked and said, kept in a folder; ``replaying`` plays it again."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from therapysim.agents.bench.bench_settings import BenchSettings, Simulator
from therapysim.agents.bench.folder import locked
from therapysim.agents.bench.record_book import Book, join, mend, patients_of, read_head
from therapysim.agents.bench.results import SessionResult
from therapysim.agents.therapists.policies import Policy
from therapysim.agents.therapists.therapist import ChatTherapist, Therapist
from therapysim.envs.session import Session
from therapysim.errors import ConfigError, ModelError
from therapysim.models.chat import ChatMessage, ChatModel
from therapysim.models.replay import RecordedChat
from therapysim.models.speech import say_behind_server
from therapysim.personas.llm.guard import Feel
from therapysim.personas.opening import open_patient
from therapysim.personas.patient import Patient

__all__ = ["record_patient", "recording", "require_recorded"]

_KINDS = ("model", "run", "server")


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

    def tokens(self, session: Session) -> tuple[float, float]:
        """As the model counts; kept after each turn, so that a replay may have fewer."""
        talk, read, written = self.conversation(session), 0, 0
        answers = [i + 2 for i, message in enumerate(talk) if message["role"] == "assistant"]
        for end, (more_read, more_written) in zip(answers, self.turn_tokens(talk), strict=True):
            read, written = read + more_read, written + more_written
            self._book.keep_tokens(self.name, talk[:end], (read, written))
        return read, written


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
        join(place, settings, spoken, simulators, met, policies)
        mend(place)
        book = Book(place)
        yield [_recorded(policy, book) if policy in spoken else policy for policy in policies]


def record_patient(folder: str | Path, name: str, feel: Feel, api_key_env: str | None = None) -> Patient:
    """``open_patient``, with its model's replies recorded."""

    def around(model: ChatModel) -> ChatModel:
        return RecordedChat(model, patients_of(Path(folder), name))

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


def _recorded(policy: Policy, book: Book) -> Policy:
    def open_it() -> Therapist:
        own = policy.open()
        if not isinstance(own, ChatTherapist):
            raise ConfigError(f"policy {policy.name!r} is {type(own).__name__}, and only a language model is recorded")
        return _Recorded(own, policy.name, book)

    return Policy(policy.name, open_it, policy.about, policy.trained_on)
