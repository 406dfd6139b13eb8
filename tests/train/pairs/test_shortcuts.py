"""Shortcuts are seen where they were planted, and pairs are dropped until they no longer help."""

import random

import numpy as np
import pytest

from therapysim.train.pairs.shortcuts import LEAST, Sides, auc, balance, measure

WORDS = "stone river table window morning garden letter bridge paper candle winter summer".split()


def text(rng: random.Random, words: int) -> str:
    return " ".join(rng.choice(WORDS) for _ in range(words)).capitalize() + "."


def made(rng: random.Random, longer: int, asks: float = 0.0, count: int = 240) -> list[Sides]:
    """Pairs whose chosen side is so many words longer on average, and ends in a question so often."""
    return [
        Sides(
            text(rng, 20 + longer + rng.randrange(-6, 7)) + "?" * (rng.random() < asks),
            text(rng, 20 + rng.randrange(-6, 7)),
            f"patient {i % 12}",
        )
        for i in range(count)
    ]


def test_auc() -> None:
    assert auc(np.array([2.0, 3.0]), np.array([1.0, 2.0])) == pytest.approx(0.875)
    assert np.isnan(auc(np.array([]), np.array([1.0])))


def test_length_decides_and_is_balanced() -> None:
    pairs = made(random.Random(1), longer=7)
    assert measure(pairs).length > 0.8
    kept = [pairs[i] for i in balance(pairs, 0.6)]
    after = measure(kept)
    assert LEAST <= len(kept) < len(pairs) and after.length <= 0.6 and after.surface <= 0.6


def test_marks_decide_and_are_balanced() -> None:
    pairs = made(random.Random(2), longer=0, asks=0.7)
    before = measure(pairs)
    assert before.length < 0.6 < before.surface and before.surface_pairs > 0.6
    after = measure([pairs[i] for i in balance(pairs, 0.6)])
    assert after.surface <= 0.6 and after.surface_pairs <= 0.6


def test_shorter_counts_as_much_as_longer() -> None:
    assert measure(made(random.Random(3), longer=-7)).length > 0.8


def test_a_set_without_shortcuts_stays_as_it_is() -> None:
    pairs = made(random.Random(4), longer=0)
    assert balance(pairs, 0.6) == list(range(len(pairs)))
    assert balance(made(random.Random(1), longer=7), 1.0) == list(range(240))


def test_too_few_pairs_tell_nothing() -> None:
    pairs = made(random.Random(5), longer=9, count=LEAST - 1)
    assert np.isnan(measure(pairs).length) and balance(pairs, 0.6) == list(range(LEAST - 1))
    one = [Sides(p.chosen, p.rejected, "one patient") for p in made(random.Random(5), longer=9)]
    assert np.isnan(measure(one).surface)
