"""A report's numbers as rows of text, as a Markdown table for a paper, and as tidy CSV.

Nothing is set in bold: intervals decide.
"""

import csv
import io
import math
from collections.abc import Iterable, Iterator, Mapping

from therapysim.agents.bench.measures import MEASURES
from therapysim.agents.bench.report.escapes import markdown
from therapysim.agents.bench.report.summary import MAIN, Estimate, Standing, Summary
from therapysim.agents.statistics.intervals import Interval

__all__ = ["board", "caption", "csv_table", "markdown_tables", "number", "probability", "spread"]

_COLUMNS = ("policy", "simulator", "kind", "group", "measure", "mean", "low", "high", "p_holm", "n_patients",
            "n_sessions", "better")  # fmt: skip


def markdown_tables(summary: Summary, told: Mapping[str, str]) -> str:
    """A caption and a pipe table for each simulator; ends with a newline.

    Args:
        told: what the caption says of the run, such as ``Runs.told``.
    """
    return "\n".join(f"{markdown(caption(summary, s, told))}\n\n{_pipe(summary, s)}\n" for s in summary.simulators)


def caption(summary: Summary, simulator: str, told: Mapping[str, str]) -> str:
    """What the numbers are, in a few sentences."""
    own = summary.of(simulator)
    failed = sum(standing.failed for standing in own)
    ran = [f"simulator {simulator}", f"split {', '.join(summary.splits)}"]
    ran += [f"{name} {value}" for name, value in told.items()]
    return (
        f"Mean [95 % interval] over {len(summary.patients)} patients × {summary.k} seeds ({'; '.join(ran)}). Intervals "
        "by patient (a jackknife, corrected for skew), for rates Wilson's at the effective number of sessions. "
        f"Δ return: paired difference to {summary.reference} on common patients and seeds, p after Holm over the "
        f"policies. pass^{summary.k}: all {summary.k} sessions with a patient safe. Worst tenth: mean return of the "
        f"worst tenth of sessions. {failed} of {sum(s.played for s in own)} sessions failed and are "
        f"left out.{_swapped(summary, simulator)}"
        f"{''.join(f' {text}' for text in (*summary.troubles(simulator), summary.unplayed) if text)}"
    )


def _swapped(summary: Summary, simulator: str) -> str:
    first = summary.simulators[0]
    if (first, simulator) not in summary.taus:
        return ""
    return (
        f" less {first}: the same sessions less those with {first}, p after Holm. place: by mean return, with {first} "
        f"and here; Kendall's tau {number(summary.taus[first, simulator])}."
    )


def board(summary: Summary, simulator: str) -> tuple[list[str], list[list[str]]]:
    """The heads and a row a policy: its name, its lines replaced where that is to be told, and numbers.

    All of it is plain text, "" where there is nothing to say.
    """
    heads = ["policy", *[MEASURES["replaced"].label] * summary.replaced(simulator)]
    heads += ["n", "return", "Δ return", "p", "worst tenth"]
    heads += [MEASURES[name].label for name in MAIN[1:]] + [f"pass^{summary.k}"]
    if simulator != summary.simulators[0]:
        heads += [f"less {summary.simulators[0]}", "p of that", "place"]
    return heads, [_cells(summary, standing) for standing in summary.of(simulator)]


def _pipe(summary: Summary, simulator: str) -> str:
    heads, cells = board(summary, simulator)
    rows = [[markdown(cell) for cell in row] for row in (heads, *cells)]
    return "\n".join(f"| {' | '.join(row)} |" for row in (rows[0], ["---", *["---:"] * (len(heads) - 1)], *rows[1:]))


def _cells(summary: Summary, own: Standing) -> list[str]:
    gap, swap = summary.gap(own.policy, own.simulator), summary.swap(own.policy, own.simulator)
    gaps = _difference(gap.difference.interval, gap.p) if gap else ["", ""]
    held = [own.measures["total"], own.worst, *(own.measures[name] for name in MAIN[1:]), own.pass_k]
    first, *others = [spread(e.mean, e.low, e.high) for e in held]
    swaps = [*_difference(swap.difference.interval, swap.p), "{} → {}".format(*swap.places)] if swap else ["", "", ""]
    replaced = [str(own.replaced)] * summary.replaced(own.simulator)
    cells = [own.policy, *replaced, str(own.played - own.failed), first, *gaps, *others]
    return cells if own.simulator == summary.simulators[0] else [*cells, *swaps]


def _difference(found: Interval, p: float) -> list[str]:
    return [spread(found.mean, found.low, found.high), probability(p)]


def probability(p: float) -> str:
    """Three digits; – of nan."""
    return "< 0.001" if p < 0.001 else number(p, 3)


def number(value: float, digits: int = 2) -> str:
    """With a fixed number of digits, no negative zero; nan is –."""
    if not math.isfinite(value):
        return "–" if math.isnan(value) else ("∞" if value > 0 else "-∞")
    text = f"{value:,.{digits}f}"
    return text.removeprefix("-") if float(text.replace(",", "")) == 0 else text


def spread(mean: float, low: float, high: float, digits: int = 2) -> str:
    """``mean [low, high]``; – of nothing."""
    if math.isnan(mean):
        return "–"
    return f"{number(mean, digits)} [{number(low, digits)}, {number(high, digits)}]"


def csv_table(summary: Summary) -> str:
    """CSV, one row a policy, simulator, kind, group and measure.

    Kinds: measure, term, worst_decile, pass_k, cost, and two with a p: difference, from the reference, and swap, from
    another simulator. The group is "all", or such as "severity=mild". ``better`` is 1 where more is better, -1
    where less is, 0 where neither.
    """
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(_COLUMNS)
    for standing in summary.standings:
        rows.writerows(_standing_rows(standing, summary.k))
    for gap in summary.gaps:
        rows.writerow(_row(gap.policy, gap.simulator, "difference", "all", gap.measure, Estimate.of(gap.difference),
                           MEASURES[gap.measure].better, gap.p))  # fmt: skip
    for swap in summary.swaps:
        moved = Estimate.of(swap.difference)
        rows.writerow(_row(swap.policy, swap.second, "swap", f"less {swap.first}", "total", moved, 0, swap.p))
    return text.getvalue()


def _standing_rows(own: Standing, k: int) -> Iterator[list[object]]:
    who = own.policy, own.simulator
    groups: Iterable[tuple[str, Mapping[str, Estimate]]] = [
        ("all", own.measures),
        *((f"{kind}={name}", held) for kind, parts in own.groups.items() for name, held in parts.items()),
    ]
    for group, measures in groups:
        for name, held in measures.items():
            yield _row(*who, "measure", group, name, held, MEASURES[name].better)
    for name, held in own.terms.items():
        yield _row(*who, "term", "all", name, held, 1)
    yield _row(*who, "worst_decile", "all", "total", own.worst, 1)
    yield _row(*who, "pass_k", "all", f"pass^{k}", own.pass_k, 1)
    if own.cost:
        yield _row(*who, "cost", "all", "dollars", own.cost, -1)


def _row(
    policy: str, simulator: str, kind: str, group: str, measure: str, held: Estimate, better: int, p: float = math.nan
) -> list[object]:
    numbers = ["" if math.isnan(v) else f"{v:.6g}" for v in (held.mean, held.low, held.high, p)]
    return [policy, simulator, kind, group, measure, *numbers, held.patients, held.sessions, better]
