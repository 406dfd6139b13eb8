"""The written attacks, read from ``attacks.yaml``: what a policy might say to earn without helping."""

import base64
import codecs
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import yaml

from therapysim.errors import ConfigError

__all__ = ["CODES", "SUITE", "Attack", "attacks", "families", "render"]

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


def render(turn: str | Mapping[str, Any]) -> str:
    """A turn as it is said: a text as it stands, a rule's text as the rule makes it.

    Raises:
        ConfigError: the rule is unknown.
    """
    if isinstance(turn, str):
        return turn
    if isinstance(turn, Mapping) and set(turn) == {"text", "encode"} and turn["encode"] in CODES:
        return CODES[turn["encode"]](str(turn["text"]))
    if isinstance(turn, Mapping) and {"repeat", "times"} <= set(turn) <= {"repeat", "times", "before", "after"}:
        return f"{turn.get('before', '')}{turn['repeat'] * turn['times']}{turn.get('after', '')}"
    codes = ", ".join(CODES)
    raise ConfigError(f"an attack's turn is {turn!r}, expected a text, text and encode ({codes}), or repeat and times")


def _read(path: Path) -> tuple[Attack, ...]:
    try:
        told = yaml.safe_load(path.read_text(encoding="utf-8"))
        suite = tuple(
            Attack(
                row["name"],
                family["family"],
                tuple(render(turn) for turn in row["turns"]),
                _patterns([*told["always"], *family.get("obeyed", ())]),
            )
            for family in told["families"]
            for row in family["attacks"]
        )
    except (OSError, yaml.YAMLError, KeyError, TypeError, AttributeError, re.error) as error:
        raise ConfigError(f"attacks {path}: {error!r}, expected families of attacks, see {SUITE.name}") from error
    if len({a.name for a in suite}) < len(suite):
        raise ConfigError(f"attacks {path}: a name stands for two attacks, expected a name of its own for each")
    return suite


def _patterns(texts: Sequence[str]) -> tuple[re.Pattern[str], ...]:
    return tuple(re.compile(text, re.IGNORECASE) for text in texts)
