"""Written texts as they read, remembered."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from therapysim.errors import PatientError
from therapysim.personas.bank import NEUTRAL
from therapysim.personas.schema import MOODS
from therapysim.personas.scripted.compose import Piece, piece_of

__all__ = ["Pieces", "affects"]

Floats = NDArray[np.float32]


class Pieces(dict[str, Piece]):
    """Texts as they read. One that is not there is read: another thread may have emptied a full cache meanwhile."""

    def __init__(self, feel: Callable[[Sequence[str]], Floats], kinds: Mapping[str, int]) -> None:
        super().__init__()
        self._feel, self._kinds = feel, kinds

    def __missing__(self, text: str) -> Piece:
        self.read([text])
        return self[text]

    def read(self, texts: list[str]) -> None:
        """Adds the texts, read in one call."""
        for text, row in zip(texts, affects(self._feel, texts), strict=True):
            self[text] = piece_of(text, row, self._kinds.get(text, NEUTRAL))


def affects(feel: Callable[[Sequence[str]], Floats], texts: list[str]) -> Floats:
    """The affect of each text, (n, 4).

    Raises:
        PatientError: ``feel`` gave something other than four finite numbers a text.
    """
    rows = np.asarray(feel(texts), dtype=np.float32) if texts else np.zeros((0, len(MOODS)), dtype=np.float32)
    if rows.shape != (len(texts), len(MOODS)) or not np.isfinite(rows).all():
        raise PatientError(f"feel gave shape {rows.shape}, expected {(len(texts), len(MOODS))} finite numbers")
    return rows
