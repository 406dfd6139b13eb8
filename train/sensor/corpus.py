"""What the emotion sensor is trained on: GoEmotions files, emoji, and batches of like length."""

import hashlib
import random
import unicodedata
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from therapysim.errors import ConfigError
from therapysim.rewards.matrix import LABELS

__all__ = ["EMOJI", "emoji_lines", "emoji_name", "file_hash", "length_batches", "read_split", "spell_emoji"]

Matrix = NDArray[np.float64]

# The pictures of Unicode 15: symbols and dingbats, pictographs and faces, transport, and the two supplements. Written
# out, since `unicodedata` knows more or fewer from one Python to the next, and the tokens must stay the same.
_PICTURES = (
    (0x2600, 0x27BF), (0x1F300, 0x1F64F), (0x1F680, 0x1F6D7), (0x1F6DC, 0x1F6EC), (0x1F6F0, 0x1F6FC),
    (0x1F900, 0x1F9FF), (0x1FA70, 0x1FA7C), (0x1FA80, 0x1FA88), (0x1FA90, 0x1FABD), (0x1FABF, 0x1FAC5),
    (0x1FACE, 0x1FADB), (0x1FAE0, 0x1FAE8), (0x1FAF0, 0x1FAF8),
)  # fmt: skip
# Where most emoji that tell of a mood stand: faces, gestures, hearts.
_MOODY = ((0x1F600, 0x1F64F), (0x1F910, 0x1F92F), (0x1F970, 0x1F97A), (0x1F493, 0x1F49F), (0x2639, 0x263A))


def _points(ranges: Sequence[tuple[int, int]]) -> tuple[str, ...]:
    return tuple(chr(c) for low, high in ranges for c in range(low, high + 1))


def emoji_name(emoji: str) -> str:
    """The Unicode name of an emoji in lower case; "emoji" for one that this Python does not know yet."""
    return unicodedata.name(emoji, "emoji").lower().replace("-", " ")


#: The emoji that the sensor knows as tokens, one code point each. Flags, keycaps and a few symbols of other blocks are
#: not among them.
EMOJI = _points(_PICTURES)
_MOODS = (*_points(_MOODY), "\u2764", "\U0001f494")
_SPELLING = str.maketrans({e: f" {emoji_name(e)} " for e in EMOJI} | {"\ufe0f": ""})


def spell_emoji(text: str) -> str:
    """The text with each emoji replaced by its Unicode name in lower case, for models that know no emoji."""
    return text.translate(_SPELLING)


def emoji_lines(texts: Sequence[str], n: int, seed: int) -> list[str]:
    """``n`` lines with emoji: most are one of the texts with one to three of the same emoji at its end, a sixth are
    emoji alone. Three in four emoji are faces, gestures and hearts."""
    rng = random.Random(seed)
    lines = []
    for _ in range(n):
        emoji = rng.choice(_MOODS if rng.random() < 0.75 else EMOJI) * rng.choice((1, 1, 1, 2, 3))
        lines.append(emoji if rng.random() < 1 / 6 else f"{rng.choice(texts)}{rng.choice(('', ' '))}{emoji}")
    return lines


def read_split(folder: Path, split: str) -> tuple[list[str], Matrix]:
    """Reads ``split.tsv``: the texts and their (n, 28) multi-hot targets.

    Raises:
        ConfigError: the folder's labels stand in another order, or a line is not ``text, label ids, comment id``.
    """
    names = (folder / "emotions.txt").read_text(encoding="utf-8").split()
    if tuple(names) != LABELS:
        raise ConfigError(f"{folder / 'emotions.txt'} lists {len(names)} labels in another order than this package's")
    path = folder / f"{split}.tsv"
    rows = [line.split("\t") for line in path.read_text(encoding="utf-8").split("\n") if line]
    targets = np.zeros((len(rows), len(LABELS)))
    for number, (target, row) in enumerate(zip(targets, rows, strict=True), 1):
        try:
            target[[int(label) for label in row[1].split(",")]] = 1.0
        except (IndexError, ValueError):
            raise ConfigError(f"{path}, line {number}: expected text, label ids from 0 to 27 and a comment id, each "
                              f"after a tab, found {row!r}") from None  # fmt: skip
    return [row[0] for row in rows], targets


def length_batches(lengths: Sequence[int], size: int, rng: random.Random) -> list[list[int]]:
    """Shuffled batches of indices; texts of like length share a batch, so that little is padding."""
    order = list(range(len(lengths)))
    rng.shuffle(order)
    pool = size * 64
    batches = []
    for start in range(0, len(order), pool):
        near = sorted(order[start : start + pool], key=lambda i: lengths[i])
        batches += [near[i : i + size] for i in range(0, len(near), size)]
    rng.shuffle(batches)
    return batches


def file_hash(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
