"""Files of pairs: JSON lines or a table, in this project's form or in that of preference data.

A line holds the texts ``context`` (what the patient said), ``better`` and ``worse``, and if need be ``worse_context``
(what the worse turn answers, where that is something else), ``source`` (where the pair comes from) and ``group`` (pairs
of one group are not independent); or ``prompt``, ``chosen`` and ``rejected``, as texts or as lists of messages with
``role`` and ``content``, as TRL reads them. A context or prompt of several turns is a list. Other keys are ignored.
"""

import codecs
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, RootModel, ValidationError
from pydantic_core import from_json

from therapysim.agents.probes.pair_names import FORMS, OURS, PREFERENCE, Row, form_of, near, require_names
from therapysim.agents.probes.pairs import ALL, Fault, Pair, Pairs
from therapysim.agents.probes.tables import is_missing, read_table
from therapysim.errors import ConfigError
from therapysim.personas.own import base_name

__all__ = ["read_pairs"]

_TABLES = (".csv", ".tsv", ".txt")
_KINDS = {"NoneType": "null", "bool": "true or false", "int": "a number", "float": "a number", "list": "a list",
          "dict": "an object", "str": "text"}  # fmt: skip
#: What stands before a patient's words in a prompt of ours.
_HEADER = re.compile(r"(?:\[USER STATE\]\n.*?\n---\n|\[STATE: [^\]\n]*\] )?Patient: ", re.DOTALL)
_PATIENT, _THERAPIST = "user", "assistant"


class _Wrong(ValueError):
    """Why a line is no pair; quotes nothing of its text."""


class _Line(RootModel[dict[str, Any]]):
    model_config = ConfigDict(strict=True)


def read_pairs(path: str | Path, delimiter: str | None = None) -> Pairs:
    """The pairs of a file, and each line that is none. Empty lines are passed over.

    Args:
        path: a table where its name ends in .csv, .tsv or .txt; else JSON lines.
        delimiter: of a table, a name of ``tables.DELIMITERS``; None finds it.

    Raises:
        ConfigError: the file cannot be read, every line lacks a name, or no line of it is a pair.
    """
    rows = _of_table(path, delimiter) if Path(path).suffix.lower() in _TABLES else _of_json(path)
    require_names(path, rows)
    parsed = {number: row if isinstance(row, str) else _pair_or_fault(row) for number, row in rows.items()}
    pairs = {number: pair for number, pair in parsed.items() if isinstance(pair, Pair)}
    faults = tuple(Fault(number, reason) for number, reason in parsed.items() if isinstance(reason, str))
    if not pairs:
        told = "; ".join(map(str, faults[:3])) + f"; and {len(faults) - 3} more" * (len(faults) > 3)
        raise ConfigError(
            f"pairs {str(path)!r}: no usable line ({told or 'it is empty'}), expected {FORMS}; mend "
            "the file or name another"
        )
    return Pairs(tuple(pairs.values()), faults, tuple(pairs))


def _of_json(path: str | Path) -> dict[int, Row | str]:
    raw = _content(path)
    if _is_list(raw):
        raise ConfigError(
            f"pairs {str(path)!r}: this is one list, expected one JSON object a line; write a row a line, as "
            "jq -c '.[]' does"
        )
    return {number: _parse(line) for number, line in enumerate(raw.split(b"\n"), 1) if line.strip()}


def _content(path: str | Path) -> bytes:
    try:
        return Path(path).read_bytes().removeprefix(codecs.BOM_UTF8)
    except OSError as error:
        raise ConfigError(
            f"pairs {str(path)!r}: {error.strerror or error}, expected a file of JSON lines; check the path"
        ) from error


def _is_list(raw: bytes) -> bool:
    """Whether all of it is one list, or the beginning of one."""
    try:
        return raw.lstrip()[:1] == b"[" and isinstance(from_json(raw, allow_partial=True), list)
    except ValueError:
        return False


def _of_table(path: str | Path, delimiter: str | None) -> dict[int, Row | str]:
    header, rows = read_table(str(path), "pairs", (*OURS, *PREFERENCE), ConfigError, delimiter)
    if twice := [name for name in header if header.count(name) > 1]:
        raise ConfigError(f"pairs {str(path)!r}: two columns are named {twice[0]!r}, expected one; rename the other")
    return {
        line: _row(header, cells) if len(cells) == len(header) else f"{len(cells)} cells, expected {len(header)}"
        for line, cells in rows
    }


def _row(header: Sequence[str], cells: Sequence[str]) -> Row:
    """A row without its empty cells; of a context the empty text is one: nothing is known of it."""
    row: dict[str, Any] = dict(zip(header, cells, strict=True))
    kept = {name: cell for name, cell in row.items() if not (is_missing(cell) and name in ("source", "group"))}
    return {name: cell for name, cell in kept.items() if cell.strip() or name != "worse_context"}


def _parse(line: bytes) -> Row | str:
    """A line's object, or what is wrong with it. Only a line feed ends one: JSON's texts may hold every other break."""
    try:
        return _Line.model_validate_json(line.decode("utf-8")).root
    except UnicodeDecodeError as error:
        return f"not UTF-8 at byte {error.start + 1}, expected one JSON object"
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        if fault["type"] == "json_invalid":
            return f"not JSON ({fault['ctx']['error']}), expected one object"
        return f"{_kind(fault['input'])}, expected an object"


def _pair_or_fault(told: Mapping[str, Any]) -> Pair | str:
    try:
        form = form_of(told)
        pair = _of_preference(told) if form is PREFERENCE else _of_ours(told)
        _require_sense(pair, *form[1:])
    except _Wrong as error:
        return str(error)
    return pair


def _of_ours(told: Mapping[str, Any]) -> Pair:
    before, context = _talk(_required(told, "context"), "context")
    better, worse = _text(told, "better"), _text(told, "worse")
    moved = _text(told, "worse_context") if told.get("worse_context") is not None else ""
    source, group = (_text(told, name) if told.get(name) is not None else "" for name in ("source", "group"))
    return Pair(context, better, worse, moved if moved.strip() else "", source, group, before)


def _of_preference(told: Mapping[str, Any]) -> Pair:
    """A row of preference data; where it names no group, its patient is one, with all its variants."""
    prompt, chosen, rejected = told.get("prompt"), _required(told, "chosen"), _required(told, "rejected")
    if prompt is None and isinstance(chosen, list) and isinstance(rejected, list):
        shared = next((i for i, (a, b) in enumerate(zip(chosen, rejected, strict=False)) if a != b), 0)
        prompt, chosen, rejected = chosen[:shared], chosen[shared:], rejected[shared:]
    if prompt is None:
        raise _Wrong(_lack(told, "prompt", "text or a list of messages"))
    before, context = _talk(prompt, "prompt")
    named = next((name for name in ("group", "patient", "persona") if isinstance(told.get(name), str)), "")
    group = told.get(named, "")
    if named != "group":
        group = base_name(group) or group
    source = told.get("source")
    return Pair(
        context=context,
        better=_answer(chosen, "chosen"),
        worse=_answer(rejected, "rejected"),
        source=source if isinstance(source, str) else "",
        group=group,
        before=before,
    )


def _talk(given: Any, name: str) -> tuple[tuple[str, ...], str]:
    """What was said before, and the patient's newest words, of a text or a list of turns or messages."""
    if isinstance(given, str):
        return (), _words(given) if name == "prompt" else given
    if not isinstance(given, list):
        raise _Wrong(f"{name} is {_kind(given)}, expected text" + " or a list of turns" * isinstance(given, dict))
    if all(isinstance(turn, str) for turn in given):
        said = [(_PATIENT if (len(given) - i) % 2 else _THERAPIST, turn) for i, turn in enumerate(given)]
    else:
        said = [own for own in map(_message, given) if own[0] != "system"]
    roles = [role for role, _ in said]
    if not said or roles != [(_PATIENT, _THERAPIST)[(len(said) - 1 - i) % 2] for i in range(len(said))]:
        raise _Wrong(f"{name} is of {', '.join(roles) or 'nothing'}, expected patient and therapist in turn, the "
                     "patient last")  # fmt: skip
    if blank := [i for i, (_, text) in enumerate(said, 1) if not text.strip()]:
        raise _Wrong(f"turn {blank[0]} of {name} is blank, expected words")
    return tuple(text for _, text in said[:-1]), said[-1][1]


def _message(given: Any) -> tuple[str, str]:
    role, content = (given.get(name) if isinstance(given, dict) else None for name in ("role", "content"))
    if role not in ("system", _PATIENT, _THERAPIST) or not isinstance(content, str):
        raise _Wrong("a message has no role of system, user, assistant with a text as content")
    return role, _words(content) if role == _PATIENT else content


def _words(text: str) -> str:
    """A patient's words without the header and the name that a prompt of ours puts before them."""
    return _HEADER.sub("", text, count=1) if _HEADER.match(text) else text


def _answer(given: Any, name: str) -> str:
    if isinstance(given, str):
        return given
    if not isinstance(given, list) or len(given) != 1:
        told = f"{len(given)} messages" if isinstance(given, list) else _kind(given)
        raise _Wrong(f"{name} is {told}, expected text or one message")
    role, content = _message(given[0])
    if role != _THERAPIST:
        raise _Wrong(f"{name} is a message of {role}, expected one of assistant")
    return content


def _text(told: Mapping[str, Any], name: str) -> str:
    value = _required(told, name)
    if not isinstance(value, str):
        raise _Wrong(f"{name} is {_kind(value)}, expected text")
    return value


def _required(told: Mapping[str, Any], name: str) -> Any:
    if told.get(name) is None:
        raise _Wrong(_lack(told, name, "text"))
    return told[name]


def _lack(told: Mapping[str, Any], name: str, expected: str) -> str:
    if name in told:
        return f"{name} is null, expected {expected}"
    meant = "".join(f"; found {own!r}; did you mean {name!r}?" for own in near(name, told))
    return f"{name} is missing, expected {expected}{meant}"


def _kind(value: Any) -> str:
    return _KINDS[type(value).__name__]


def _require_sense(pair: Pair, first: str, second: str) -> None:
    """Refuses what no judge could tell apart, and turns without words, by the two turns' names in the file."""
    if pair.source == ALL:
        raise _Wrong(f"source is {ALL!r}, the name of all sources together, expected another")
    better, worse = pair.better.strip(), pair.worse.strip()
    if not better or not worse:
        blank = f"{first} and {second} are both" if better == worse else f"{second if better else first} is"
        raise _Wrong(f"{blank} blank, expected words")
    if better == worse and pair.worse_context.strip() in ("", pair.context.strip()):
        raise _Wrong(f"{first} and {second} are the same turn in the same context, expected two that differ")
