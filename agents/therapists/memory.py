"""What a policy of one's own keeps of each session, from turn to turn, so that no two are mixed."""

from typing import Generic, TypeVar

from therapysim.envs.screen import ScreenSettings, screen
from therapysim.envs.session import Session
from therapysim.messages import Message

__all__ = ["Memory"]

T = TypeVar("T")


class Memory(Generic[T]):
    """Something of each session's past, by patient, seed, copy and every word so far.

    Sessions come many at once, each turn as new objects, and may be branched: what is kept in one turn is recalled in
    the next one of the very same course, and nowhere else. Put nothing in it that is changed in place.
    """

    def __init__(self) -> None:
        self._kept: dict[tuple[tuple[str, int, int], tuple[Message, ...]], tuple[str, T]] = {}

    def recall(self, session: Session) -> T | None:
        """What was kept of this session in its last turn; None in the first, and where other words were said then."""
        said, kept = self._kept.get((session.key, session.messages[:-2]), ("", None))
        heard = session.transcript.last("therapist")
        # The screen may have cut what was said, beside what it always takes out.
        whole = screen(said, ScreenSettings(max_chars=max(1, len(said)))).utterance
        return kept if session.state.turn and whole[: len(heard)] == heard else None

    def keep(self, session: Session, said: str, what: T) -> str:
        """Keeps something for the turn after ``said``, which is given back."""
        self._kept[session.key, session.messages] = said, what
        return said
