"""The report as one HTML file: tables, plots, and the transcripts behind every number.

The file asks for nothing over a network, and its content policy forbids it to. What a therapist or a patient said is
hostile until shown otherwise: it is carried as JSON in which no character can end the script element, and the page's
script puts it in place as text only.
"""

import hashlib
import json
import math
import re
from base64 import b64encode
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from html import escape
from pathlib import Path
from typing import Any

from therapysim.agents.bench.measures import MEASURES
from therapysim.agents.bench.report.runs import Runs, flat
from therapysim.agents.bench.report.sections import SECTIONS
from therapysim.agents.bench.report.summary import Summary
from therapysim.agents.bench.report.tables import number
from therapysim.agents.bench.results import Result
from therapysim.errors import require_count

__all__ = ["embed", "page"]

#: Settings that are shown at once, whatever lies in them; of the others, those that are no group.
_SHOWN = ("versions.", "policies.", "rubric.preset")


def page(runs: Runs, summary: Summary, transcripts: int | None = None) -> str:
    """The whole file, the same for the same results.

    Args:
        runs, summary: what is shown.
        transcripts: how many sessions of each policy and simulator to carry; default: all.

    Raises:
        ConfigError: transcripts is below 0.
    """
    shown = _chosen(runs.results, transcripts)
    style, script = _asset("css"), _asset("js")
    parts = {
        "style_hash": _digest(style),
        "script_hash": _digest(script),
        "style": style,
        "script": script,
        "lead": _lead(runs, summary),
        "warnings": "".join(f"<li>{escape(text)}</li>" for text in summary.warnings),
        "warned": "" if summary.warnings else "hidden",
        "contents": "".join(f'<li><a href="#{key}">{key.capitalize()}</a></li>' for key, _, _, _ in _present(summary)),
        "simulators": _switch(summary.simulators),
        "sections": "".join(_section(summary, *section) for section in _present(summary)),
        "k": str(summary.k),
        "reference": escape(summary.reference),
        "shown": _shown(len(shown), len(runs.results)),
        "data": embed(shown),
        "measures": "".join(f"<dt>{m.label}</dt><dd>{escape(m.meaning)}</dd>" for m in MEASURES.values()),
        "run": "".join(_source_rows(runs)),
    }
    # One pass: what is put in is never read for placeholders again.
    return re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], _asset("html"))


def _asset(kind: str) -> str:
    return Path(__file__).with_name(f"page.{kind}").read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return f"'sha256-{b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _chosen(results: Sequence[Result], most: int | None) -> list[Result]:
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


def _shown(shown: int, all_: int) -> str:
    if shown == all_:
        return f"All {all_:,} sessions are in this file."
    return f"This file carries {shown:,} of the {all_:,} sessions; the numbers above are of all of them."


def embed(results: Sequence[Result]) -> str:
    """Sessions as JSON in ASCII that holds no <, > or &; a number that is not finite is null."""
    text = json.dumps([_finite(asdict(result)) for result in results], separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(name): _finite(inner) for name, inner in value.items()}
    return [_finite(inner) for inner in value] if isinstance(value, list | tuple) else value


def _present(summary: Summary) -> list[Any]:
    """The sections that have something to show."""
    return [section for section in SECTIONS if any(section[3](summary, s) for s in summary.simulators)]


def _section(summary: Summary, key: str, title: str, note: str, draw: Any) -> str:
    """A section with one panel a simulator; those that compare simulators draw the first alone."""
    panels = []
    for simulator in summary.simulators:
        if drawn := draw(summary, simulator):
            head = f"<h3>{escape(simulator)}</h3>" if len(summary.simulators) > 1 and key != "simulators" else ""
            own = f' data-panel="{escape(simulator)}"' if head else ""
            panels.append(f"<div{own}>{head}{drawn}</div>")
    note = note.format(reference=escape(summary.reference), k=summary.k)
    return f'<section id="{key}"><h2>{title}</h2><p class="note">{note}</p>{"".join(panels)}</section>'


def _switch(simulators: Sequence[str]) -> str:
    if len(simulators) < 2:
        return ""
    buttons = "".join(
        f'<label><input type="radio" name="panel" value="{escape(name)}"{" checked" if not i else ""}> '
        f"{escape(name)}</label>"
        for i, name in enumerate(simulators)
    )
    return f'<fieldset class="switch"><legend>Patient worded by</legend>{buttons}</fieldset>'


def _lead(runs: Runs, summary: Summary) -> str:
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
    return "".join(f"<p>{escape(text)}</p>" for text in (f"{', '.join(filter(None, words))}.", *_best(summary)))


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


def _source_rows(runs: Runs) -> Iterator[str]:
    """A table a file, with what most readers ask for; the rest of the settings folded below it."""
    for source in runs.sources:
        rows = [("sessions", str(source.sessions)), ("sha256", source.sha256), *flat(source.settings)]
        shown = [row for row in rows if "." not in row[0] or row[0].startswith(_SHOWN)]
        rest = [row for row in rows if row not in shown]
        yield f"<h3>{escape(source.name)}</h3>{_pairs(shown, f'how {source.name} was run')}"
        if rest:
            folded = _pairs(rest, f"all settings of {source.name}")
            yield f"<details><summary>{len(rest)} more settings</summary>{folded}</details>"


def _pairs(rows: Sequence[tuple[str, str]], told: str) -> str:
    body = "".join(f'<tr><th scope="row">{escape(name)}</th><td>{escape(value)}</td></tr>' for name, value in rows)
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(told)}">'
        f'<table class="settings"><tbody>{body}</tbody></table></div>'
    )
