"""The parser of one command, which reads the command's file only when that command is chosen."""

import argparse
import difflib
from collections.abc import Sequence
from importlib import import_module
from typing import Any

__all__ = ["CommandParser"]


class CommandParser(argparse.ArgumentParser):
    """Adds its options when it is asked to parse, and answers an unknown option with the nearest one that there is.

    Args:
        file: module with ``add_options(parser)`` and ``run(chosen)``; "" for a parser that only leads to others.
    """

    def __init__(self, *args: Any, file: str = "", **wanted: Any) -> None:
        super().__init__(*args, **wanted)
        self.file = file

    def parse_known_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]
        """As argparse's; ends with an error where an option is unknown."""
        if self.file:
            command, self.file = import_module(self.file), ""
            command.add_options(self)
            self.set_defaults(run=command.run)
        chosen, unknown = super().parse_known_args(args, namespace)
        for option in (text.partition("=")[0] for text in unknown if text.startswith("-")):
            near = difflib.get_close_matches(option, self._option_string_actions, n=1)
            self.error(f"option {option} is unknown; " + (f"did you mean {near[0]}?" if near else "see --help"))
        return chosen, unknown
