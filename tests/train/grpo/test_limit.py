"""A run whose time is up stops where it can be taken up again."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("trl")

from therapysim.envs.batch import SessionBatch
from therapysim.train.grpo.grpo_settings import GRPOSettings
from therapysim.train.grpo.run import TrainResult, train


@pytest.fixture
def run(tiny_model: Path, make_batch: Callable[..., SessionBatch], tmp_path: Path) -> Callable[..., TrainResult]:
    """Four updates, two a generation."""

    def start(out: str, **changes: Any) -> TrainResult:
        settings = {
            "model": str(tiny_model), "out": str(tmp_path / out), "max_steps": 4, "generations": 4, "batch_size": 2,
            "accumulation": 1, "max_turn_tokens": 4, "lr": 1e-2, "save_steps": 4, "validate_every": 0,
            "mask_cut_turns": False, **changes,
        }  # fmt: skip
        return train(GRPOSettings(**settings), make_batch(max_turns=2))

    return start


def losses(result: TrainResult) -> list[float]:
    lines = (result.out / "metrics.jsonl").read_text().splitlines()
    return [row["loss"] for row in map(json.loads, lines) if "loss" in row]


def test_a_run_whose_time_is_up_goes_on_later_as_if_it_had_not_stopped(
    run: Callable[..., TrainResult], capsys: pytest.CaptureFixture[str]
) -> None:
    part = run("parts", max_minutes=1e-6)
    assert part.steps == 2  # the end of a generation: what was sampled is not thrown away
    assert "max_minutes: stopped after update 2" in capsys.readouterr().err
    assert (part.out / "checkpoints" / "checkpoint-2").is_dir() and part.policy.is_dir()
    assert losses(run("parts", resume=True)) == losses(run("whole"))
