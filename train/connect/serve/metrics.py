"""What a server counts, in the text format of Prometheus (version 0.0.4)."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import accumulate
from threading import Lock

__all__ = ["CONTENT_TYPE", "Metrics"]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

#: Upper bounds of the histogram, in seconds.
BOUNDS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)


class Metrics:
    """Counts of one server; any thread may count."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._begun = self._turns = self._failed = 0
        self._seconds, self._buckets = 0.0, [0] * (len(BOUNDS) + 1)
        self._errors: Counter[str] = Counter()

    def played(self, seconds: float, *, begun: bool, failed: bool) -> None:
        """A session was begun, or a turn taken, so long after it was asked for; or its patient failed for good."""
        with self._lock:
            self._begun += begun
            self._failed += failed
            if not begun:
                self._turns += 1
                self._seconds += seconds
                self._buckets[bisect_left(BOUNDS, seconds)] += 1

    def erred(self, code: str) -> None:
        """A client was answered with an error of the wire; CAPACITY_REACHED is whoever was refused."""
        with self._lock:
            self._errors[code] += 1

    def text(self, active: int, most: int) -> str:
        """All counts.

        Args:
            active: sessions open now.
            most: how many may be.
        """
        with self._lock:
            return "".join(f"{line}\n" for line in self._lines(active, most))

    def _lines(self, active: int, most: int) -> Iterator[str]:
        yield from _one("sessions_open", "gauge", "sessions open now", active)
        yield from _one("sessions_most", "gauge", "sessions at once, at most", most)
        yield from _one("sessions_begun_total", "counter", "sessions begun", self._begun)
        yield from _one("sessions_failed_total", "counter", "sessions whose patient failed for good", self._failed)
        yield from _one("turns_total", "counter", "turns answered", self._turns)
        yield from _head("errors_total", "counter", "errors told, by the code of the wire")
        yield from (f'therapysim_errors_total{{code="{code}"}} {n}' for code, n in sorted(self._errors.items()))
        yield from _head("turn_seconds", "histogram", "from a turn's coming in to its answer")
        bounds: Iterable[object] = (*BOUNDS, "+Inf")
        for bound, count in zip(bounds, accumulate(self._buckets), strict=True):
            yield f'therapysim_turn_seconds_bucket{{le="{bound}"}} {count}'
        yield f"therapysim_turn_seconds_sum {self._seconds}"
        yield f"therapysim_turn_seconds_count {self._turns}"


def _head(name: str, kind: str, about: str) -> Iterator[str]:
    yield f"# HELP therapysim_{name} {about}"
    yield f"# TYPE therapysim_{name} {kind}"


def _one(name: str, kind: str, about: str, value: int) -> Iterator[str]:
    yield from _head(name, kind, about)
    yield f"therapysim_{name} {value}"
