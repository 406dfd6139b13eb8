"""Presets of a training: settings by name, from a YAML file beside the settings that they change."""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, TypeVar

from therapysim.errors import ConfigError
from therapysim.records import Record, hint, record_of
from therapysim.settings import read_settings
from therapysim.train.run_settings import RunSettings, load

__all__ = ["Presets"]

S = TypeVar("S", bound=RunSettings)


class _Preset(Record):
    about: str
    settings: dict[str, Any]


class Presets(Generic[S]):
    """What each preset of a training changes in its defaults; the file is read when it is asked for.

    Args:
        kind: the settings.
        path: a YAML file, name -> a line on it (``about``) and its ``settings``.
    """

    def __init__(self, kind: type[S], path: Path) -> None:
        self._kind, self._path = kind, path

    def settings(self) -> dict[str, dict[str, Any]]:
        """The presets' settings by name; each names only what it is for, and the rest are the defaults."""
        return {name: dict(preset.settings) for name, preset in self._held.items()}

    def notes(self) -> dict[str, str]:
        """A line on each preset by name."""
        return {name: preset.about for name, preset in self._held.items()}

    def load(
        self, path: str | Path | None, overrides: Mapping[str, Any] | None = None, *, preset: str | None = None
    ) -> S:
        """Settings of a preset, changed by those of a YAML or JSON file, changed by ``overrides``.

        Raises:
            ConfigError: the preset is unknown, the file cannot be read, a name is unknown, or a value is not allowed.
            PersonaError: a persona is unknown, or one of the test patients.
        """
        known = self.settings()
        if preset is not None and preset not in known:
            raise ConfigError(f"preset is {preset!r}, expected one of {', '.join(known)}{hint(preset, list(known))}")
        return load(self._kind, path, overrides, known[preset] if preset is not None else {})

    @cached_property
    def _held(self) -> dict[str, _Preset]:
        content = read_settings(self._path).items()
        return {name: record_of(own, _Preset, ConfigError, f"preset {name}") for name, own in content}
