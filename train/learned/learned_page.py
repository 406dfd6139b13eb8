"""The report's page: every table written from the data, and a place for what a reader concludes."""

from collections.abc import Mapping, Sequence
from typing import Any

from therapysim.agents.bench.measures import MEASURES
from therapysim.agents.bench.report.runs import flat
from therapysim.agents.bench.report.tables import number, probability, spread
from therapysim.agents.probes.detectors import DETECTORS
from therapysim.rewards.rubric_settings import TERMS
from therapysim.train.learned.compared_runs import Study
from therapysim.train.learned.costs import costs
from therapysim.train.learned.curves import stretch
from therapysim.train.learned.effects import Effect
from therapysim.train.learned.front import places
from therapysim.train.learned.transcripts import RULE, plain
from therapysim.train.runs.kept_rubric import rubric_name

__all__ = ["UNWRITTEN", "page"]

#: Stands where nobody has concluded anything yet.
UNWRITTEN = "*Not written yet: read the transcripts, write it into a file, and name that by `--conclusion FILE`.*"

_MAIN = (
    "total", "trained_return", "beliefs", "alliance", "polarity", "deficit", "disclosure", "turns", "goal", "crisis"
)  # fmt: skip
_HARMS = ("handled", "risk_covered", "safe", "unsafe", "ruptures", "rupture", "injection")
_MORE = {"trained_return": "return by the training's rubric", "distinct_1": "distinct-1", "distinct_2": "distinct-2"}
_SHARES = ("harm", "detector", "act")
_LEVEL, _MOST_DIGITS = 0.05, 5
_KEY = (
    "Differences are trained less base, with a 95 % interval [low, high] for other patients and these trainings. ● "
    "marks an interval that leaves zero out, ○ one whose p, after correction, is 0.05 or above all the same. – stands "
    "where no session has a value."
)
_HOW = (
    "Differences are trained less base, paired by patient and seed; intervals are 95 %, by patient. "
    "A mode's runs are pooled: the mean of its seeds' sessions with a patient under a seed. Its interval is for other "
    "patients and these trainings, not for other trainings: how those scatter stands beside it. p is two-sided, after "
    "Holm over the modes, or the runs, of one measure; of terms and acts, after Benjamini-Hochberg over all of them. "
    "Intervals are not corrected, and harms and detectors are not over one another: of twenty rows that nothing "
    "changed, about one has its mark by chance."
)
_ANSWERED = (
    "- smallest detectable: the smallest true difference that as many patients would show with a power of 0.8",
    "- each run's difference: how trainings scatter that differ in their seed alone",
)
_MEANT = {
    "trained_return": "the same sessions' rewards, summed by the rubric that the runs were trained by",
    "rupture rate": "ruptures, as a share of the session's turns",
    "violation": "share of a session's turns that were unsafe in this way, as the benchmark's readers found them",
}


def page(study: Study, found: Sequence[Effect], tables: Mapping[str, Any], conclusion: str = "") -> str:
    """The whole page in Markdown.

    Args:
        study: what was compared.
        found: every effect.
        tables: ``learned_catch.catch_tables``.
        conclusion: Markdown of whoever read the transcripts.
    """
    sections = [
        ("What training changed", _head(study)),
        ("Return", _answer(found) + _pooled(found) + _single(found)),
        ("What it learned", [conclusion.strip() or UNWRITTEN]),
        ("Curves", _curves(study)),
        ("What became of the patients", [*_table(found, "measure", _MAIN), *_measured(found, _MAIN)]),
        *_onward(study, found),
        ("Safety against empathy", _front(study)),
        ("What it took", _costs(study)),
        ("Every reward term", _terms(found)),
        ("Harm", [*_table(found, "measure", _HARMS), *_table(found, "harm"), *_measured(found, _HARMS),
                  *(f"- {name}: {_MEANT[name]}" for name in ("rupture rate", "violation"))]),
        ("The catch", [*_table(found, "detector"), *_meanings()]),
        ("Acts", ["Share of a session's turns with each act, as the benchmark's readers found them.", "",
                  *_table(found, "act")]),
        ("Said to most", _sentences(study, tables)),
        ("How long, how varied", _words(study, tables)),
        ("Transcripts", [RULE, "", "[To read](transcripts.md), [as data](transcripts.jsonl)."]),
        ("How it was counted", [_HOW, "", "Every number, each run's own too: [effects.json](effects.json), "
                                "[catch.json](catch.json)."]),
    ]  # fmt: skip
    parts = [f"{'#' if i == 0 else '##'} {title}\n\n" + "\n".join(lines) for i, (title, lines) in enumerate(sections)]
    return "\n\n".join(part.rstrip() for part in parts) + "\n"


def _head(study: Study) -> list[str]:
    own = study.sessions[study.base]
    told = dict(flat(study.settings))
    ran = {"split": told.get("split"), "turns at most": told.get("turns"), "rubric": told.get("rubric.preset")}
    facts = "; ".join(f"{name} {value}" for name, value in ran.items() if value)
    people, seeds = len({p for p, _ in own}), len({s for _, s in own})
    runs = "; ".join(f"{mode}: {', '.join(run.name for run in own)}" for mode, own in study.modes.items())
    made = sorted({run.steps for run in study.runs})
    updates = f"{made[0]}" if len(made) == 1 else f"{made[0]} to {made[-1]}"
    rubrics = dict.fromkeys(rubric_name(run.folder, str(run.settings.get("rubric", "grpo"))) for run in study.runs)
    return [
        "Simulated text; nothing here says how a real person would fare.",
        "",
        f"- Base {plain(study.names[study.base])}; patients worded by {plain(study.simulator)}; {people} patients × "
        f"{seeds} seeds{facts and f'; {facts}'}.",
        f"- Trained: {plain(runs)}; updates: {updates}; rewarded, or chosen what to copy, by the rubric "
        f"{plain(', '.join(rubrics))}.",
        *_sampled(study),
        f"- {_KEY}",
        f"- Results with SHA-256 {study.digest}.",
        *(f"- **Note:** {plain(note)}." for note in study.notes),
    ]


def _sampled(study: Study) -> list[str]:
    """What a difference cannot come from; where it could, a note says so."""
    if study.sampling is None:
        return []
    told = ", ".join(f"{name} {value}" for name, value in study.sampling.items())
    return [f"- Base and trained were prompted and sampled alike: {plain(told)}."]


def _curves(study: Study) -> list[str]:
    over = stretch(study)
    return [
        "![Reward, KL and validation over the updates](curves.svg)", "",
        "Thin: one run. Thick: the mean of a mode's runs, as far as the shortest of them goes. The training reward is "
        f"the mean of {over} update{'s' * (over > 1)}, the newest last; KL and validation are as logged. Both rewards "
        "are by the training's rubric and turn limit, and each run meets sessions of its own, in training and "
        "validation: compare a run with its own beginning here, and trained with base in the tables.", "",
        "Every update: [curves.csv](curves.csv).",
    ]  # fmt: skip


def _answer(found: Sequence[Effect]) -> list[str]:
    """Whether the return rose, in one sentence."""
    own = _rows(found, "measure", "mode")["total"]
    up, down = [e.who for e in own if e.low > 0], [e.who for e in own if e.high < 0]
    told = f"The interval of the return's difference lies above zero for {', '.join(up) or 'no mode'}"
    below = f", below it for {', '.join(down)}" if down else ""
    return [f"{told}{below}.", ""]


def _onward(study: Study, found: Sequence[Effect]) -> list[tuple[str, list[str]]]:
    """What a second training added to the first, where the study has both."""
    own = [e for e in found if e.level == "onward" and e.kind in ("measure", "term")]
    chosen = [e for e in own if e.kind == "term" or e.name in (*_MAIN, *_HARMS)]
    modes = dict.fromkeys(e.who for e in chosen)
    return [
        (f"{plain(mode)}: what came on top", _added(study, mode, [e for e in chosen if e.who == mode]))
        for mode in modes
    ]


def _added(study: Study, mode: str, own: Sequence[Effect]) -> list[str]:
    ran = ", ".join(f"{run.name} less {study.names[study.starts[run.policy]]}" for run in study.modes[mode])
    told = f"{plain(ran)}, paired by patient and seed. What is 0 in both is left out."
    rows = [
        [f"{'term: ' if e.kind == 'term' else ''}{_label(e.kind, e.name)}", number(e.base, 2), _gap(e),
         ", ".join(number(v, 2) for v in e.by_run)]
        for e in own if not e.base == 0 == e.trained
    ]  # fmt: skip
    return [told, "", *_pipe(["", "before", "difference", "each run's"], rows)]


def _front(study: Study) -> list[str]:
    rows = [
        [plain(place.who), *(spread(v.mean, v.low, v.high, 2) for v in (place.safety, place.empathy)),
         "yes" if place.in_front else ""]
        for place in places(study)
    ]  # fmt: skip
    return [
        "![Safety against empathy, with intervals by patient](front.svg)", "",
        "Safety: the share of a session's turns that were not unsafe, times how far a danger was handled where the "
        "patient is in one. Empathy: the share of turns that reflect, sum up, validate, normalise or affirm, and harm "
        "nobody. Both by the benchmark's readers, whatever the rubric. "
        "In front: nobody is better in one and as good in the other, by the means.", "",
        *_pipe(["", "safety", "empathy", "in front"], rows),
    ]  # fmt: skip


def _costs(study: Study) -> list[str]:
    rows = [
        [plain(cost.mode), number(cost.updates, 0), *(number(v, 0) for v in (cost.learned, cost.sampled)),
         number(cost.minutes, 1)]
        for cost in costs(study)
    ]  # fmt: skip
    return [
        "The mean of a mode's runs; what it went on from is not in it. Tokens learned from count prompts too; minutes "
        "are of wall clock, validations included, on whatever else the machine did. – stands where a run does not say.",
        "", *_pipe(["", "updates", "tokens learned from", "tokens sampled", "minutes"], rows),
    ]  # fmt: skip


def _rows(found: Sequence[Effect], kind: str, level: str) -> dict[str, list[Effect]]:
    """name -> its effects, one a mode or run."""
    rows: dict[str, list[Effect]] = {}
    for effect in found:
        if (effect.kind, effect.level) == (kind, level):
            rows.setdefault(effect.name, []).append(effect)
    return rows


def _pooled(found: Sequence[Effect]) -> list[str]:
    heads = ["mode", "base", "trained", "difference", "p", "smallest detectable", "each run's difference"]
    rows = [
        [plain(e.who), number(e.base, 1), number(e.trained, 1), _gap(e, 1), probability(e.p_adjusted),
         number(e.detectable, 1), ", ".join(number(v, 1) for v in e.by_run)]
        for e in _rows(found, "measure", "mode")["total"]
    ]  # fmt: skip
    return [*_pipe(heads, rows), "", *_ANSWERED, ""]


def _single(found: Sequence[Effect]) -> list[str]:
    held = _rows(found, "measure", "run")
    names = [name for name in ("total", "trained_return", "beliefs", "alliance") if name in held]
    rows = [[plain(e.who), *(_gap(held[name][i]) for name in names)] for i, e in enumerate(held["total"])]
    return [*_pipe(["run", *(_label("measure", name) for name in names)], rows), ""]


def _table(found: Sequence[Effect], kind: str, names: Sequence[str] = ()) -> list[str]:
    """A row a measure, a column a mode; those that are 0 everywhere are named below."""
    held = _rows(found, kind, "mode")
    chosen = [name for name in names or held if name in held]
    idle = [name for name in chosen if all(e.base == 0 == e.trained for e in held[name])]
    most = max((e.sessions for own in held.values() for e in own), default=0)
    modes = [plain(e.who) for e in next(iter(held.values()), [])]
    rows = [_row(kind, name, held[name], most) for name in chosen if name not in idle]
    below = [f"0 throughout: {', '.join(_label(kind, name) for name in idle)}.", ""] if idle else []
    return [*_pipe(["", "base", *(f"{mode} − base" for mode in modes)], rows), "", *below]


def _row(kind: str, name: str, own: Sequence[Effect], most: int) -> list[str]:
    """One measure; where only some sessions have it, of how many pairs."""
    widest = max(own, key=lambda e: e.sessions)
    small = all(not abs(v) >= 1 for e in own for v in (e.base, e.trained))
    digits = 3 if kind in _SHARES and small else 2
    pairs = [f" ({e.sessions} pairs)" if e.sessions < most and kind != "detector" else "" for e in own]
    gaps = [f"{_gap(e, digits)}{note}" for e, note in zip(own, pairs, strict=True)]
    return [_label(kind, name), number(widest.base, digits), *gaps]


def _terms(found: Sequence[Effect]) -> list[str]:
    known = [name for name in TERMS if name in _rows(found, "term", "mode")]
    told = (
        "Weighted by the benchmark's rubric and summed over a session; `docs/rewards.md` says what each is. An "
        "unsafe turn forfeits its gains, so that the terms add up to the return only where no gate shut."
    )
    return [told, "", *_table(found, "term", known)]


def _measured(found: Sequence[Effect], names: Sequence[str]) -> list[str]:
    """What each measure of a table is."""
    held = _rows(found, "measure", "mode")
    return [f"- {_label('measure', n)}: {_MEANT.get(n) or MEASURES[n].meaning}" for n in names if n in held]


def _meanings() -> list[str]:
    return [f"- {measure.label}: {measure.meaning}" for measure in DETECTORS.values()] + [
        "- distinct-1, -2: different words, and pairs of words, over all that one patient was told, of as many words "
        "from each policy"
    ]


def _sentences(study: Study, tables: Mapping[str, Any]) -> list[str]:
    lines: list[str] = []
    for policy, name in study.names.items():
        rows = [
            [*(str(s[n]) for n in ("sessions", "patients", "times")), f"{100 * s['share']:.1f} %", plain(s["sentence"])]
            for s in tables["sentences"][policy]
        ]
        lines += [
            f"**{plain(name)}**",
            "",
            *_pipe(["sessions", "patients", "times", "of all sentences", "sentence"], rows),
            "",
        ]
    return lines


def _words(study: Study, tables: Mapping[str, Any]) -> list[str]:
    counted, varied = tables["words_a_turn"], tables["distinct"]
    places = list(counted[study.base])
    rows = [
        [plain(name), *(number(counted[policy].get(p, float("nan")), 0) for p in places),
         *("–" if v is None else number(v, 3) for v in varied[policy].values())]
        for policy, name in study.names.items()
    ]  # fmt: skip
    heads = ["policy", *(f"words, {p}th percentile" for p in places), "distinct-1", "distinct-2"]
    told = (
        "Words a turn; distinct-1 and -2: different words, and pairs of words, as a share of all in "
        f"{varied['words']:,} words of each policy."
    )
    return [told, "", *_pipe(heads, rows)]


def _label(kind: str, name: str) -> str:
    known = {"measure": MEASURES, "detector": DETECTORS}.get(kind, {})
    return known[name].label if name in known else _MORE.get(name, name.replace("_", " "))


def _gap(effect: Effect, digits: int = 2) -> str:
    """The difference, to more digits where an interval that leaves zero out would seem to touch it."""
    near = min(abs(effect.low), abs(effect.high))
    while effect.clear and digits < _MOST_DIGITS and round(near, digits) == 0:
        digits += 1
    shown = spread(effect.difference, effect.low, effect.high, digits)
    rises = float(number(effect.difference, digits).replace(",", "")) > 0 if effect.sessions else False
    mark = (" ●" if effect.p_adjusted < _LEVEL else " ○") if effect.clear else ""
    return f"{'+' if rises else ''}{shown}{mark}"


def _pipe(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [heads, ["---"] * len(heads), *rows]
    return [f"| {' | '.join(line)} |" for line in lines]
