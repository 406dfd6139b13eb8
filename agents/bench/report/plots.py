"""The report's plots as small inline SVG.

Drawn by hand and not by matplotlib: they need no extra, take the page's colours in light and dark, and stay text that
can be searched and read aloud. Colours are those of Okabe & Ito 2008, set in ``page.css``; dashes say the same.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape

from therapysim.agents.bench.report.summary import Estimate
from therapysim.agents.bench.report.tables import number
from therapysim.agents.sessions.mood_profile import SERIES

__all__ = ["draw_course", "draw_forest", "legend", "ticks"]

_WIDTH, _LEFT, _RIGHT, _ROW, _FOOT = 640, 160, 190, 26, 40
_SMALL, _HIGH, _EDGE, _END, _BASE = 320, 190, 36, 20, 28


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Round numbers that reach around [low, high], at most so many intervals apart."""
    span = max(high - low, 1e-9)
    power = 10 ** math.floor(math.log10(span / most))
    step = next(power * m for m in (1, 2, 5, 10) if span / (power * m) <= most)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(i * step, 10) for i in range(first, max(last, first + 1) + 1)]


def draw_forest(rows: Sequence[tuple[str, Estimate]], title: str, *, zero: bool = False) -> str:
    """One row a policy: its mean, its interval, and both as numbers; "" where there is nothing to draw.

    Args:
        rows: names and numbers, drawn in this order; those without a mean are left out.
        title: what the axis is, also read aloud.
        zero: whether zero is part of the axis even if no interval reaches it.
    """
    held = [(name, own) for name, own in rows if math.isfinite(own.mean)]
    if not held:
        return ""
    ends = [v for _, own in held for v in (own.mean, own.low, own.high) if math.isfinite(v)] + [0.0] * zero
    marks = ticks(min(ends), max(ends))
    bottom = _ROW * len(held) + 10

    def x(value: float) -> float:
        part = (min(max(value, marks[0]), marks[-1]) - marks[0]) / (marks[-1] - marks[0])
        return _LEFT + part * (_WIDTH - _LEFT - _RIGHT)

    parts = [_line(x(m), 4, x(m), bottom, "zero" if m == 0 else "grid") for m in marks]
    parts += [_text(x(m), bottom + 16, _signed(m, _digits(marks)), "tick middle") for m in marks]
    parts.append(_text((_LEFT + _WIDTH - _RIGHT) / 2, bottom + 34, title, "tick middle"))
    for i, (name, own) in enumerate(held):
        y = 4 + _ROW * (i + 0.5)
        parts += [
            _text(_LEFT - 12, y + 4, _short(name), "end", name),
            _line(x(own.low), y, x(own.high), y, "whisker"),
            f'<circle class="dot" cx="{x(own.mean):.1f}" cy="{y:.1f}" r="4.5"/>',
            _text(_WIDTH - 10, y + 4, _told(own), "end number"),
        ]
    return _svg(_WIDTH, bottom + _FOOT, f"{title}: a row a policy, mean and 95 % interval", parts, "forest")


def draw_course(course: Sequence[Mapping[str, Estimate]], name: str, marks: Sequence[float]) -> str:
    """Mean of e_t and its polarity over the turns, each in its interval; under each fourth turn, how many got so far.

    Args:
        course: at least one turn; 0 is the opening.
        name: whose it is, read aloud.
        marks: the vertical axis, the same for all that are to be compared, see ``ticks``.
    """
    last = max(1, len(course) - 1)

    def x(turn: float) -> float:
        return _EDGE + turn / last * (_SMALL - _EDGE - _END)

    def y(value: float) -> float:
        part = (min(max(value, marks[0]), marks[-1]) - marks[0]) / (marks[-1] - marks[0])
        return 6 + (1 - part) * (_HIGH - _BASE - 12)

    parts = [_line(_EDGE, y(m), _SMALL - _END, y(m), "zero" if m == 0 else "grid") for m in marks]
    parts += [_text(_EDGE - 6, y(m) + 4, _signed(m, _digits(marks)), "tick end") for m in marks]
    for turn in range(0, len(course), max(1, math.ceil(last / 4))):
        parts.append(_text(x(turn), _HIGH - _BASE + 8, str(turn), "tick middle"))
        parts.append(_text(x(turn), _HIGH - _BASE + 22, f"n {course[turn]['polarity'].sessions}", "tick middle n"))
    for series in SERIES:
        seen = [(turn, step[series]) for turn, step in enumerate(course) if math.isfinite(step[series].mean)]
        known = [(turn, own) for turn, own in seen if math.isfinite(own.low + own.high)]
        edge = [(x(t), y(own.low)) for t, own in known] + [(x(t), y(own.high)) for t, own in reversed(known)]
        parts.append(f'<polygon class="band s-{series}" points="{_points(edge)}"/>')
        parts.append(f'<polyline class="line s-{series}" points="{_points((x(t), y(o.mean)) for t, o in seen)}"/>')
    told = f"mood of {name}: mean of each dimension of e_t and of its polarity, turns 0 to {len(course) - 1}"
    return _svg(_SMALL, _HIGH, told, parts, "course")


def legend() -> str:
    """Which line is which."""
    lines = [
        f'<li><svg width="34" height="10" aria-hidden="true"><line class="line s-{name}" x1="1" y1="5" x2="33" y2="5"/>'
        f"</svg> {name}</li>"
        for name in SERIES
    ]
    return f'<ul class="legend">{"".join(lines)}</ul>'


def _svg(width: float, height: float, told: str, parts: Iterable[str], css: str) -> str:
    return (f'<svg class="{css}" viewBox="0 0 {width:g} {height:g}" width="{width:g}" height="{height:g}" role="img" '
            f'aria-label="{escape(told)}">{"".join(parts)}</svg>')  # fmt: skip


def _line(x1: float, y1: float, x2: float, y2: float, css: str) -> str:
    return f'<line class="{css}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _text(x: float, y: float, text: str, css: str, full: str = "") -> str:
    title = f"<title>{escape(full)}</title>" if full and full != text else ""
    return f'<text class="{css}" x="{x:.1f}" y="{y:.1f}">{title}{escape(text)}</text>'


def _points(places: Iterable[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in places)


def _digits(marks: Sequence[float]) -> int:
    return max(0, -math.floor(math.log10(marks[1] - marks[0]) + 1e-9))


def _short(name: str) -> str:
    return name if len(name) <= 22 else f"…{name[-21:]}"


def _told(own: Estimate) -> str:
    return f"{_signed(own.mean)} [{_signed(own.low)}, {_signed(own.high)}]"


def _signed(value: float, digits: int = 2) -> str:
    return number(value, digits).replace("-", "−")
