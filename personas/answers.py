"""The words in which a cue's items are told: what the scripted patient says, and a language model says its own way."""

from collections.abc import Sequence
from zlib import crc32

import numpy as np

from therapysim.personas.patient import Cue

__all__ = ["answer_lines", "heard_key", "opening_lines"]

_NUMBERS = (
    "Nought", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine", "Ten", "Eleven", "Twelve",
)  # fmt: skip


def answer_lines(cue: Cue) -> tuple[str, ...]:
    """The figure that was asked for, and of each item a line not said yet, a terse patient's shortest.

    Where all were said, the one that was said longest ago, as something said before.
    """
    rng = np.random.default_rng([cue.seed % 2**64, heard_key(cue), 1])
    earlier = "\n".join(cue.transcript.said_by("patient"))
    told = []
    for item in cue.items:
        unused = [text for text in item.lines if text not in earlier]
        if cue.persona.style == "terse":
            unused.sort(key=len)
        pick = 0 if cue.persona.style == "terse" else int(rng.integers(max(1, len(unused))))
        told.append(unused[pick] if unused else _again(item.lines, earlier))
    return (*_figure(cue.figure), *told)


def opening_lines(cue: Cue) -> tuple[tuple[str, ...], ...]:
    """What a session's first words say: the patient's openings, one of which is said; nothing later on."""
    return () if cue.transcript.messages else (cue.persona.voice.opening,)


def heard_key(cue: Cue) -> int:
    """A number of the therapist's last words, so that other words in one state get another line."""
    return crc32(cue.transcript.last("therapist").encode("utf-8", "replace")) if cue.transcript.messages else 0


def _again(lines: Sequence[str], earlier: str) -> str:
    """The line that was said longest ago, as something said before."""
    oldest = min(lines, key=earlier.rfind)
    return next((told for lead in _SAID if (told := lead + oldest) not in earlier), oldest)


_SAID = ("As I said. ", "I told you. ", "Again. ")


def _figure(figure: int | None) -> list[str]:
    """In words up to twelve, else in figures."""
    if figure is None:
        return []
    return [f"{_NUMBERS[figure] if figure < len(_NUMBERS) else figure}."]
