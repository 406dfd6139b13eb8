"""Places that are often taken for session files: what they are, and what to name instead."""

from pathlib import Path
from typing import Any

from therapysim.documents import Unreadable, read_document
from therapysim.errors import ConfigError

__all__ = ["refuse_misplaced"]

_LINES = (".jsonl", ".jsonl.gz")
_BENCHMARK = ("settings.json", "results.jsonl", "results.jsonl.gz")


def refuse_misplaced(path: Path) -> None:
    """Refuses the folder or a file of an export, a recording or a benchmark.

    Raises:
        ConfigError: says what it is, and what to give.
    """
    folder = path if path.is_dir() else path.parent
    if path in (folder, folder / "provenance.json") and _says(folder / "provenance.json", "therapysim-chats"):
        source = _content(folder / "provenance.json").get("source")
        name = source.get("name") if isinstance(source, dict) else "a folder"
        raise ConfigError(f"{path} is an export of sessions, and holds none; give what it was made of, {name}")
    if path in (folder, folder / "record.json") and _says(folder / "record.json", "therapysim-record"):
        raise ConfigError(
            f"{path} is a recording; play it with `therapysim bench --replay {folder} --sessions --out FOLDER`, and "
            "give FOLDER/sessions"
        )
    if path == folder or path.name in _BENCHMARK:
        _refuse_benchmark(path, folder)
    if path.is_file() and path.name.endswith(_LINES):
        raise ConfigError(f"{path}: a file of lines, expected a session a file, .json, as `--sessions` writes them")


def _refuse_benchmark(path: Path, folder: Path) -> None:
    if not _says(folder / "settings.json", "therapysim-bench"):
        return
    sessions = folder / "sessions"
    if sessions.is_dir():
        raise ConfigError(f"{path} is of a benchmark; give the folder of its sessions, {sessions}")
    raise ConfigError(
        f"{path} is of a benchmark that was played without --sessions; play it in another folder with it, and give "
        "its folder sessions"
    )


def _says(path: Path, kind: str) -> bool:
    return _content(path).get("format") == kind


def _content(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        content = read_document(path)
    except Unreadable:
        return {}
    return content if isinstance(content, dict) else {}
