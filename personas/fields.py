"""What a field of a persona file may hold: texts, ids, shares, and lists of lines."""

from typing import Annotated, Any

from pydantic import AfterValidator, Field, StringConstraints

from therapysim.records import shown, wrong

__all__ = [
    "Depth",
    "Fault",
    "Four",
    "Id",
    "Lines",
    "Once",
    "One",
    "Percent",
    "Share",
    "Signed",
    "Six",
    "Ten",
    "Text",
    "Texts",
    "Three",
    "Two",
    "Words",
    "at_least",
]  # fmt: skip

# An id is part of file names, and a variant's has "~" and a seed behind it.
_ID = r"^[A-Za-z0-9][A-Za-z0-9_-]*$"
# Control and direction characters would act on a terminal or hide words; a line end and a tab are no harm.
_VISIBLE = r"^[^\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]*$"

#: What a check over several fields found: what stands there, what should, and where.
Fault = tuple[str, str, str]

Share = Annotated[float, Field(ge=0.0, le=1.0)]
Signed = Annotated[float, Field(ge=-1.0, le=1.0)]
Percent = Annotated[int, Field(ge=0, le=100)]
#: 1 told readily, 2 needs some alliance, 3 needs trust.
Depth = Annotated[int, Field(ge=1, le=3)]
Id = Annotated[
    str,
    StringConstraints(pattern=_ID, max_length=64),
    Field(description="at most 64 letters, digits, - and _, the first a letter or a digit (put it in quotes)"),
]
Text = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, pattern=_VISIBLE),
    Field(description="a text that is not empty and holds no control characters (put it in quotes)"),
]
Texts = tuple[Text, ...]


def at_least(count: int) -> Any:
    """So many texts or more."""
    return Field(min_length=count, json_schema_extra={"uniqueItems": True})


def _distinct(texts: tuple[str, ...]) -> tuple[str, ...]:
    for i, text in enumerate(texts):
        if text in texts[:i]:
            raise wrong(f"{shown(text)} a second time", "texts that differ", f"[{i}]")
    return texts


def _lower(texts: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(text.lower() for text in texts)


Once = AfterValidator(_distinct)
#: Words, or beginnings of words, in a therapist's turn.
Words = Annotated[Texts, at_least(1), Once, AfterValidator(_lower)]

#: Lines that differ: any number of them, or at least so many.
Lines = Annotated[Texts, Once]
One = Annotated[Texts, at_least(1), Once]
Two = Annotated[Texts, at_least(2), Once]
Three = Annotated[Texts, at_least(3), Once]
Four = Annotated[Texts, at_least(4), Once]
Six = Annotated[Texts, at_least(6), Once]
Ten = Annotated[Texts, at_least(10), Once]
