"""The words in which a cue's items are told: what the scripted patient says, and a language model says its own way."""

import re
from collections.abc import Mapping
from zlib import crc32

import numpy as np

from therapysim.personas.items import Item
from therapysim.personas.patient import Cue
from therapysim.personas.schema import Style

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
        unused = [text for text in item.lines if _begun(text) not in earlier]
        if cue.persona.style == "terse":
            unused.sort(key=len)
        pick = 0 if cue.persona.style == "terse" else int(rng.integers(max(1, len(unused))))
        line = unused[pick] if unused else _again(item, earlier)
        told.append(_begun(line) if rng.random() < _BEGUN[cue.persona.style] and not item.risk else line)
    return (*_figure(cue.figure), *told)


#: How often only the first sentence of an answer is said: most turns of people in a session have eight words at most.
_BEGUN: Mapping[Style, float] = {"terse": 0.75, "plain": 0.6, "talkative": 0.3}
_SENTENCE = re.compile(r"(?<=[.!?])\s+")


def _begun(line: str) -> str:
    """The line's first sentence, where that has three words or more."""
    first = _SENTENCE.split(line)[0]
    return first if len(first.split()) >= 3 else line


def opening_lines(cue: Cue) -> tuple[tuple[str, ...], ...]:
    """What a session's first words say: the patient's openings, one of which is said; nothing later on."""
    return () if cue.transcript.messages else (cue.persona.voice.opening,)


def heard_key(cue: Cue) -> int:
    """A number of the therapist's last words, so that other words in one state get another line."""
    return crc32(cue.transcript.last("therapist").encode("utf-8", "replace")) if cue.transcript.messages else 0


def _again(item: Item, earlier: str) -> str:
    """The line that was said longest ago, as something said before."""
    oldest = min(item.lines, key=lambda line: earlier.rfind(_begun(line)))
    return next((told for lead in _SAID if (told := lead + oldest) not in earlier), oldest)


_SAID = ("As I said. ", "I told you. ", "Again. ")


def _figure(figure: int | None) -> list[str]:
    """In words up to twelve, else in figures."""
    if figure is None:
        return []
    return [f"{_NUMBERS[figure] if figure < len(_NUMBERS) else figure}."]
