"""The report as one HTML file: tables, plots, and the transcripts behind every number.

The file asks for nothing over a network, and its content policy forbids it to. What a therapist or a patient said is
hostile until shown otherwise: it is carried packed, in letters that can end no element, and the page's script puts it
in place as text only. Everything else goes through templates that escape it.
"""

import gzip
import hashlib
import math
from base64 import b64encode
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from therapysim.agents.bench.measures import MEASURES
from therapysim.agents.bench.report.cells import Block, Head, tables_in
from therapysim.agents.bench.report.replaced import told_replaced
from therapysim.agents.bench.report.runs import Runs, Source, flat
from therapysim.agents.bench.report.sections import SECTIONS, Section
from therapysim.agents.bench.report.summary import Summary
from therapysim.agents.bench.report.tables import number
from therapysim.agents.bench.report.templates import TEMPLATES, own_file
from therapysim.agents.bench.results import SessionResult, as_line
from therapysim.errors import require_count

__all__ = ["pack_sessions", "report_page"]

#: Settings that are shown at once, whatever lies in them; of the others, those that are no group.
_SHOWN = ("versions.", "policies.", "rubric.preset")


def report_page(runs: Runs, summary: Summary, transcripts: int | None = None) -> str:
    """The whole file, the same for the same results.

    Args:
        runs, summary: what is shown.
        transcripts: how many sessions of each policy and simulator to carry; default: all.

    Raises:
        ConfigError: transcripts is below 0.
    """
    carried = _chosen(runs.results, transcripts)
    style, script = own_file("page.css"), own_file("page.js")
    sections = [Shown(section, panels) for section in SECTIONS if (panels := _panels(summary, section))]
    return TEMPLATES.get_template("page.html").render(
        style=style,
        style_hash=_digest(style),
        script=script,
        script_hash=_digest(script),
        summary=summary,
        lead=[_played(runs, summary), *_best(summary)],
        sections=sections,
        helps=_helps(sections),
        measures=MEASURES.values(),
        carried=len(carried),
        results=len(runs.results),
        data=pack_sessions(carried),
        sources=_sources(runs),
    )


@dataclass(frozen=True)
class Shown:
    """A section that has something to show: by simulator, what."""

    section: Section
    panels: Mapping[str, Sequence[Block]]


def _panels(summary: Summary, section: Section) -> dict[str, list[Block]]:
    drawn = {s: told_replaced(section.blocks(summary, s), summary, s) for s in summary.simulators}
    return {simulator: blocks for simulator, blocks in drawn.items() if blocks}


def _helps(sections: Sequence[Shown]) -> dict[Head, str]:
    """Every head that has a meaning, once, and the id of the element that tells it."""
    tables = (table for shown in sections for blocks in shown.panels.values() for table in tables_in(blocks))
    heads = dict.fromkeys(head for table in tables for head in table.heads if head.meaning)
    return {head: f"help-{i}" for i, head in enumerate(heads, 1)}


def _digest(text: str) -> str:
    return f"'sha256-{b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _chosen(results: Sequence[SessionResult], most: int | None) -> list[SessionResult]:
    """All, or so many of each policy and simulator: the first seed of every patient before the second of any."""
    if most is None:
        return list(results)
    require_count("transcripts", most, 0)
    taken: Counter[tuple[str, str]] = Counter()
    kept = []
    for result in sorted(results, key=lambda r: (r.seed, r.persona)):
        taken[result.policy, result.simulator] += 1
        if taken[result.policy, result.simulator] <= most:
            kept.append(result)
    return kept


def pack_sessions(results: Sequence[SessionResult]) -> str:
    """Sessions as JSON, gzipped, in base64."""
    rows = f"[{','.join(map(as_line, results))}]"
    # The handler writes a lone surrogate as JSON does.
    return b64encode(gzip.compress(rows.encode("utf-8", "backslashreplace"), mtime=0)).decode("ascii")


def _played(runs: Runs, summary: Summary) -> str:
    told = runs.told
    seeds = f"seeds {summary.seeds[0]} to {summary.seeds[-1]}" if len(summary.seeds) > 1 else f"seed {summary.seeds[0]}"
    words = [
        f"{_count(len(summary.policies), 'policy', 'policies')} talked with "
        f"{_count(len(summary.patients), 'simulated patient', 'simulated patients')} "
        f"({', '.join(summary.splits)}), {_count(summary.k, 'session', 'sessions')} with each ({seeds})",
        f"at most {told['turns']} turns a session" if "turns" in told else "",
        f"scored by the rubric “{told['rubric']}”" if "rubric" in told else "",
        f"patients worded by the simulator {' and by '.join(summary.simulators)}",
    ]
    return f"{', '.join(filter(None, words))}."


def _count(n: int, one: str, many: str) -> str:
    return f"{n} {one if n == 1 else many}"


def _best(summary: Summary) -> Iterator[str]:
    for simulator in summary.simulators:
        where = f" with {simulator}" if len(summary.simulators) > 1 else ""
        held = [own for own in summary.of(simulator) if not math.isnan(own.measures["total"].mean)]
        if len(held) > 1:
            best = max(held, key=lambda own: own.measures["total"].mean)
            own = best.measures["total"]
            told = f"{number(own.mean)} [{number(own.low)}, {number(own.high)}]".replace("-", "−")
            yield f"Highest mean return{where}: {best.policy}, {told}."


def _sources(runs: Runs) -> list[dict[str, Any]]:
    """A table a file, with what most readers ask for; the rest of the settings apart. No two have the same name."""
    names: Counter[str] = Counter()
    told = []
    for source in runs.sources:
        names[source.name] += 1
        again = f" ({names[source.name]})" if names[source.name] > 1 else ""
        shown, rest = _settings(source)
        told.append({"name": f"{source.name}{again}", "shown": shown, "rest": rest})
    return told


def _settings(source: Source) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    rows = [("sessions", str(source.sessions)), ("sha256", source.sha256), *flat(source.settings)]
    shown = [row for row in rows if "." not in row[0] or row[0].startswith(_SHOWN)]
    return shown, [row for row in rows if row not in shown]
