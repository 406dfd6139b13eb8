"""The sections of the report's page that are numbers: what each shows of one simulator."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from therapysim.agents.bench.measures import MEASURES
from therapysim.agents.bench.report.cells import (
    Block,
    Cell,
    Folded,
    Head,
    Moods,
    Note,
    Plots,
    Table,
    count_cell,
    empty_cell,
    estimate_cell,
    name_cell,
    policy_cell,
    replaced_cell,
    replaced_head,
    shaded_cell,
    text_cell,
)
from therapysim.agents.bench.report.gaps import Gap, Swap
from therapysim.agents.bench.report.plots import draw_course, draw_forest, ticks
from therapysim.agents.bench.report.summary import COMPARED, GROUPS, MAIN, Estimate, Standing, Summary
from therapysim.agents.bench.report.tables import number
from therapysim.agents.sessions.mood_profile import SERIES
from therapysim.rewards.matrix import DIMENSIONS

__all__ = ["SECTIONS", "Section"]

_CLEAR = 0.05
_GUARD = ("unsafe", "injection", "replaced", "redrawn", "rupture", "crisis", "goal")
_GROUPED = ("total", "polarity", "alliance", "safe")
_TOKENS = ("tokens_read", "tokens_written", "patient_read", "patient_written")


def _board(summary: Summary, simulator: str) -> list[Block]:
    heads = [Head("policy"), Head("sessions", "that did not fail"),
             Head(*MEASURES["total"][:2], "descending"),
             Head(f"Δ to {summary.reference}", "paired difference of the return, and its p after Holm"),
             Head("worst tenth", "mean return of the worst tenth of sessions"), *map(_head, MAIN[1:]),
             Head(f"pass^{summary.k}", f"all {summary.k} sessions with a patient safe")]  # fmt: skip
    if simulator != summary.simulators[0]:
        heads.append(Head(f"less {summary.simulators[0]}", "return, same patients and seeds, p after Holm"))
    rows = [_board_row(summary, own) for own in _by_return(summary, simulator)]
    return [Table(f"Policies with {simulator}: mean and 95 % interval", heads, rows)]


def _board_row(summary: Summary, own: Standing) -> list[Cell]:
    first = own.simulator == summary.simulators[0]
    return [
        _policy(summary, own),
        count_cell(own.played - own.failed),
        estimate_cell(own.measures["total"]),
        _gap(summary.gap(own.policy, own.simulator)),
        estimate_cell(own.worst),
        *(estimate_cell(own.measures[name]) for name in MAIN[1:]),
        estimate_cell(own.pass_k),
        *([] if first else [_moved(summary.swap(own.policy, own.simulator))]),
    ]


def _moved(swap: Swap | None) -> Cell:
    """What another simulator does to a policy's return."""
    return estimate_cell(Estimate.of(swap.difference), note=_probability(swap.p)) if swap else empty_cell()


def _by_return(summary: Summary, simulator: str) -> list[Standing]:
    """The highest first; those without a mean last."""
    own = summary.of(simulator)
    return sorted(own, key=lambda s: -m if not math.isnan(m := s.measures["total"].mean) else math.inf)


def _head(measure: str) -> Head:
    return Head(MEASURES[measure].label, MEASURES[measure].meaning)


def _policy(summary: Summary, own: Standing) -> Cell:
    return policy_cell(own.policy, own.simulator, reference=own.policy == summary.reference)


def _gap(gap: Gap | None) -> Cell:
    """A paired difference, coloured where it is clear."""
    if gap is None:
        return empty_cell()
    better = MEASURES[gap.measure].better * gap.difference.interval.mean
    css = ("up" if better > 0 else "down") if gap.p < _CLEAR and better else ""
    return estimate_cell(Estimate.of(gap.difference), css=css, note=_probability(gap.p))


def _probability(p: float) -> str:
    """``p 0.012``; "" of nan."""
    if math.isnan(p):
        return ""
    return "p < 0.001" if p < 0.001 else f"p {number(p, 3)}"


def _plots(summary: Summary, simulator: str) -> list[Block]:
    own = _by_return(summary, simulator)
    gaps = [(s.policy, Estimate.of(gap.difference)) for s in own if (gap := summary.gap(s.policy, simulator))]
    drawn = (
        draw_forest([(s.policy, s.measures["total"]) for s in own], f"mean return with {simulator}"),
        draw_forest(gaps, f"return less that of {summary.reference}, same patients and seeds, with {simulator}",
                    zero=True),
    )  # fmt: skip
    return [Plots([drawing for drawing in drawn if drawing]), *_differences(summary, simulator)]


def _differences(summary: Summary, simulator: str) -> list[Block]:
    others = [own for own in summary.of(simulator) if summary.gap(own.policy, simulator)]
    if not others:
        return []
    heads = [Head("policy"), Head("pairs", "sessions with the same patient and seed"),
             Head("detectable", "smallest true difference in return that so many sessions would show, power 0.8"),
             *map(_head, COMPARED)]  # fmt: skip
    rows = []
    for own in others:
        gaps = [summary.gap(own.policy, simulator, name) for name in COMPARED]
        first = gaps[0]
        pairs, least = (first.difference.n_sessions, first.detectable) if first else (0, math.nan)
        rows.append([_policy(summary, own), count_cell(pairs), text_cell(number(least), least), *map(_gap, gaps)])
    return [Table(f"Paired differences to {summary.reference} with {simulator}", heads, rows)]


def _terms(summary: Summary, simulator: str) -> list[Block]:
    own = summary.of(simulator)
    names = list(dict.fromkeys(name for s in own for name in s.terms))
    paid = [name for name in names if any(s.terms[name].mean for s in own if name in s.terms)]
    if not paid:
        return []
    most = max(abs(s.terms[name].mean) for s in own for name in paid if name in s.terms)
    rows = [[name_cell(name), *(shaded_cell(s.terms[name], most) if name in s.terms else empty_cell() for s in own)]
            for name in paid]  # fmt: skip
    left = [name for name in names if name not in paid]
    note = [Note(f"Nothing was paid by: {', '.join(left)}.")] if left else []
    heads = [Head("term"), *(Head(s.policy) for s in own)]
    return [Table(f"Reward terms with {simulator}, weighted, a session", heads, rows, "heat"), *note]


def _dimensions(summary: Summary, simulator: str) -> list[Block]:
    names = ("polarity", *DIMENSIONS, "deficit")
    shifts = [[_policy(summary, own), *(estimate_cell(own.measures[name]) for name in names)]
              for own in summary.of(simulator)]  # fmt: skip
    heads = [Head("policy"), Head("failing sessions", "polarity fell, or the patient broke the session off"),
             *(Head(name, "share of the failing sessions in which it fell most") for name in DIMENSIONS)]  # fmt: skip
    failed = [[_policy(summary, own), text_cell(f"{own.lost} of {own.played - own.failed}", float(own.lost)),
               *(_part(own.weakest[name], own.lost) for name in DIMENSIONS)]
              for own in summary.of(simulator)]  # fmt: skip
    return [
        Table(f"Shift of the mood with {simulator}, end less start", [Head("policy"), *map(_head, names)], shifts),
        Table(f"Which dimension failed with {simulator}", heads, failed),
    ]


def _part(count: int, of: int) -> Cell:
    """How many of how many, as a percentage."""
    return Cell(f"{100 * count / of:.0f} %", count / of, "number", (f"{count} of {of}",)) if of else empty_cell()


def _guard(summary: Summary, simulator: str) -> list[Block]:
    rows = [[_policy(summary, own), *(estimate_cell(own.measures[name]) for name in _GUARD)]
            for own in summary.of(simulator)]  # fmt: skip
    return [Table(f"Safety, guards and endings with {simulator}", [Head("policy"), *map(_head, _GUARD)], rows)]


def _groups(summary: Summary, simulator: str) -> list[Block]:
    first, *others = (_grouped(summary, simulator, measure) for measure in _GROUPED)
    titles = [f"The same for {MEASURES[measure].label}, with {simulator}" for measure in _GROUPED[1:]]
    return [*first, *(Folded(title, tables) for title, tables in zip(titles, others, strict=True))]


def _grouped(summary: Summary, simulator: str, measure: str) -> list[Table]:
    own, tables = summary.of(simulator), []
    for kind in GROUPS:
        names = list(dict.fromkeys(name for s in own for name in s.groups[kind]))
        rows = [[name_cell(name), _size(own, kind, name, measure), *(_in_group(s, kind, name, measure) for s in own)]
                for name in names]  # fmt: skip
        heads = [Head(kind), Head("patients"), *(Head(s.policy) for s in own)]
        tables.append(Table(f"{MEASURES[measure].label} by {kind} with {simulator}", heads, rows))
    return tables


def _size(own: Sequence[Standing], kind: str, name: str, measure: str) -> Cell:
    return count_cell(max(s.groups[kind][name][measure].patients for s in own if name in s.groups[kind]))


def _in_group(own: Standing, kind: str, name: str, measure: str) -> Cell:
    held = own.groups[kind].get(name)
    return estimate_cell(held[measure]) if held else empty_cell()


def _mood(summary: Summary, simulator: str) -> list[Block]:
    own = [standing for standing in summary.of(simulator) if standing.course]
    means = [e.mean for s in own for step in s.course for e in step.values() if math.isfinite(e.mean)]
    if not means:
        return []
    steps = ticks(min(means) - 0.05, max(means) + 0.05, 5)
    drawn = [(policy_cell(s.policy, simulator), draw_course(s.course, f"{s.policy} with {simulator}", steps))
             for s in own]  # fmt: skip
    return [Moods(SERIES, drawn)]


def _cost(summary: Summary, simulator: str) -> list[Block]:
    own = summary.of(simulator)
    timed, priced = any(s.timing for s in own), any(s.cost for s in own)
    heads = [Head("policy"), *map(_head, _TOKENS)]
    heads += [Head("policy s", "seconds of the policy a session"), Head("environment s", "seconds of the rest")] * timed
    heads += [Head("dollars", "a session, for the therapist's tokens")] * priced
    rows = [[_policy(summary, s), *(estimate_cell(s.measures[name], 0) for name in _TOKENS),
             *(_seconds(s) if timed else ()), *((_dollars(s),) if priced else ())] for s in own]  # fmt: skip
    return [Table(f"Tokens{', seconds' * timed}{' and cost' * priced} a session with {simulator}", heads, rows)]


def _seconds(own: Standing) -> list[Cell]:
    if not own.timing or not own.timing.sessions:
        return [empty_cell()] * 2
    spent = [seconds / own.timing.sessions for seconds in (own.timing.policy, own.timing.environment)]
    return [text_cell(number(value, 3), value) for value in spent]


def _dollars(own: Standing) -> Cell:
    return estimate_cell(own.cost, 5) if own.cost else empty_cell()


def _swap(summary: Summary, simulator: str) -> list[Block]:
    """Everything at once, under the first simulator."""
    if not summary.swaps or simulator != summary.simulators[0]:
        return []
    return [block for pair, tau in summary.taus.items() for block in _swapped(summary, *pair, tau)]


def _swapped(summary: Summary, first: str, second: str, tau: float) -> list[Block]:
    held = {(s.policy, s.simulator): s for s in summary.standings}
    replaced = [simulator for simulator in (first, second) if summary.replaced(simulator)]
    heads = [Head("policy"), Head(f"return, {first}"), Head(f"return, {second}"),
             Head("difference", f"{second} less {first}, same patients and seeds"), Head("pairs"),
             Head(f"place, {first}"), Head(f"place, {second}"), Head("moves by"),
             *map(replaced_head, replaced)]  # fmt: skip
    rows = [
        [
            policy_cell(swap.policy, first, reference=swap.policy == summary.reference),
            *(estimate_cell(held[swap.policy, simulator].measures["total"]) for simulator in (first, second)),
            _moved(swap),
            *map(count_cell, (swap.difference.n_sessions, *swap.places)),
            _climb(*swap.places),
            *(replaced_cell(held[swap.policy, simulator].replaced) for simulator in replaced),
        ]
        for swap in summary.swaps
        if (swap.first, swap.second) == (first, second)
    ]
    agree = f"Kendall's tau of the two orders: {number(tau).replace('-', '−')} (1: the same order)."
    return [Note(agree, soft=False), Table(f"{second} in place of {first}", heads, rows)]


def _climb(before: int, after: int) -> Cell:
    """By how many places."""
    return text_cell(f"{before - after:+d}" if before != after else "0", float(before - after))


@dataclass(frozen=True)
class Section:
    """A part of the page: its anchor, its title, what to know, and what shows it of one simulator, if anything."""

    key: str
    title: str
    note: str
    blocks: Callable[[Summary, str], list[Block]]


#: Those that have nothing to show are left out of a page.
SECTIONS = (
    Section("board", "The board",
     "Choose a head to sort, ? to read what a column is, a policy to read its sessions.", _board),
    Section("return", "Return and differences",
     "Differences pair sessions with the same patient and seed as {reference}; p is two-sided, after Holm over the "
     "policies within a measure; coloured below 0.05. A difference below the detectable one would often be missed.",
     _plots),
    Section("terms", "Reward terms",
     "Weighted and summed over a session. An unsafe turn forfeits its gains, so columns add up to the return only "
     "where no gate shut. Shades grow with the square root.", _terms),
    Section("dimensions", "Mood, and which dimension failed",
     "A session fails its patient where polarity fell or the patient broke it off.", _dimensions),
    Section("safety", "Safety, guards, endings",
     "Shares, with Wilson intervals, so that none of few patients is not taken for never.", _guard),
    Section("groups", "By diagnosis, severity and risk",
     "A diagnosis counts up to its first comma. One patient says nothing of others: such means have no interval.",
     _groups),
    Section("mood", "Mood over the turns",
     "Mean of each dimension of e_t and of its polarity, with 95 % intervals. n: the sessions that got so far; those "
     "left at a late turn are no fair sample, for some have ended well or badly.", _mood),
    Section("cost", "Tokens, time and cost", "Baselines read no tokens. Refused draws of the patient count.", _cost),
    Section("simulators", "Another patient model",
     "The same policies, patients and seeds with another simulator: whether a result is the policy's or the patient's.",
     _swap),
)  # fmt: skip
