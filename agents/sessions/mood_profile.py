"""The mood profile: e_t and polarity over the turns of one session, or their means over many, drawn and as text.

    figure = draw_profile(load_sessions(["runs/sessions/attuned"]))
    save(figure, "mood.png")

Colours are those of Okabe & Ito 2008, "Color Universal Design", which colour-blind readers can tell apart; line styles,
markers and hatches say the same in grey.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import nan
from typing import TYPE_CHECKING, Any

from therapysim.agents.figures import figure
from therapysim.agents.sessions.session_file import SessionRecord
from therapysim.agents.statistics.intervals import Interval, bootstrap
from therapysim.errors import ConfigError
from therapysim.rewards.matrix import DIMENSIONS
from therapysim.rewards.risk import CATEGORIES, RiskCategory, RiskThresholds

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["SERIES", "Moment", "bands", "draw_profile", "mean_course", "outcome", "tell"]

#: What is drawn, a line each.
SERIES = (*DIMENSIONS, "polarity")

#: series -> colour, line style, marker, line width. A risk has the colour of the dimension that drives it.
_LINES: dict[str, tuple[str, Any, str, float]] = {
    "introspection": ("#0072B2", "-", "o", 1.4),
    "temper": ("#D55E00", (0, (5, 1.5)), "s", 1.4),
    "attitude": ("#009E73", (0, (5, 1.5, 1, 1.5)), "^", 1.4),
    "sensitivity": ("#CC79A7", (0, (1.5, 1)), "D", 1.4),
    "polarity": ("#000000", "-", "v", 2.4),
}
_HATCHES = {
    RiskCategory.DEPRESSIVE: "///",
    RiskCategory.AGGRESSION: "xxx",
    RiskCategory.WITHDRAWAL: "\\\\\\",
    RiskCategory.ANXIETY: "...",
}
_COLOURS = {category: _LINES[dimension][0] for dimension, category in CATEGORIES.items()}
_GREY, _ALARM = "#666666", "#B00020"
_ENDINGS = {"goal": "goal met", "rupture": "rupture", "crisis": "crisis, handed over"}
#: A band of a smaller share of the width has no room for its name; the legend has it.
_ROOM = 0.16
# One or two sessions drawn again and again give only themselves back: fewer get no interval.
_SPREAD = 3


@dataclass(frozen=True, slots=True)
class Moment:
    """Many sessions at one turn: those that have got so far.

    Attributes:
        turn: 0 is the patient's opening.
        series: mean and 95 % bootstrap interval over the sessions, by the names of SERIES.
        named: how many of the sessions name which risk; their sum is the number of sessions.
    """

    turn: int
    series: dict[str, Interval]
    named: dict[RiskCategory, int]

    @property
    def n(self) -> int:
        """How many sessions have got so far."""
        return sum(self.named.values())


def mean_course(records: Sequence[SessionRecord], seed: int = 0) -> tuple[Moment, ...]:
    """Mean and interval at each turn, over the sessions that have got so far.

    The sessions left at a late turn are not a fair sample of all: those that went well, or badly, have ended. Sessions
    whose patient failed are left out, as in the benchmark.

    Args:
        records: at least one that did not fail.
        seed: of the bootstrap.

    Raises:
        ConfigError: there is none.
    """
    sound = [record for record in records if not record.failed]
    if not sound:
        raise ConfigError(f"a mean over {len(records)} sessions, none of which has a patient that lasted: give others")
    lines, risks = [_series(record) for record in sound], [record.risks for record in sound]
    last = max(len(found) for found in risks)
    return tuple(
        Moment(
            turn,
            {
                name: bootstrap([own[name][turn] for own in lines if turn < len(own[name])], seed=seed)
                for name in SERIES
            },
            dict(Counter(found[turn].category for found in risks if turn < len(found))),
        )
        for turn in range(last)
    )


def bands(record: SessionRecord) -> list[tuple[int, int, RiskCategory]]:
    """The stretches under one risk: first turn, last turn, category."""
    found: list[tuple[int, int, RiskCategory]] = []
    for turn, risk in enumerate(record.risks):
        if risk.category is RiskCategory.NONE:
            continue
        if found and found[-1][1:] == (turn - 1, risk.category):
            found[-1] = (found[-1][0], turn, risk.category)
        else:
            found.append((turn, turn, risk.category))
    return found


def outcome(record: SessionRecord) -> str:
    """How a session ended, in words."""
    if record.failed:
        return "the patient failed"
    return _ENDINGS.get(record.ending, "turn limit" if record.done else "broken off")


def draw_profile(records: Sequence[SessionRecord], seed: int = 0) -> "Figure":
    """One session turn by turn, or the means of several with their intervals.

    Args:
        records: at least one; of any patients and policies.
        seed: of the bootstrap.

    Raises:
        ConfigError: there is none to draw.
    """
    if not records:
        raise ConfigError("a mood profile of no session, expected at least one")
    return _draw_session(records[0]) if len(records) == 1 else _draw_mean(records, mean_course(records, seed))


def _series(record: SessionRecord) -> dict[str, list[float]]:
    found = {name: [state.affect[i] for state in record.states] for i, name in enumerate(DIMENSIONS)}
    return {**found, "polarity": [risk.polarity for risk in record.risks]}


def _draw_session(record: SessionRecord) -> "Figure":
    last = max(len(record.states) - 1, len(record.turns) - 0.5)
    drawn = figure(max(8.0, 2.0 + 0.3 * last), 6.6)
    mood, therapist, patient = drawn.subplots(3, 1, sharex=True, height_ratios=(3.4, 1.25, 1.0))
    for name, values in _series(record).items():
        _draw_line(mood, name, values)
    _frame(mood, [record.thresholds], last)
    for first, end, category in bands(record):
        _draw_band(mood, first, end, category, named=end - first + 1 >= _ROOM * (last + 1))
    title = f"{record.persona} with {_named(record)}, seed {record.seed}"
    mood.set_title(title, pad=16, fontsize=10, parse_math=False)
    mood.axvline(len(record.states) - 1, color=_GREY, linewidth=1, zorder=1, gid="ending")
    mood.text(1.01, 0.5, f"end: {outcome(record)}", transform=mood.transAxes, rotation=270, va="center", fontsize=8)
    for i, turn in enumerate(record.turns):
        _draw_turn(therapist, i + 0.5, turn.violations or turn.acts, unsafe=bool(turn.violations))
        if turn.move:
            _draw_turn(patient, i + 1, [turn.move])
    if record.messages:
        _draw_turn(patient, 0, ["opening"])
    _frame_rail(therapist, "therapist")
    therapist.spines["bottom"].set_visible(False)
    therapist.tick_params(axis="x", length=0)
    _frame_rail(patient, "patient")
    patient.set_xlabel("turn: the therapist speaks between two of the patient's")
    _add_legend(drawn, [record.thresholds])
    return drawn


def _draw_mean(records: Sequence[SessionRecord], course: Sequence[Moment]) -> "Figure":
    drawn = figure(max(8.0, 2.0 + 0.3 * course[-1].turn), 6.2)
    mood, count = drawn.subplots(2, 1, sharex=True, height_ratios=(3.0, 1.0))
    turns = [moment.turn for moment in course]
    for name in SERIES:
        found = [moment.series[name] for moment in course]
        _draw_line(mood, name, [i.mean for i in found])
        low, high = ([getattr(i, end) if i.n >= _SPREAD else nan for i in found] for end in ("low", "high"))
        mood.fill_between(turns, low, high, color=_LINES[name][0], alpha=0.15, linewidth=0, gid=name)
    _frame(mood, [record.thresholds for record in records], turns[-1])
    mood.set_title(_title(records), pad=8, fontsize=10, parse_math=False)
    _draw_counts(count, course)
    count.set_xlabel("turn (lines: means with 95 % bootstrap intervals, over the sessions that reach it)")
    _add_legend(drawn, [record.thresholds for record in records])
    return drawn


def _draw_line(axes: "Axes", name: str, values: Sequence[float]) -> None:
    colour, style, marker, width = _LINES[name]
    axes.plot(
        range(len(values)), values, color=colour, linestyle=style, marker=marker, markersize=3.5, linewidth=width,
        label=name, zorder=3,
    )  # fmt: skip


def _draw_band(axes: "Axes", first: int, last: int, category: RiskCategory, named: bool) -> None:
    axes.axvspan(first - 0.5, last + 0.5, zorder=0, gid=str(category), **_fill(category))
    if named:
        axes.text(
            (first + last) / 2, 1.01, str(category), transform=axes.get_xaxis_transform(), ha="center", va="bottom",
            fontsize=7, color=_COLOURS[category],
        )  # fmt: skip


def _fill(category: RiskCategory) -> dict[str, Any]:
    from matplotlib.colors import to_rgba

    colour = _COLOURS[category]
    return {
        "facecolor": to_rgba(colour, 0.16),
        "edgecolor": to_rgba(colour, 0.4),
        "hatch": _HATCHES[category],
        "linewidth": 0,
    }


def _frame(axes: "Axes", thresholds: Iterable[RiskThresholds], last: float) -> None:
    for value in sorted({value for own in thresholds for value in own.dimensions}):
        axes.axhline(value, color=_GREY, linestyle=(0, (1, 3)), linewidth=1, zorder=1, gid="threshold")
    axes.axhline(0, color=_GREY, linewidth=0.6, zorder=1)
    axes.set_xlim(-0.5, last + 0.5)
    axes.set_ylim(-1.05, 1.05)
    axes.set_yticks([-1, -0.5, 0, 0.5, 1])
    axes.set_ylabel("e_t and its polarity, -1 to 1")
    axes.locator_params(axis="x", integer=True, min_n_ticks=1)
    axes.spines[["top", "right"]].set_visible(False)


def _draw_turn(axes: "Axes", x: float, words: Sequence[str], unsafe: bool = False) -> None:
    """A mark on a speaker's rail, and under it at most two of the words there are for the turn."""
    colour = _ALARM if unsafe else _GREY
    axes.plot(x, 1, marker="X" if unsafe else "o", markersize=7 if unsafe else 4, color=colour)
    text = "\n".join(words[:2]).replace("_", " ") + (f" +{len(words) - 2}" if len(words) > 2 else "")
    axes.text(
        x, 0.86, text, rotation=90, ha="center", va="top", ma="right", fontsize=7, parse_math=False,
        color=_ALARM if unsafe else "black",
    )  # fmt: skip


def _frame_rail(axes: "Axes", name: str) -> None:
    axes.axhline(1, color=_GREY, linewidth=0.6, zorder=0)
    axes.set_ylim(0, 1.1)
    axes.set_yticks([1], [name])
    axes.tick_params(axis="y", length=0)
    axes.spines[["top", "right", "left"]].set_visible(False)


def _draw_counts(axes: "Axes", course: Sequence[Moment]) -> None:
    turns, floor = [moment.turn for moment in course], [0] * len(course)
    for category in RiskCategory:
        counts = [moment.named.get(category, 0) for moment in course]
        fill = {"facecolor": "#DDDDDD"} if category is RiskCategory.NONE else _fill(category)
        axes.bar(turns, counts, bottom=floor, width=0.8, label=str(category), **fill)
        floor = [a + b for a, b in zip(floor, counts, strict=True)]
    for moment in course:
        axes.text(moment.turn, moment.n, str(moment.n), ha="center", va="bottom", fontsize=7)
    axes.set_ylim(0, 1.2 * course[0].n)
    axes.locator_params(axis="y", integer=True)
    axes.set_ylabel("sessions that reach\nthe turn, by risk\n(grey: none)", fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)


def _add_legend(drawn: "Figure", thresholds: Iterable[RiskThresholds]) -> None:
    """Over the axes: a dimension above the risk that it drives, the polarity above the thresholds."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles: list[Any] = []
    for name, (colour, style, marker, width) in _LINES.items():
        handles.append(
            Line2D([], [], color=colour, linestyle=style, marker=marker, markersize=3.5, linewidth=width, label=name)
        )
        if name in CATEGORIES:
            handles.append(Patch(label=f"risk: {CATEGORIES[name]}", **_fill(CATEGORIES[name])))
    # A line under the threshold without a band would look like a fault: the polarity must be low as well.
    limits = [f"{limit:g}" for limit in sorted({own.polarity_below for own in thresholds})]
    needed = f"risk: dimension below this\nand polarity below {' to '.join(limits[:: max(1, len(limits) - 1)])}"
    handles.append(Line2D([], [], color=_GREY, linestyle=(0, (1, 3)), label=needed))
    drawn.legend(
        handles=handles, loc="outside upper center", ncols=5, fontsize=7, frameon=False, handlelength=2.7,
        columnspacing=1.0,
    )  # fmt: skip


def _title(records: Sequence[SessionRecord]) -> str:
    sound = [record for record in records if not record.failed]
    ends = ", ".join(f"{n} {name}" for name, n in sorted(Counter(map(outcome, records)).items()))
    patients = sorted({record.persona for record in sound})
    policies = sorted({_named(record) for record in sound})
    return f"{len(sound)} sessions of {_listed(patients, 'patients')} with {_listed(policies, 'therapists')} ({ends})"


def _named(record: SessionRecord) -> str:
    name = record.policy or "an unnamed therapist"
    return name if len(name) <= 40 else f"…{name[-39:]}"  # a model's path


def _listed(names: Sequence[str], kind: str) -> str:
    return ", ".join(names) if len(names) <= 2 else f"{len(names)} {kind}"


def tell(records: Sequence[SessionRecord], seed: int = 0) -> str:
    """The same as text: a row a message of one session, or a row a turn of several."""
    if len(records) == 1:
        return "\n".join([f"{records[0].persona}, end: {outcome(records[0])}", *_session_rows(records[0])])
    return "\n".join([_title(records), *_mean_rows(mean_course(records, seed))])


def _session_rows(record: SessionRecord) -> Iterable[str]:
    yield f"turn  {'who':<10}" + "".join(f"{name:>15}" for name in SERIES) + "  risk, what was done"
    lines, risks = _series(record), record.risks
    for i in range(max(len(record.states), len(record.turns) + 1)):
        if i:
            turn = record.turns[i - 1]
            said = "unsafe: " + ", ".join(turn.violations) if turn.violations else ", ".join(turn.acts)
            yield f"{i:>4}  {'therapist':<10}" + " " * 15 * len(SERIES) + f"  {said}".rstrip()
        if i < len(record.states):
            risk = f"{risks[i].category} ({risks[i].driver})" if risks[i].driver else str(risks[i].category)
            move = f"; {record.turns[i - 1].move}" if i else ""
            yield f"{i:>4}  {'patient':<10}" + "".join(f"{lines[n][i]:>+15.2f}" for n in SERIES) + f"  {risk}{move}"


def _mean_rows(course: Sequence[Moment]) -> Iterable[str]:
    yield "turn     n" + "".join(f"{name:>22}" for name in SERIES) + "  sessions naming a risk"
    for moment in course:
        named = moment.n - moment.named.get(RiskCategory.NONE, 0)
        means = (moment.series[name] for name in SERIES)
        cells = "".join(f"{str(i) if i.n >= _SPREAD else format(i.mean, '+.2f'):>22}" for i in means)
        yield f"{moment.turn:>4}  {moment.n:>4}{cells}  {named}"
