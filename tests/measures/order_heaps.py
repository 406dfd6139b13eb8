"""How often the order of words takes a text for a heap, and how often it finds one out. Nothing here passes or fails.

python -m tests.measures.order_heaps --data GOEMOTIONS/dev.tsv
"""

import argparse
from pathlib import Path

import numpy as np

from therapysim.envs.spaces import Utterance
from therapysim.rewards.reading.word_order import in_order


def main() -> None:
    """Prints a row for the texts, the texts shuffled, and words drawn at random."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="a file with a text before the first tab of each line")
    texts = [line.split("\t")[0] for line in parser.parse_args().data.read_text(encoding="utf-8").splitlines()]
    rng, space = np.random.default_rng(0), Utterance(seed=0)
    kinds = {
        "texts": texts,
        "shuffled": [" ".join(rng.permutation(text.split())) for text in texts],
        "words drawn at random": [space.sample() for _ in range(2_000)],
    }
    print("| | n | mean | below 0.5 | below 0.9 |\n|---|---|---|---|---|")
    for name, rows in kinds.items():
        found = np.array([in_order(text) for text in rows])
        print(
            f"| {name} | {len(rows):,} | {found.mean():.2f} | {(found < 0.5).mean():.1%} | {(found < 0.9).mean():.1%} |"
        )


if __name__ == "__main__":
    main()
