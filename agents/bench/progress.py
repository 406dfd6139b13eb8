"""How far a benchmark is: one bar on a terminal, or a line a policy elsewhere."""

import time
from collections.abc import Sequence
from typing import TextIO

from tqdm import tqdm

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
        self._stream = stream
        # disable=None: no bar where the stream is no terminal.
        self._bar = tqdm(total=turns, unit=" turns", file=stream, disable=None, dynamic_ncols=True)
        self._after = 0

    def begin(self, label: str, turns: int) -> None:
        """The next policy, and how many turns its sessions may take at most."""
        self._after = self._bar.total - self._bar.n - turns
        if self._bar.disable:
            print(f"{label} …", file=self._stream, flush=True)
        else:
            self._bar.set_description_str(label)

    def take(self, turns: int) -> None:
        """Turns were taken."""
        self._bar.update(turns)

    def drop(self, turns: int) -> None:
        """Turns will not be taken: their session is over."""
        self._bar.total -= turns

    def give_up(self) -> None:
        """What is left of this policy's turns will not be taken."""
        self._bar.total = self._bar.n + self._after

    def tell(self, text: str) -> None:
        """A line of its own, above the bar."""
        self._bar.write(text, file=self._stream)

    def end(self) -> None:
        """Leaves the bar as it stands."""
        self._bar.close()


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
