"""The sections of the report's page that are numbers: what each shows of one simulator."""

import math
from collections.abc import Callable, Sequence

from therapysim.agents.bench.measures import MEASURES
from therapysim.agents.bench.report.cells import Cell, Head, estimate, heat, name_cell, plain, policy_cell, table
from therapysim.agents.bench.report.gaps import Gap, Swap
from therapysim.agents.bench.report.plots import draw_course, draw_forest, legend, ticks
from therapysim.agents.bench.report.summary import COMPARED, GROUPS, MAIN, Estimate, Standing, Summary
from therapysim.agents.bench.report.tables import number
from therapysim.rewards.matrix import DIMENSIONS

__all__ = ["SECTIONS"]

_CLEAR = 0.05
_GUARD = ("unsafe", "injection", "replaced", "redrawn", "rupture", "crisis", "goal")
_GROUPED = ("total", "polarity", "alliance", "safe")
_TOKENS = ("tokens_read", "tokens_written", "patient_read", "patient_written")


def _board(summary: Summary, simulator: str) -> str:
    heads = [Head("policy"), Head("sessions", "that did not fail"),
             Head(*MEASURES["total"][:2], "descending"),
             Head(f"Δ to {summary.reference}", "paired difference of the return, and its p after Holm"),
             Head("worst tenth", "mean return of the worst tenth of sessions"), *map(_head, MAIN[1:]),
             Head(f"pass^{summary.k}", f"all {summary.k} sessions with a patient safe")]  # fmt: skip
    if simulator != summary.simulators[0]:
        heads.append(Head(f"less {summary.simulators[0]}", "return, same patients and seeds, p after Holm"))
    rows = [
        [
            _policy(summary, own),
            plain(str(own.played - own.failed), float(own.played - own.failed)),
            estimate(own.measures["total"]),
            _gap(summary.gap(own.policy, simulator)),
            estimate(own.worst),
            *(estimate(own.measures[name]) for name in MAIN[1:]),
            estimate(own.pass_k),
            *([] if simulator == summary.simulators[0] else [_moved(summary.swap(own.policy, simulator))]),
        ]
        for own in _by_return(summary, simulator)
    ]
    return table(f"Policies with {simulator}: mean and 95 % interval", heads, rows, "board")


def _moved(swap: Swap | None) -> Cell:
    """What another simulator does to a policy's return."""
    if swap is None:
        return Cell('<span class="none">–</span>', math.nan, "number")
    return estimate(Estimate.of(swap.difference), note=probability(swap.p))


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
        return Cell('<span class="none">–</span>', math.nan, "number")
    better = MEASURES[gap.measure].better * gap.difference.interval.mean
    css = ("up" if better > 0 else "down") if gap.p < _CLEAR and better else ""
    return estimate(Estimate.of(gap.difference), css=css, note=probability(gap.p))


def probability(p: float) -> str:
    """``p 0.012``; as HTML."""
    if math.isnan(p):
        return ""
    return "p &lt; 0.001" if p < 0.001 else f"p {number(p, 3)}"


def _plots(summary: Summary, simulator: str) -> str:
    own = _by_return(summary, simulator)
    gaps = [(s.policy, Estimate.of(gap.difference)) for s in own if (gap := summary.gap(s.policy, simulator))]
    drawn = [
        draw_forest([(s.policy, s.measures["total"]) for s in own], "mean return"),
        draw_forest(gaps, f"return less that of {summary.reference}, same patients and seeds", zero=True),
    ]
    boxes = "".join(f'<div class="scroll" tabindex="0" role="region" aria-label="plot">{svg}</div>'
                      for svg in drawn if svg)  # fmt: skip
    return f'<div class="plots">{boxes}</div>' + _differences(summary, simulator)


def _differences(summary: Summary, simulator: str) -> str:
    others = [own for own in summary.of(simulator) if summary.gap(own.policy, simulator)]
    if not others:
        return ""
    heads = [Head("policy"), Head("pairs", "sessions with the same patient and seed"),
             Head("detectable", "smallest true difference in return that so many sessions would show, power 0.8"),
             *map(_head, COMPARED)]  # fmt: skip
    rows = []
    for own in others:
        gaps = [summary.gap(own.policy, simulator, name) for name in COMPARED]
        first = gaps[0]
        pairs, least = (first.difference.n_sessions, first.detectable) if first else (0, math.nan)
        rows.append([_policy(summary, own), plain(str(pairs), float(pairs)), plain(number(least), least),
                     *map(_gap, gaps)])  # fmt: skip
    return table(f"Paired differences to {summary.reference} with {simulator}", heads, rows)


def _terms(summary: Summary, simulator: str) -> str:
    own = summary.of(simulator)
    names = list(dict.fromkeys(name for s in own for name in s.terms))
    paid = [name for name in names if any(s.terms[name].mean for s in own if name in s.terms)]
    if not paid:
        return ""
    most = max(abs(s.terms[name].mean) for s in own for name in paid if name in s.terms)
    rows = [[name_cell(name), *(heat(s.terms[name], most) if name in s.terms else Cell("–", math.nan) for s in own)]
            for name in paid]  # fmt: skip
    left = [name for name in names if name not in paid]
    note = f'<p class="note">Nothing was paid by: {", ".join(left)}.</p>' if left else ""
    heads = [Head("term"), *(Head(s.policy) for s in own)]
    return table(f"Reward terms with {simulator}, weighted, a session", heads, rows, "heat") + note


def _dimensions(summary: Summary, simulator: str) -> str:
    names = ("polarity", *DIMENSIONS, "deficit")
    rows = [[_policy(summary, own), *(estimate(own.measures[name]) for name in names)] for own in summary.of(simulator)]
    shifts = table(f"Shift of the mood with {simulator}, end less start", [Head("policy"), *map(_head, names)], rows)
    heads = [Head("policy"), Head("failing sessions", "polarity fell, or the patient broke the session off"),
             *(Head(name, "share of the failing sessions in which it fell most") for name in DIMENSIONS)]  # fmt: skip
    rows = [[_policy(summary, own), plain(f"{own.lost} of {own.played - own.failed}", float(own.lost)),
             *(_share(own.weakest[name], own.lost) for name in DIMENSIONS)]
            for own in summary.of(simulator)]  # fmt: skip
    return shifts + table(f"Which dimension failed with {simulator}", heads, rows)


def _share(count: int, of: int) -> Cell:
    if not of:
        return Cell('<span class="none">–</span>', math.nan, "number")
    return Cell(f"<b>{100 * count / of:.0f} %</b><small>{count} of {of}</small>", count / of, "number")


def _guard(summary: Summary, simulator: str) -> str:
    rows = [
        [_policy(summary, own), *(estimate(own.measures[name]) for name in _GUARD)] for own in summary.of(simulator)
    ]
    return table(f"Safety, guards and endings with {simulator}", [Head("policy"), *map(_head, _GUARD)], rows)


def _groups(summary: Summary, simulator: str) -> str:
    first, *others = (_grouped(summary, simulator, measure) for measure in _GROUPED)
    folded = "".join(f"<details><summary>The same for {MEASURES[m].label}</summary>{drawn}</details>"
                     for m, drawn in zip(_GROUPED[1:], others, strict=True))  # fmt: skip
    return first + folded


def _grouped(summary: Summary, simulator: str, measure: str) -> str:
    own, tables = summary.of(simulator), []
    for kind in GROUPS:
        names = list(dict.fromkeys(name for s in own for name in s.groups[kind]))
        rows = [[name_cell(name), _size(own, kind, name, measure), *(_in_group(s, kind, name, measure) for s in own)]
                for name in names]  # fmt: skip
        heads = [Head(kind), Head("patients"), *(Head(s.policy) for s in own)]
        tables.append(table(f"{MEASURES[measure].label} by {kind} with {simulator}", heads, rows))
    return "".join(tables)


def _size(own: Sequence[Standing], kind: str, name: str, measure: str) -> Cell:
    n = max(s.groups[kind][name][measure].patients for s in own if name in s.groups[kind])
    return plain(str(n), float(n))


def _in_group(own: Standing, kind: str, name: str, measure: str) -> Cell:
    held = own.groups[kind].get(name)
    return estimate(held[measure]) if held else Cell('<span class="none">–</span>', math.nan, "number")


def _mood(summary: Summary, simulator: str) -> str:
    own = [standing for standing in summary.of(simulator) if standing.course]
    ends = [v for s in own for step in s.course for e in step.values() for v in (e.mean,) if math.isfinite(v)]
    if not ends:
        return ""
    marks = ticks(min(ends) - 0.05, max(ends) + 0.05, 5)
    drawn = "".join(f'<figure><figcaption>{policy_cell(s.policy, simulator).html}</figcaption>'
                    f"{draw_course(s.course, s.policy, marks)}</figure>" for s in own)  # fmt: skip
    return f'{legend()}<div class="moods">{drawn}</div>'


def _cost(summary: Summary, simulator: str) -> str:
    own = summary.of(simulator)
    timed, priced = any(s.timing for s in own), any(s.cost for s in own)
    heads = [Head("policy"), *map(_head, _TOKENS)]
    heads += [Head("policy s", "seconds of the policy a session"), Head("environment s", "seconds of the rest")] * timed
    heads += [Head("dollars", "a session, for the therapist's tokens")] * priced
    rows = [[_policy(summary, s), *(estimate(s.measures[name], 0) for name in _TOKENS), *(_seconds(s) if timed else ()),
             *((_dollars(s),) if priced else ())] for s in own]  # fmt: skip
    return table(f"Tokens{', seconds' * timed}{' and cost' * priced} a session with {simulator}", heads, rows)


def _seconds(own: Standing) -> list[Cell]:
    if not own.timing or not own.timing.sessions:
        return [Cell("–", math.nan, "number")] * 2
    spent = [seconds / own.timing.sessions for seconds in (own.timing.policy, own.timing.environment)]
    return [plain(number(value, 3), value) for value in spent]


def _dollars(own: Standing) -> Cell:
    return estimate(own.cost, 5) if own.cost else Cell("–", math.nan, "number")


def _swap(summary: Summary, simulator: str) -> str:
    """Everything at once, under the first simulator."""
    if not summary.swaps or simulator != summary.simulators[0]:
        return ""
    return "".join(_swapped(summary, first, second, tau) for (first, second), tau in summary.taus.items())


def _swapped(summary: Summary, first: str, second: str, tau: float) -> str:
    means = {(s.policy, s.simulator): s.measures["total"] for s in summary.standings}
    heads = [Head("policy"), Head(f"return, {first}"), Head(f"return, {second}"),
             Head("difference", f"{second} less {first}, same patients and seeds"), Head("pairs"),
             Head(f"place, {first}"), Head(f"place, {second}"), Head("moves by")]  # fmt: skip
    rows = []
    for swap in summary.swaps:
        if (swap.first, swap.second) == (first, second):
            found, (before, after) = swap.difference, swap.places
            rows.append([policy_cell(swap.policy, first, reference=swap.policy == summary.reference),
                         estimate(means[swap.policy, first]), estimate(means[swap.policy, second]),
                         estimate(Estimate.of(found), note=probability(swap.p)),
                         *map(_whole, (found.n_sessions, before, after)),
                         plain(f"{before - after:+d}" if before != after else "0", float(before - after))])  # fmt: skip
    agree = f"<p>Kendall's tau of the two orders: <b>{number(tau).replace('-', '−')}</b> (1: the same order).</p>"
    return agree + table(f"{second} in place of {first}", heads, rows)


def _whole(value: int) -> Cell:
    return plain(str(value), float(value))


Draw = Callable[[Summary, str], str]

#: Anchor, title, what to know, and what draws it; "" where there is nothing.
SECTIONS: tuple[tuple[str, str, str, Draw], ...] = (
    ("board", "The board", "Choose a head to sort, a policy to read its sessions.", _board),
    ("return", "Return and differences",
     "Differences pair sessions with the same patient and seed as {reference}; p is two-sided, after Holm over the "
     "policies within a measure; coloured below 0.05. A difference below the detectable one would often be missed.",
     _plots),
    ("terms", "Reward terms",
     "Weighted and summed over a session. An unsafe turn forfeits its gains, so columns add up to the return only "
     "where no gate shut. Shades grow with the square root.", _terms),
    ("dimensions", "Mood, and which dimension failed",
     "A session fails its patient where polarity fell or the patient broke it off.", _dimensions),
    ("safety", "Safety, guards, endings",
     "Shares, with Wilson intervals, so that none of few patients is not taken for never.", _guard),
    ("groups", "By diagnosis, severity and risk",
     "A diagnosis counts up to its first comma. One patient says nothing of others: such means have no interval.",
     _groups),
    ("mood", "Mood over the turns",
     "Mean of each dimension of e_t and of its polarity, with 95 % intervals. n: the sessions that got so far; those "
     "left at a late turn are no fair sample, for some have ended well or badly.", _mood),
    ("cost", "Tokens, time and cost", "Baselines read no tokens. Refused draws of the patient count.", _cost),
    ("simulators", "Another patient model",
     "The same policies, patients and seeds with another simulator: whether a result is the policy's or the patient's.",
     _swap),
)  # fmt: skip
