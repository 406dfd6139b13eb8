"""Disturbed SFT runs: nothing learnt is lost, and in the end all is as undisturbed."""

import os
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("trl")

import torch
from safetensors.torch import load_file, save_file

from tests.parts.copying import Copy, copier, same
from tests.parts.patience import HANGS_S
from tests.parts.run_files import rows
from therapysim.errors import ConfigError, TrainingError
from therapysim.models import checkpoint
from therapysim.train.runs import run_folder, safe_trainer
from therapysim.train.runs.start_up import TrainResult
from therapysim.train.sft import data
from therapysim.train.sft.run import SessionSFTTrainer


@pytest.fixture
def run(tiny_model: Path, tmp_path: Path) -> Copy:
    """Four updates, a checkpoint every two."""
    return copier(tiny_model, tmp_path)


@pytest.fixture(scope="module")
def sound(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Copy:
    """Trains, before anything is disturbed, what several tests compare with."""
    return copier(tiny_model, tmp_path_factory.mktemp("sound"))


@pytest.fixture(scope="module")
def undisturbed(sound: Copy) -> TrainResult:
    return sound("undisturbed")


@pytest.fixture
def disturbed(tmp_path: Path) -> Path:
    """The folder of the run that something happens to."""
    return tmp_path / "disturbed"


def at(monkeypatch: pytest.MonkeyPatch, step: int, act: Callable[[], None]) -> None:
    """Does something in the forward pass behind so many updates."""
    whole = SessionSFTTrainer.training_step

    def forward(self: Any, *arguments: Any, **more: Any) -> Any:
        if self.state.global_step == step:
            act()
        return whole(self, *arguments, **more)

    monkeypatch.setattr(SessionSFTTrainer, "training_step", forward)


def spoil(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """The loss behind so many updates is no number."""
    whole = SessionSFTTrainer.compute_loss

    def loss(self: Any, *arguments: Any, **more: Any) -> Any:
        return whole(self, *arguments, **more) * (float("nan") if self.state.global_step == step else 1.0)

    monkeypatch.setattr(SessionSFTTrainer, "compute_loss", loss)


def adapter(folder: Path) -> dict[str, torch.Tensor]:
    return dict(load_file(folder / "adapter_model.safetensors"))


def test_a_gradient_that_is_no_number_ends_the_run_and_changes_no_weight(
    run: Copy, undisturbed: TrainResult, disturbed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as broken:
        spoil(broken, step=3)
        with pytest.raises(
            TrainingError, match=r"after 3 updates: the gradient is no finite number \(nan\); .*smaller lr"
        ):
            run("disturbed")
    assert not (disturbed / "policy").exists()
    assert [place.name for place in disturbed.glob("checkpoints/*")] == ["checkpoint-2"]
    kept, whole = (adapter(out / "checkpoints" / "checkpoint-2") for out in (disturbed, undisturbed.out))
    assert all(torch.equal(kept[name], whole[name]) for name in whole)
    assert rows(disturbed) == rows(undisturbed.out)[:3]
    assert same(run("disturbed", resume=True), undisturbed)


def test_a_gradient_that_is_no_number_at_the_start_leaves_nothing_to_go_on_from(
    run: Copy, undisturbed: TrainResult, disturbed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as broken:
        spoil(broken, step=0)
        with pytest.raises(TrainingError, match="after 0 updates"):
            run("disturbed")
    assert not list(disturbed.glob("checkpoints/*")) and not rows(disturbed)
    assert same(run("disturbed"), undisturbed)  # a run that never began is begun again without --resume


def broken_policy(model: Any, tokenizer: Any, place: Path) -> None:
    (place / "adapter_config.json").write_text("{}")
    raise KeyboardInterrupt


@pytest.mark.parametrize("steps", [4, 3], ids=["an epoch's end", "within an epoch"])
def test_a_run_killed_before_its_policy_was_written_finishes(
    run: Copy, undisturbed: TrainResult, disturbed: Path, monkeypatch: pytest.MonkeyPatch, steps: int
) -> None:
    whole = undisturbed if steps == 4 else run("whole", max_steps=steps)
    with monkeypatch.context() as killed:
        killed.setattr(safe_trainer, "save_adapter", broken_policy)
        with pytest.raises(KeyboardInterrupt):
            run("disturbed", max_steps=steps)
    assert not list(disturbed.glob("policy*"))  # whole or not there
    at(monkeypatch, steps, lambda: pytest.fail("it went on training"))
    result = run("disturbed", max_steps=steps, resume=True)
    assert same(result, whole) and result.steps == steps
    assert (result.policy / "README.md").read_text() == (whole.policy / "README.md").read_text()
    with pytest.raises(ConfigError, match=f"a checkpoint of {steps} updates already; raise max_steps"):
        run("disturbed", max_steps=steps, resume=True)


@pytest.mark.parametrize("step", [1, 3])
def test_a_run_killed_between_two_checkpoints_goes_on(
    run: Copy, undisturbed: TrainResult, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    def kill() -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as killed:
        at(killed, step, kill)
        with pytest.raises(KeyboardInterrupt):
            run("disturbed")
    assert same(run("disturbed", resume=True), undisturbed)


def test_a_run_killed_while_sessions_are_kept_begins_again(
    run: Copy, undisturbed: TrainResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    def kill(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as killed:
        killed.setattr(data, "write_examples", kill)
        with pytest.raises(KeyboardInterrupt):
            run("disturbed")
    assert same(run("disturbed"), undisturbed)


def cut_in_half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def not_a_number(path: Path) -> None:
    weights = load_file(path)
    weights[min(weights)][0, 0] = float("nan")
    save_file(weights, path)


@pytest.fixture(scope="module")
def unfinished(sound: Copy, undisturbed: TrainResult) -> Path:
    """The folder of a run that was killed between its last checkpoint and ``policy/``."""
    with pytest.MonkeyPatch.context() as killed:
        killed.setattr(safe_trainer, "save_adapter", broken_policy)
        with pytest.raises(KeyboardInterrupt):
            sound("unfinished")
    return undisturbed.out.parent / "unfinished"


@pytest.mark.parametrize(
    ("name", "harm", "said"),
    [
        ("adapter_model.safetensors", cut_in_half, "is damaged: adapter_model.safetensors"),
        ("adapter_model.safetensors", not_a_number, "holds numbers that are none: adapter_model.safetensors"),
        ("optimizer.pt", Path.unlink, "is not whole: its optimizer's moments are missing"),
        ("trainer_state.json", cut_in_half, "was not written to its end"),
    ],
)
def test_a_checkpoint_that_is_not_sound_is_passed_over(
    run: Copy,
    undisturbed: TrainResult,
    unfinished: Path,
    disturbed: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    harm: Callable[[Path], None],
    said: str,
) -> None:
    told: list[str] = []
    monkeypatch.setattr(run_folder, "announce", told.append)
    shutil.copytree(unfinished, disturbed)
    harm(disturbed / "checkpoints" / "checkpoint-4" / name)
    assert same(run("disturbed", resume=True), undisturbed)
    assert any(said in line and "goes on from an earlier checkpoint" in line for line in told)


@pytest.mark.parametrize("step", [0, 2])
def test_sigterm_saves_what_was_learnt(
    run: Copy, undisturbed: TrainResult, disturbed: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    """The update under way is made, and kept."""
    before = signal.getsignal(signal.SIGTERM)
    with monkeypatch.context() as asked:
        at(asked, step, lambda: os.kill(os.getpid(), signal.SIGTERM))
        with pytest.raises(TrainingError, match=f"stopped by SIGTERM after {step + 1} updates; go on with --resume"):
            run("disturbed", save_steps=1000)
    assert signal.getsignal(signal.SIGTERM) is before
    assert [place.name for place in disturbed.glob("checkpoints/*")] == [f"checkpoint-{step + 1}"]
    assert not (disturbed / "policy").exists()
    assert same(run("disturbed", resume=True), undisturbed)


def test_sigterm_in_the_last_update_is_no_reason_to_stop(
    run: Copy, undisturbed: TrainResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    at(monkeypatch, 3, lambda: os.kill(os.getpid(), signal.SIGTERM))
    assert same(run("disturbed"), undisturbed)


def no_space(*_: Any, **__: Any) -> None:
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize(
    ("full", "error"),
    [
        ((torch, "save"), TrainingError),
        ((run_folder, "append"), TrainingError),
        ((data, "write_examples"), ConfigError),
    ],
    ids=["checkpoint", "metrics", "sessions"],
)
def test_a_full_disk_is_told_and_the_run_goes_on_afterwards(
    run: Copy,
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


def test_one_run_a_folder_until_its_process_is_gone(run: Copy, disturbed: Path) -> None:
    holds = f"""
        import pathlib, time
        from therapysim.train.runs.lock import locked
        with locked(pathlib.Path({str(disturbed)!r})):
            print("held", flush=True)
            time.sleep({HANGS_S})
    """
    holder = subprocess.Popen([sys.executable, "-c", textwrap.dedent(holds)], stdout=subprocess.PIPE)
    try:
        assert holder.stdout is not None and holder.stdout.readline() == b"held\n"
        for resume in (False, True):
            with pytest.raises(ConfigError, match="in use by another process that trains"):
                run("disturbed", resume=resume)
    finally:
        holder.kill()
        holder.communicate()
    assert run("disturbed", max_steps=1, save_steps=1).policy.is_dir()  # a crash lets go of it
    assert checkpoint.load(disturbed / "policy")
