"""A script of ELIZA's, read from a file such as ``doctor.yaml`` and checked whole."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field, WithJsonSchema

from therapysim.errors import ConfigError
from therapysim.records import STRICT, Record, read_record, wrong

__all__ = ["DOCTOR", "Keyword", "Memory", "Pre", "Rule", "Script", "read_script"]

#: The shipped script.
DOCTOR = Path(__file__).with_name("doctor.yaml")

_PIECE = re.compile(r"\([*/][^()]+\)|[^\s()]+")
_PART = re.compile(r"\{(\d+)\}")


def _pieces(find: object) -> tuple[str, ...]:
    if not isinstance(find, str):
        raise wrong(f"{find!r:.60}", "a text (put it in quotes)")
    return tuple(_PIECE.findall(find))


_Find = Annotated[tuple[str, ...], BeforeValidator(_pieces), WithJsonSchema({"type": "string"})]


@dataclass(frozen=True, slots=True)
class Pre:
    """Words to put in the sentence's place before the rules of another keyword are tried."""

    __pydantic_config__ = STRICT

    text: Annotated[str, Field(alias="pre")]
    use: str


@dataclass(frozen=True, slots=True)
class Rule:
    """A pattern, in pieces, and the answers it has. An answer may also be "=keyword" or "newkey"."""

    __pydantic_config__ = STRICT

    find: _Find
    say: tuple[str | Pre, ...]


@dataclass(frozen=True, slots=True)
class Memory(Rule):
    """The rule by which clauses of one keyword are remembered."""

    __pydantic_config__ = STRICT

    keyword: str


@dataclass(frozen=True, slots=True)
class Keyword:
    """A keyword. One with neither rules nor a link only ``becomes`` another word."""

    __pydantic_config__ = STRICT

    rank: int = 0
    becomes: str = ""
    use: str = ""
    rules: tuple[Rule, ...] = ()


@dataclass(frozen=True)
class Script:
    """All that the program knows.

    Attributes:
        keywords: by their word, in lower case.
        classes: name -> its words.
        ends: the tokens that end a clause.
        mend: what a turned phrase is put right by, in order.
        none: what is said where nothing fits.
        memory: the keyword whose clauses are remembered, and by which rule.
    """

    keywords: Mapping[str, Keyword]
    classes: Mapping[str, frozenset[str]]
    ends: frozenset[str]
    mend: tuple[tuple[re.Pattern[str], str], ...]
    none: tuple[str, ...]
    memory: Memory


def read_script(path: Path = DOCTOR) -> Script:
    """The script in a file; ``doctor.yaml`` explains its form.

    Raises:
        ConfigError: it cannot be read, lacks a part, has a pattern or answer that cannot work, or links to no keyword.
    """
    told = read_record(path, _Told, ConfigError, f"script {path}")
    script = Script(
        keywords={word.lower(): keyword for word, keyword in told.keywords.items()},
        classes=told.classes,
        ends=told.ends,
        mend=tuple((re.compile(rf"\b{re.escape(a)}\b", re.IGNORECASE), b) for a, b in told.mend.items()),
        none=told.none,
        memory=told.memory,
    )
    if faults := list(_faults(script)):
        raise ConfigError(f"script {path}: {faults[0]}; mend that entry")
    return script


class _Told(Record):
    """The form that ``doctor.yaml`` explains."""

    ends: frozenset[str]
    classes: dict[str, frozenset[str]]
    mend: dict[str, str]
    none: Annotated[tuple[str, ...], Field(min_length=1)]
    memory: Memory
    keywords: dict[str, Keyword]


def _faults(script: Script) -> Iterable[str]:
    """What the form allows and the program could not run."""
    if script.memory.keyword not in script.keywords:
        yield f"the memory's keyword {script.memory.keyword!r} is unknown"
    yield from _rule_faults("memory", script.memory, script)
    for word, keyword in script.keywords.items():
        if keyword.use and keyword.use not in script.keywords:
            yield f"keyword {word!r} uses {keyword.use!r}, which is no keyword"
        for rule in keyword.rules:
            yield from _rule_faults(word, rule, script)


def _rule_faults(word: str, rule: Rule, script: Script) -> Iterable[str]:
    if not rule.find or not rule.say:
        yield f"keyword {word!r} has a rule without pattern or answers"
    for name in (piece[2:-1] for piece in rule.find if piece.startswith("(/")):
        if name not in script.classes:
            yield f"keyword {word!r} finds the class {name!r}, expected one of {', '.join(script.classes)}"
    for answer in rule.say:
        text = answer.text if isinstance(answer, Pre) else answer
        if beyond := [n for n in map(int, _PART.findall(text)) if not 1 <= n <= len(rule.find)]:
            yield f"keyword {word!r} says {text!r}, but part {beyond[0]} is none of its pattern's {len(rule.find)}"
        link = answer.use if isinstance(answer, Pre) else text[1:] if text.startswith("=") else None
        if link is not None and link not in script.keywords:
            yield f"keyword {word!r} links to {link!r}, which is no keyword"
