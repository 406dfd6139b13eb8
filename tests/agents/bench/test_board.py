"""The reference board is what the pages say of it."""

import json
from functools import cache
from itertools import pairwise, product
from pathlib import Path

import pytest

from therapysim.agents.bench.report.runs import read_runs
from therapysim.agents.bench.report.summary import Estimate, Summary, summarise
from therapysim.agents.bench.results import Result, read_results
from therapysim.agents.therapists.baselines import BASELINES
from therapysim.personas.load import library_hash, personas

ROOT = Path(__file__).parents[3]
BOARD = ROOT / "agents" / "bench" / "board"
PAGES = ("README.md", "agents/BENCHMARK.md")


@cache
def board() -> list[Result]:
    return read_results(BOARD / "results.jsonl.gz")


@cache
def summary() -> Summary:
    return summarise(read_runs([BOARD]), "neutral")


def test_every_baseline_and_the_small_model_met_every_test_patient_twice() -> None:
    policies = {*BASELINES, "smollm2", "smollm2 (no header)"}
    met = {(r.policy, r.simulator, r.persona, r.seed) for r in board()}
    people, simulators = [p.id for p in personas("test")], ("scripted", "llm")
    assert met == set(product(policies, simulators, people, range(4)))
    assert len(board()) == len(met) and not any(r.failed for r in board())


def test_it_was_played_with_the_patients_that_ship() -> None:
    assert json.loads((BOARD / "settings.json").read_text())["library"] == library_hash()


@pytest.mark.parametrize("page", PAGES)
def test_the_pages_show_its_numbers(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    found = {(s.policy, s.simulator): s for s in summary().standings}
    for policy in summary().policies:
        own, swapped = found[policy, "scripted"], found[policy, "llm"]
        cells = [
            shown(own.measures["total"], 1),
            shown(swapped.measures["total"], 1),
            *(shown(own.measures[name], 2) for name in ("polarity", "alliance", "disclosure")),
            shown(own.pass_k, 2),
        ]
        assert f"| {policy} | {' | '.join(cells)} |" in text


def shown(value: Estimate, digits: int) -> str:
    return f"{value.mean:.{digits}f} [{value.low:.{digits}f}, {value.high:.{digits}f}]"


def test_its_order_makes_sense() -> None:
    """Who works with the patient, who listens, who does not, who harms."""
    tiers = (
        {"attuned", "cbt", "mi"},
        {"warm", "neutral", "eliza"},
        {"advice", "empathy_template", "random", "parrot"},
        {"silent", "injector", "hostile", "toxic_positivity"},
    )
    means = {(s.policy, s.simulator): s.measures["total"].mean for s in summary().standings}
    for simulator in summary().simulators:
        for better, worse in pairwise(tiers):
            assert min(means[p, simulator] for p in better) > max(means[p, simulator] for p in worse)
