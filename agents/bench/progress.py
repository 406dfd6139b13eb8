"""How far a benchmark is, on one line of a terminal, or a line a policy elsewhere."""

import time
from collections.abc import Sequence
from typing import TextIO

from therapysim.agents.therapists.therapist import Therapist
from therapysim.envs.session import Session

__all__ = ["Progress", "Watched"]


class Progress:
    """Counts therapist turns, as many as the sessions may take at most; a session that ends early gives its rest back.

    Args:
        turns: of all sessions that are to be played.
        stream: where it is shown.
    """

    def __init__(self, turns: int, stream: TextIO) -> None:
        self.stream = stream
        self._left, self._done, self._began = turns, 0, time.monotonic()
        self._label, self._shown = "", 0.0

    def begin(self, label: str) -> None:
        """The next policy."""
        self._label = label
        if not self.stream.isatty():
            print(f"{label} …", file=self.stream, flush=True)

    def take(self, turns: int) -> None:
        """Turns were taken."""
        self._done, self._left = self._done + turns, self._left - turns
        self._show()

    def drop(self, turns: int) -> None:
        """Turns will not be taken: their session is over."""
        self._left -= turns

    def end(self) -> None:
        """Leaves the line."""
        if self.stream.isatty():
            print(
                f"\r\x1b[K{self._done} turns in {_clock(time.monotonic() - self._began)}", file=self.stream, flush=True
            )

    @property
    def estimate_s(self) -> float:
        """Seconds left, at the speed so far."""
        return (time.monotonic() - self._began) / max(1, self._done) * max(0, self._left)

    def _show(self) -> None:
        now = time.monotonic()
        if not self.stream.isatty() or now - self._shown < 0.2:
            return
        self._shown, share = now, self._done / max(1, self._done + self._left)
        bar = "#" * round(24 * share)
        line = f"[{bar:<24}] {share:4.0%}, about {_clock(self.estimate_s)} left: {self._label}"
        print(f"\r\x1b[K{line}", end="", file=self.stream, flush=True)


class Watched:
    """A therapist whose turns are counted and timed.

    Attributes:
        seconds: spent in it.
    """

    def __init__(self, therapist: Therapist, progress: Progress) -> None:
        self._therapist, self._progress = therapist, progress
        self.name = getattr(therapist, "name", type(therapist).__name__)
        self.seconds = 0.0
        if hasattr(therapist, "tokens"):
            self.tokens = therapist.tokens

    def respond(self, sessions: Sequence[Session]) -> list[str]:
        """What the therapist says."""
        began = time.perf_counter()
        said = self._therapist.respond(sessions)
        self.seconds += time.perf_counter() - began
        self._progress.take(len(sessions))
        return said


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
