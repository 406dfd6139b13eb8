"""A rubric by whatever names it: the one place where presets, files and classes of one's own are told apart."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from therapysim.errors import ConfigError
from therapysim.faults import hint
from therapysim.own_code import find_own, is_place
from therapysim.rewards.rubric import Rubric
from therapysim.rewards.rubric_file import is_rubric_file, read_rubric_file, rubric_settings
from therapysim.rewards.rubric_settings import PRESETS, RubricSettings

__all__ = ["RUBRICS", "open_rubric", "require_rubric_name"]

#: What a rubric's name may be.
RUBRICS = f"one of {', '.join(PRESETS)}, a file (.yaml, .json), or package.module:Class"


def open_rubric(given: Rubric | RubricSettings | Mapping[str, Any] | str | Path | None) -> Rubric:
    """The rubric that was given; the default one for None.

    Args:
        given: a rubric or its settings, as they are; a preset's name; a file of ``rubric_file``, or its content; or
            ``package.module:Class`` of a subclass of ``Rubric`` that is made without arguments.

    Raises:
        ConfigError: there is none such, or its file, its class or a term of one's own is wrong.
    """
    if isinstance(given, Rubric):
        return _complete(given, f"rubric {type(given).__qualname__!r}")
    if isinstance(given, Mapping):
        return Rubric(rubric_settings(given, "rubric"))
    if isinstance(given, str | Path):
        return _named(str(given))
    return Rubric(given)


def require_rubric_name(name: str) -> None:
    """Refuses what can be no rubric's name, and opens nothing.

    Raises:
        ConfigError: it is no preset, no file's name and no place of a class.
    """
    if name not in PRESETS and not is_rubric_file(name) and not is_place(name):
        raise ConfigError(f"rubric preset {name!r} is unknown, expected {RUBRICS}{hint(name, list(PRESETS))}")


def _named(name: str) -> Rubric:
    require_rubric_name(name)
    if name in PRESETS:
        return Rubric(name)
    if is_rubric_file(name):
        rubric = Rubric(read_rubric_file(name))
        rubric.name = Path(name).name
        return rubric
    return _of_class(name)


def _of_class(place: str) -> Rubric:
    found, _ = find_own(place, f"rubric {place!r}", RUBRICS)
    try:
        made = found() if isinstance(found, type) else found
    except Exception as error:  # the user's own code may raise anything
        raise ConfigError(f"rubric {place!r} cannot be made: {error!r}; expected a class without arguments") from error
    if isinstance(made, RubricSettings):
        made = Rubric(made)
    if not isinstance(made, Rubric):
        raise ConfigError(
            f"rubric {place!r} is {type(made).__name__}, expected a subclass of therapysim.rewards.Rubric; a single "
            "term of your own stands in a file, under terms"
        )
    _complete(made, f"rubric {place!r}").name = place
    return made


def _complete(rubric: Rubric, what: str) -> Rubric:
    if lacking := [name for name in ("settings", "name", "source", "own_sources") if not hasattr(rubric, name)]:
        raise ConfigError(f"{what} has no {lacking[0]!r}, expected what Rubric has; call super().__init__ in its own")
    return rubric
