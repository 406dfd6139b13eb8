"""The Unified Affective Matrix: 28 GoEmotions probabilities -> the four dimensions of the Hourglass of Emotions.

    v = p · M    p: (..., 28) probabilities, M: (28, 4), v: (..., 4) = [Introspection, Temper, Attitude, Sensitivity]

Sources
    GoEmotions: Demszky et al. 2020, "GoEmotions: A Dataset of Fine-Grained Emotions", ACL. 27 emotions and neutral.
    Hourglass: Susanto, Livingstone, Ng & Cambria 2020, "The Hourglass Model Revisited", IEEE Intelligent Systems 35(5):
        four affective dimensions and the polarity formula, eq. 1.
    VALENCE_MAP and the rows marked ``G`` are given facts of this project; every other row takes its direction from the
        revisited Hourglass's level words, and its length so that the row adds up to VALENCE_MAP.
"""

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "DIMENSIONS",
    "LABELS",
    "MATRIX",
    "VALENCE_MAP",
    "affect",
    "deficit_dimension",
    "polarity",
    "valence",
]

Floats = NDArray[np.float32]

#: The four dimensions of the Hourglass of Emotions, in the order of every ``(..., 4)`` array in this package.
DIMENSIONS = ("introspection", "temper", "attitude", "sensitivity")

#: label -> (valence, introspection, temper, attitude, sensitivity), in the order of the GoEmotions label file.
_ROWS: dict[str, tuple[float, float, float, float, float]] = {
    "admiration": (0.7, 0, 0, 0.8, 0),  # G
    "amusement": (0.8, 0.5, 0, 0.3, 0),
    "anger": (-0.8, 0, -1, 0, 0),  # G
    "annoyance": (-0.6, 0, -0.6, 0, 0),  # G
    "approval": (0.5, 0, 0, 0.5, 0),
    "caring": (0.7, 0.3, 0, 0.7, 0),  # G
    "confusion": (-0.2, 0, 0, 0, -0.2),
    "curiosity": (0.2, 0, 0, 0, 0.2),
    "desire": (0.3, 0, 0, 0, 0.3),
    "disappointment": (-0.7, -0.35, 0, -0.35, 0),
    "disapproval": (-0.6, 0, 0, -0.6, 0),
    "disgust": (-0.9, 0, 0, -1, 0),  # G
    "embarrassment": (-0.5, -0.2, 0, -0.3, 0),
    "excitement": (0.8, 0.3, 0, 0, 0.5),
    "fear": (-0.9, 0, 0, 0, -1),  # G
    "gratitude": (0.9, 0.2, 0, 0.7, 0),
    "grief": (-1, -1, 0, 0, 0),  # G
    "joy": (1, 1, 0, 0, 0),  # G
    "love": (0.9, 0.5, 0, 0.5, 0),  # G
    "nervousness": (-0.7, 0, 0, 0, -0.7),  # G
    "optimism": (0.6, 0.5, 0, 0, 0.5),  # G
    "pride": (0.7, 0, 0, 0.7, 0),
    "realization": (0.1, 0, 0, 0, 0.1),
    "relief": (0.6, 0, 0.6, 0, 0),
    "remorse": (-0.8, -0.5, -0.5, 0, 0),  # G
    "sadness": (-0.9, -1, 0, 0, 0),  # G
    "surprise": (0.1, 0, 0, 0, 0.1),
    "neutral": (0, 0, 0, 0, 0),  # G
}

#: The 28 labels, in the order of every ``(n, 28)`` array in this package.
LABELS: tuple[str, ...] = tuple(_ROWS)

#: label -> valence in [-1, 1].
VALENCE_MAP: dict[str, float] = {label: row[0] for label, row in _ROWS.items()}

#: The matrix M, shape (28, 4), rows in the order of LABELS, columns in the order of DIMENSIONS.
MATRIX: Floats = np.array([row[1:] for row in _ROWS.values()], dtype=np.float32)
MATRIX.flags.writeable = False

_VALENCES: Floats = np.array(list(VALENCE_MAP.values()), dtype=np.float32)


def valence(probabilities: ArrayLike) -> Floats:
    """Signed valence of each text, Σ p · VALENCE_MAP.

    Args:
        probabilities: shape (..., 28), each in [0, 1].

    Returns:
        Shape (...), clipped to [-1, 1]: several emotions at once can add up to more.
    """
    return np.asarray(np.clip(_product(probabilities, _VALENCES[:, None])[..., 0], -1.0, 1.0), dtype=np.float32)


def affect(probabilities: ArrayLike) -> Floats:
    """The Hourglass vector of each text, clip(p · M, -1, 1).

    Args:
        probabilities: shape (..., 28), each in [0, 1].

    Returns:
        Shape (..., 4), float32 in [-1, 1]. Clipped, since sadness and grief together would read -1.4.
    """
    return np.asarray(np.clip(_product(probabilities, MATRIX), -1.0, 1.0), dtype=np.float32)


def polarity(
    dimensions: ArrayLike, *, eps: float = 0.05, count: Literal["hard", "smooth"] = "hard", width: float = 0.1
) -> Floats:
    """How pleasant an Hourglass vector is as a whole: (I + T + A + S) / N.

    Args:
        dimensions: shape (..., 4), each in [-1, 1].
        eps: the hard count takes a dimension as present where ``|d| > eps``; 0.05, or 0.01 in an earlier version.
        count: "hard": N = max(1, the number of dimensions with ``|d| > eps``). It jumps where a dimension crosses eps.
            "smooth": N = max(1, Σ d² / (d² + width²)), which does not.
        width: half-width of the smooth count: a dimension of this size counts one half.

    Returns:
        Shape (...), float32 in [-1, 1].

    Source: Susanto et al. 2020, eq. 1, with N counted over the dimensions present.
    """
    d = np.asarray(dimensions, dtype=np.float32)
    if d.shape[-1:] != (4,):
        raise ValueError(f"dimensions has shape {d.shape}, expected (..., 4): {', '.join(DIMENSIONS)}")
    present = np.abs(d) > eps if count == "hard" else d**2 / (d**2 + width**2)
    total = d.sum(axis=-1) / np.maximum(1.0, present.sum(axis=-1))
    return np.asarray(np.clip(total, -1.0, 1.0), dtype=np.float32)


def deficit_dimension(dimensions: ArrayLike) -> int:
    """Index into DIMENSIONS of the lowest of the four: the one a therapist would help with first.

    Args:
        dimensions: shape (4,). A tie goes to the first in the order of DIMENSIONS.
    """
    return int(np.argmin(np.asarray(dimensions, dtype=np.float32)))


def _product(values: ArrayLike, columns: Floats) -> Floats:
    p = np.asarray(values, dtype=np.float32)
    if p.shape[-1:] != (len(LABELS),):
        raise ValueError(f"probabilities has shape {p.shape}, expected (..., {len(LABELS)}) in the order of LABELS")
    # Not `p @ columns`: BLAS adds one row in another order than many, and a text's reading must not hang on its batch.
    return (p[..., :, None] * columns).sum(axis=-2)  # type: ignore[no-any-return]
