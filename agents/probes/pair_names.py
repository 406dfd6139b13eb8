"""What a line of a file of pairs calls its texts, and a file of which every line lacks one of the names."""

from collections.abc import Container, Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from therapysim.errors import ConfigError
from therapysim.faults import shown

__all__ = ["FORMS", "OURS", "PREFERENCE", "Row", "form_of", "near", "require_names"]

Row = dict[str, Any]

#: What came before, the better turn, the worse one: in this project's form, and in that of preference data.
OURS = ("context", "better", "worse")
PREFERENCE = ("prompt", "chosen", "rejected")
#: Both forms in words.
FORMS = (
    "the texts context, better, worse, or prompt, chosen, rejected, as one JSON object a line or as columns of a .csv"
)

_KNOWN = (*OURS, *PREFERENCE, "worse_context", "source", "group", "patient", "persona")
#: So many names are told of a file that lacks one.
_MOST = 10


def form_of(names: Container[str]) -> tuple[str, ...]:
    """``OURS`` or ``PREFERENCE``: that of which there are more names; ours where nothing speaks for the other."""
    ours, theirs = (sum(name in names for name in form) for form in (OURS, PREFERENCE))
    if ours == theirs:
        return PREFERENCE if "chosen" in names and "better" not in names else OURS
    return OURS if ours > theirs else PREFERENCE


def near(name: str, found: Iterable[str]) -> list[str]:
    """The one name that is perhaps this one, misspelt; none where there is no such."""
    return get_close_matches(name, [own for own in found if own not in _KNOWN], n=1)


def require_names(path: str | Path, rows: Mapping[int, Row | str]) -> None:
    """Refuses, once, a file of which every line lacks a name that a pair has.

    Args:
        path: of the file, for the error.
        rows: line -> what it holds, or why it holds nothing.

    Raises:
        ConfigError: says which name, which others the file has, and which of them is perhaps misspelt.
    """
    found = list(dict.fromkeys(name for row in rows.values() if not isinstance(row, str) for name in row))
    lacking = _lacking(found, rows)
    if not found or not lacking:
        return
    more = f" and {len(found) - _MOST} more" if len(found) > _MOST else ""
    meant = [f"{name!r} by {own!r}" for name in lacking for own in near(name, found)]
    advice = f"did you mean {', '.join(meant)}?" if meant else f"expected {FORMS}; rename them"
    broken = next((f"; and line {number}: {row}" for number, row in rows.items() if isinstance(row, str)), "")
    raise ConfigError(
        f"pairs {str(path)!r}: {', '.join(f'no {name!r}' for name in lacking)}, found "
        f"{', '.join(map(shown, found[:_MOST]))}{more}; {advice}{broken}"
    )


def _lacking(found: list[str], rows: Mapping[int, Row | str]) -> list[str]:
    """The names of a pair that no line has; a prompt may be what two lists of messages both begin with."""
    lacking = [name for name in form_of(found) if name not in found]
    if set(OURS) <= set(found):
        return []
    talks = any(isinstance(row.get("chosen"), list) for row in rows.values() if not isinstance(row, str))
    return [name for name in lacking if name != "prompt" or not talks]
