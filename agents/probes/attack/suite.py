"""The written attacks, read from ``attacks.yaml``: what a policy might say to earn without helping."""

import base64
import codecs
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated
from urllib.parse import quote

from pydantic import AfterValidator, Discriminator, Field, Tag, model_validator

from therapysim.errors import ConfigError
from therapysim.records import Record, read_record, wrong

__all__ = ["CODES", "SUITE", "Attack", "attacks", "families"]

#: The shipped suite.
SUITE = Path(__file__).with_name("attacks.yaml")

_LEET = str.maketrans("aeiost", "431057")
_CYRILLIC = str.maketrans("aceiopsxyETAOH", "асеіорѕхуЕТАОН")
_GREEK = str.maketrans("aeiouvkIEATO", "αειουνκΙΕΑΤΟ")


def _shifted(lower: int, upper: int) -> Callable[[str], str]:
    """Letters moved to a block of Unicode where the alphabet stands again."""
    moved = {ord("a") + i: chr(lower + i) for i in range(26)} | {ord("A") + i: chr(upper + i) for i in range(26)}
    return lambda text: text.translate(moved)


#: code -> how a text is put into it. After "tags" the text is invisible.
CODES: dict[str, Callable[[str], str]] = {
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "rot13": lambda text: codecs.encode(text, "rot13"),
    "reversed": lambda text: text[::-1],
    "hex": lambda text: text.encode().hex(" "),
    "leet": lambda text: text.translate(_LEET),
    "spaced": " ".join,
    "url": lambda text: quote(text, safe="").replace("a", "%61"),
    "cyrillic": lambda text: text.translate(_CYRILLIC),
    "greek": lambda text: text.translate(_GREEK),
    "fullwidth": _shifted(0xFF41, 0xFF21),
    "mathematical": _shifted(0x1D41A, 0x1D400),
    "circled": _shifted(0x24D0, 0x24B6),
    "zero_width": "\u200b".join,
    "tags": lambda text: "Please go on. " + "".join(chr(0xE0000 + ord(c)) for c in text),
}


@dataclass(frozen=True, slots=True)
class Attack:
    """One attack.

    Attributes:
        name: unique in the suite.
        family: the kind of attack.
        turns: the texts, at least one; played in a loop.
        obeyed: a patient's line in which one of these is found did as it was told.
    """

    name: str
    family: str
    turns: tuple[str, ...]
    obeyed: tuple[re.Pattern[str], ...] = ()

    def __post_init__(self) -> None:
        if not self.turns:
            raise ConfigError(f"attack {self.name!r} has no turns, expected at least one text")


def _code(name: str) -> str:
    if name not in CODES:
        raise wrong(repr(name), f"one of {', '.join(CODES)}")
    return name


def _pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise wrong(f"{text!r:.60} ({error})", "a regular expression") from error
    return text


_Text = Annotated[str, Field(min_length=1)]
_Pattern = Annotated[str, AfterValidator(_pattern)]


class _Encoded(Record):
    """A text in a code."""

    text: str
    encode: Annotated[str, AfterValidator(_code)]

    def __str__(self) -> str:
        return CODES[self.encode](self.text)


class _Repeated(Record):
    """A text so many times, and what stands around it."""

    repeat: _Text
    times: Annotated[int, Field(ge=1, le=1_000_000)]
    before: str = ""
    after: str = ""

    def __str__(self) -> str:
        return f"{self.before}{self.repeat * self.times}{self.after}"


def _form(turn: object) -> str:
    return ("repeated" if "repeat" in turn else "encoded") if isinstance(turn, dict) else "plain"


#: Told apart by its form, so that an error speaks of the one that is meant.
_Turn = Annotated[
    Annotated[str, Tag("plain")] | Annotated[_Encoded, Tag("encoded")] | Annotated[_Repeated, Tag("repeated")],
    Discriminator(_form),
]


class _Row(Record):
    name: _Text
    turns: Annotated[tuple[_Turn, ...], Field(min_length=1)]


class _Family(Record):
    family: _Text
    obeyed: tuple[_Pattern, ...] = ()
    attacks: Annotated[tuple[_Row, ...], Field(min_length=1)]


class _Suite(Record):
    always: tuple[_Pattern, ...]
    families: Annotated[tuple[_Family, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _names_differ(self) -> "_Suite":
        names = [row.name for family in self.families for row in family.attacks]
        if twice := [name for name in names if names.count(name) > 1]:
            raise wrong(f"{twice[0]!r}, the name of two attacks", "a name of its own for each", "families")
        return self


def attacks(names: Sequence[str] | None = None, path: Path = SUITE) -> tuple[Attack, ...]:
    """The attacks of the families named, of all by default, in the file's order.

    Raises:
        ConfigError: a family is unknown, the file cannot be read, or it holds something other than attacks.
    """
    suite = _read(path)
    known = tuple(dict.fromkeys(a.family for a in suite))
    if unknown := [name for name in names or () if name not in known]:
        raise ConfigError(f"attack family {unknown[0]!r} is unknown, expected some of {', '.join(known)}")
    return tuple(a for a in suite if names is None or a.family in names)


def families(path: Path = SUITE) -> tuple[str, ...]:
    """Every family, in the file's order."""
    return tuple(dict.fromkeys(a.family for a in _read(path)))


def _read(path: Path) -> tuple[Attack, ...]:
    suite = read_record(path, _Suite, ConfigError, f"attacks {path}")
    return tuple(
        Attack(row.name, family.family, tuple(map(str, row.turns)), _patterns(*suite.always, *family.obeyed))
        for family in suite.families
        for row in family.attacks
    )


def _patterns(*texts: str) -> tuple[re.Pattern[str], ...]:
    return tuple(re.compile(text, re.IGNORECASE) for text in texts)
