"""Two processes on a CPU, started by accelerate and joined by gloo: one DPO run, shared out."""

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("trl")

import torch

from tests.parts.launching import launch
from tests.parts.preferring import made_pairs, preferrer, write_rows
from tests.parts.run_files import rows
from tests.parts.two_preferrers import SHAPE
from therapysim.models import checkpoint

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("processes")


@pytest.fixture(scope="module")
def two(folder: Path, tiny_model: Path) -> list[dict[str, Any]]:
    """What each of two processes saw of the runs in ``two_preferrers.py``."""
    made = write_rows(folder / "made.jsonl", made_pairs())
    done = launch("tests.parts.two_preferrers", str(tiny_model), str(folder), str(made))
    assert done.returncode == 0, done.stderr[-4000:]
    return [json.loads((folder / f"seen-{rank}.json").read_text()) for rank in range(2)]


def parameters(run: Path) -> dict[str, torch.Tensor]:
    model, _ = checkpoint.load(run / "policy")
    return dict(model.named_parameters())


def test_two_processes_learn_what_one_learns(
    two: list[dict[str, Any]], folder: Path, tiny_model: Path, tmp_path: Path
) -> None:
    own = {**SHAPE, "batch_size": 2, "dev_pairs": (str(folder / "made.jsonl"),)}
    alone = preferrer(tiny_model, tmp_path)("alone", **own)
    for name in ("pairs.jsonl", "dev_pairs.jsonl", "beta.json"):
        assert (folder / "whole" / name).read_text() == (alone.out / name).read_text()
    shared, single = rows(folder / "whole"), rows(alone.out)
    assert [row["step"] for row in shared] == [row["step"] for row in single] == list(range(5))
    for one, other in zip(single, shared, strict=True):
        assert set(one) == set(other)
        for name in {"loss", "validation/loss", "num_tokens", "grad_norm", "rewards/margins"} & set(one):
            assert other[name] == pytest.approx(one[name], rel=1e-2, abs=1e-4), name
    for name, weight in parameters(alone.out).items():
        torch.testing.assert_close(parameters(folder / "whole")[name], weight, rtol=0, atol=5e-3, msg=name)


def test_a_run_of_two_processes_goes_on_along_its_curve(two: list[dict[str, Any]], folder: Path) -> None:
    assert rows(folder / "parts") == rows(folder / "whole")
    whole = parameters(folder / "whole")
    assert all(torch.equal(weight, whole[name]) for name, weight in parameters(folder / "parts").items())


def test_what_is_refused_is_refused_in_both(two: list[dict[str, Any]]) -> None:
    for seen in two:
        assert "holds a run already" in seen["taken"]
        assert "no-such-file.jsonl" in seen["nowhere"]
