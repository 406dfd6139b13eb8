"""Settings as the environments take them: the dataclasses, or the plain mappings that an ``EnvSpec`` leaves in JSON."""

from collections.abc import Mapping
from dataclasses import is_dataclass
from typing import Any, TypeVar, get_args, get_type_hints

from therapysim.envs.session import SessionConfig
from therapysim.errors import ConfigError
from therapysim.rewards.risk import RiskThresholds
from therapysim.rewards.rubric import Rubric
from therapysim.rewards.rubric_by_name import open_rubric
from therapysim.rewards.rubric_settings import RubricSettings

__all__ = ["choose_config", "choose_rubric", "choose_thresholds", "settings_of"]

Settings = TypeVar("Settings")


def settings_of(kind: type[Settings], given: object, name: str) -> Settings:
    """The settings that were given, whole or as a mapping of some of their fields, as ``dataclasses.asdict`` makes it.

    Args:
        kind: a dataclass of settings; its fields may be dataclasses of settings in turn.
        given: one of that kind, or a mapping; a list stands for a tuple, which JSON does not have.
        name: what errors call it.

    Raises:
        ConfigError: it is neither, or a field is unknown or outside its range.
    """
    if isinstance(given, kind):
        return given
    if not isinstance(given, Mapping):
        raise ConfigError(f"{name} is {given!r}, expected a {kind.__name__}, a mapping of its fields, or None")
    kinds = get_type_hints(kind)
    if unknown := [key for key in given if key not in kinds]:
        raise ConfigError(f"{name} has the field {unknown[0]!r}, expected some of {', '.join(kinds)}")
    return kind(**{key: _value(kinds[key], value, f"{name}.{key}") for key, value in given.items()})


def choose_config(config: SessionConfig | Mapping[str, Any] | None, max_turns: int | None) -> SessionConfig:
    """The session's settings from the two ways of giving them."""
    if config is not None and max_turns is not None:
        raise ConfigError("both config and max_turns are given: set max_turns inside config")
    if config is not None:
        return settings_of(SessionConfig, config, "config")
    return SessionConfig() if max_turns is None else SessionConfig(max_turns=max_turns)


def choose_rubric(given: Rubric | RubricSettings | Mapping[str, Any] | str | None) -> Rubric:
    """The rubric that was given: by itself, by its settings, by name, or as a mapping of either form.

    A mapping with ``preset``, ``weights`` or ``terms`` is the content of a rubric's file, any other one of the fields
    of ``RubricSettings``; see ``rewards.rubric_by_name``.
    """
    if isinstance(given, Mapping) and not given.keys() & {"preset", "weights", "terms"}:
        return Rubric(settings_of(RubricSettings, given, "rubric"))
    return open_rubric(given)


def choose_thresholds(given: RiskThresholds | Mapping[str, Any] | None) -> RiskThresholds:
    """The thresholds that were given, or the defaults, -0.3 each."""
    return RiskThresholds() if given is None else settings_of(RiskThresholds, given, "risk_thresholds")


def _value(kind: Any, value: Any, name: str) -> Any:
    if is_dataclass(kind) and isinstance(kind, type):
        return settings_of(kind, value, name)
    inner = get_args(kind)[:1]
    if inner and is_dataclass(inner[0]) and isinstance(value, list | tuple):
        return tuple(_value(inner[0], one, f"{name}[{i}]") for i, one in enumerate(value))
    return tuple(value) if isinstance(value, list) else value
