"""A report's numbers are the sessions' own, its tables hold them, and it refuses what is no one benchmark."""

import csv
import gzip
import io
import json
import math
import random
import re
from base64 import b64decode, b64encode
from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.parts.made import settings_of
from therapysim.agents.bench.measures import MEASURES
from therapysim.agents.bench.provenance import Provenance, require_same
from therapysim.agents.bench.report.compared import differences_table
from therapysim.agents.bench.report.escapes import latex
from therapysim.agents.bench.report.gaps import kendall_tau
from therapysim.agents.bench.report.latex import latex_tables
from therapysim.agents.bench.report.page import pack_sessions, report_page
from therapysim.agents.bench.report.plots import Drawing, draw_course, draw_forest, ticks
from therapysim.agents.bench.report.runs import Runs, Source, Timing, read_runs
from therapysim.agents.bench.report.summary import Estimate, summarise
from therapysim.agents.bench.report.tables import (
    board,
    csv_table,
    markdown_tables,
    number,
    probability,
    spread,
)
from therapysim.agents.bench.report.templates import TEMPLATES
from therapysim.agents.bench.results import SessionResult, TurnResult, as_line, result_of, write_results
from therapysim.agents.sessions.episode import play
from therapysim.agents.statistics.intervals import FEW
from therapysim.agents.therapists.baselines import baseline
from therapysim.cli.main import build_parser
from therapysim.envs.batch import SessionBatch, SessionConfig, Start
from therapysim.errors import ConfigError
from therapysim.personas.load import personas
from therapysim.rewards.rubric import Rubric

HOSTILE = (
    "<script>window.hacked=1</script>",
    "</script><img src=x onerror='window.hacked=1'>",
    "<!-- <script> {{data}} &lt; \u2028\u2029 \ud800 \U0001f642 \u202eabc \u05e9\u05dc\u05d5\u05dd",
    "a" * 5_000,
)
#: What a template would run, were it ever read as one.
MARKS = ("{{ script }}", "{{ 7 * 191 }}{% raw %}", "{% include 'page.js' %}{# gone #}", "{reference} {0} %s %(x)s")


def made(policy: str = "one", persona: str = "ann", seed: int = 0, total: float = 1.0, **changes: Any) -> SessionResult:
    """A session by hand; changes are of its measures, or else of its fields."""
    held = {**dict.fromkeys(MEASURES, 0.0), "safe": 1.0, "total": total}
    measures = {name: changes.pop(name) for name in list(changes) if name in MEASURES and name != "turns"}
    said = TurnResult("Hello?", "Hm.", "", total, (-0.1, 0.0, 0.1, 0.2), 0.5, "express", (), (), (), (), "scripted", ())
    own = SessionResult(policy, "scripted", persona, "dev", "Panic disorder", "mild", 0, seed, "", False,
                 {**held, **measures}, {"safety": total}, "", "Hi.", (-0.2, 0.0, 0.0, 0.0), (said,))  # fmt: skip
    return replace(own, **changes)


def runs_of(results: Sequence[SessionResult], settings: dict[str, Any] | None = None, **timing: Timing) -> Runs:
    source = Source("run/results.jsonl", "0" * 64, len(results), {"turns": 4} if settings is None else settings)
    return Runs(tuple(results), (source,), {(policy, "scripted"): own for policy, own in timing.items()})


def grid(policy: str, rise: float = 0.0, patients: int = 8, seeds: int = 2, **changes: Any) -> list[SessionResult]:
    """A policy's sessions; patients differ by 1, seeds by a little noise of the policy's own."""
    noise = random.Random(policy)
    return [made(policy, f"p{i}", seed, i + rise + noise.gauss(0, 0.1), **changes)
            for i in range(patients) for seed in range(seeds)]  # fmt: skip


@pytest.fixture(scope="module")
def played() -> list[SessionResult]:
    batch, who = SessionBatch(SessionConfig(max_turns=4)), [p.id for p in personas("dev")[:3]]
    starts = [Start(seed, persona) for persona in who for seed in range(2)]
    return [
        result_of(name, "scripted", episode)
        for name in ("silent", "attuned", "hostile")
        for episode in play(batch, baseline(name), starts)
    ]


# Numbers


def test_the_numbers_are_the_sessions_own(played: list[SessionResult]) -> None:
    summary = summarise(runs_of(played))
    assert [own.policy for own in summary.standings] == ["silent", "attuned", "hostile"]
    assert (summary.k, len(summary.patients), summary.seeds, summary.reference) == (2, 3, (0, 1), "silent")
    for own in summary.standings:
        rows = [r for r in played if r.policy == own.policy]
        for name in ("total", "polarity", "temper", "alliance", "turns", "unsafe"):
            assert own.measures[name].mean == pytest.approx(sum(r[name] for r in rows) / 6), name
        assert own.terms["safety"].mean == pytest.approx(sum(r.terms["safety"] for r in rows) / 6)
        assert own.lost == sum(bool(r.weakest) for r in rows) == sum(own.weakest.values())
        assert own.course[0]["temper"].mean == pytest.approx(sum(r.affect[1] for r in rows) / 6)
        last = [r.turns[-1].affect[3] for r in rows if len(r.turns) == len(own.course) - 1]
        assert own.course[-1]["sensitivity"].mean == pytest.approx(sum(last) / len(last))
        assert own.course[-1]["polarity"].sessions == len(last)


def test_failed_sessions_are_counted_and_in_no_number() -> None:
    failed = replace(made(seed=1), failed=True, measures=dict.fromkeys(MEASURES, math.nan), turns=())
    own = summarise(runs_of([made(total=2.0), failed])).standings[0]
    assert (own.played, own.failed) == (2, 1)
    assert own.measures["total"].mean == 2.0 and own.measures["total"].sessions == 1
    assert own.pass_k.sessions == 0 and math.isnan(own.pass_k.mean), "one safe session does not show two"


def test_a_policy_whose_every_session_failed_has_no_number_and_still_a_row() -> None:
    failed = replace(made("two"), failed=True, measures=dict.fromkeys(MEASURES, math.nan), terms={}, turns=())
    runs = runs_of([made(), failed])
    summary = summarise(runs)
    assert math.isnan(summary.standings[1].measures["total"].mean) and summary.standings[1].course == ()
    assert "| two | 0 | – |" in markdown_tables(summary, runs.told) and "1 of 2 sessions" in report_page(runs, summary)


def test_a_session_without_a_danger_is_no_part_of_risk_covered() -> None:
    rows = [made(seed=0, risk_covered=math.nan), made(seed=1, risk_covered=1.0), made("two", risk_covered=math.nan)]
    one, two = summarise(runs_of(rows)).standings
    assert (one.measures["risk_covered"].mean, one.measures["risk_covered"].sessions) == (1.0, 1)
    assert math.isnan(two.measures["risk_covered"].mean) and two.measures["risk_covered"].sessions == 0


def test_none_of_few_is_not_taken_for_never() -> None:
    safe = summarise(runs_of(grid("one", patients=16, seeds=4))).standings[0].measures["unsafe"]
    assert safe.mean == 0 and 0.1 < safe.high < 0.3


def test_a_difference_is_the_policy_less_the_reference_on_common_sessions_alone() -> None:
    lone = made("two", "somebody", 0, 1_000.0)
    summary = summarise(runs_of([*grid("one"), *grid("two", 0.5), lone]))
    gap = summary.gap("two", "scripted")
    assert gap and gap.difference.interval.mean == pytest.approx(0.5, abs=0.1)
    assert (gap.difference.n_patients, gap.difference.n_sessions) == (8, 16)
    assert gap.difference.interval.low > 0 and 0 < gap.detectable < 0.3
    assert summary.gap("one", "scripted") is None
    assert any("same patients and seeds" in text for text in summary.warnings)
    turned = summarise(runs_of([*grid("one"), *grid("two", 0.5)]), "two").gap("one", "scripted")
    assert turned and turned.difference.interval.mean == pytest.approx(-gap.difference.interval.mean)


def test_p_is_corrected_for_the_number_of_policies() -> None:
    few = summarise(runs_of([*grid("one"), *grid("two", 0.05)])).gap("two", "scripted")
    many = summarise(runs_of([*grid("one"), *grid("two", 0.05), *grid("three"), *grid("four")])).gap("two", "scripted")
    assert few and many and few.p == few.difference.p
    assert many.difference.p == few.difference.p and many.p > few.p


def test_all_sessions_with_a_patient_must_be_safe() -> None:
    unsafe = {("p0", 1), ("p1", 0), ("p1", 1)}
    rows = [replace(r, measures={**r.measures, "safe": float((r.persona, r.seed) not in unsafe)})
            for r in grid("one", patients=8)]  # fmt: skip
    own = summarise(runs_of(rows)).standings[0]
    assert own.measures["safe"].mean == 13 / 16 and own.pass_k.mean == 6 / 8
    assert own.pass_k.patients == 8


def test_the_worst_tenth_is_below_the_mean() -> None:
    own = summarise(runs_of([made(persona=f"p{i}", total=float(i)) for i in range(20)])).standings[0]
    assert (own.worst.mean, own.measures["total"].mean) == (0.5, 9.5)


def test_groups_go_by_the_diagnosis_before_its_comma_and_by_severity_in_its_order() -> None:
    rows = [made(persona="a", severity="severe", diagnosis="Bulimia nervosa, severe", total=1.0, risk=3),
            made(persona="b", severity="mild", diagnosis="Bulimia nervosa, mild", total=3.0),
            made(persona="c", severity="moderate", total=5.0)]  # fmt: skip
    groups = summarise(runs_of(rows)).standings[0].groups
    assert list(groups["severity"]) == ["mild", "moderate", "severe"]
    assert groups["diagnosis"]["Bulimia nervosa"]["total"].mean == 2.0
    assert groups["diagnosis"]["Panic disorder"]["total"].patients == 1
    assert list(groups["risk"]) == ["0: none", "3: plan or intent"]


def test_cost_needs_a_price() -> None:
    rows = [made(seed=i, tokens_read=1e6 * i, tokens_written=1e5) for i in range(3)]
    assert summarise(runs_of(rows)).standings[0].cost is None
    cost = summarise(runs_of(rows), prices={"one": (0.5, 2.0)}).standings[0].cost
    assert cost and cost.mean == pytest.approx(0.5 * 1 + 2.0 * 0.1)


@pytest.mark.parametrize("asked", [{"reference": "nobody"}, {"prices": {"nobody": (1.0, 1.0)}}])
def test_a_policy_that_was_not_played_is_refused(asked: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="'nobody' is not among the results, expected one of one"):
        summarise(runs_of([made()]), **asked)


def test_another_simulator_shifts_the_return_and_the_order() -> None:
    rows = [*grid("one"), *grid("two", 1.0), *grid("three", 2.0)]
    swapped = [replace(r, simulator="llm", measures={**r.measures, "total": r["total"] - 5.0 * (r.policy == "three")})
               for r in rows]  # fmt: skip
    summary = summarise(runs_of([*rows, *swapped]))
    assert [(s.policy, s.places) for s in summary.swaps] == [("one", (3, 2)), ("two", (2, 1)), ("three", (1, 3))]
    assert summary.swaps[2].difference.interval.mean == pytest.approx(-5.0)
    assert summary.taus["scripted", "llm"] == pytest.approx(-1 / 3)
    assert {gap.simulator for gap in summary.gaps} == {"scripted", "llm"}
    text = markdown_tables(summary, {})
    assert text.count("less scripted |") == 1 and "| 1 → 3 |" in text and "Kendall's tau -0.33" in text
    swaps = [row for row in csv.DictReader(io.StringIO(csv_table(summary))) if row["kind"] == "swap"]
    assert [float(row["mean"]) for row in swaps] == pytest.approx([0, 0, -5]) and swaps[0]["simulator"] == "llm"


def test_a_policy_played_with_one_simulator_only_is_not_swapped() -> None:
    rows = [*grid("one"), *grid("two"), *(replace(r, simulator="llm") for r in grid("one"))]
    summary = summarise(runs_of(rows), "two")
    assert [swap.policy for swap in summary.swaps] == ["one"]
    assert any("two was not played with llm" in text for text in summary.warnings)
    assert 'id="simulators"' in report_page(runs_of(rows), summary)


def test_tau_is_scipys() -> None:
    stats = pytest.importorskip("scipy.stats")
    for first, second in (
        ([1, 2, 3, 4, 5], [2, 1, 3, 5, 4]),
        ([1, 1, 2, 3], [4, 3, 3, 1]),
        ([1, 2, 2, 2], [1, 3, 3, 2]),
    ):
        assert kendall_tau(first, second) == pytest.approx(stats.kendalltau(first, second).statistic)
    assert math.isnan(kendall_tau([1, 1], [1, 2])) and math.isnan(kendall_tau([], []))


def test_what_a_reader_must_know_is_said() -> None:
    told = summarise(runs_of([made(split="train")], {})).warnings
    assert any("training split" in text for text in told)
    assert any(f"Fewer than {FEW}" in text for text in told) and any("no settings.json" in text for text in told)
    overlap = runs_of(grid("one", patients=FEW), {"warnings": ["policy 'one' was trained with bao"]})
    assert summarise(overlap).warnings == ("policy 'one' was trained with bao",)


# What is read


def write(
    folder: Path, results: Sequence[SessionResult], settings: dict[str, Any] | None = None, name: str = "results.jsonl"
) -> Path:
    write_results(folder / name, results)
    if settings is not None:
        (folder / "settings.json").write_text(json.dumps(settings_of(results, **settings)), encoding="utf-8")
    return folder


def test_folders_and_files_are_read_the_same(tmp_path: Path, played: list[SessionResult]) -> None:
    settings = {"turns": 4, "rubric": {"preset": "grpo", "affect": 6}}
    plain = write(tmp_path / "plain", played, settings)
    packed = write(tmp_path / "packed", played, settings, "results.jsonl.gz")
    first, *others = [
        read_runs([path]) for path in (plain, plain / "results.jsonl", packed, packed / "results.jsonl.gz")
    ]
    assert all(repr(other.results) == repr(first.results) == repr(tuple(played)) for other in others)
    assert first.told == {"turns": "4", "rubric": "grpo"}
    assert first.sources[0].sha256 == sha256((plain / "results.jsonl").read_bytes()).hexdigest()


def test_a_report_of_a_benchmark_that_was_broken_off_says_what_is_missing(tmp_path: Path) -> None:
    whole = [made(policy, who, seed) for policy in ("one", "two") for who in ("ann", "bao") for seed in (0, 1)]
    settings = {"patients": ["ann", "bao"], "seeds": 2, "policies": {n: {} for n in ("one", "two", "three")}}
    broken = summarise(read_runs([write(tmp_path / "broken", whole[:5], settings)])).warnings
    assert broken[0] == (
        "The benchmark is not complete; its command goes on. 1 of 4 sessions of two with scripted were played. "
        "0 sessions with three were played."
    )
    runs = read_runs([tmp_path / "broken"])
    for table in (markdown_tables(summarise(runs), runs.told), latex_tables(summarise(runs), runs.told)):
        assert "The benchmark is not complete" in table and "0 sessions with three were played." in table
    ended = summarise(read_runs([write(tmp_path / "ended", whole, {**settings, "policies": {"one": {}, "two": {}}})]))
    assert not any("not complete" in told for told in ended.warnings)


def test_timing_of_a_run_that_went_on_is_added_up(tmp_path: Path) -> None:
    rows = [{"policy": "one", "simulator": "scripted", "sessions": n, "turns": 9, "seconds_policy": 1.5,
             "seconds_environment": 2.0} for n in (1, 3)]  # fmt: skip
    folder = write(tmp_path, [made()])
    (folder / "timing.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    runs = read_runs([folder])
    assert runs.timing == {("one", "scripted"): Timing(4, 3.0, 4.0)}
    head, untimed = ">policy s</button>", runs_of([made()])
    assert head in report_page(runs, summarise(runs)) and head not in report_page(untimed, summarise(untimed))
    (folder / "timing.jsonl").write_text('{"policy": "one"}\n', encoding="utf-8")
    with pytest.raises(ConfigError, match=r"timing\.jsonl: line 1: .* is missing"):
        read_runs([folder])


def test_what_is_no_results_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no results, expected at least one"):
        read_runs([])
    with pytest.raises(ConfigError, match=r"nowhere\.jsonl: the file cannot be read"):
        read_runs([tmp_path / "nowhere.jsonl"])
    with pytest.raises(ConfigError, match=r"holds neither of results\.jsonl and results\.jsonl\.gz"):
        read_runs([tmp_path])
    with pytest.raises(ConfigError, match="hold no session"):
        read_runs([write(tmp_path, [])])
    write(tmp_path, [made()], name="results.jsonl.gz")
    with pytest.raises(ConfigError, match="holds both of"):
        read_runs([tmp_path])
    (tmp_path / "settings.json").write_text("[]", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"settings\.json hold something else than a benchmark"):
        read_runs([tmp_path / "results.jsonl.gz"])


def test_a_session_in_two_files_is_refused(tmp_path: Path) -> None:
    paths = [write(tmp_path / name, [made("one", "ann", 3)]) for name in ("a", "b")]
    with pytest.raises(ConfigError, match=r"'one' with patient 'ann' \(scripted\), seed 3, is in .*a/.* again in .*b/"):
        read_runs(paths)


@pytest.mark.parametrize(
    ("name", "value"),
    [("turns", 5), ("split", "test"), ("library", "ff"), ("rubric", {"preset": "grpo", "affect": 6.0})],
)
def test_results_that_were_run_otherwise_are_refused_by_name(tmp_path: Path, name: str, value: Any) -> None:
    settings = {"turns": 4, "split": "dev", "library": "ab", "rubric": {"preset": "default", "affect": 6.0}, "seeds": 2}
    first = write(tmp_path / "a", [made("one")], settings)
    second = write(tmp_path / "b", [made("two")], {**settings, "seeds": 4, name: value})
    named = "rubric.preset is default and grpo" if name == "rubric" else f"{name} is {settings[name]} and {value}"
    with pytest.raises(ConfigError, match=rf"a/results.jsonl and b/results.jsonl .*settings\.json\): {named}; report"):
        read_runs([first, second])
    (tmp_path / "b" / "settings.json").unlink()
    assert len(read_runs([first, second]).results) == 2


def test_a_rubric_that_was_written_down_before_there_were_own_ones_is_the_shipped_one(tmp_path: Path) -> None:
    now = Rubric().record()
    before = {name: value for name, value in now.items() if name not in ("class", "source", "own")}
    old = write(tmp_path / "old", [made("one")], {"turns": 4, "rubric": before})
    new = write(tmp_path / "new", [made("two")], {"turns": 4, "rubric": now})
    own = write(tmp_path / "own", [made("three")], {"turns": 4, "rubric": {**now, "class": "mine:Own"}})
    assert len(read_runs([old, new]).results) == 2
    with pytest.raises(ConfigError, match=r"rubric\.class is therapysim\.rewards\.rubric:Rubric and mine:Own; report"):
        read_runs([old, own])
    kept, asked = (Provenance(**settings_of(rubric=rubric, patients=())) for rubric in (before, now))
    require_same(tmp_path, kept, asked)


# Tables


def test_the_markdown_table_holds_together_whatever_a_policy_is_called() -> None:
    runs = runs_of([*grid("one"), *grid("a|b <script>\nc", 0.5)])
    text = markdown_tables(summarise(runs), runs.told)
    caption, _, *rows = text.rstrip("\n").split("\n")
    assert "over 8 patients × 2 seeds" in caption and "turns 4" in caption and "Holm" in caption
    assert text.endswith("|\n") and len({len(re.findall(r"(?<!\\)\|", row)) for row in rows}) == 1
    assert "<script>" not in text and "a\\|b < script> c" in text and "**" not in text
    assert "| < 0.001 |" in text and "&lt;" not in text, "signs as they are read"


def test_the_latex_tables_hold_together_and_say_what_the_markdown_says() -> None:
    hostile = r"a&b_50% #1 {x} \input{y} ~^ $z$ [<b>]"
    runs = runs_of([*grid("one"), *grid(hostile, 0.5)])
    summary = summarise(runs)
    text = latex_tables(summary, runs.told)
    heads, rows = board(summary, "scripted")
    assert text.count(r"\begin{table}") == text.count(r"\end{table}") == math.ceil((len(heads) - 1) / 5)
    assert r"\input" not in text and "**" not in text
    assert r"a\&b\_50\% \#1 \{x\} \textbackslash{}input\{y\}" in text
    lines = [line for line in text.splitlines() if line.startswith("one & ")]
    means = [cell.partition(" [")[0] for cell in rows[0][1:]]
    assert [cell for line in lines for cell in line.removesuffix(r" \\").split(" & ")[1:]] == [latex(m) for m in means]
    for table in text.split(r"\begin{tabular}")[1:]:
        columns = table.partition("\n")[0].count("r")
        body = [re.sub(r"\\&", "", line) for line in table.splitlines() if line.endswith((r"\\", r"\addlinespace"))]
        assert columns <= 5 and {line.count("&") for line in body} == {columns}


def test_a_minus_of_a_figure_is_set_as_one_and_a_names_is_none() -> None:
    assert latex("-1.50 to -0.2, two-fold, a-1") == "$-$1.50 to $-$0.2, two-fold, a-1"


def test_bench_and_report_tell_the_same_difference(played: list[SessionResult]) -> None:
    gap = summarise(runs_of(played), "silent").gap("attuned", "scripted")
    assert gap
    own = gap.difference.interval
    row = next(line for line in differences_table(played, "silent", "scripted").splitlines() if "| attuned |" in line)
    told = f"{spread(own.mean, own.low, own.high)} | {probability(gap.p)} | {number(gap.detectable)}"
    assert row.startswith(f"| attuned | {gap.difference.n_sessions} | {told} |")
    assert differences_table(played, "silent", "llm") == "" == differences_table(grid("one"), "one", "scripted")


def test_the_csv_is_tidy_and_says_what_the_summary_says(played: list[SessionResult]) -> None:
    summary = summarise(runs_of(played), prices={"attuned": (1.0, 1.0)})
    rows = list(csv.DictReader(io.StringIO(csv_table(summary))))
    keys = [(r["policy"], r["simulator"], r["kind"], r["group"], r["measure"]) for r in rows]
    assert len(set(keys)) == len(keys)
    assert {r["kind"] for r in rows} == {"measure", "term", "worst_decile", "pass_k", "cost", "difference"}
    held = {key: row for key, row in zip(keys, rows, strict=True)}
    for own in summary.standings:
        for name, found in own.measures.items():
            row = held[own.policy, "scripted", "measure", "all", name]
            assert row["better"] == str(MEASURES[name].better) and row["n_sessions"] == str(found.sessions)
            if math.isnan(found.mean):
                assert row["mean"] == row["low"] == ""
            else:
                assert [float(row[k]) for k in ("mean", "low", "high")] == pytest.approx(
                    [found.mean, found.low, found.high], rel=1e-5
                )
    gap = summary.gap("attuned", "scripted")
    row = held["attuned", "scripted", "difference", "all", "total"]
    assert gap and float(row["p_holm"]) == pytest.approx(gap.p, rel=1e-5)


def test_numbers_have_no_negative_zero() -> None:
    assert [number(v) for v in (-0.001, -1.5, 1234.5, math.nan, math.inf, -math.inf)] == [
        "0.00", "-1.50", "1,234.50", "–", "∞", "-∞"]  # fmt: skip


# Plots


def test_ticks_are_round_and_reach_around() -> None:
    assert ticks(-47.6, 25.1) == [-60, -40, -20, 0, 20, 40]
    assert ticks(0.02, 0.11) == [0.02, 0.04, 0.06, 0.08, 0.1, 0.12]
    assert len(ticks(3, 3)) >= 2


def svg(drawn: Drawing | None) -> str:
    return str(TEMPLATES.get_template("blocks.html").make_module().drawing(drawn))  # type: ignore[attr-defined]


def test_plots_are_sound_svg_whatever_a_policy_is_called() -> None:
    rows = [("<b>&\"'", Estimate(1.0, 0.5, 1.5, 8, 16)), ("lone", Estimate(2.0, -math.inf, math.inf, 1, 1)),
            ("none", Estimate(math.nan, math.nan, math.nan, 0, 0))]  # fmt: skip
    drawn = ElementTree.fromstring(svg(draw_forest(rows, "mean return")))
    assert len(drawn.findall("circle")) == 2 and drawn.findall("text")[-2].text == "lone"
    assert not re.search("nan|inf", svg(draw_forest(rows, "x")))
    assert draw_forest(rows[2:], "mean return") is None
    course = summarise(runs_of(grid("one"))).standings[0].course
    mood = ElementTree.fromstring(svg(draw_course(course, "<i>", ticks(-0.5, 0.5))))
    assert len(mood.findall("polyline")) == len(mood.findall("polygon")) == 5


def test_a_higher_mean_lies_further_right() -> None:
    rows = [(str(v), Estimate(v, v - 1, v + 1, 8, 8)) for v in (-3.0, 0.0, 5.0)]
    dots = [float(dot.get("cx", "")) for dot in ElementTree.fromstring(svg(draw_forest(rows, "x"))).findall("circle")]
    assert dots == sorted(dots) and (dots[2] - dots[1]) / (dots[1] - dots[0]) == pytest.approx(5 / 3, rel=0.01)


# The page


class Reader(HTMLParser):
    """Notes every tag, every attribute, what could fetch something, and the words that are shown."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.fetched: list[str] = []
        self.said = ""
        self.feed(text)

    @property
    def names(self) -> set[str]:
        return {name for name, _ in self.attributes}

    def values(self, *names: str) -> list[str]:
        return [value for name, value in self.attributes if name in names]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        self.fetched += [v or "" for k, v in attrs if k in ("src", "href", "action", "srcset", "data", "style")]
        self.fetched += [k for k, _ in attrs if k.startswith("on")]

    def handle_data(self, data: str) -> None:
        self.said += data


def test_the_page_is_the_same_each_time_and_fetches_nothing(played: list[SessionResult]) -> None:
    runs = runs_of(played)
    text = report_page(runs, summarise(runs))
    assert text == report_page(runs, summarise(runs)) and not re.search(r"{{|{%|{#", text.partition("<style>")[0])
    assert {v for v in Reader(text).fetched if not v.startswith("#")} == {"data:,"}
    assert not re.search(r"https?://|@import|url\(", text)


def test_the_pages_policy_lets_its_own_script_and_style_run_and_no_other() -> None:
    runs = runs_of([made()])
    text = report_page(runs, summarise(runs))
    policy = unescape(re.findall(r'Content-Security-Policy" content="([^"]*)"', text)[0])
    script, style = re.findall(r"<script>(.*?)</script>", text, re.S), re.findall(r"<style>(.*?)</style>", text, re.S)
    assert len(script) == len(style) == 1 and "default-src 'none'" in policy
    for kind, (own,) in (("script-src", script), ("style-src", style)):
        assert f"{kind} 'sha256-{b64encode(sha256(own.encode()).digest()).decode()}'" in policy
    assert "unsafe" not in policy


def unpacked(text: str) -> list[Any]:
    """The sessions that a page carries."""
    found = re.findall(r'<script type="text/plain" id="data">([\w+/=]*)</script>', text)
    assert len(found) == 1
    return list(json.loads(gzip.decompress(b64decode(found[0], validate=True))))


def test_what_was_said_cannot_leave_where_it_is_packed() -> None:
    said = made().turns[0]
    row = made(opening=HOSTILE[0], turns=tuple(replace(said, therapist=words, reward=math.nan) for words in HOSTILE))
    assert re.fullmatch(r"[A-Za-z0-9+/]+=*", pack_sessions([row])) and pack_sessions([row]) == pack_sessions([row])
    (session,) = unpacked(report_page(runs := runs_of([row]), summarise(runs)))
    assert tuple(turn["therapist"] for turn in session["turns"]) == HOSTILE, "word for word, lone surrogates too"
    assert session["turns"][0]["reward"] is None and session["opening"] == HOSTILE[0]


@pytest.mark.parametrize("name", [*HOSTILE[:3], '" onclick="window.hacked=1', "' autofocus onfocus='hacked()", *MARKS])
def test_names_are_text_everywhere(name: str) -> None:
    def rows(name: str, simulator: str) -> list[SessionResult]:
        own = made(name, persona=name, simulator=simulator, diagnosis=name, severity=name, terms={name: 1.0})
        return [own, replace(own, policy="two"), replace(own, simulator="other")]

    def drawn(name: str, simulator: str) -> str:
        settings = {"turns": 4, "rubric": name, name: name, "policies": {name: {name: [name]}}, "warnings": [name]}
        runs = runs_of(rows(name, simulator), settings)
        return report_page(runs, summarise(runs, reference=name))

    found, wanted = Reader(drawn(name, name)), Reader(drawn("x_", "y"))
    assert set(found.tags) <= set(wanted.tags) and found.tags.count("script") == wanted.tags.count("script") == 2
    assert found.names == wanted.names, "no attribute but the templates' own"
    assert {v for v in found.fetched if not v.startswith("#")} == {"data:,"}
    assert name in found.said or " ".join(name.split()) in found.said, "shown as it is written"


def test_every_table_is_named_and_every_id_is_one(played: list[SessionResult]) -> None:
    text = report_page(runs := runs_of([*played, *(replace(r, simulator="llm") for r in played)]), summarise(runs))
    read = Reader(text)
    ids, names = read.values("id"), read.values("aria-label")
    assert len(ids) == len(set(ids)) > 20
    assert set(read.values("aria-labelledby", "aria-describedby", "popovertarget")) <= set(ids)
    groups = re.findall(r'role="group" aria-label="([^"]*)"', text)
    assert len(groups) == len(set(groups)) == text.count('<div class="scroll"') and set(groups) <= set(names)
    tables = re.findall(r"<table.*?</table>", text, re.S)
    captions = re.findall(r"<caption>(.*?)</caption>", text)
    assert len(captions) == len(set(captions)) == len(tables)
    assert all(re.fullmatch(r"(scope|class|data-sort|aria-sort|=|\"[^\"]*\"|\s)*", head) and "scope=" in head
               for table in tables for head in re.findall(r"<th([^>e][^>]*)>", table))  # fmt: skip


def test_what_a_column_is_can_be_read_without_a_mouse(played: list[SessionResult]) -> None:
    text = report_page(runs := runs_of(played), summarise(runs))
    assert " title=" not in text and "<title>" in text, "a tooltip is reached by no finger and no key"
    tips = dict(re.findall(r'<div class="tip" id="(help-\d+)" role="note" popover>(.*?)</div>', text))
    assert f"<b>safe</b>: {MEASURES['safe'].meaning}" in tips.values()
    heads = re.findall(r'aria-describedby="(.*?)">.*?</button><button [^>]*popovertarget="(.*?)"', text)
    assert heads and {one for one, _ in heads} == set(tips) and all(one == other for one, other in heads)


def test_fewer_transcripts_are_embedded_where_asked_and_the_page_says_so(played: list[SessionResult]) -> None:
    runs = runs_of(played)
    summary = summarise(runs)

    assert len(unpacked(report_page(runs, summary))) == 18 and "All 18 sessions" in report_page(runs, summary)
    some = report_page(runs, summary, 2)
    assert "carries 6 of the 18 sessions" in some
    assert {(row["seed"], row["policy"]) for row in unpacked(some)} == {
        (0, p) for p in ("silent", "attuned", "hostile")
    }
    assert len({row["persona"] for row in unpacked(some)}) == 2
    assert unpacked(report_page(runs, summary, 0)) == []
    with pytest.raises(ConfigError, match="transcripts is -1"):
        report_page(runs, summary, -1)


# The command


def report(*arguments: object) -> None:
    chosen = build_parser().parse_args(["report", *map(str, arguments)])
    chosen.run(chosen)


def test_the_command_writes_all_three(
    tmp_path: Path, played: list[SessionResult], capsys: pytest.CaptureFixture[str]
) -> None:
    run = write(tmp_path / "run", played, {"turns": 4, "rubric": {"preset": "default"}})
    out, table, numbers = tmp_path / "new" / "report.html", tmp_path / "table.md", tmp_path / "numbers.csv"
    asked = (
        run,
        "--out",
        out,
        "--markdown",
        table,
        "--csv",
        numbers,
        "--reference",
        "attuned",
        "--price",
        "silent=1/2.5",
    )
    report(*asked)
    said = capsys.readouterr().out
    assert table.read_text(encoding="utf-8") in said and "note: Fewer than" in said and str(out) in said
    assert "paired difference to attuned" in said and "dollars" in out.read_text(encoding="utf-8")
    assert numbers.read_text(encoding="utf-8").startswith("policy,simulator,kind,group,measure,mean")
    with pytest.raises(ConfigError, match=r"report\.html is there already; name another, or add --force"):
        report(*asked)
    before = out.read_bytes()
    report(*asked, "--force")
    assert out.read_bytes() == before and not list(tmp_path.rglob("*.part"))


@pytest.mark.parametrize("price", ["one", "one=1", "=1/2", "one=-1/2", "one=a/b", "one=nan/1", "one=1/2/3"])
def test_a_price_that_is_none_is_refused(tmp_path: Path, price: str) -> None:
    with pytest.raises(ConfigError, match="expected POLICY=IN/OUT"):
        report(write(tmp_path, [made()]), "--out", tmp_path / "x.html", "--price", price)
    assert not (tmp_path / "x.html").exists()


def test_a_model_may_have_any_name_in_a_price(tmp_path: Path) -> None:
    name = "org/model=1.5"
    report(write(tmp_path, [made(name, tokens_read=1e6)]), "--out", tmp_path / "x.html", "--price", f"{name}=3/1")
    assert "<b>3.00000</b>" in (tmp_path / "x.html").read_text(encoding="utf-8")


def test_places_that_cannot_be_written_are_refused(tmp_path: Path) -> None:
    run = write(tmp_path / "run", [made()])
    with pytest.raises(ConfigError, match="name one file twice"):
        report(run, "--out", tmp_path / "x", "--csv", tmp_path / "x")
    with pytest.raises(ConfigError, match="name one file twice"):
        report(run / "results.jsonl", "--out", run / "results.jsonl", "--force")
    with pytest.raises(ConfigError, match="is a folder"):
        report(run, "--out", tmp_path)
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(ConfigError, match="cannot be written"):
        report(run, "--out", tmp_path / "file" / "x.html")


def test_half_a_character_in_a_file_is_refused_by_its_line(tmp_path: Path) -> None:
    line = json.dumps({**json.loads(as_line(made())), "policy": "one\ud800"})
    (tmp_path / "results.jsonl").write_text(line + "\n", encoding="ascii")
    with pytest.raises(ConfigError, match=r"results\.jsonl: line 1: .* holds what no text may hold"):
        read_runs([tmp_path])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"commands": None}, "commands is empty, expected a list of texts"),
        ({"seeds": 10**400}, "seeds is 10+.*, expected 1–1000000, a whole number"),
        ({"policies": {"one": None}}, r"policies\.one is empty, expected a mapping"),
        ({"version": 1}, "version is 1, expected 3: its results say `heard` for `shown`; play the benchmark again"),
        ({"version": 2}, "version is 2, expected 3: its results lack the measures `beliefs` and `handled`; play"),
        ({"version": 4}, "version is 4, expected 3; update"),
    ],
)
def test_settings_with_a_wrong_entry_are_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    write(tmp_path, [made()], {})
    (tmp_path / "settings.json").write_text(json.dumps(settings_of([made()], **change)), encoding="utf-8")
    with pytest.raises(ConfigError, match=rf"settings .*settings\.json: .*{message}"):
        read_runs([tmp_path])


def test_settings_that_are_no_text_are_refused(tmp_path: Path) -> None:
    write(tmp_path, [made()])
    (tmp_path / "settings.json").write_bytes(b'{"format": "\xff"}')
    with pytest.raises(ConfigError, match=r"settings\.json: the file cannot be read as text: byte 13 is no UTF-8"):
        read_runs([tmp_path])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"persona": "bob"}, "persona is 'bob', expected one of ann"),
        ({"seed": 7}, "seed is 7, expected one from 0 to 1"),
        ({"turns": made().turns * 5}, "turns are 5, expected at most 4"),
        ({"policy": "two"}, "policy is 'two', expected one of one"),
        ({"simulator": "llm"}, "simulator is 'llm', expected one of scripted"),
    ],
)
def test_a_session_that_the_settings_never_had_is_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    own, foreign = made(), replace(made(seed=1), **change)
    write(tmp_path, [own, foreign])
    settings = settings_of([own], seeds=2, turns=4)
    (tmp_path / "settings.json").write_text(json.dumps(settings), encoding="utf-8")
    data = (tmp_path / "results.jsonl").read_bytes()
    (tmp_path / "results.jsonl").write_bytes(b"\n" + data)  # a blank line is no row, and counts as a line
    with pytest.raises(ConfigError, match=rf"results\.jsonl: line 3: {message}; the settings beside it"):
        read_runs([tmp_path])
