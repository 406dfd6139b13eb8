"""The report's plots as small inline SVG: where every mark of them stands.

Drawn by hand and not by matplotlib: they need no extra, take the page's colours in light and dark, and stay text that
can be searched and read aloud. Colours are those of Okabe & Ito 2008, set in ``page.css``; dashes say the same.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from therapysim.agents.bench.report.summary import Estimate
from therapysim.agents.bench.report.tables import number
from therapysim.agents.sessions.mood_profile import SERIES

__all__ = ["Drawing", "Mark", "draw_course", "draw_forest", "ticks"]

# Of a forest, in pixels: the plot, the numbers right of it, a row, and the axis below.
_PLOT, _RIGHT, _ROW, _FOOT = 290, 190, 26, 40
# Of its names: a letter's width, the gutter at least, and how many letters fit into the widest.
_LETTER, _LEFT, _LETTERS = 7.6, 160, 42
_SMALL, _HIGH, _EDGE, _END, _BASE = 320, 190, 36, 20, 28


@dataclass(frozen=True)
class Mark:
    """One element of a plot: its tag, its attributes, and the words in it."""

    tag: str
    attributes: Mapping[str, str]
    text: str = ""


@dataclass(frozen=True)
class Drawing:
    """A plot of ``width`` × ``height`` pixels; told is what is read aloud in its place."""

    css: str
    width: float
    height: float
    told: str
    marks: Sequence[Mark]


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Round numbers that reach around [low, high], at most so many intervals apart."""
    span = max(high - low, 1e-9)
    power = 10 ** math.floor(math.log10(span / most))
    step = next(power * m for m in (1, 2, 5, 10) if span / (power * m) <= most)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(i * step, 10) for i in range(first, max(last, first + 1) + 1)]


def draw_forest(rows: Sequence[tuple[str, Estimate]], title: str, *, zero: bool = False) -> Drawing | None:
    """One row a policy: its mean, its interval, and both as numbers; None where there is nothing to draw.

    Args:
        rows: names and numbers, drawn in this order; those without a mean are left out.
        title: what the axis is, also read aloud.
        zero: whether zero is part of the axis even if no interval reaches it.
    """
    held = [(name, own) for name, own in rows if math.isfinite(own.mean)]
    if not held:
        return None
    ends = [v for _, own in held for v in (own.mean, own.low, own.high) if math.isfinite(v)] + [0.0] * zero
    steps = ticks(min(ends), max(ends))
    bottom = _ROW * len(held) + 10
    left = max(_LEFT, 12 + _LETTER * max(len(_short(name)) for name, _ in held))
    width = left + _PLOT + _RIGHT

    def x(value: float) -> float:
        return left + _share(value, steps) * _PLOT

    marks = [_line(x(m), 4, x(m), bottom, "zero" if m == 0 else "grid") for m in steps]
    marks += [_text(x(m), bottom + 16, _signed(m, _digits(steps)), "tick middle") for m in steps]
    marks.append(_text(left + _PLOT / 2, bottom + 34, title, "tick middle"))
    for i, (name, own) in enumerate(held):
        y = 4 + _ROW * (i + 0.5)
        marks += [
            _text(left - 12, y + 4, _short(name), "end"),
            _line(x(own.low), y, x(own.high), y, "whisker"),
            Mark("circle", {"class": "dot", "cx": f"{x(own.mean):.1f}", "cy": f"{y:.1f}", "r": "4.5"}),
            _text(width - 10, y + 4, _told(own), "end number"),
        ]
    return Drawing("forest", width, bottom + _FOOT, f"{title}: a row a policy, mean and 95 % interval", marks)


def draw_course(course: Sequence[Mapping[str, Estimate]], name: str, steps: Sequence[float]) -> Drawing:
    """Mean of e_t and its polarity over the turns, each in its interval; under each fourth turn, how many got so far.

    Args:
        course: at least one turn; 0 is the opening.
        name: whose it is, read aloud.
        steps: the vertical axis, the same for all that are to be compared, see ``ticks``.
    """
    last = max(1, len(course) - 1)

    def x(turn: float) -> float:
        return _EDGE + turn / last * (_SMALL - _EDGE - _END)

    def y(value: float) -> float:
        return 6 + (1 - _share(value, steps)) * (_HIGH - _BASE - 12)

    marks = [_line(_EDGE, y(m), _SMALL - _END, y(m), "zero" if m == 0 else "grid") for m in steps]
    marks += [_text(_EDGE - 6, y(m) + 4, _signed(m, _digits(steps)), "tick end") for m in steps]
    for turn in range(0, len(course), max(1, math.ceil(last / 4))):
        marks.append(_text(x(turn), _HIGH - _BASE + 8, str(turn), "tick middle"))
        marks.append(_text(x(turn), _HIGH - _BASE + 22, f"n {course[turn]['polarity'].sessions}", "tick middle n"))
    for series in SERIES:
        seen = [(turn, step[series]) for turn, step in enumerate(course) if math.isfinite(step[series].mean)]
        known = [(turn, own) for turn, own in seen if math.isfinite(own.low + own.high)]
        edge = [(x(t), y(own.low)) for t, own in known] + [(x(t), y(own.high)) for t, own in reversed(known)]
        marks.append(Mark("polygon", {"class": f"band s-{series}", "points": _points(edge)}))
        middle = _points((x(t), y(own.mean)) for t, own in seen)
        marks.append(Mark("polyline", {"class": f"line s-{series}", "points": middle}))
    told = f"mood of {name}: mean of each dimension of e_t and of its polarity, turns 0 to {len(course) - 1}"
    return Drawing("course", _SMALL, _HIGH, told, marks)


def _share(value: float, steps: Sequence[float]) -> float:
    """Where a value lies on an axis, from 0 to 1; what lies beyond its ends, at the end."""
    return (min(max(value, steps[0]), steps[-1]) - steps[0]) / (steps[-1] - steps[0])


def _line(x1: float, y1: float, x2: float, y2: float, css: str) -> Mark:
    ends = {"x1": x1, "y1": y1, "x2": x2, "y2": y2}
    return Mark("line", {"class": css, **{name: f"{place:.1f}" for name, place in ends.items()}})


def _text(x: float, y: float, text: str, css: str) -> Mark:
    return Mark("text", {"class": css, "x": f"{x:.1f}", "y": f"{y:.1f}"}, text)


def _points(places: Iterable[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in places)


def _digits(steps: Sequence[float]) -> int:
    return max(0, -math.floor(math.log10(steps[1] - steps[0]) + 1e-9))


def _short(name: str) -> str:
    """A name that fits; the tables have the whole of it."""
    return name if len(name) <= _LETTERS else f"…{name[1 - _LETTERS :]}"


def _told(own: Estimate) -> str:
    return f"{_signed(own.mean)} [{_signed(own.low)}, {_signed(own.high)}]"


def _signed(value: float, digits: int = 2) -> str:
    return number(value, digits).replace("-", "−")
