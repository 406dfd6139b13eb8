"""A component's settings: one declaration of name, type, default, range and help, checked when they are made.

The command line's options, a file of settings and the messages about either come from that declaration.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Self, TypeVar

import yaml
from pydantic import AfterValidator, BeforeValidator, Field, ValidationError
from pydantic.fields import FieldInfo

from therapysim.documents import Unreadable, read_document
from therapysim.errors import ConfigError, TherapySimError
from therapysim.records import Record, explain, shown, wrong

__all__ = ["Count", "Name", "Names", "Number", "Pairs", "Positive", "Settings", "Share", "about", "describe_settings",
           "grouped", "layered", "read_settings", "typed"]  # fmt: skip


def _named(text: str) -> str:
    if not text.strip():
        raise wrong(shown(text), "a name that is not empty")
    return text


def _paired(given: Any) -> Any:
    """Names with values from ``NAME=VALUE`` texts, or from one text with a JSON object; anything else as it is.

    Raises:
        ConfigError: a text is neither.
    """
    texts = (given,) if isinstance(given, str) else given
    if not isinstance(texts, list | tuple):
        return given
    if len(texts) == 1 and str(texts[0]).lstrip().startswith("{"):
        return _plain(str(texts[0]))
    for text in texts:
        if not re.fullmatch(r"\w+=.*", str(text), re.DOTALL):
            raise wrong(shown(text), "NAME=VALUE, such as enable_thinking=false, or a JSON object")
    return {name: _plain(value) for name, _, value in (str(text).partition("=") for text in texts)}


def _plain(text: str) -> Any:
    """What a text says as JSON; the text itself where it is none."""
    try:
        return json.loads(text)
    except ValueError:
        return text


#: A whole number of at least 1, or of at least 0.
Positive = Annotated[int, Field(ge=1)]
Count = Annotated[int, Field(ge=0)]
#: A finite number of at least 0, or one from 0 to 1.
Number = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
#: A text that is not blank; a path will do.
Name = Annotated[str, AfterValidator(_named), BeforeValidator(lambda own: str(own) if isinstance(own, Path) else own)]
#: Texts; a list will do.
Names = Annotated[tuple[str, ...], Field(strict=False)]

#: Names with plain values; a list of NAME=VALUE texts will do, or a JSON object as a text.
Pairs = Annotated[dict[str, bool | int | float | str], BeforeValidator(_paired)]

S = TypeVar("S", bound="Settings")


class Settings(Record):
    """The base of settings.

    Raises:
        ConfigError: a setting is unknown, has the wrong type, is outside its range, or does not fit another.
    """

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as fault:
            errors = (detail.get("ctx", {}).get("error") for detail in fault.errors(include_url=False))
            own = next((error for error in errors if isinstance(error, TherapySimError)), None)
            raise own or ConfigError(explain(fault, type(self))) from None

    def changed(self, **values: Any) -> Self:
        """The same settings with some of them changed, checked anew."""
        return type(self)(**{**dict(self), **values})


def layered(kind: type[S], layers: Iterable[tuple[str, Mapping[str, Any]]]) -> S:
    """Settings from several places; of one that is given twice, the later place counts.

    Args:
        kind: which settings.
        layers: what a message calls each place, "" for the caller's own, and its names with values.

    Raises:
        ConfigError: as ``kind`` does; begins with the place where the setting stands.
    """
    values: dict[str, Any] = {}
    places: dict[str, str] = {}
    for place, own in layers:
        values |= own
        places |= dict.fromkeys(own, place)
    try:
        return kind(**values)
    except ConfigError as error:
        named = re.match(r"\w+", str(error))  # every message begins with the setting's name
        place = places.get(named[0], "") if named else ""
        raise ConfigError(f"{place}: {error}" if place else str(error)) from None


def read_settings(path: Path) -> dict[str, Any]:
    """Names with values, as they stand in a YAML or JSON file.

    Raises:
        ConfigError: the file cannot be read, holds something else, or a name twice; says at which line.
    """
    try:
        content = read_document(path)
    except Unreadable as fault:
        raise ConfigError(f"settings file {path}: {fault}") from fault
    if not isinstance(content, dict):
        held = "nothing" if content is None else f"a {type(content).__name__}"
        raise ConfigError(f"settings file {path} holds {held}, expected names with values, such as lr: 5e-6")
    return content


def grouped(kind: type[Settings]) -> Iterator[tuple[str, list[tuple[str, FieldInfo]]]]:
    """Each group of settings, in order of its first, with its settings by name; "" where they are in none."""
    groups: dict[str, list[tuple[str, FieldInfo]]] = {}
    for name, setting in kind.model_fields.items():
        groups.setdefault(str(about(setting).get("group", "")), []).append((name, setting))
    yield from groups.items()


def about(setting: FieldInfo) -> Mapping[str, Any]:
    """What a setting's declaration says beyond type, range and help, such as its group."""
    return setting.json_schema_extra if isinstance(setting.json_schema_extra, dict) else {}


def describe_settings(settings: Settings) -> str:
    """All settings as YAML that ``read_settings`` reads, by group; those that differ from their defaults are marked."""
    lines = []
    for group, members in grouped(type(settings)):
        lines.append(f"# {group}")
        for name, setting in members:
            value = getattr(settings, name)
            mark = "" if value == setting.default else f"  # default: {typed(setting.default)}"
            lines.append(f"{name}: {_yaml(value)}{mark}")
    return "\n".join(lines) + "\n"


def typed(value: Any) -> str:
    """A value as one would type it behind its option."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        value = tuple(f"{name}={json.dumps(own, ensure_ascii=False)}" for name, own in value.items())
    return (" ".join(map(str, value)) if isinstance(value, tuple) else f"{value}") or "none"


def _yaml(value: Any) -> str:
    """One value on one line; texts that YAML would read otherwise, such as off, in quotes."""
    plain = list(value) if isinstance(value, tuple) else value
    text = yaml.safe_dump(plain, default_flow_style=True, allow_unicode=True, width=float("inf"))
    return text.removesuffix("...\n").strip()
