"""The reference board is what the page says of it."""

import json
from functools import cache
from itertools import pairwise, product
from pathlib import Path

import numpy as np

from therapysim.agents.bench.report.page import report_page
from therapysim.agents.bench.report.runs import read_runs
from therapysim.agents.bench.report.summary import Estimate, Summary, summarise
from therapysim.agents.bench.results import SessionResult, read_results
from therapysim.agents.probes.agreement import agreement
from therapysim.agents.statistics.intervals import Interval, mean_interval, paired_difference
from therapysim.agents.therapists.baselines import BASELINES
from therapysim.personas.load import library_hash, personas

ROOT = Path(__file__).parents[3]
BOARD = ROOT / "agents" / "bench" / "board"
PAGE = ROOT / "docs" / "benchmark.md"


@cache
def board() -> list[SessionResult]:
    return read_results(BOARD / "results.jsonl.gz")


@cache
def summary() -> Summary:
    return summarise(read_runs([BOARD]), "neutral")


def test_every_baseline_met_every_test_patient() -> None:
    met = {(r.policy, r.simulator, r.persona, r.seed) for r in board()}
    assert met == set(product(BASELINES, ("scripted",), [p.id for p in personas("test")], range(4)))
    assert len(board()) == len(met) and not any(r.failed for r in board())


def test_it_was_played_with_the_patients_that_ship() -> None:
    assert json.loads((BOARD / "settings.json").read_text())["library"] == library_hash()


def test_the_page_shows_its_numbers() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for own in summary().standings:
        cells = [
            shown(own.measures["total"], 1),
            *(shown(own.measures[name], 2) for name in ("beliefs", "alliance", "handled", "disclosure")),
            shown(own.pass_k, 2),
        ]
        assert f"| {own.policy} | {' | '.join(cells)} |" in text


def test_its_page_is_small_and_carries_every_session() -> None:
    text = report_page(read_runs([BOARD]), summary())
    assert "All 960 sessions are in this file." in text
    assert 1_000_000 < len(text.encode()) < 2_500_000


def test_the_page_shows_what_a_language_model_as_the_patient_changes() -> None:
    runs = [read_results(BOARD / "qwen_patient" / f"{name}.jsonl.gz") for name in ("scripted", "results")]
    assert {(r.policy, r.persona, r.seed) for r in runs[0]} == {(r.policy, r.persona, r.seed) for r in runs[1]}
    text = PAGE.read_text(encoding="utf-8")
    for policy in BASELINES:
        first, second = ([r for r in rows if r.policy == policy] for rows in runs)
        gap = paired_difference(*({(r.persona, r.seed): r["total"] for r in rows} for rows in (first, second)))
        replaced = f"{np.mean([r['replaced'] for r in second]):.2f}".lstrip("0")
        cells = [*(interval(mean_by_patient(rows)) for rows in (first, second)), interval(gap.interval, "+")]
        assert f"| {policy} | {' | '.join(cells)} | {replaced} |" in text
    (found,) = agreement({"scripted": runs[0], "qwen": runs[1]})
    told = f"{found.tau.mean:.2f} [{found.tau.low:.2f}, {found.tau.high:.2f}]".replace("0.", ".")
    assert f"Kendall's tau between both patients is {told}" in text


def test_the_page_says_what_the_small_model_earns() -> None:
    rows = read_results(BOARD / "smollm2" / "results.jsonl.gz")
    assert {(r.persona, r.seed) for r in rows} == {(r.persona, r.seed) for r in board()}
    assert f"earns {interval(mean_by_patient(rows))} on the same sessions" in PAGE.read_text(encoding="utf-8")


def mean_by_patient(rows: list[SessionResult]) -> Interval:
    return mean_interval([r["total"] for r in rows], [r.persona for r in rows])


def interval(value: Interval, sign: str = "") -> str:
    text = f"{value.mean:{sign}.1f} [{value.low:.1f}, {value.high:.1f}]"
    return text.replace("-0.0 ", "0.0 ").replace("+0.0 ", "0.0 ").replace("[-0.0,", "[0.0,")


def shown(value: Estimate, digits: int) -> str:
    return f"{value.mean:.{digits}f} [{value.low:.{digits}f}, {value.high:.{digits}f}]"


def test_its_order_makes_sense() -> None:
    """Who works with the patient, who listens, who talks past it, who harms."""
    tiers = (
        {"attuned", "cbt", "mi"},
        {"neutral", "warm", "eliza"},
        {"advice", "empathy_template", "random", "random_acts", "parrot"},
        {"silent"},
        {"injector", "hostile", "toxic_positivity"},
    )
    means = {own.policy: own.measures["total"].mean for own in summary().standings}
    for better, worse in pairwise(tiers):
        assert min(means[p] for p in better) > max(means[p] for p in worse)
