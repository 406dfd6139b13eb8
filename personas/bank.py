"""The lines that any patient may say, from ``lines.yaml``."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from therapysim.personas.schema import MOODS
from therapysim.state import Vector

__all__ = ["Bank", "load_bank"]

#: A dimension smaller than this is not spoken of, and one smaller than the second not in strong words.
FELT, STRONG = 0.05, 0.4


@dataclass(frozen=True, slots=True)
class Bank:
    """The lines that any patient may say.

    Attributes:
        mood: mood clauses by dimension, sign and strength (0 mild, 1 strong).
        neutral: clauses of no mood.
        openers: answers to the therapist's turn, by its act.
        moves: contents, by move.
        kinds: the dimension of each mood clause, 4 for a neutral one.
        texts: all of these, each once.
    """

    mood: dict[tuple[int, int, int], tuple[str, ...]]
    neutral: tuple[str, ...]
    openers: dict[str, tuple[str, ...]]
    moves: dict[str, tuple[str, ...]]
    kinds: dict[str, int]
    texts: tuple[str, ...]

    def fitting(self, mood: Vector) -> tuple[str, ...]:
        """Mood clauses that contradict no dimension: opposites could average to the mood, but not in one mouth."""
        felt = [(i, 1 if value > 0 else -1, abs(value)) for i, value in enumerate(mood) if abs(value) >= FELT]
        mild = [text for i, sign, _ in felt for text in self.mood[i, sign, 0]]
        return (*mild, *(text for i, sign, size in felt if size >= STRONG for text in self.mood[i, sign, 1]))


@cache
def load_bank() -> Bank:
    """The shipped lines, read once a process."""
    raw: dict[str, Any] = yaml.safe_load((Path(__file__).parent / "lines.yaml").read_text(encoding="utf-8"))
    mood, neutral = raw.pop("mood"), tuple(raw.pop("neutral"))
    openers = {act: tuple(lines) for act, lines in raw.pop("openers").items()}
    moves = {name: tuple(lines) for name, lines in raw.items()}
    cells = {
        (i, sign, strength): tuple(mood[name][side][key])
        for i, name in enumerate(MOODS)
        for sign, side in ((-1, "negative"), (1, "positive"))
        for strength, key in enumerate(("mild", "strong"))
    }
    kinds = {text: i for (i, _, _), lines in cells.items() for text in lines} | dict.fromkeys(neutral, len(MOODS))
    groups = (kinds, *openers.values(), *moves.values())
    return Bank(cells, neutral, openers, moves, kinds, tuple(dict.fromkeys(text for g in groups for text in g)))
