"""A file of settings, in YAML or JSON: its names and values, or where in it the mistake is."""

import re
from pathlib import Path
from typing import Any

import yaml

from therapysim.errors import ConfigError

__all__ = ["read_settings"]

_EXPONENT = re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+$")


class _Loader(yaml.SafeLoader):
    """YAML, with 5e-6 read as the number that it is in JSON: YAML 1.1 wants 5.0e-6 and makes text of the rest.

    A name that is given twice is a mistake here: YAML would quietly keep the last.
    """

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """As yaml's; raises a ``ConstructorError`` where a name comes twice."""
        names = [key.value for key, _ in node.value]
        for i, (key, _) in enumerate(node.value):
            if key.value in names[:i]:
                raise yaml.constructor.ConstructorError(None, None, f"{key.value!r} is given twice", key.start_mark)
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver("tag:yaml.org,2002:float", _EXPONENT, list("+-0123456789"))


def read_settings(path: Path) -> dict[str, Any]:
    """Names with values, as they stand in a YAML or JSON file.

    Raises:
        ConfigError: the file cannot be read, holds something else, or a name twice; says at which line.
    """
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), _Loader)  # a SafeLoader; JSON is YAML too
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"settings file {path} cannot be read: {_why(error)}") from error
    if not isinstance(content, dict):
        held = "nothing" if content is None else f"a {type(content).__name__}"
        raise ConfigError(f"settings file {path} holds {held}, expected names with values, such as lr: 5e-6")
    return content


def _why(error: Exception) -> str:
    """In one line, with the place in the file."""
    if isinstance(error, OSError):
        return error.strerror or str(error)
    mark = getattr(error, "problem_mark", None)
    if mark is None or not isinstance(error, yaml.MarkedYAMLError):
        return " ".join(str(error).split())
    return f"line {mark.line + 1}, column {mark.column + 1}: {error.problem}"
