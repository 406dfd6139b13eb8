"""What the tests of talks share: a short session, a console of typed lines, and a policy that keeps what it read."""

import io
from collections.abc import Sequence

from therapysim.agents.sessions.talk import Console
from therapysim.envs.batch import Session, SessionBatch, SessionConfig, Start

START = Start(3, "marta")


def batch(turns: int = 3) -> SessionBatch:
    return SessionBatch(SessionConfig(max_turns=turns))


def said(typed: str) -> tuple[Console, io.StringIO]:
    shown = io.StringIO()
    return Console(io.StringIO(typed), shown), shown


class Echo:
    """A policy that keeps what it read, and can break off."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.read: list[Session] = []
        self.error = error

    def respond(self, sessions: Sequence[Session]) -> list[str]:
        if self.error and self.read:
            raise self.error
        self.read += sessions
        return [f"You say: {s.transcript.last('patient')}" for s in sessions]
