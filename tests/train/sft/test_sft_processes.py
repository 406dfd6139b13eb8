"""Two processes on a CPU, started by accelerate and joined by gloo: one SFT run, shared out."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("trl")

import torch

from tests.parts.copying import copier
from tests.parts.launching import launch
from tests.parts.run_files import rows
from tests.parts.two_copiers import SHAPE
from therapysim.models import checkpoint

pytestmark = pytest.mark.slow
Done = subprocess.CompletedProcess[str]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("processes")


@pytest.fixture(scope="module")
def done(folder: Path, tiny_model: Path) -> Done:
    """The two processes that trained all that stands in ``two_copiers.py``, and ended in a mistake."""
    ended = launch("tests.parts.two_copiers", str(tiny_model), str(folder))
    assert all((folder / f"seen-{rank}.json").exists() for rank in range(2)), ended.stderr[-4000:]
    return ended


@pytest.fixture(scope="module")
def two(done: Done, folder: Path) -> list[dict[str, Any]]:
    """What each of them saw."""
    return [json.loads((folder / f"seen-{rank}.json").read_text()) for rank in range(2)]


def parameters(run: Path) -> dict[str, torch.Tensor]:
    model, _ = checkpoint.load(run / "policy")
    return dict(model.named_parameters())


def test_two_processes_learn_what_one_learns(
    two: list[dict[str, Any]], folder: Path, tiny_model: Path, tmp_path: Path
) -> None:
    alone = copier(tiny_model, tmp_path)("alone", **{**SHAPE, "batch_size": 2})
    for name in ("examples.jsonl", "dev_examples.jsonl"):
        assert (folder / "whole" / name).read_text() == (alone.out / name).read_text()
    shared, own = rows(folder / "whole"), rows(alone.out)
    assert [row["step"] for row in shared] == [row["step"] for row in own] == list(range(5))
    for one, other in zip(own, shared, strict=True):
        assert set(one) == set(other)
        for name in {"loss", "validation/loss", "num_tokens", "grad_norm", "mean_token_accuracy"} & set(one):
            assert other[name] == pytest.approx(one[name], rel=1e-2, abs=1e-5), name
    for name, weight in parameters(alone.out).items():
        torch.testing.assert_close(parameters(folder / "whole")[name], weight, rtol=0, atol=5e-3, msg=name)


def test_a_run_of_two_processes_goes_on_along_its_curve(two: list[dict[str, Any]], folder: Path) -> None:
    assert rows(folder / "parts") == rows(folder / "whole")
    for name in ("validation.jsonl", "completions.jsonl"):
        assert (folder / "parts" / name).read_text() == (folder / "whole" / name).read_text()
    whole = parameters(folder / "whole")
    assert all(torch.equal(weight, whole[name]) for name, weight in parameters(folder / "parts").items())


def test_each_validation_is_played_and_written_once(two: list[dict[str, Any]], folder: Path) -> None:
    told = [json.loads(line) for line in (folder / "whole" / "completions.jsonl").read_text().splitlines()]
    assert [row["step"] for row in told] == [0, 0, 2, 2, 4, 4]
    assert len((folder / "whole" / "validation.jsonl").read_text().splitlines()) == 3


def test_both_processes_are_told_why_a_run_is_refused(two: list[dict[str, Any]]) -> None:
    for seen in two:
        assert seen["taken"].startswith("ConfigError: ") and "holds a run already" in seen["taken"]
        assert "policy 'cpt' is unknown" in seen["unknown"]
        assert "no-such-file.json: the file cannot be read" in seen["nowhere"]


def test_the_command_line_leaves_one_set_of_files(two: list[dict[str, Any]], done: Done, folder: Path) -> None:
    assert [seen["command"] for seen in two] == [0, 0]
    out = folder / "command"
    assert done.stdout.count("2 updates in") == done.stdout.count("policy in") == 1
    for line in ("sessions to learn from: 4 (4 of cbt)", "8 turns to learn from in 4 sessions; 2 updates are 1 epochs"):
        assert done.stderr.count(line) == 1
    assert [row["step"] for row in rows(out)] == [1, 2]
    assert len(list(out.rglob("settings.json"))) == len(list(out.rglob("examples.jsonl"))) == 1
    checkpoint.load(out / "policy")


def test_a_mistake_is_told_once_and_ends_both_processes(two: list[dict[str, Any]], done: Done) -> None:
    assert done.returncode and re.search(r"exitcode\s*: 2\b", done.stderr)
    assert done.stderr.count("therapysim: policy 'cpt' is unknown; did you mean 'cbt'") == 1
    assert done.stderr.count("therapysim: ") == 1
