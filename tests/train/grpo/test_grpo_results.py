"""What the page says of the trainings is what their benchmark holds."""

import json
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
MODES = {"SFT": (1, 2, 3), "GRPO": (1, 2, 3), "SFT then GRPO": (1, 2, 3), "SFT then longer GRPO": (1, 2)}
FOLDERS = {
    "SFT": "runs/sft",
    "GRPO": "runs/grpo",
    "SFT then GRPO": "runs/sft_grpo",
    "SFT then longer GRPO": "runs/long",
}
BASE = "qwen2.5-coder-1.5b"


@cache
def bench() -> list[SessionResult]:
    return read_results(RESULTS / "bench" / "results.jsonl.gz")


@cache
def effect(mode: str, measure: str) -> tuple[float, float, float]:
    """Trained less base with its interval, a mode's seeds averaged session by session."""

    def values(policy: str) -> dict[tuple[str, int], float]:
        own = {(r.persona, r.seed): r[measure] for r in bench() if r.policy == policy}
        return {key: value for key, value in own.items() if not np.isnan(value)}

    base, runs = values(BASE), [values(f"{FOLDERS[mode]}-{seed}") for seed in MODES[mode]]
    trained = {key: float(np.mean([run[key] for run in runs])) for key in base}
    found = paired_difference(base, trained).interval
    return found.mean, found.low, found.high


def shown(values: tuple[float, float, float], digits: int) -> str:
    mean, low, high = values
    return f"{mean:+.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def test_base_and_trained_met_every_test_patient_under_the_same_seeds() -> None:
    policies = [BASE, *(f"{FOLDERS[mode]}-{seed}" for mode, seeds in MODES.items() for seed in seeds)]
    met = {(r.policy, r.persona, r.seed) for r in bench()}
    assert met == set(product(policies, [p.id for p in personas("test")], range(4)))
    assert len(met) == len(bench()) and not any(r.failed for r in bench())


@pytest.mark.parametrize("mode", MODES)
def test_the_page_shows_its_differences(mode: str) -> None:
    own = shown(effect(mode, "total"), 1)
    assert effect(mode, "total")[1] > 0  # what the training was to show
    cells = [own, *(shown(effect(mode, name), 2) for name in ("beliefs", "alliance", "handled"))]
    assert " | ".join(cells) in (ROOT / "docs" / "training.md").read_text(encoding="utf-8")


def test_the_page_shows_the_speed_that_was_measured() -> None:
    measured: dict[str, Any] = json.loads((RESULTS / "speed.json").read_text(encoding="utf-8"))
    page, ways = (ROOT / "docs" / "training.md").read_text(encoding="utf-8"), measured["steps"]["ways"]
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
    assert told in (ROOT / "docs" / "training.md").read_text(encoding="utf-8")


def test_the_page_says_what_the_small_model_comes_to() -> None:
    rows = read_results(RESULTS / "bench_smollm2" / "results.jsonl.gz")
    own = {name: [r for r in rows if r.policy == name] for name in ("smollm2", "runs/smol-sft", "runs/smol-grpo")}
    base, sft, grpo = (np.mean([r["total"] for r in runs]) for runs in own.values())
    first, second = (
        {(r.persona, r.seed): r["total"] for r in own[name]} for name in ("runs/smol-sft", "runs/smol-grpo")
    )
    gap = paired_difference(first, second).interval
    told = f"base {base:.1f}, SFT {sft:.1f}, and 45 updates of GRPO after it {grpo:.1f}: "
    assert told + shown((gap.mean, gap.low, gap.high), 2) in (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
