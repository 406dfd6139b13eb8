"""The report on trainings: its numbers are the sessions' own, its detectors find what they are named after."""

import csv
import io
import json
import math
from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.parts.made import made, settings_of
from therapysim.agents.bench.measures import MEASURES
from therapysim.agents.bench.report.gaps import gaps
from therapysim.agents.bench.results import SessionResult, TurnResult, read_results, write_results
from therapysim.agents.probes.detectors import DETECTORS, acts_of, detect, elsewhere, sentences
from therapysim.cli.main import main
from therapysim.errors import ConfigError
from therapysim.rewards.reading.acts import ACTS
from therapysim.rewards.rubric import Rubric
from therapysim.train.learned.catch import catch, catch_tables, distinct_within
from therapysim.train.learned.changes import FILES, write_report
from therapysim.train.learned.compared_runs import Study, open_study
from therapysim.train.learned.curves import SMOOTHED, curves_csv, draw_curves, smooth, stretch
from therapysim.train.learned.effects import Effect, effects
from therapysim.train.learned.learned_page import UNWRITTEN, _gap
from therapysim.train.learned.return_terms import trained_return
from therapysim.train.learned.transcripts import transcripts

pytest.importorskip("matplotlib")

BOARD = Path(__file__).parents[3] / "agents" / "bench" / "board"


def said(text: str, patient: str = "Hm.", **changes: Any) -> TurnResult:
    own = TurnResult(text, patient, "", 0.5, (0.0,) * 4, 0.5, "express", (), (), (), (), "scripted", ())
    return replace(own, **changes)


def session(
    policy: str, persona: str = "p0", seed: int = 0, total: float = 0.0, *texts: str, **changes: Any
) -> SessionResult:
    turns = tuple(said(text) for text in texts or ("What is it like for you?",))
    return replace(made(policy, persona, seed, total), turns=turns, terms={"affect": total, "safety": 1.0}, **changes)


def grid(policy: str, total: Callable[[int, int], float], patients: int = 12, seeds: int = 2) -> list[SessionResult]:
    return [session(policy, f"p{i:02}", s, total(i, s)) for i in range(patients) for s in range(seeds)]


@pytest.fixture
def study(tmp_path: Path) -> Callable[..., Study]:
    """A benchmark of results by hand, with base "base", and a run's folder for each "MODE-SEED" in it."""

    def make(results: Iterable[SessionResult], base: str = "base", **settings: Any) -> Study:
        rows = list(results)
        (tmp_path / "bench").mkdir(exist_ok=True)
        write_results(tmp_path / "bench" / "results.jsonl", rows)
        names = [name for name in dict.fromkeys(r.policy for r in rows) if name != base]
        return open_study([run_folder(tmp_path, name, **settings) for name in names], tmp_path / "bench", base)

    return make


def run_folder(
    place: Path, name: str, rows: Iterable[dict[str, Any]] = ({"step": 1, "reward": 1.0},), **own: Any
) -> Path:
    folder = place / name
    folder.mkdir(exist_ok=True)
    mode, _, seed = name.rpartition("-")
    settings = {"advantage": mode, "seed": int(seed), "model": "smollm2", "rubric": "grpo", "lr": 1e-5, **own}
    (folder / "settings.json").write_text(json.dumps(settings))
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def one(found: Iterable[Effect], kind: str, name: str, who: str) -> Effect:
    (effect,) = (e for e in found if (e.kind, e.name, e.who) == (kind, name, who))
    return effect


# Effects


def test_a_run_is_compared_as_the_benchmarks_report_compares(tmp_path: Path) -> None:
    warm = run_folder(tmp_path, "turn-0").rename(tmp_path / "warm")  # a moved run is known by its folder's name
    found = effects(open_study([warm], BOARD, "advice", "scripted"))
    held = {(p, "scripted"): [r for r in read_results(BOARD / "results.jsonl.gz") if r.key[:2] == (p, "scripted")]
            for p in ("advice", "warm")}  # fmt: skip
    for name in ("total", "polarity", "alliance", "unsafe"):
        (gap,) = gaps(held, "advice", "scripted", name)
        own = one(found, "measure", name, "warm")
        theirs = gap.difference.interval
        assert (own.difference, own.low, own.high, own.p) == (theirs.mean, theirs.low, theirs.high, gap.difference.p)
        assert (own.patients, own.sessions, own.detectable) == (16, 64, gap.detectable)
    charged = one(found, "term", "repetition", "warm")
    sums = {p: math.fsum(r.terms["repetition"] for r in rows) / 64 for (p, _), rows in held.items()}
    assert charged.base == pytest.approx(sums["advice"]) and charged.trained == pytest.approx(sums["warm"])
    missed = one(found, "harm", "violation: invalidation", "warm")
    shares = [sum("invalidation" in t.violations for t in r.turns) / len(r.turns) for r in held["advice", "scripted"]]
    assert missed.base == pytest.approx(math.fsum(shares) / 64) and missed.base > 0


def test_the_seeds_of_a_mode_are_pooled_session_by_session(study: Callable[..., Study]) -> None:
    rises = {"turn-0": 1.0, "turn-1": 2.0, "turn-2": 6.0}
    rows = [
        *grid("base", lambda i, s: i),
        *(r for n, rise in rises.items() for r in grid(n, lambda i, s, d=rise: i + d)),
    ]
    found = effects(study(rows))
    own = one(found, "measure", "total", "turn")
    assert (own.difference, own.low, own.high) == (3.0, 3.0, 3.0) and own.by_run == (1.0, 2.0, 6.0)
    assert (own.patients, own.sessions) == (12, 24) and own.clear
    assert one(found, "measure", "total", "turn-1").difference == 2.0
    assert not one(found, "term", "safety", "turn").clear


def test_what_went_on_from_other_runs_is_compared_with_these_too(tmp_path: Path) -> None:
    """Each run with its own start, whose bench's name may be another place's."""
    totals = {"base": 0.0, "sft-0": 1.0, "sft-1": 3.0, "then-0": 1.5, "then-1": 5.5}
    rows = [r for name, total in totals.items() for r in grid(name, lambda i, s, t=total: i + t)]
    (tmp_path / "bench").mkdir()
    write_results(tmp_path / "bench" / "results.jsonl", rows)
    folders = [run_folder(tmp_path, f"sft-{k}") for k in range(2)]
    folders += [run_folder(tmp_path, f"then-{k}", model=f"elsewhere/sft-{k}/policy") for k in range(2)]
    held = open_study(folders, tmp_path / "bench", "base")
    (own,) = (e for e in effects(held) if (e.level, e.name) == ("onward", "total"))
    assert (own.who, own.base, own.trained - own.base, own.by_run) == ("then", 7.5, 1.5, (0.5, 2.5))
    write_report(held, tmp_path / "out")
    told = (tmp_path / "out" / "LEARNED.md").read_text()
    assert "## then: what came on top" in told and "| return | 7.50 | +1.50 [1.50, 1.50] ● | 0.50, 2.50 |" in told
    part = open_study(folders[1:], tmp_path / "bench", "base")  # one start is not of the study
    assert not [e for e in effects(part) if e.level == "onward"]


def test_the_interval_is_by_patient_and_not_by_session(study: Callable[..., Study]) -> None:
    """Twenty sessions a patient that all say the same tell no more than one."""

    def width(place: str, seeds: int) -> float:
        rows = [
            *grid("base", lambda i, s: 0, seeds=seeds),
            *grid(f"{place}-0", lambda i, s: (-1) ** i + 0.1, seeds=seeds),
        ]
        own = one(effects(study(rows)), "measure", "total", place)
        return own.high - own.low

    assert width("many", 20) == pytest.approx(width("few", 1), rel=0.15)


def test_p_is_corrected_over_the_modes(study: Callable[..., Study]) -> None:
    rows = grid("base", lambda i, s: 0)
    for k, mode in enumerate(("turn", "mixed", "trajectory")):
        rows += grid(f"{mode}-0", lambda i, s, k=k: 0.2 * math.sin(3 * i + s + k) + 0.1)
    own = [e for e in effects(study(rows)) if (e.name, e.level) == ("total", "mode")]
    assert len(own) == 3 and min(e.p_adjusted for e in own) == pytest.approx(3 * min(e.p for e in own))


def test_failed_sessions_are_left_out_of_pairs_and_told(study: Callable[..., Study]) -> None:
    rows = [*grid("base", lambda i, s: 0), *grid("turn-0", lambda i, s: 1)]
    rows[0] = replace(rows[0], failed=True, measures=dict.fromkeys(MEASURES, math.nan), terms={}, turns=())
    own = study(rows)
    assert one(effects(own), "measure", "total", "turn").sessions == 23
    assert any("1 sessions of base failed" in note for note in own.notes)


# The catch


def test_each_detector_finds_what_it_is_named_after() -> None:
    def found(*texts: str, **changes: Any) -> dict[str, float]:
        own = session("p", "p0", 0, 0.0, *texts, **changes)
        return detect(own, elsewhere([own, session("p", "p1", 0, 0.0, "I hear you, always.")]))

    plain = found("What was that like for you?")
    assert {name: value for name, value in plain.items() if value and name not in ("words", "questions")} == {
        "to_patient": 1.0
    }
    assert found("Go on, please.", "Go on, please.")["verbatim"] == 0.5
    near = found("It sounds as if that hurts you.", "It sounds as if that hurts you badly.")
    assert (near["verbatim"], near["near"]) == (0.0, 0.5)
    assert found("I hear you, always.", "Tell me.")["elsewhere"] == 0.5
    opening = "I lie awake until the birds begin"
    assert found("You lie awake until the birds begin.", opening=opening)["parrot"] == 1.0
    assert found("So you lie awake until the birds begin?", opening=opening)["copied"] == pytest.approx(4 / 6)
    assert found("Sad, angry and afraid, you grieve.")["crammed"] == 1.0
    assert found("You said that it was a long way to the sea.")["crammed"] == 0.0
    assert found("feel sounds brave hear strong suicide help what sorry wonder")["heap"] == 1.0
    assert found("Why? When? Who was it?")["many_questions"] == 1.0 and found("Why? When?")["questions"] == 2.0
    assert found("I think that we")["unfinished"] == 1.0 and found('She said "no."')["unfinished"] == 0.0
    assert found("I am tired of my work.")["as_self"] == 1.0
    assert found("Patient: Hello.")["header"] == 1.0
    assert found("Please call the crisis line.")["crisis"] == 1.0
    assert math.isnan(found("Please call the crisis line.", risk=2)["crisis"])
    flagged = replace(session("p"), turns=(said("x", flags=("injection",)), said("y", acts=("risk_inquiry",))))
    own = detect(flagged, elsewhere([flagged]))
    assert (own["screened"], own["risk_asked"]) == (0.5, 0.5)


def test_acts_are_those_that_the_benchmark_found() -> None:
    own = acts_of(replace(session("p"), turns=(said("x", acts=("advice", "apology")), said("y", acts=("advice",)))))
    assert (own["advice"], own["apology"], own["farewell"]) == (1.0, 0.5, 0.0) and set(own) == set(ACTS)


def test_a_template_comes_before_a_loop_within_one_session() -> None:
    rows = [session("p", f"p{i}", 0, 0.0, "I am here for you. Go on then.") for i in range(3)]
    rows.append(session("p", "p9", 0, 0.0, "You are not. " * 30))
    first, second, third = sentences(rows, 3)
    assert (first["sentence"], first["times"], first["sessions"], first["patients"]) == ("Go on then.", 3, 3, 3)
    assert second["sentence"] == "I am here for you." and (third["times"], third["patients"]) == (30, 1)
    assert first["share"] == pytest.approx(3 / 36, abs=1e-4)


def test_distinct_n_is_of_equally_many_words() -> None:
    lines = [["a", "b", "c"], ["a", "b", "d"]]
    assert distinct_within(lines, 6) == {"1": pytest.approx(4 / 6, abs=1e-5), "2": 0.75}
    assert distinct_within(lines * 50, 6)["1"] == pytest.approx(0.6, abs=0.1)  # not 4 / 300
    assert distinct_within(lines, 0) == {"1": None, "2": None}


def test_who_says_more_of_the_same_is_not_less_varied(study: Callable[..., Study]) -> None:
    text = "It sounds as if the nights are long and the days are empty for you."
    rows = [session("base", f"p{i}", 0, 0.0, text) for i in range(10)]
    rows += [session("turn-0", f"p{i}", 0, 0.0, *[text] * 9) for i in range(10)]
    rows += [session("mixed-0", f"p{i}", 0, 0.0, *["go on go on go on go on go on go on go on"] * 9) for i in range(10)]
    own = study(rows)
    found = catch(own)
    assert one(found, "detector", "distinct_1", "turn").difference == 0.0
    assert one(found, "detector", "distinct_1", "mixed").high < 0
    assert one(found, "detector", "distinct_2", "mixed").patients == 10
    assert catch_tables(own)["distinct"]["words"] == 150 and catch_tables(own)["words_a_turn"]["turn-0"]["50"] == 15


def test_a_collapsed_policy_is_caught(study: Callable[..., Study]) -> None:
    rows = [session("base", f"p{i:02}", 0, 0.0, f"How was {ACTS[i]}?", f"And then {ACTS[i]}?") for i in range(12)]
    rows += [session("turn-0", f"p{i:02}", 0, 9.0, *["I am here for you."] * 2) for i in range(12)]
    found = catch(study(rows))
    for name, expected in (("verbatim", 0.5), ("elsewhere", 1.0)):
        own = one(found, "detector", name, "turn")
        assert own.trained == expected and own.low > 0, name


# Curves


def test_the_curves_are_the_metrics(study: Callable[..., Study], tmp_path: Path) -> None:
    study([*grid("base", lambda i, s: 0), *grid("turn-0", lambda i, s: 1)])
    rows = [{"step": 0, "validation/return": -2.0}, *({"step": k, "reward": float(k), "kl": 0.1} for k in range(1, 31))]
    rows += [{"step": 30, "validation/return": 3.0}, {"step": 31, "loss": 0.5, "reward": None}]
    own = open_study([run_folder(tmp_path, "turn-0", rows)], tmp_path / "bench", "base")
    told = list(csv.DictReader(io.StringIO(curves_csv(own))))
    assert [int(row["step"]) for row in told] == list(range(32))
    assert told[0]["validation/return"] == "-2" and told[0]["reward"] == "" == told[31]["reward"]
    assert (told[30]["reward"], told[30]["validation/return"], told[30]["mode"], told[30]["seed"]) == (
        "30",
        "3",
        "turn",
        "0",
    )
    assert stretch(own) == 5 and float(told[30]["reward_smoothed"]) == sum(range(26, 31)) / 5
    lines = {line.get_gid(): line for axes in draw_curves(own).axes for line in axes.lines}
    assert list(lines["validation/return turn-0"].get_ydata()) == [-2.0, 3.0]
    assert lines["reward turn"].get_ydata()[-1] == float(told[30]["reward_smoothed"])


def test_the_shortest_run_says_how_far_the_reward_is_smoothed(study: Callable[..., Study], tmp_path: Path) -> None:
    study([r for n in ("base", "turn-0", "turn-1", "mixed-0") for r in grid(n, lambda i, s: 0)])
    lengths = {"turn-0": 400, "turn-1": 60, "mixed-0": 3}
    runs = [run_folder(tmp_path, name, [{"step": k} for k in range(1, n + 1)]) for name, n in lengths.items()]
    for folders, expected in ((runs[:1], SMOOTHED), (runs[:2], 10), (runs, 1)):
        assert stretch(open_study(folders, tmp_path / "bench", "base")) == expected


def test_a_curve_that_grows_is_shown_as_it_was_logged(study: Callable[..., Study], tmp_path: Path) -> None:
    study([r for n in ("base", "turn-0", "turn-1") for r in grid(n, lambda i, s: 0)])
    rows = [{"step": k, "reward": 1.0, "kl": 2.0**k} for k in range(1, 31)]
    runs = [run_folder(tmp_path, "turn-0", rows), run_folder(tmp_path, "turn-1", rows[:20])]
    lines = {line.get_gid(): line for axes in draw_curves(open_study(runs, tmp_path / "bench", "base")).axes
             for line in axes.lines}  # fmt: skip
    assert list(lines["kl turn-0"].get_ydata()) == [row["kl"] for row in rows]
    assert list(lines["kl turn"].get_ydata()) == [row["kl"] for row in rows[:20]], "the mean ends with the shortest"


def test_smoothing_looks_back_only() -> None:
    assert smooth([(1, 4.0), (2, 0.0), (5, 2.0)], 2) == [(1, 4.0), (2, 2.0), (5, 1.0)]


# Transcripts


def test_the_transcripts_are_chosen_by_their_rule(study: Callable[..., Study]) -> None:
    rows = grid("base", lambda i, s: 0, patients=10, seeds=1)
    for name, more in (("turn-0", 0.6), ("turn-1", 0.6), ("mixed-0", 0.7)):
        rows += grid(name, lambda i, s, more=more: (i * 7) % 10 + more, patients=10, seeds=1)
    told = transcripts(study(rows))
    own = [row for row in told if row["mode"] == "turn"]
    assert [row["choice"] for row in own] == ["best", "median", "worst"]
    best, median, worst = (row["return"] for row in own)
    assert (best, worst) == (9.6, 0.6) and median == 4.6
    for trained, base in pairwise(told):
        if trained["mode"] == "turn":
            assert base["mode"] == "base" and base["persona"] == trained["persona"]
    assert len([row for row in told if row["mode"] == "base"]) == 3, "a base's session comes once"


# Mistakes


def test_what_was_not_played_alike_is_refused(study: Callable[..., Study], tmp_path: Path) -> None:
    base, trained = grid("base", lambda i, s: 0), grid("turn-0", lambda i, s: 1)
    study([*base, *trained])
    bench, run = tmp_path / "bench", tmp_path / "turn-0"
    with pytest.raises(ConfigError, match="no policy 'smollm2', expected one of base, turn-0"):
        open_study([run], bench, "smollm2")
    with pytest.raises(ConfigError, match=r"run .*mixed-0: benchmark .* no such policy .*therapysim bench"):
        open_study([run_folder(tmp_path, "mixed-0")], bench, "base")
    with pytest.raises(ConfigError, match=r"settings\.json is none of a training"):
        open_study([bench], bench, "base")
    with pytest.raises(ConfigError, match="two have one policy"):
        open_study([run, run], bench, "base")
    with pytest.raises(ConfigError, match="worded by scripted, found 'llm'"):
        open_study([run], bench, "base", "llm")
    with pytest.raises(ConfigError, match=r"differ in 1 sessions; only 'base' met 'p11' under seed 1"):
        study([*base, *trained[:-1]])


def test_runs_of_one_mode_that_were_trained_differently_are_not_pooled(
    study: Callable[..., Study], tmp_path: Path
) -> None:
    study([*grid("base", lambda i, s: 0), *grid("turn-0", lambda i, s: 1), *grid("turn-1", lambda i, s: 1)], lr=1e-5)
    folders = [tmp_path / "turn-0", run_folder(tmp_path, "turn-1", lr=1e-4)]
    with pytest.raises(ConfigError, match=r"turn-0 and turn-1 are both 'turn', but lr is 1e-05 and 0\.0001"):
        open_study(folders, tmp_path / "bench", "base")


def test_what_changes_no_curve_may_differ_between_pooled_runs(study: Callable[..., Study], tmp_path: Path) -> None:
    study([r for n in ("base", "turn-0", "turn-1") for r in grid(n, lambda i, s: 0)])
    there = [run_folder(tmp_path, f"turn-{n}", max_steps=n + 1, patient_processes=n) for n in range(2)]
    assert len(open_study(there, tmp_path / "bench", "base").modes["turn"]) == 2


def test_how_rows_are_split_into_passes_and_what_an_older_run_lacks_are_no_difference(
    study: Callable[..., Study], tmp_path: Path
) -> None:
    study([r for n in ("base", "turn-0", "turn-1") for r in grid(n, lambda i, s: 0)])
    old = run_folder(tmp_path, "turn-0", batch_size=8, accumulation=4)

    def pooled(**own: Any) -> int:
        there = run_folder(tmp_path, "turn-1", **{"batch_size": 4, "accumulation": 8, "redraw_groups": 0, **own})
        return len(open_study([old, there], tmp_path / "bench", "base").modes["turn"])

    assert pooled() == 2
    with pytest.raises(ConfigError, match="but batch_size × accumulation is 32 and 64"):
        pooled(accumulation=16)
    with pytest.raises(ConfigError, match="but redraw_groups is 0 and 2"):
        pooled(redraw_groups=2)


def test_the_page_says_how_base_and_trained_were_sampled(study: Callable[..., Study], tmp_path: Path) -> None:
    rows = [*grid("base", lambda i, s: 0), *grid("turn-0", lambda i, s: 1)]
    told = study(rows)
    assert told.sampling is None and "sampled alike" not in shown(told, tmp_path), "the benchmark does not say"
    alike = {"max_tokens": 64, "temperature": 0.8}
    for other, known in (({}, {"max_tokens": "64", "temperature": "0.8"}), ({"temperature": 1.0}, None)):
        about = {"policies": {"base": alike, "turn-0": {**alike, **other}}}
        (tmp_path / "bench" / "settings.json").write_text(json.dumps(settings_of(rows, **about)))
        told = open_study([tmp_path / "turn-0"], tmp_path / "bench", "base")
        assert told.sampling == known
        line = r"Base and trained were prompted and sampled alike: max\_tokens 64, temperature 0.8."
        assert (line in shown(told, tmp_path)) is (known is not None)


def shown(told: Study, tmp_path: Path) -> str:
    write_report(told, tmp_path / "shown")
    return (tmp_path / "shown" / "LEARNED.md").read_text(encoding="utf-8")


def test_the_page_explains_what_it_shows(study: Callable[..., Study], tmp_path: Path) -> None:
    text = shown(study([*grid("base", lambda i, s: 0), *grid("turn-0", lambda i, s: 1)]), tmp_path)
    for name in ("total", "polarity", "alliance", "disclosure", "safe", "ruptures"):
        assert f"- {MEASURES[name].label}: {MEASURES[name].meaning}\n" in text, name
    for told in ("- smallest detectable: ", "- each run's difference: ", "- rupture rate: ", "- violation: ",
                 "○ one whose p", "words, 5th", "The training reward is the mean of 1 update,"):  # fmt: skip
        assert told in text, told
    assert text.index("● marks an interval") < text.index("## Return"), "before the first mark"


def test_a_marks_interval_is_seen_to_leave_zero_out() -> None:
    own = Effect("measure", "polarity", "mode", "turn", 0.0, 0.02, 0.0216, 0.0004, 0.0448, 0.04, 0.044, 1.0, (), 16, 64)
    assert _gap(own) == "+0.0216 [0.0004, 0.0448] ●"
    assert _gap(replace(own, low=0.006)) == "+0.02 [0.01, 0.04] ●"
    assert _gap(replace(own, p_adjusted=0.05)) == "+0.0216 [0.0004, 0.0448] ○"
    assert _gap(replace(own, low=-0.0004)) == "+0.02 [0.00, 0.04]"
    assert _gap(replace(own, difference=-0.003, low=-0.01, high=-0.001)) == "-0.003 [-0.010, -0.001] ●"


def test_a_base_that_was_prompted_otherwise_is_noted(study: Callable[..., Study], tmp_path: Path) -> None:
    study(rows := [*grid("base", lambda i, s: 0), *grid("turn-0", lambda i, s: 1)])
    about = {"base": {"max_tokens": 64, "show_state": True}, "turn-0": {"max_tokens": 32, "show_state": True}}
    held = settings_of(rows, policies=about, warnings=["met before"])
    (tmp_path / "bench" / "settings.json").write_text(json.dumps(held))
    notes = open_study([tmp_path / "turn-0"], tmp_path / "bench", "base").notes
    assert notes == ("met before", "base and turn-0 were not prompted and sampled alike: max_tokens 64 and 32")


def test_runs_of_different_length_are_noted_and_a_runs_best_policy_is_its_own(tmp_path: Path) -> None:
    names = ("base", "turn-0", "runs/turn-0/best")
    write_results(tmp_path / "bench" / "results.jsonl", [r for name in names for r in grid(name, lambda i, s: 0)])
    best = run_folder(tmp_path, "turn-0") / "best"
    best.mkdir()
    own = open_study([best.parent, best], tmp_path / "bench", "base")
    assert own.names == {"base": "base", "turn-0": "turn-0", "runs/turn-0/best": "turn-0/best"} and own.notes == ()
    run_folder(tmp_path, "mixed-0", [{"step": 7, "reward": 1.0}]).rename(tmp_path / "base")
    notes = open_study([best.parent, tmp_path / "base"], tmp_path / "bench", "runs/turn-0/best").notes
    assert notes == ("the runs made different numbers of updates: turn-0 1, base 7",)


# The command


def command(tmp_path: Path, *more: str) -> list[str]:
    for name in ("turn-0", "turn-1"):
        run_folder(tmp_path, name)
    runs = [str((tmp_path / a).rename(tmp_path / b)) for a, b in (("turn-0", "warm"), ("turn-1", "neutral"))]
    return ["learned", *runs, "--bench", str(BOARD), "--base", "advice", "--patient", "scripted", *more]


def test_the_report_is_the_same_each_time_and_replaced_only_by_force(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "told.md").write_text("It says that it is *fond of* everyone.\n")
    arguments = command(tmp_path, "--out", str(tmp_path / "out"), "--conclusion", str(tmp_path / "told.md"))
    assert main(arguments) == 0
    lines = capsys.readouterr().out
    assert "mode turn: total +9.85" in lines and "run warm: total +7.85" in lines
    assert "p < 0.001" in lines and "p 0.000" not in lines
    first = {name: (tmp_path / "out" / name).read_bytes() for name in FILES}
    assert {file.name for file in (tmp_path / "out").iterdir()} == set(FILES)
    assert main(arguments) == 2 and "is there already" in capsys.readouterr().err
    (tmp_path / "out" / "mine.txt").write_text("stays")
    assert main([*arguments, "--force"]) == 0
    assert {name: (tmp_path / "out" / name).read_bytes() for name in FILES} == first
    assert (tmp_path / "out" / "mine.txt").exists() and not list(tmp_path.glob("*.part"))
    page = first["LEARNED.md"].decode()
    assert "It says that it is *fond of* everyone." in page and UNWRITTEN not in page
    assert "| warm | +7.85 [6.32, 9.20] ● |" in page and "lies above zero for turn." in page
    assert "I admire you, and I am grateful for your company." in page
    told = json.loads(first["catch.json"])
    assert set(told["detectors"]) == set(DETECTORS) and "warm" in told["sentences"]
    (row,) = (e for e in told["effects"] if (e["name"], e["who"]) == ("elsewhere", "warm"))
    assert row["trained"] == 1.0, "warm says the same to everyone"
    assert str(tmp_path) not in "".join(text.decode() for text in first.values())


def test_a_mistake_leaves_nothing_behind(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = command(tmp_path, "--out", str(tmp_path / "out"), "--conclusion", str(tmp_path / "none.md"))
    assert main(arguments) == 2 and "--conclusion" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_what_a_policy_says_stays_text(study: Callable[..., Study], tmp_path: Path) -> None:
    hostile = "<script>x</script> | **bold** [link](http://x) # head. Or not?"
    rows = [session("base", f"p{i}", 0, 0.0, hostile) for i in range(10)]
    rows += [session("turn-0", f"p{i}", 0, 1.0, hostile) for i in range(10)]
    write_report(study(rows), tmp_path / "out")
    for name in ("LEARNED.md", "transcripts.md"):
        text = (tmp_path / "out" / name).read_text(encoding="utf-8")
        assert "<script" not in text and "< script" in text and "&lt;" not in text and r"\*\*bold" in text
        assert all(line.count("|") - line.count(r"\|") >= 2 for line in text.splitlines() if line.startswith("|"))
    assert UNWRITTEN in (tmp_path / "out" / "LEARNED.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_trainings_benchmark_and_report_in_one(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two real trainings of a tiny model, a benchmark of what came of them, and the report."""
    pytest.importorskip("trl")
    monkeypatch.chdir(tmp_path)
    tiny = str(tiny_model)
    short = ["--generations", "2", "--batch-size", "1", "--accumulation", "2", "--max-steps", "2", "--save-steps", "2",
             "--max-turns", "2", "--max-turn-tokens", "6", "--validate-every", "2", "--validate-sessions", "2",
             "--lr", "1e-2"]  # fmt: skip
    for seed in ("0", "1"):
        out = ["--out", f"runs/turn-{seed}", "--seed", seed, "--advantage", "turn"]
        assert main(["train", "grpo", "--model", tiny, *out, *short]) == 0
    runs = ["runs/turn-0", "runs/turn-1"]
    small = ["--split", "test", "--patients", "2", "--seeds", "1", "--turns", "2", "--max-tokens", "6", "--sessions"]
    assert main(["bench", tiny, *runs, "--out", "bench", *small]) == 0
    assert main(["learned", *runs, "--bench", "bench", "--base", tiny, "--out", "report"]) == 0

    told = json.loads(Path("report/effects.json").read_text())
    assert [run["name"] for run in told["runs"]] == ["turn-0", "turn-1"] and told["base"] == tiny_model.name
    assert told["notes"] == ["2 patients are few: intervals are rough below 10"], "prompted and sampled alike"
    own = {(e["name"], e["who"]): e for e in told["effects"] if e["kind"] == "measure"}
    assert own["total", "turn"]["sessions"] == 2 and "trained_return" in {name for name, _ in own}
    rows = list(csv.DictReader(io.StringIO(Path("report/curves.csv").read_text())))
    assert {row["run"] for row in rows} == {"turn-0", "turn-1"}
    assert all(row["reward"] for row in rows if row["step"] in ("1", "2"))
    assert all(row["validation/return"] for row in rows if row["step"] in ("0", "2"))
    first = json.loads(Path("report/transcripts.jsonl").read_text().splitlines()[0])
    assert first["turns"][0]["terms"]["safety"] in (1.0, -1.0), "turns have their terms"

    default = Rubric().record()
    for run in runs:  # as if they had been trained by the benchmark's own rubric
        Path(run, "rubric.json").write_text(json.dumps(default))
    study = open_study(runs, "bench", tiny)
    values = trained_return(study)
    assert set(values) == {tiny, *runs}
    for policy, own in values.items():
        for key, value in own["trained_return"].items():
            assert value == pytest.approx(study.sessions[policy][key]["total"], abs=1e-4)
    file = min(Path("bench").rglob("*turn-0/*.json"))
    held = json.loads(file.read_text())
    held["messages"][1]["text"] = "Something else."
    file.write_text(json.dumps(held))
    with pytest.raises(ConfigError, match="is of another session than the results' row of 'runs/turn-0'"):
        trained_return(study)
