"""Disturbed DPO runs: nothing learnt is lost, and in the end all is as undisturbed."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("trl")

import torch
from safetensors.torch import load_file, save_file

from tests.parts.copying import same
from tests.parts.preferring import Prefer, preferrer
from tests.parts.run_files import rows
from therapysim.errors import ConfigError, TrainingError
from therapysim.train.dpo import data
from therapysim.train.dpo.run import PairDPOTrainer
from therapysim.train.runs import run_folder, safe_trainer
from therapysim.train.runs.lock import locked
from therapysim.train.runs.start_up import TrainResult


@pytest.fixture
def run(tiny_model: Path, tmp_path: Path) -> Prefer:
    """Four updates, a checkpoint every two."""
    return preferrer(tiny_model, tmp_path)


@pytest.fixture(scope="module")
def undisturbed(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainResult:
    return preferrer(tiny_model, tmp_path_factory.mktemp("undisturbed"))()


@pytest.fixture
def disturbed(tmp_path: Path) -> Path:
    """The folder of the run that something happens to."""
    return tmp_path / "disturbed"


def at(monkeypatch: pytest.MonkeyPatch, step: int, act: Callable[[], None]) -> None:
    """Does something in the forward pass behind so many updates."""
    whole = PairDPOTrainer.training_step

    def forward(self: Any, *arguments: Any, **more: Any) -> Any:
        if self.state.global_step == step:
            act()
        return whole(self, *arguments, **more)

    monkeypatch.setattr(PairDPOTrainer, "training_step", forward)


def broken_off(*_: Any) -> None:
    raise KeyboardInterrupt


def test_a_gradient_that_is_no_number_ends_the_run_and_changes_no_weight(
    run: Prefer, undisturbed: TrainResult, disturbed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = PairDPOTrainer.compute_loss

    def loss(self: Any, *arguments: Any, **more: Any) -> Any:
        return whole(self, *arguments, **more) * (float("nan") if self.state.global_step == 3 else 1.0)

    with monkeypatch.context() as broken:
        broken.setattr(PairDPOTrainer, "compute_loss", loss)
        with pytest.raises(TrainingError, match=r"after 3 updates: the gradient is no finite number \(nan\)"):
            run("disturbed")
    assert not (disturbed / "policy").exists() and rows(disturbed) == rows(undisturbed.out)[:3]
    assert same(run("disturbed", resume=True), undisturbed)


def test_a_run_killed_before_its_policy_was_written_finishes(
    run: Prefer, undisturbed: TrainResult, disturbed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as killed:
        killed.setattr(safe_trainer, "save_adapter", broken_off)
        with pytest.raises(KeyboardInterrupt):
            run("disturbed")
    assert not list(disturbed.glob("policy*"))  # whole or not there
    at(monkeypatch, 4, lambda: pytest.fail("it went on training"))
    assert same(run("disturbed", resume=True), undisturbed)


def not_a_number(path: Path) -> None:
    weights = load_file(path)
    weights[min(weights)][0, 0] = float("nan")
    save_file(weights, path)


@pytest.mark.parametrize(
    ("name", "harm", "said"),
    [
        ("adapter_model.safetensors", not_a_number, "holds numbers that are none: adapter_model.safetensors"),
        ("optimizer.pt", Path.unlink, "is not whole: its optimizer's moments are missing"),
    ],
)
def test_a_checkpoint_that_is_not_sound_is_passed_over(
    run: Prefer,
    undisturbed: TrainResult,
    disturbed: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    harm: Callable[[Path], None],
    said: str,
) -> None:
    told: list[str] = []
    monkeypatch.setattr(run_folder, "announce", told.append)
    with monkeypatch.context() as killed:
        killed.setattr(safe_trainer, "save_adapter", broken_off)
        with pytest.raises(KeyboardInterrupt):
            run("disturbed")
    harm(disturbed / "checkpoints" / "checkpoint-4" / name)
    assert same(run("disturbed", resume=True), undisturbed)
    assert any(said in line and "goes on from an earlier checkpoint" in line for line in told)


def test_sigterm_saves_what_was_learnt(
    run: Prefer, undisturbed: TrainResult, disturbed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as asked:
        at(asked, 2, lambda: os.kill(os.getpid(), signal.SIGTERM))
        with pytest.raises(TrainingError, match="stopped by SIGTERM after 3 updates; go on with --resume"):
            run("disturbed", save_steps=1000)
    assert [place.name for place in disturbed.glob("checkpoints/*")] == ["checkpoint-3"]
    assert same(run("disturbed", resume=True), undisturbed)


def no_space(*_: Any, **__: Any) -> None:
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize(
    ("full", "error"),
    [((torch, "save"), TrainingError), ((data, "write_pairs"), ConfigError)],
    ids=["checkpoint", "pairs"],
)
def test_a_full_disk_is_told_and_the_run_goes_on_afterwards(
    run: Prefer,
    undisturbed: TrainResult,
    disturbed: Path,
    monkeypatch: pytest.MonkeyPatch,
    full: tuple[Any, str],
    error: type[Exception],
) -> None:
    with monkeypatch.context() as disk:
        disk.setattr(*full, no_space)
        with pytest.raises(error, match=r"cannot be written: .*No space left on device"):
            run("disturbed")
    assert not list(disturbed.glob("checkpoints/*"))
    assert same(run("disturbed", resume=True), undisturbed)


def test_a_second_run_in_the_folder_is_refused(run: Prefer, disturbed: Path) -> None:
    with locked(disturbed), pytest.raises(ConfigError, match="in use by another process that trains"):
        run("disturbed")
