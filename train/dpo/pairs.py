"""Pairs of answers, read from files of JSON lines: a prompt, the answer to prefer, and the one to turn away from."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict
from typing_extensions import TypedDict  # pydantic asks for it before Python 3.12

from therapysim.agents.therapists.therapist import SYSTEM_PROMPT
from therapysim.errors import ConfigError, PersonaError
from therapysim.files import whole
from therapysim.models.chat import ChatMessage
from therapysim.personas.load import find
from therapysim.personas.schema import Persona
from therapysim.personas.vary import MARK
from therapysim.records import STRICT, Record, numbered_rows, read_rows

__all__ = ["HEADER", "Pair", "Practice", "kept_pairs", "read_pairs", "write_pairs"]

#: What a patient's message begins with where the state is shown.
HEADER = "[USER STATE]"


@dataclass(frozen=True)
class Pair:
    """One row of a run's ``pairs.jsonl``.

    Attributes:
        prompt: system, patient (user) and therapist (assistant) in turn, the patient last.
        chosen, rejected: the two answers, of one assistant message each.
    """

    __pydantic_config__ = STRICT

    prompt: list[ChatMessage]
    chosen: list[ChatMessage]
    rejected: list[ChatMessage]


@dataclass(frozen=True)
class Practice:
    """Which pairs may be learned from.

    Attributes:
        patients: ids of the library's patients whose pairs may be; persons who are none of the library's are let by.
        variants: pairs of their variants as well.
        show_state: the policy is prompted with the state header, and so must the pairs be.
    """

    patients: frozenset[str]
    variants: bool = True
    show_state: bool = True


class _Answer(TypedDict):
    __pydantic_config__ = ConfigDict(extra="forbid", strict=True)  # type: ignore[misc]

    role: Literal["assistant"]
    content: str


class _Row(Record):
    """A line of a file; what else it holds, such as ``margin``, is for its readers."""

    model_config = ConfigDict(extra="allow")

    prompt: str | list[ChatMessage]
    chosen: str | list[_Answer]
    rejected: str | list[_Answer]
    persona: str | None = None


def read_pairs(paths: Sequence[str | Path], practice: Practice) -> list[Pair]:
    """The pairs of files, in order.

    A prompt that is a plain text is the patient's message; one without a system message gets that of a benchmark.

    Raises:
        ConfigError: a file cannot be read or holds no pair, or a line is none that may be learned from; says which file
            and line, and what to do.
    """
    found: list[Pair] = []
    for path in paths:
        own = list(_of_file(Path(path), practice))
        if not own:
            raise ConfigError(f"pairs {path}: it holds no pair, expected one JSON object a line; make it again")
        found += own
    return found


def kept_pairs(path: Path) -> list[Pair]:
    """The rows of ``write_pairs``.

    Raises:
        ConfigError: a row is none.
    """
    return list(read_rows(path, Pair, ConfigError))


def write_pairs(pairs: Sequence[Pair], path: Path) -> None:
    """One JSON object a line, whole or not at all, in the form that trainers of chat models read."""
    with whole(path) as part, part.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(asdict(pair), ensure_ascii=False) + "\n" for pair in pairs)


def _of_file(path: Path, practice: Practice) -> Iterator[Pair]:
    for line, row in numbered_rows(path, _Row, ConfigError, f"pairs {path}"):
        pair = Pair(_prompt(row.prompt), _answer(row.chosen), _answer(row.rejected))
        for fault in (_fault(pair, practice.show_state), _stranger(row.persona, practice)):
            if fault:
                raise ConfigError(f"pairs {path}: line {line}: {fault}")
        yield pair


def _prompt(given: str | list[ChatMessage]) -> list[ChatMessage]:
    messages: list[ChatMessage] = [{"role": "user", "content": given}] if isinstance(given, str) else given
    if messages and messages[0]["role"] != "system":
        return [{"role": "system", "content": SYSTEM_PROMPT}, *messages]
    return messages


def _answer(given: str | list[Any]) -> list[ChatMessage]:
    return [{"role": "assistant", "content": given}] if isinstance(given, str) else given


def _fault(pair: Pair, show_state: bool) -> str:
    """What is wrong with a pair, and what to do; "" where nothing is."""
    roles = [message["role"] for message in pair.prompt]
    if roles != ["system", *(("user", "assistant")[i % 2] for i in range(len(roles) - 1))] or roles[-1:] != ["user"]:
        told = ", ".join(roles) or "nothing"
        return f"prompt is of {told}, expected system, user, and assistant and user in turn, the user last"
    for name, side in (("chosen", pair.chosen), ("rejected", pair.rejected)):
        if len(side) != 1 or not side[0]["content"].strip():
            found = f"{len(side)} messages" if len(side) != 1 else "empty"
            return f"{name} is {found}, expected one answer of the therapist; mend the line, or leave it out"
    if pair.chosen[0]["content"].strip() == pair.rejected[0]["content"].strip():
        return "chosen and rejected are the same, expected two answers; leave the line out"
    return _header_fault(pair, show_state)


def _header_fault(pair: Pair, show_state: bool) -> str:
    said = [message["content"] for message in pair.prompt if message["role"] == "user"]
    headed = [text.lstrip().startswith(HEADER) for text in said]
    if show_state and not all(headed):
        return (
            f"patient message {headed.index(False) + 1} of prompt has no {HEADER} header, and the policy will be "
            "prompted with one; write the pairs with it, or give --no-show-state"
        )
    if not show_state and any(headed):
        return (
            f"patient message {headed.index(True) + 1} of prompt has a {HEADER} header, and with show_state false the "
            "policy will be prompted without; write the pairs without it, or leave --no-show-state out"
        )
    return ""


def _stranger(persona: str | None, practice: Practice) -> str:
    """Whether a pair is of a patient whom nothing may be learned from."""
    known = _library_patient(persona)
    if known is None or persona in practice.patients or (known.id in practice.patients and practice.variants):
        return ""
    if known.split == "test":
        return (
            f"persona {persona!r} is a test patient, kept apart for benchmarks: nothing may be trained on it; leave "
            "its lines out"
        )
    if known.id in practice.patients:
        return f"persona {persona!r} is a variant, and vary is false; leave its lines out, or leave out --no-vary"
    return (
        f"persona {persona!r} is of split {known.split!r}, and not among the patients to learn from; leave its lines "
        "out, or choose its patient by split or personas"
    )


def _library_patient(persona: str | None) -> Persona | None:
    """The patient of our library who is meant, or whose variant is; None where there is none."""
    try:
        return find((persona or "").partition(MARK)[0])
    except PersonaError:
        return None
