"""Files that are written whole or not at all."""

import json
import math
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

__all__ = ["finite", "whole", "whole_folder", "write_json"]


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


@contextmanager
def whole_folder(out: Path) -> Iterator[Path]:
    """A folder beside ``out`` that takes its place when the block ends, and is gone if it fails; ``out`` then stays.

    Raises:
        OSError: it cannot be made or moved.
    """
    draft, old = (out.with_name(f".{out.name}.{os.getpid()}.{kind}") for kind in ("part", "old"))
    try:
        shutil.rmtree(draft, ignore_errors=True)  # of a dead process that had this one's id
        draft.mkdir(parents=True)
        yield draft
        if out.exists():
            shutil.rmtree(old, ignore_errors=True)
            out.rename(old)
        draft.rename(out)
    finally:
        if old.exists() and not out.exists():
            old.rename(out)
        shutil.rmtree(draft, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


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
