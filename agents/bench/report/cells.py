"""Tables of the report's page: cells that know how they sort, heads that sort by them."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from therapysim.agents.bench.report.summary import Estimate
from therapysim.agents.bench.report.tables import number

__all__ = ["Cell", "Head", "estimate", "heat", "name_cell", "plain", "policy_cell", "table"]

#: Shades of the heat table on each side of zero.
_SHADES = 4


@dataclass(frozen=True)
class Head:
    """A column: its name, what it means, as a tip, and "descending" where the rows come in its order."""

    label: str
    meaning: str = ""
    order: str = ""


@dataclass(frozen=True)
class Cell:
    """One cell: HTML that is safe already, what it sorts by ("" comes last either way), and its classes."""

    html: str
    sort: float | str = ""
    css: str = ""
    row: bool = False

    def __str__(self) -> str:
        sort = "" if isinstance(self.sort, float) and not math.isfinite(self.sort) else self.sort
        tag = 'th scope="row"' if self.row else "td"
        css = f' class="{self.css}"' if self.css else ""
        return f'<{tag}{css} data-sort="{escape(str(sort))}">{self.html}</{"th" if self.row else "td"}>'


def plain(text: str, sort: float | str | None = None) -> Cell:
    """Text of any kind."""
    return Cell(escape(text).replace("-", "−") if isinstance(sort, float) else escape(text),
                text if sort is None else sort, "number" if isinstance(sort, float) else "")  # fmt: skip


def name_cell(text: str) -> Cell:
    """The name of a row."""
    return Cell(escape(text), text, row=True)


def policy_cell(policy: str, simulator: str, *, reference: bool = False) -> Cell:
    """The name of a policy's row; following it filters the transcripts."""
    link = (f'<a href="#sessions" data-policy="{escape(policy)}" data-simulator="{escape(simulator)}" '
            f'title="show the sessions of {escape(policy)}">{_breakable(policy)}</a>')  # fmt: skip
    return Cell(link + ' <span class="tag">reference</span>' * reference, policy, row=True)


def estimate(own: Estimate, digits: int = 2, css: str = "", note: str = "") -> Cell:
    """A mean above its interval, which a single patient cannot give."""
    if math.isnan(own.mean):
        return Cell('<span class="none">–</span>', math.nan, "number")
    low, high = (number(value, digits) for value in (own.low, own.high))
    reach = f"[{low}, {high}]" if math.isfinite(own.high) else "one patient"
    text = f"<b>{number(own.mean, digits)}</b><small>{reach}</small>{note and f'<small>{note}</small>'}"
    return Cell(text.replace("-", "−"), own.mean, f"number {css}".strip())


def heat(own: Estimate, most: float) -> Cell:
    """As ``estimate``, shaded by the square root of the mean's share of ``most``, so that small terms show too."""
    if not most or math.isnan(own.mean):
        return estimate(own)
    shade = round(_SHADES * math.sqrt(abs(own.mean) / most))
    return estimate(own, css=f"{'loss' if own.mean < 0 else 'gain'}-{shade}" if shade else "")


def table(caption: str, heads: Sequence[Head], rows: Sequence[Sequence[Cell]], css: str = "") -> str:
    """A table whose heads sort it, in a box of its own that scrolls."""
    top = "".join(
        f'<th scope="col"{_ordered(h)}><button type="button" title="{escape(h.meaning)}">{_breakable(h.label)}</button>'
        "</th>"
        for h in heads
    )
    body = "".join(f"<tr>{''.join(map(str, row))}</tr>" for row in rows)
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(caption)}"><table class="sortable {css}">'
        f"<caption>{escape(caption)}</caption><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _breakable(name: str) -> str:
    """A name that may go on in a new line after an underscore or a slash."""
    return re.sub(r"([_/])", r"\1<wbr>", escape(name))


def _ordered(head: Head) -> str:
    return f' aria-sort="{head.order}"' if head.order else ""
