"""Counts which of the commonest words follow one another: the table of ``rewards.reading.word_order``.

python -m therapysim.train.sensor.count_order --data GOEMOTIONS/train.tsv --out rewards/reading/weights/order.npz
"""

import argparse
import json
from collections import Counter
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

import numpy as np

from therapysim.files import whole
from therapysim.rewards.reading.word_order import EDGE, LEAST, MOST, SCALE, steps

__all__ = ["count_order", "main"]

_TURNS = Path(__file__).parent / "acts.jsonl"


def main() -> None:
    """Reads texts of people and written therapist turns, and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="GoEmotions, train.tsv")
    parser.add_argument("--words", type=int, default=200, help="how many of the commonest, default 200")
    parser.add_argument("--out", type=Path, required=True, help="order.npz")
    chosen = parser.parse_args()
    texts = [line.split("\t")[0] for line in chosen.data.read_text(encoding="utf-8").splitlines()]
    texts += [json.loads(line)["text"] for line in _TURNS.read_text(encoding="utf-8").splitlines()]
    words, table = count_order(texts, chosen.words)
    with whole(chosen.out) as part, part.open("wb") as file:
        np.savez_compressed(file, words=np.array(words), steps=table)
    print(f"{len(texts)} texts, {len(words)} words: {chosen.out}")


def count_order(texts: Iterable[str], most: int) -> tuple[list[str], np.ndarray]:
    """The commonest words and their steps, int8 of shape (most, most), in units of 1 / ``SCALE``."""
    sentences = [words for text in texts for words in steps(text)]
    single = Counter(word for words in sentences for word in words[:-1])  # an edge once a sentence
    pairs = Counter(pair for words in sentences for pair in pairwise(words))
    words, total = [word for word, _ in single.most_common(most)], single.total()
    if EDGE not in words:
        raise ValueError("no sentence in the texts")
    chance = np.outer([single[w] for w in words], [single[w] for w in words]) / total
    seen = np.array([[pairs[a, b] for b in words] for a in words])
    table = np.clip(np.log((seen + 1.0) / (chance + 1.0)), LEAST, MOST)
    return words, np.round(table * SCALE).astype(np.int8)


if __name__ == "__main__":
    main()
