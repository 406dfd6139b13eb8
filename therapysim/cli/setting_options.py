"""Options made from a component's settings: name, type, range and help are declared there, and nowhere else."""

import argparse
from collections.abc import Mapping, Sequence
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from therapysim.settings import Settings, about, grouped, typed

__all__ = ["add_settings", "given"]


def add_settings(
    parser: argparse.ArgumentParser,
    kind: type[Settings],
    also: Mapping[str, Sequence[str]] | None = None,
    without: Sequence[str] = (),
) -> None:
    """An option for each setting but those of ``without``, in its group.

    ``also``: further flags of a setting, such as a shorter one.
    """
    for group, members in grouped(kind):
        options = parser.add_argument_group(group) if group else parser
        for name, setting in (member for member in members if member[0] not in without):
            flags = [f"--{name.replace('_', '-')}", *(also or {}).get(name, ())]
            options.add_argument(*flags, **_wanted(name, setting))


def given(chosen: argparse.Namespace, kind: type[Settings]) -> dict[str, Any]:
    """The settings that were given as options; the rest are a file's, a preset's or the defaults."""
    return {name: getattr(chosen, name) for name in kind.model_fields if hasattr(chosen, name)}


def _wanted(name: str, setting: FieldInfo) -> dict[str, Any]:
    """What argparse is told of one option; it is left out of the result unless given."""
    default = "" if setting.is_required() else f" (default {typed(setting.default)})"
    wanted: dict[str, Any] = {"dest": name, "default": argparse.SUPPRESS, "help": f"{setting.description}{default}"}
    if setting.annotation is bool:
        return wanted | {"action": argparse.BooleanOptionalAction}
    if get_origin(setting.annotation) is dict:
        return wanted | {"nargs": "*", "metavar": "NAME=VALUE"}
    many = get_origin(setting.annotation) is tuple
    inner = get_args(setting.annotation)[0] if many else setting.annotation
    # Words to choose from are shown here and checked by the settings, whose message names the nearest.
    words = get_args(inner) if get_origin(inner) is Literal else ()
    mixed = get_origin(inner) in (Union, UnionType)  # a number or a word: the settings read the text
    metavar = (
        "VALUE"
        if mixed
        else about(setting).get("metavar", "NAME" if many and inner is str else getattr(inner, "__name__", "").upper())
    )
    wanted |= {"required": setting.is_required(), "type": str if words or mixed else inner}
    return wanted | {"metavar": f"{{{','.join(words)}}}" if words else metavar} | ({"nargs": "*"} if many else {})
