"""What the page's tables get where the script spoke for a model: a column, or a note where policies are columns."""

from collections.abc import Sequence
from dataclasses import replace

from therapysim.agents.bench.measures import MEASURES
from therapysim.agents.bench.report.cells import Block, Note, Table, replaced_cell, replaced_head, tables_in
from therapysim.agents.bench.report.summary import Summary

__all__ = ["told_replaced"]


def told_replaced(blocks: Sequence[Block], summary: Summary, simulator: str) -> list[Block]:
    """The blocks of one simulator; as they are where no more than a tenth of its lines were replaced with any policy.

    Else a table with a policy a row has its share beside the policy, and blocks without such a table a note above.
    """
    if not blocks or not summary.replaced(simulator):
        return list(blocks)
    told = [_widened(block, summary) if isinstance(block, Table) else block for block in blocks]
    if any(_tells(table) for table in tables_in(told)):
        return told
    shares = ", ".join(f"{own.replaced} with {own.policy}" for own in summary.of(simulator))
    return [Note(f"Lines replaced by the script: {shares}.", soft=False), *told]


def _tells(table: Table) -> bool:
    return any(head.label.startswith(MEASURES["replaced"].label) for head in table.heads)


def _widened(table: Table, summary: Summary) -> Table:
    whose = [(row[0].text, row[0].simulator) for row in table.rows]
    if _tells(table) or not all(simulator for _, simulator in whose):
        return table
    found = {(own.policy, own.simulator): own.replaced for own in summary.standings}
    rows = [[row[0], replaced_cell(found[key]), *row[1:]] for row, key in zip(table.rows, whose, strict=True)]
    return replace(table, heads=[table.heads[0], replaced_head(), *table.heads[1:]], rows=rows)
