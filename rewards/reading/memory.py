"""Readings remembered by text: the least recently used forgotten first, in bounded memory, from any thread."""

import os
import sys
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from therapysim.errors import SensorError

__all__ = ["Memory", "check_texts", "encodable"]

Floats = NDArray[np.float32]

# What Python keeps beside the text and the numbers of one entry: the array's header and the table's own two links.
_OVERHEAD = 300


class Memory:
    """A reader of texts that remembers what it read.

    Two threads that meet the same new text at once both read it; equal texts read alike, so nothing is lost but time,
    and no thread waits while another reads. A forked process begins with its parent's memory and a lock of its own.

    Args:
        read: distinct texts -> (n, width).
        width: columns of a reading.
        megabytes: how much may be kept, texts and numbers together; 0 keeps nothing.
    """

    def __init__(self, read: Callable[[Sequence[str]], Floats], width: int, megabytes: float) -> None:
        self._read, self._width, self._limit = read, width, megabytes * 1e6
        self.rows: OrderedDict[str, Floats] = OrderedDict()
        #: Bytes in use; never above the limit once a call has returned.
        self.size = 0
        self._lock, self._process = threading.Lock(), os.getpid()

    def __call__(self, texts: Iterable[str]) -> Floats:
        """The readings of the texts, (n, width), in their order.

        Raises:
            SensorError: ``texts`` is one string, or holds something other than strings.
        """
        texts = check_texts(texts)
        if self._process != os.getpid():  # a thread that is gone may have held the lock at the fork
            self._lock, self._process = threading.Lock(), os.getpid()
        distinct = dict.fromkeys(texts)
        rows = self._recall(distinct)
        new = [text for text in distinct if text not in rows]
        if new:
            # Copied, since a row of a batch would keep the whole batch alive.
            read = {text: row.copy() for text, row in zip(new, self._read(new), strict=True)}
            self._remember(read)
            rows |= read
        return np.stack([rows[t] for t in texts]) if texts else np.zeros((0, self._width), dtype=np.float32)

    def _recall(self, texts: Iterable[str]) -> dict[str, Floats]:
        with self._lock:
            found = {text: self.rows[text] for text in texts if text in self.rows}
            for text in found:
                self.rows.move_to_end(text)
        return found

    def _remember(self, read: dict[str, Floats]) -> None:
        with self._lock:
            for text, row in read.items():
                if text not in self.rows:  # another thread may have read it meanwhile
                    self.rows[text] = row
                    self.size += _weight(text, row)
            while self.rows and self.size > self._limit:
                self.size -= _weight(*self.rows.popitem(last=False))


def check_texts(texts: Iterable[str]) -> list[str]:
    """The texts as a list, whatever held them.

    Raises:
        SensorError: it is one string, or holds something other than strings.
    """
    if isinstance(texts, str):
        raise SensorError("texts is one string, expected a list of strings: wrap it, sensor([text])")
    found = list(texts)
    for i, text in enumerate(found):
        if not isinstance(text, str):
            raise SensorError(f"texts[{i}] is {type(text).__name__}, expected str")
    return found


def encodable(text: str) -> str:
    """The text with lone surrogates replaced: legal in a Python string, they have no UTF-8 form."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _weight(text: str, row: Floats) -> int:
    return sys.getsizeof(text) + row.nbytes + _OVERHEAD
