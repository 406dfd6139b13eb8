"""The lines that any patient may say, from ``lines.yaml``."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from therapysim.personas.schema import MOODS
from therapysim.state import Vector

__all__ = ["NEUTRAL", "Bank", "Felt", "felt", "load_bank"]

#: A dimension smaller than this is not spoken of, and one smaller than the second not in strong words.
FELT, STRONG = 0.05, 0.4

#: The kind of a clause of no mood; the kinds below it are the dimensions.
NEUTRAL = len(MOODS)

#: What can be said of each dimension of a mood: 0 nothing, ±1 mild words, ±2 strong ones too.
Felt = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Bank:
    """The lines that any patient may say.

    Attributes:
        mood: mood clauses by dimension, sign and strength (0 mild, 1 strong).
        neutral: clauses of no mood.
        elaborate: longer sentences of no mood, for turns that run on.
        tags: questions that a turn may end with.
        brief: a few words in place of a line: "agree", "accept", "unsure", "doubt".
        openers: answers to the therapist's turn, by its act.
        moves: contents, by move.
        kinds: the dimension of each mood clause, NEUTRAL for those without one.
        texts: all of these, each once.
    """

    mood: dict[tuple[int, int, int], tuple[str, ...]]
    neutral: tuple[str, ...]
    elaborate: tuple[str, ...]
    tags: tuple[str, ...]
    brief: dict[str, tuple[str, ...]]
    openers: dict[str, tuple[str, ...]]
    moves: dict[str, tuple[str, ...]]
    kinds: dict[str, int]
    texts: tuple[str, ...]

    def fitting(self, levels: Felt) -> tuple[str, ...]:
        """Mood clauses that contradict no dimension: opposites could average to the mood, but not in one mouth."""
        signs = [(i, 1 if level > 0 else -1, abs(level)) for i, level in enumerate(levels) if level]
        mild = [text for i, sign, _ in signs for text in self.mood[i, sign, 0]]
        return (*mild, *(text for i, sign, size in signs if size > 1 for text in self.mood[i, sign, 1]))


def felt(mood: Vector) -> Felt:
    """What can be said of each dimension of ``mood``."""
    return tuple((1 if v > 0 else -1) * ((abs(v) >= FELT) + (abs(v) >= STRONG)) for v in mood)


@cache
def load_bank() -> Bank:
    """The shipped lines, read once a process."""
    raw: dict[str, Any] = yaml.safe_load((Path(__file__).parent / "lines.yaml").read_text(encoding="utf-8"))
    mood, brief, openers = raw.pop("mood"), _pools(raw.pop("brief")), _pools(raw.pop("openers"))
    neutral, elaborate, tags = (tuple(raw.pop(name)) for name in ("neutral", "elaborate", "tags"))
    moves = _pools(raw)
    cells = {
        (i, sign, strength): tuple(mood[name][side][key])
        for i, name in enumerate(MOODS)
        for sign, side in ((-1, "negative"), (1, "positive"))
        for strength, key in enumerate(("mild", "strong"))
    }
    kinds = {text: i for (i, _, _), lines in cells.items() for text in lines}
    kinds |= dict.fromkeys((*neutral, *elaborate), NEUTRAL)
    groups = (kinds, tags, *brief.values(), *openers.values(), *moves.values())
    texts = tuple(dict.fromkeys(text for group in groups for text in group))
    return Bank(cells, neutral, elaborate, tags, brief, openers, moves, kinds, texts)


def _pools(raw: dict[str, list[str]]) -> dict[str, tuple[str, ...]]:
    return {name: tuple(lines) for name, lines in raw.items()}
