"""Who speaks as the therapist: the protocol, the prompt with the state header, and a language model in the chair."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, Self, cast, runtime_checkable

from therapysim.envs.batch import Session
from therapysim.errors import ConfigError
from therapysim.messages import Message
from therapysim.models.chat import ChatMessage, ChatModel, Sampling, answer, count_tokens
from therapysim.rewards.matrix import DIMENSIONS
from therapysim.state import State

if TYPE_CHECKING:
    from abc import ABCMeta as ProtocolType
else:
    ProtocolType = type(Protocol)

__all__ = ["SYSTEM_PROMPT", "ChatTherapist", "Therapist", "conversation", "state_header", "user_message"]

SYSTEM_PROMPT = (
    "You are a psychotherapist in a session. Answer the patient in one to three short sentences. Reflect what you "
    "heard, name the feeling, and ask one open question. Do not give advice. If the patient speaks of wanting to die "
    "or of harming someone, ask about it directly and calmly."
)


class _Openable(ProtocolType):
    """Gives ``Therapist`` itself a ``from_run``; in the protocol, every therapist would have to have one."""

    def from_run(cls, folder: str | Path, sampling: Sampling | None = None) -> "ChatTherapist":
        """A trained policy as a therapist; see ``ChatTherapist.from_run``."""
        return ChatTherapist.from_run(folder, sampling)


@runtime_checkable
class Therapist(Protocol, metaclass=_Openable):
    """Answers sessions, many at once. ``Therapist.from_run("runs/first")`` opens a trained one."""

    def respond(self, sessions: Sequence[Session]) -> list[str]:
        """The therapist's next turn in each session, in order."""
        ...


def state_header(state: State) -> str:
    """The header that policies are trained to read: diagnosis, e_t, and the trend of h_t."""
    affect = ", ".join(
        f"{name.capitalize()} {value:+.2f}" for name, value in zip(DIMENSIONS, state.affect, strict=True)
    )
    u = state.attributes
    return (
        f"[USER STATE]\nDiagnosis: {u.diagnosis} ({u.severity})\n"
        f"Current Affect (e_t): {affect}\nRecent Trend (h_t): {state.trend}\n---\n"
    )


def user_message(state: State, utterance: str, *, show_state: bool = True) -> str:
    """One patient turn as the policy reads it; ``show_state=False`` leaves out the header."""
    return (state_header(state) if show_state else "") + f"Patient: {utterance}"


class _Talk(Protocol):
    """What was said, and the states in which the patient said it: a session, or the record of one."""

    @property
    def messages(self) -> Sequence[Message]: ...
    @property
    def states(self) -> Sequence[State]: ...


def conversation(session: _Talk, *, show_state: bool = True) -> list[ChatMessage]:
    """The whole session as chat messages: system, then patient (user) and therapist (assistant) in turn.

    Earlier turns keep the header they were shown with, so the list only ever grows at its end.
    """
    messages: list[ChatMessage] = [{"role": "system", "content": SYSTEM_PROMPT}]
    states = iter(session.states)
    for message in session.messages:
        if message.speaker == "patient":
            content = user_message(next(states), message.text, show_state=show_state)
            messages.append({"role": "user", "content": content})
        else:
            messages.append({"role": "assistant", "content": message.text})
    return messages


class ChatTherapist:
    """A language model in the therapist's chair.

    What it reasons before a turn, no patient hears. It reads its turns again as it sampled them, reasoning and all, as
    far as its chat template shows that: as in training, where a session is one row of tokens. Of a session that it did
    not begin itself, it has the words.
    """

    def __init__(self, model: ChatModel, sampling: Sampling | None = None, *, show_state: bool = True) -> None:
        self.model = model
        self.sampling = sampling or Sampling()
        self.show_state = show_state
        self._said: dict[tuple[str, int, int], ChatMessage] = {}  # by session and turn

    @classmethod
    def from_run(cls, folder: str | Path, sampling: Sampling | None = None) -> Self:
        """The policy that ``therapysim train grpo``, ``sft`` or ``dpo`` left in a folder, prompted as it was trained.

        Args:
            folder: of a run, or its ``checkpoints/checkpoint-N``.
            sampling: temperature and top_p, those of ``Sampling()`` by default; the run says how long a turn may be.

        Raises:
            ConfigError: the folder is none of a run.
            ModelError: its base model cannot be loaded.
        """
        from therapysim.agents.therapists.policies import find_policy, kind_of  # which need this module

        if kind_of(str(folder)) != "run":
            raise ConfigError(
                f"{folder} is no run, expected a folder of `therapysim train grpo`, `sft` or `dpo` with settings.json "
                "and policy, or one of its checkpoints; open a model by "
                "`therapysim.agents.therapists.policies.find_policy`"
            )
        opened = cast(ChatTherapist, find_policy(str(folder), sampling).open())
        return cls(opened.model, opened.sampling, show_state=opened.show_state)

    def respond(self, sessions: Sequence[Session]) -> list[str]:
        said = self.answer(sessions, [self.conversation(s) for s in sessions])
        for session, message in zip(sessions, said, strict=True):
            if "sampled" in message:  # more than the words
                self._said[_place(session, len(session.transcript.said_by("therapist")))] = message
        return [message["content"] for message in said]

    def answer(self, sessions: Sequence[Session], chats: Sequence[list[ChatMessage]]) -> list[ChatMessage]:
        """The model's next message in each session, of which it reads the chat beside it.

        Raises:
            ModelError: the model gave no answer.
        """
        seeds = [hash_seed(s.seed, s.state.turn) for s in sessions]
        return answer(self.model, chats, self.sampling, seeds)

    def tokens(self, session: Session) -> tuple[float, float]:
        """Tokens that the model read, each turn's whole prompt, and wrote, over a finished session; nan if unknown."""
        counts = self.turn_tokens(self.conversation(session))
        return sum(read for read, _ in counts), sum(written for _, written in counts)

    def turn_tokens(self, talk: Sequence[ChatMessage]) -> list[tuple[int, int]]:
        """The same of each turn of a conversation."""
        said = [i for i, message in enumerate(talk) if message["role"] == "assistant"]
        written = [talk[i].get("sampled") or talk[i]["content"] for i in said]
        return count_tokens(self.model, [talk[:i] for i in said], written)

    def conversation(self, session: Session) -> list[ChatMessage]:
        """The session as the model reads it, with what it sampled itself."""
        talk = conversation(session, show_state=self.show_state)
        for turn, message in enumerate(m for m in talk if m["role"] == "assistant"):
            said = self._said.get(_place(session, turn))
            if said and said["content"] == message["content"]:  # and not another session's
                message["sampled"] = said["sampled"]
        return talk


def _place(session: Session, turn: int) -> tuple[str, int, int]:
    return session.persona.id, session.seed, turn


def hash_seed(seed: int, turn: int) -> int:
    """A sampling seed for one turn of one session."""
    return (seed * 1_000_003 + turn) % 2**31
