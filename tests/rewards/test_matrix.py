"""The matrix: the given numbers, and the polarity rule."""

import numpy as np
import pytest

from therapysim.rewards.matrix import (
    DIMENSIONS,
    LABELS,
    MATRIX,
    VALENCE_MAP,
    affect,
    deficit_dimension,
    polarity,
    valence,
)

GIVEN_VALENCES = {
    "admiration": 0.7, "amusement": 0.8, "anger": -0.8, "annoyance": -0.6, "approval": 0.5, "caring": 0.7,
    "confusion": -0.2, "curiosity": 0.2, "desire": 0.3, "disappointment": -0.7, "disapproval": -0.6, "disgust": -0.9,
    "embarrassment": -0.5, "excitement": 0.8, "fear": -0.9, "gratitude": 0.9, "grief": -1, "joy": 1, "love": 0.9,
    "nervousness": -0.7, "optimism": 0.6, "pride": 0.7, "realization": 0.1, "relief": 0.6, "remorse": -0.8,
    "sadness": -0.9, "surprise": 0.1, "neutral": 0,
}  # fmt: skip
GIVEN_ROWS = {
    "admiration": (0, 0, 0.8, 0), "anger": (0, -1, 0, 0), "annoyance": (0, -0.6, 0, 0),
    "caring": (0.3, 0, 0.7, 0), "disgust": (0, 0, -1, 0),
    "fear": (0, 0, 0, -1), "grief": (-1, 0, 0, 0), "joy": (1, 0, 0, 0), "love": (0.5, 0, 0.5, 0),
    "nervousness": (0, 0, 0, -0.7), "optimism": (0.5, 0, 0, 0.5), "remorse": (-0.5, -0.5, 0, 0),
    "sadness": (-1, 0, 0, 0), "neutral": (0, 0, 0, 0),
}  # fmt: skip


def one(label: str, p: float = 1.0) -> np.ndarray:
    row = np.zeros(28, dtype=np.float32)
    row[LABELS.index(label)] = p
    return row


def test_valence_map_is_the_given_one() -> None:
    assert VALENCE_MAP == GIVEN_VALENCES
    assert len(LABELS) == 28 and LABELS[-1] == "neutral"


@pytest.mark.parametrize("label", GIVEN_ROWS)
def test_given_rows(label: str) -> None:
    assert MATRIX[LABELS.index(label)] == pytest.approx(GIVEN_ROWS[label])


def test_other_rows_add_up_to_their_valence() -> None:
    for label in set(LABELS) - set(GIVEN_ROWS):
        assert MATRIX[LABELS.index(label)].sum() == pytest.approx(VALENCE_MAP[label], abs=1e-6), label


def test_matrix_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="read-only"):
        MATRIX[0, 0] = 1.0


def test_affect_is_clipped() -> None:
    both = one("sadness") + one("grief")
    assert affect(both).tolist() == [-1, 0, 0, 0]
    assert valence(both) == -1.0
    assert affect(np.stack([both, one("joy")])).shape == (2, 4)


def test_wrong_width_is_refused() -> None:
    with pytest.raises(ValueError, match=r"expected .*28"):
        affect(np.zeros(27))
    with pytest.raises(ValueError, match="introspection"):
        polarity(np.zeros(3))


def test_polarity_counts_the_dimensions_present() -> None:
    assert polarity([0.6, -0.2, 0.04, 0.0]) == pytest.approx((0.6 - 0.2 + 0.04) / 2)
    assert polarity([0.6, -0.2, 0.04, 0.0], eps=0.01) == pytest.approx((0.6 - 0.2 + 0.04) / 3)
    assert polarity([0.04, 0, 0, 0]) == pytest.approx(0.04)  # at least one


def test_smooth_count_does_not_jump() -> None:
    low, high = [0.96, 0.0, 0.0499, 0.0], [0.96, 0.0, 0.0501, 0.0]
    assert polarity(low) - polarity(high) > 0.4
    assert abs(float(polarity(low, count="smooth") - polarity(high, count="smooth"))) < 0.001


def test_deficit_is_the_lowest() -> None:
    assert DIMENSIONS[deficit_dimension([0.1, -0.4, -0.39, 0.0])] == "temper"
