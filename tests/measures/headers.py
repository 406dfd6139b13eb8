"""A policy that reads another state header than the true one, for a benchmark; nothing here passes or fails.

    POLICY=runs/copied HEADER=mirrored therapysim bench tests.measures.headers:Policy --split test --out mirrored

HEADER is ``true``; ``mirrored``: each dimension of e_t and each valence of h_t with the other sign; ``other``: that of
the next session in the call; or ``none``: left out. ENGINE (transformers or vllm), GPU_MEMORY and MAX_TOKENS are a
benchmark's options of these names. A policy that uses its header fares otherwise with a wrong one. With ``true`` it
says what it would say in any benchmark.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import replace

from therapysim.agents.therapists.policies import Engine, find_policy
from therapysim.agents.therapists.therapist import ChatTherapist, Therapist
from therapysim.envs.batch import Session
from therapysim.errors import ConfigError
from therapysim.models.chat import Sampling
from therapysim.state import State

__all__ = ["HEADERS", "Policy", "mirrored", "others"]


class Policy:
    """The policy that the environment variables name."""

    def __init__(self) -> None:
        told = os.environ
        sampling = Sampling(max_tokens=int(told.get("MAX_TOKENS", "64")))
        engine = Engine(told.get("ENGINE", "transformers"), float(told.get("GPU_MEMORY", "0.5")))  # type: ignore[arg-type]
        self.therapist: Therapist = find_policy(told["POLICY"], sampling, engine=engine).open()
        self.change = HEADERS[told.get("HEADER", "true")]
        if told.get("HEADER") == "none":
            if not isinstance(self.therapist, ChatTherapist):
                raise ConfigError(f"HEADER is none, and policy {told['POLICY']} is no language model, which reads none")
            self.therapist.show_state = False

    def respond(self, sessions: Sequence[Session]) -> list[str]:
        """What it says, having read the headers that it is shown."""
        return list(self.therapist.respond(self.change(sessions)))


def mirrored(sessions: Sequence[Session]) -> list[Session]:
    """The sessions with every mood turned round."""
    return [replace(session, states=tuple(map(_turned, session.states))) for session in sessions]


def others(sessions: Sequence[Session]) -> list[Session]:
    """Each with the moods of the next one, as far as that has come; its own where there is no other."""
    return [
        replace(own, states=tuple(_felt(state, next_one.states) for state in own.states))
        for own, next_one in zip(sessions, [*sessions[1:], *sessions[:1]], strict=True)
    ]


def _turned(state: State) -> State:
    i, t, a, s = state.affect
    return replace(state, affect=(-i, -t, -a, -s), history=tuple(-valence for valence in state.history))


def _felt(state: State, moods: Sequence[State]) -> State:
    other = moods[min(state.turn, len(moods) - 1)]
    return replace(state, affect=other.affect, history=other.history)


HEADERS: dict[str, Callable[[Sequence[Session]], Sequence[Session]]] = {
    "true": lambda sessions: sessions,
    "mirrored": mirrored,
    "other": others,
    "none": lambda sessions: sessions,
}
