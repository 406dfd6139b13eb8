"""The lines that any patient may say, from ``lines.yaml``."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from therapysim.errors import PersonaError
from therapysim.personas.schema import MOODS
from therapysim.records import Record, read_record
from therapysim.state import Vector

__all__ = ["NEUTRAL", "Bank", "Felt", "felt", "load_bank"]

#: A dimension smaller than this is not spoken of, and one smaller than the second not in strong words.
FELT, STRONG = 0.05, 0.4

#: The kind of a clause of no mood; the kinds below it are the dimensions.
NEUTRAL = len(MOODS)

#: What can be said of each dimension of a mood: 0 nothing, ±1 mild words, ±2 strong ones too.
Felt = tuple[int, ...]
_Pool = tuple[str, ...]


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


class _Strengths(Record):
    mild: _Pool
    strong: _Pool


class _Sides(Record):
    negative: _Strengths
    positive: _Strengths


class _Moods(Record):
    introspection: _Sides
    temper: _Sides
    attitude: _Sides
    sensitivity: _Sides


class _Moves(Record):
    """Contents by move, in the order of the file."""

    withdraw: _Pool
    rupture: _Pool
    ask: _Pool
    change: _Pool
    sustain: _Pool
    close: _Pool
    close_goal: _Pool
    close_rupture: _Pool
    close_crisis: _Pool
    silence: _Pool
    dodge: _Pool
    no_danger: _Pool


class _Lines(_Moves):
    """``lines.yaml`` as it stands."""

    mood: _Moods
    neutral: _Pool
    elaborate: _Pool
    tags: _Pool
    brief: dict[str, _Pool]
    openers: dict[str, _Pool]


@cache
def load_bank() -> Bank:
    """The shipped lines, read once a process.

    Raises:
        PersonaError: the file is not as it was shipped.
    """
    lines = read_record(Path(__file__).parent / "lines.yaml", _Lines, PersonaError)
    moves: dict[str, _Pool] = {name: getattr(lines, name) for name in _Moves.model_fields}
    cells: dict[tuple[int, int, int], _Pool] = {
        (i, sign, strength): getattr(getattr(getattr(lines.mood, name), side), key)
        for i, name in enumerate(MOODS)
        for sign, side in ((-1, "negative"), (1, "positive"))
        for strength, key in enumerate(("mild", "strong"))
    }
    kinds = {text: i for (i, _, _), pool in cells.items() for text in pool}
    kinds |= dict.fromkeys((*lines.neutral, *lines.elaborate), NEUTRAL)
    groups = (kinds, lines.tags, *lines.brief.values(), *lines.openers.values(), *moves.values())
    texts = tuple(dict.fromkeys(text for group in groups for text in group))
    return Bank(cells, lines.neutral, lines.elaborate, lines.tags, lines.brief, lines.openers, moves, kinds, texts)
