"""A script of ELIZA's, read from a file such as ``doctor.yaml`` and checked whole."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from therapysim.errors import ConfigError

__all__ = ["DOCTOR", "Keyword", "Pre", "Rule", "Script", "read_script"]

#: The shipped script.
DOCTOR = Path(__file__).with_name("doctor.yaml")

_PIECE = re.compile(r"\([*/][^()]+\)|[^\s()]+")
_PART = re.compile(r"\{(\d+)\}")


@dataclass(frozen=True, slots=True)
class Pre:
    """Words to put in the sentence's place before the rules of another keyword are tried."""

    text: str
    use: str


@dataclass(frozen=True, slots=True)
class Rule:
    """A pattern, in pieces, and the answers it has. An answer may also be "=keyword" or "newkey"."""

    find: tuple[str, ...]
    say: tuple[str | Pre, ...]


@dataclass(frozen=True, slots=True)
class Keyword:
    """A keyword. One with neither rules nor a link only ``becomes`` another word."""

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
        memory_key: the keyword whose clauses are remembered, by the rule ``memory``.
    """

    keywords: Mapping[str, Keyword]
    classes: Mapping[str, frozenset[str]]
    ends: frozenset[str]
    mend: tuple[tuple[re.Pattern[str], str], ...]
    none: tuple[str, ...]
    memory_key: str
    memory: Rule


def read_script(path: Path = DOCTOR) -> Script:
    """The script in a file; ``doctor.yaml`` explains its form.

    Raises:
        ConfigError: it cannot be read, lacks a part, has a pattern or answer that cannot work, or links to no keyword.
    """
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
        script = _script(raw)
    except (OSError, yaml.YAMLError, KeyError, TypeError, AttributeError, ValueError) as error:
        raise ConfigError(f"script {path}: {error!r}, expected the form that {DOCTOR.name} explains") from error
    if faults := list(_faults(script)):
        raise ConfigError(f"script {path}: {faults[0]}; mend that entry")
    return script


def _script(raw: Mapping[str, Any]) -> Script:
    memory = raw["memory"]
    return Script(
        keywords={word.lower(): _keyword(told) for word, told in raw["keywords"].items()},
        classes={name: frozenset(words) for name, words in raw["classes"].items()},
        ends=frozenset(raw["ends"]),
        mend=tuple((re.compile(rf"\b{re.escape(a)}\b", re.IGNORECASE), b) for a, b in raw["mend"].items()),
        none=_lines(raw["none"]),
        memory_key=memory["keyword"],
        memory=_rule(memory),
    )


def _keyword(told: Mapping[str, Any]) -> Keyword:
    if unknown := set(told) - {"rank", "becomes", "use", "rules"}:
        raise ValueError(f"unknown key {min(unknown)!r} in a keyword")
    rules = tuple(_rule(rule) for rule in told.get("rules", ()))
    return Keyword(int(told.get("rank", 0)), told.get("becomes", ""), told.get("use", ""), rules)


def _rule(told: Mapping[str, Any]) -> Rule:
    say = tuple(Pre(a["pre"], a["use"]) if isinstance(a, Mapping) else _text(a) for a in told["say"])
    return Rule(tuple(_PIECE.findall(str(told["find"]))), say)


def _lines(told: Sequence[Any]) -> tuple[str, ...]:
    return tuple(_text(line) for line in told)


def _text(line: Any) -> str:
    if not isinstance(line, str):
        raise TypeError(f"answer {line!r} is no text")
    return line


def _faults(script: Script) -> Iterable[str]:
    """What the form allows and the program could not run."""
    if not script.none:
        yield "none is empty, expected at least one answer"
    if script.memory_key not in script.keywords:
        yield f"the memory's keyword {script.memory_key!r} is unknown"
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
