"""What the page says of the trainings is what their benchmark holds."""

import json
from collections.abc import Sequence
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from therapysim.agents.bench.results import SessionResult, read_results
from therapysim.agents.statistics.intervals import paired_difference
from therapysim.personas.load import personas

ROOT = Path(__file__).parents[3]
RESULTS = ROOT / "train" / "results"
MODES = {
    "SFT": ("runs/sft-1", "runs/sft-2", "runs/sft-3"),
    "GRPO": ("runs/grpo-1", "runs/grpo-2", "runs/grpo-3"),
    "SFT then GRPO": ("runs/sft_grpo-1", "runs/sft_grpo-2", "runs/sft_grpo-3"),
    "SFT then longer GRPO": ("runs/long-1", "runs/long-2", "runs/long-3"),
    "DPO": ("runs/dpo-1",),
    "DPO then longer GRPO": ("runs/dpo_long-1",),
}
ADDED = ("runs/sft_grpo-1", "runs/turns-1", "runs/credit-1", "runs/long-1")  # a setting more each
BASE = "qwen2.5-coder-1.5b"
PAGE = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")


@cache
def bench() -> list[SessionResult]:
    return read_results(RESULTS / "bench" / "results.jsonl.gz")


@cache
def scores(measure: str, *policies: str) -> dict[tuple[str, int], float]:
    """A measure of every session that has it, policies averaged session by session."""
    runs = [{(r.persona, r.seed): r[measure] for r in bench() if r.policy == policy} for policy in policies]
    means = {key: float(np.mean([run[key] for run in runs])) for key in runs[0]}
    return {key: value for key, value in means.items() if not np.isnan(value)}


def gap(measure: str, first: Sequence[str], second: Sequence[str]) -> tuple[float, float, float]:
    """Second less first, with its interval."""
    found = paired_difference(scores(measure, *first), scores(measure, *second)).interval
    return found.mean, found.low, found.high


def effect(mode: str, measure: str) -> tuple[float, float, float]:
    return gap(measure, (BASE,), MODES[mode])


def shown(values: tuple[float, float, float], digits: int) -> str:
    mean, low, high = values
    return f"{mean:+.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]".replace("-0.00", "0.00").replace("+0.00", "0.00")


def test_base_and_trained_met_every_test_patient_under_the_same_seeds() -> None:
    policies = {BASE, *ADDED, *(run for runs in MODES.values() for run in runs)}
    met = {(r.policy, r.persona, r.seed) for r in bench()}
    assert met == set(product(policies, [p.id for p in personas("test")], range(4)))
    assert len(met) == len(bench()) and not any(r.failed for r in bench())


@pytest.mark.parametrize("mode", MODES)
def test_the_page_shows_its_differences(mode: str) -> None:
    own = shown(effect(mode, "total"), 1)
    assert effect(mode, "total")[1] > 0  # what the training was to show
    cells = [own, *(shown(effect(mode, name), 2) for name in ("beliefs", "alliance", "handled"))]
    assert " | ".join(cells) in PAGE


@pytest.mark.parametrize(("mode", "first"), [("SFT then GRPO", "SFT"), ("SFT then longer GRPO", "SFT")])
def test_the_page_shows_what_came_on_top(mode: str, first: str) -> None:
    cells = [shown(gap(name, MODES[first], MODES[mode]), 2) for name in ("total", "beliefs", "alliance", "handled")]
    assert f"| the same, less its own {first} | | | {' | '.join(cells)} |" in PAGE


@pytest.mark.parametrize("index", range(4))
def test_the_page_shows_what_each_setting_adds(index: int) -> None:
    def less(other: str, measure: str) -> str:
        return shown(gap(measure, (other,), (ADDED[index],)), 2)

    own = [less("runs/sft-1", name) for name in ("total", "handled")]
    above = [less(ADDED[index - 1], name) for name in ("total", "handled")] if index else ["", ""]
    row = f"| {own[0]} | {above[0]} | {own[1]} | {above[1]} |".replace("|  |", "| |")
    assert row in PAGE


@pytest.mark.parametrize("policy", ["runs/sft-1", "runs/dpo-1"])
@pytest.mark.parametrize("header", ["mirrored", "none"])
def test_the_page_shows_what_another_header_does(policy: str, header: str) -> None:
    rows = read_results(RESULTS / "bench_headers" / "results.jsonl.gz")
    cells = []
    for name in ("total", "handled"):
        own = {(r.persona, r.seed): r[name] for r in rows if r.policy == f"{policy}, {header}"}
        own = {key: value for key, value in own.items() if not np.isnan(value)}
        found = paired_difference({key: scores(name, policy)[key] for key in own}, own).interval
        cells += [f"{np.mean(list(own.values())):.2f}", shown((found.mean, found.low, found.high), 2)]
    assert f"| {' | '.join(cells)} |" in PAGE


def test_the_page_shows_the_speed_that_was_measured() -> None:
    measured: dict[str, Any] = json.loads((RESULTS / "speed.json").read_text(encoding="utf-8"))
    page, ways = PAGE, measured["steps"]["ways"]
    slowest = ways["hf"]["step_seconds"]
    for way in ways.values():
        step = way["step_seconds"]
        row = f"| {step:.1f} | {slowest / step:.1f} × | {way['sampled_tokens_per_second']:,.0f} "
        assert (
            row + f"| {way['generation_share']:.0%} | {way['waiting_for_patients_share']:.1%} ".replace("%", " %")
            in page
        )
    for run in measured["rollout"]["runs"]:
        assert f"| {run['rollout_tokens_per_second']:,.0f} | {run['ratio']:.2f} |" in page


def test_the_page_says_how_long_updates_wait_for_patients() -> None:
    def share(run: str) -> float:
        rows = [json.loads(line) for line in (RESULTS / "runs" / run / "metrics.jsonl").read_text().splitlines()]
        own = [row for row in rows if "step_time" in row]
        return 100 * sum(row["seconds/environment"] for row in own) / sum(row["step_time"] for row in own)

    new = [share(run) for run in ("long-1", "long-2", "long-3", "grpo-2", "grpo-3")]
    assert max(new) <= 3.0
    told = f"{min(new):.1f} to {max(new):.1f} % of an update in Qwen's five new runs, and {share('smol-grpo'):.1f} %"
    assert told in PAGE


def test_the_page_says_what_the_small_model_comes_to() -> None:
    rows = read_results(RESULTS / "bench_smollm2" / "results.jsonl.gz")
    own = {name: [r for r in rows if r.policy == name] for name in ("smollm2", "runs/smol-sft", "runs/smol-grpo")}
    base, sft, grpo = (np.mean([r["total"] for r in runs]) for runs in own.values())
    first, second = (
        {(r.persona, r.seed): r["total"] for r in own[name]} for name in ("runs/smol-sft", "runs/smol-grpo")
    )
    gap = paired_difference(first, second).interval
    told = f"base {base:.1f}, SFT {sft:.1f}, and 45 updates of GRPO after it {grpo:.1f}: "
    assert told + shown((gap.mean, gap.low, gap.high), 2) in PAGE
