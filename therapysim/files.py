"""Files that are written whole or not at all."""

import json
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

__all__ = ["finite", "whole", "write_json"]


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Where to write ``path``: a file beside it, which takes its place when the block ends, and is gone if it fails.

    The folder is made if need be.

    Raises:
        OSError: the folder or the file cannot be made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")  # two processes may write the same file at once
    try:
        yield part
        part.replace(path)
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Writes a value as JSON with an indent of one, whole or not at all; numbers as ``finite`` has them.

    Raises:
        OSError: the folder or the file cannot be made.
    """
    text = json.dumps(finite(value), indent=1, ensure_ascii=False, allow_nan=False)
    with whole(path) as part:
        part.write_text(text + "\n", encoding="utf-8")


def finite(value: Any) -> Any:
    """The value with None for nan and inf, which JSON does not know."""
    if isinstance(value, Mapping):
        return {key: finite(own) for key, own in value.items()}
    if isinstance(value, list | tuple):
        return [finite(own) for own in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
