"""What a page may ask for: each request's body as a record, checked before anything is done."""

from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from pydantic import Field

from therapysim.agents.web.desk import Refused
from therapysim.agents.web.ratings import Rating
from therapysim.records import Record, record_of

__all__ = ["MOST_TEXT", "Asked", "Begin", "Branch", "Choose", "Rate", "Say", "Suggest", "read"]

#: Characters of a turn, of a reason, of a rater's name.
MOST_TEXT, MOST_WHY, MOST_NAME = 10_000, 2_000, 80

Whole = Annotated[int, Field(ge=0, lt=2**31)]
A = TypeVar("A", bound=Record)


class Begin(Record):
    """A session."""

    patient: str
    seed: Whole


class Asked(Record):
    """Of a session.

    Attributes:
        seen: the branch in hand and its number of turns, as the page was last told.
    """

    seen: tuple[int, int] | None = None


class Say(Asked):
    """A turn: the person's words, or a policy's."""

    text: Annotated[str, Field(max_length=MOST_TEXT)] = ""
    policy: str = ""


class Suggest(Asked):
    """A policy's words, to be changed."""

    policy: str


class Branch(Asked):
    """Another branch, of so many turns of this one."""

    turns: Whole


class Choose(Asked):
    """A branch that there is."""

    branch: Whole


class Rate(Asked):
    """What a person thinks of a turn, the first being 0."""

    turn: Whole
    rating: Rating
    why: Annotated[str, Field(max_length=MOST_WHY)] = ""
    rater: Annotated[str, Field(max_length=MOST_NAME)] = ""


class _Wrong(Refused):
    def __init__(self, why: str) -> None:
        super().__init__(422, why)


def read(body: Mapping[str, Any], kind: type[A]) -> A:
    """A body as what it is to ask for.

    Raises:
        Refused: says which field is wrong, what was found and what was expected.
    """
    return record_of(body, kind, _Wrong, "request")
