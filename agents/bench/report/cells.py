"""What the report's page shows of a section: tables whose cells know how they sort, and what stands beside tables.

All of it is plain text and numbers. How it becomes HTML, and is made harmless, is the business of ``templates``.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from therapysim.agents.bench.faults import Replaced
from therapysim.agents.bench.measures import MEASURES
from therapysim.agents.bench.report.plots import Drawing
from therapysim.agents.bench.report.summary import Estimate
from therapysim.agents.bench.report.tables import number

__all__ = ["Block", "Cell", "Folded", "Head", "Moods", "Note", "Plots", "Table", "count_cell", "empty_cell",
           "estimate_cell", "name_cell", "policy_cell", "replaced_cell", "replaced_head", "shaded_cell", "tables_in",
           "text_cell"]  # fmt: skip

#: Shades of a table's cells on each side of zero.
_SHADES = 4


@dataclass(frozen=True)
class Head:
    """A column: its name, what it means, and "descending" where the rows come in its order."""

    label: str
    meaning: str = ""
    order: str = field(default="", compare=False)


@dataclass(frozen=True)
class Cell:
    """One cell of a table.

    Attributes:
        text: what it says first.
        sort: what it sorts by; "" and what is not finite come last either way.
        css: its classes.
        below: smaller lines under the text, which is bold where there are any.
        row: whether it names its row.
        simulator: of a policy's name, which leads to its sessions with this simulator; else "".
        tag: a word beside the text.
    """

    text: str
    sort: float | str = ""
    css: str = ""
    below: tuple[str, ...] = ()
    row: bool = False
    simulator: str = ""
    tag: str = ""

    @property
    def key(self) -> str:
        """What the page's script sorts by."""
        return "" if isinstance(self.sort, float) and not math.isfinite(self.sort) else str(self.sort)


@dataclass(frozen=True)
class Table:
    """A table whose heads sort it, in a box of its own that scrolls; no two of a page have the same caption."""

    kind: ClassVar = "table"
    caption: str
    heads: Sequence[Head]
    rows: Sequence[Sequence[Cell]]
    css: str = ""


@dataclass(frozen=True)
class Note:
    """A sentence; soft where it may be skipped."""

    kind: ClassVar = "note"
    text: str
    soft: bool = True


@dataclass(frozen=True)
class Folded:
    """Tables that are opened by their title."""

    kind: ClassVar = "folded"
    title: str
    tables: Sequence[Table]


@dataclass(frozen=True)
class Plots:
    """Plots side by side, each in a box that scrolls."""

    kind: ClassVar = "plots"
    drawings: Sequence[Drawing]


@dataclass(frozen=True)
class Moods:
    """A small plot for each policy, under one legend."""

    kind: ClassVar = "moods"
    series: Sequence[str]
    drawings: Sequence[tuple[Cell, Drawing]]


Block = Table | Note | Folded | Plots | Moods


def tables_in(blocks: Sequence[Block]) -> Iterator[Table]:
    """Every table, those folded away included."""
    for block in blocks:
        if isinstance(block, Table):
            yield block
        elif isinstance(block, Folded):
            yield from block.tables


def text_cell(text: str, sort: float) -> Cell:
    """A number that is written in its own way."""
    return Cell(text.replace("-", "−"), sort, "number")


def count_cell(count: int) -> Cell:
    """A whole number."""
    return text_cell(str(count), float(count))


def empty_cell() -> Cell:
    """Where there is nothing to average."""
    return Cell("–", math.nan, "number none")


def replaced_head(of: str = "") -> Head:
    """The column of ``replaced_cell``; ``of`` a simulator where a table has two."""
    label = MEASURES["replaced"].label + (f", {of}" if of else "")
    return Head(label, "of the patient's lines, those that the script put in place of refused or empty ones")


def replaced_cell(own: Replaced) -> Cell:
    """A share above its counts, as bad news where it is more than a tenth."""
    if not own.lines:
        return empty_cell()
    css = "number down" if own.many else "number"
    return Cell(f"{100 * own.share:.0f} %", own.share, css, (f"{own.replaced} of {own.lines}",))


def name_cell(text: str) -> Cell:
    """The name of a row."""
    return Cell(text, text, row=True)


def policy_cell(policy: str, simulator: str, *, reference: bool = False) -> Cell:
    """The name of a policy's row; following it filters the transcripts."""
    return Cell(policy, policy, row=True, simulator=simulator, tag="reference" if reference else "")


def estimate_cell(own: Estimate, digits: int = 2, css: str = "", note: str = "") -> Cell:
    """A mean above its interval, which a single patient cannot give."""
    if math.isnan(own.mean):
        return empty_cell()
    low, high = (number(value, digits) for value in (own.low, own.high))
    reach = f"[{low}, {high}]" if math.isfinite(own.high) else "one patient"
    mean, *below = (text.replace("-", "−") for text in (number(own.mean, digits), reach, note) if text)
    return Cell(mean, own.mean, f"number {css}".strip(), tuple(below))


def shaded_cell(own: Estimate, most: float) -> Cell:
    """An estimate shaded by the square root of the mean's share of ``most``, so that small terms show too."""
    if not most or math.isnan(own.mean):
        return estimate_cell(own)
    shade = round(_SHADES * math.sqrt(abs(own.mean) / most))
    return estimate_cell(own, css=f"{'loss' if own.mean < 0 else 'gain'}-{shade}" if shade else "")
