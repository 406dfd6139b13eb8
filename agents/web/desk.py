"""A person's desk: one patient, and every way that the session with it went so far.

Sessions never change, so that a turn can be taken back, or a new branch begun from any turn, by going on from a kept
session. Equal words after equal words bring equal answers: a branch shows what other words would have done.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from therapysim.agents.sessions.session_file import SessionRecord, record_session
from therapysim.envs.batch import Session, SessionBatch, Start, Turn
from therapysim.errors import TherapySimError

__all__ = ["MOST_BRANCHES", "Desk", "Refused", "Step"]

#: Of one session.
MOST_BRANCHES = 100


class Refused(TherapySimError):
    """What was asked cannot be done as things stand.

    Attributes:
        status: of HTTP: 401 and 403 where the asker may not, 404 where there is no such thing, 409 where it is not the
            time, 422 where it is no such value, 503 where a model or server gave nothing.
    """

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


@dataclass(frozen=True, slots=True)
class Step:
    """One turn: the session after it, what it brought, and who spoke: "a person", or a policy's name."""

    session: Session
    turn: Turn
    by: str


class Desk:
    """One patient and the branches of a session with it; one of them is the one in hand.

    Args:
        batch: the patient, and what scores a turn; for this desk alone.
        start: whom, and under which seed.

    Raises:
        Refused: the patient could not begin.
    """

    def __init__(self, batch: SessionBatch, start: Start) -> None:
        self.batch, self.start = batch, start
        self.opening = batch.reset([start])[0]
        if self.opening.failed:
            raise Refused(
                503,
                f"patient {self.opening.persona.id} could not begin: {self.opening.failure}; "
                "see that its model or server is there",
            )
        self.branches: list[list[Step]] = [[]]
        self.at = 0
        self._lock = threading.Lock()

    @property
    def steps(self) -> list[Step]:
        """Of the branch in hand."""
        return self.branches[self.at]

    @property
    def session(self) -> Session:
        """As it stands."""
        return self.steps[-1].session if self.steps else self.opening

    @contextmanager
    def alone(self, *, wait: bool = False) -> Iterator[None]:
        """One request at a time.

        Args:
            wait: for the one under way, as whoever only looks may.

        Raises:
            Refused: another is under way.
        """
        if not self._lock.acquire(blocking=wait):
            raise Refused(409, "the last request of this session is still under way; wait for its answer")
        try:
            yield
        finally:
            self._lock.release()

    def take(self, text: str, by: str) -> None:
        """A turn. Where the patient gives no answer, nothing has changed.

        Raises:
            Refused: the session is over, or the patient failed.
        """
        self.require_open()
        self.batch.restore([self.session])
        turn = self.batch.step([text])[0]
        if turn is None or turn.transition is None:
            why = self.batch.sessions[0].failure
            raise Refused(503, f"the patient gave no answer ({why}); your turn was not taken: try again")
        self.steps.append(Step(self.batch.sessions[0], turn, by))

    def undo(self) -> None:
        """Takes the last turn back.

        Raises:
            Refused: there is none.
        """
        if not self.steps:
            raise Refused(409, "no turn was taken yet")
        self.steps.pop()

    def branch(self, turns: int) -> None:
        """Begins a branch with the first ``turns`` turns of the one in hand, which stays as it is.

        Raises:
            Refused: there are not so many, or the session has too many branches.
        """
        if not 0 <= turns <= len(self.steps):
            raise Refused(422, f"turns is {turns}, expected 0 to {len(self.steps)}, those of this branch")
        if len(self.branches) >= MOST_BRANCHES:
            raise Refused(409, f"the session has {MOST_BRANCHES} branches; begin another")
        self.branches.append(self.steps[:turns])
        self.at = len(self.branches) - 1

    def choose(self, branch: int) -> None:
        """Takes another branch in hand.

        Raises:
            Refused: there is no such branch.
        """
        if not 0 <= branch < len(self.branches):
            raise Refused(422, f"branch is {branch}, expected 0 to {len(self.branches) - 1}")
        self.at = branch

    def require_open(self) -> None:
        """Raises Refused where no further turn can be taken."""
        if self.session.done:
            raise Refused(409, "the session is over; take a turn back, or begin another")

    def require_seen(self, seen: tuple[int, int] | None) -> None:
        """Refuses what was asked of another branch, or of one that has gone on: by another tab, say.

        Args:
            seen: the branch in hand and its number of turns, as the asker was last told; None asks for nothing.

        Raises:
            Refused: they differ.
        """
        if seen is not None and seen != (self.at, len(self.steps)):
            raise Refused(409, "the session has gone on, in another tab perhaps; it is shown as it stands now")

    def record(self) -> SessionRecord:
        """The branch in hand as a session file keeps it."""
        speakers = list(dict.fromkeys(step.by for step in self.steps))
        return record_session(self.session, [step.turn for step in self.steps], " + ".join(speakers))
