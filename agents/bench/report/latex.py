"""A report's numbers as LaTeX tables for a paper: means above their intervals, five columns at a time."""

from collections.abc import Iterator, Mapping, Sequence

from therapysim.agents.bench.report.escapes import latex
from therapysim.agents.bench.report.summary import Summary
from therapysim.agents.bench.report.tables import board, caption

__all__ = ["latex_tables"]

_HEAD = "% needs \\usepackage[T1]{fontenc} and \\usepackage{booktabs}\n"
# Beside the policy's name; as many as fit a page of one column in 10 pt.
_COLUMNS = 5


def latex_tables(summary: Summary, told: Mapping[str, str]) -> str:
    """For each simulator as many ``table`` environments as its columns take; ends with a newline.

    Args:
        told: what the caption says of the run, such as ``Runs.told``.
    """
    return _HEAD + "\n".join(table for i, s in enumerate(summary.simulators) for table in _tables(summary, s, i, told))


def _tables(summary: Summary, simulator: str, number: int, told: Mapping[str, str]) -> Iterator[str]:
    heads, rows = board(summary, simulator)
    lead = 1 + summary.replaced(simulator)  # what each table begins with
    step = _COLUMNS + 1 - lead
    for part, first in enumerate(range(lead, len(heads), step)):
        chosen = [*range(lead), *range(first, min(first + step, len(heads)))]
        text = caption(summary, simulator, told) if not part else f"The same policies with {simulator}, continued."
        yield "\n".join(
            [
                r"\begin{table}",
                rf"\caption{{{latex(text)}}}",
                rf"\label{{tab:bench-{number + 1}-{part + 1}}}",
                r"\centering\footnotesize\setlength{\tabcolsep}{3pt}",
                rf"\begin{{tabular}}{{l{'r' * (len(chosen) - 1)}}}",
                r"\toprule",
                _line([heads[i] for i in chosen]),
                r"\midrule",
                *(_row(row[0], [row[i] for i in chosen[1:]]) for row in rows),
                r"\bottomrule",
                r"\end{tabular}",
                r"\end{table}",
                "",
            ]
        )


def _row(policy: str, cells: Sequence[str]) -> str:
    """The means, and below them the intervals where any has one."""
    parts = [cell.replace("∞", r"\infty").partition(" [") for cell in cells]
    lines = [_line([policy, *(cell.partition(" [")[0] for cell in cells)])]
    if any(bracket for _, bracket, _ in parts):
        reach = [rf"{{\scriptsize $[{rest}$}}" if bracket else "" for _, bracket, rest in parts]
        lines.append(f" & {' & '.join(reach)} \\\\\\addlinespace")
    return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    return f"{' & '.join(map(latex, cells))} \\\\"
