"""Disturbed runs: nothing is learnt from nothing, nothing learnt is lost, and in the end all is as undisturbed."""

import os
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("trl")

import torch
from safetensors.torch import load_file, save_file

from tests.parts.patience import HANGS_S
from tests.parts.run_files import rows
from therapysim.envs.batch import SessionBatch
from therapysim.errors import ConfigError, PatientError, TrainingError
from therapysim.models import checkpoint
from therapysim.personas.patient import Cue, Line
from therapysim.train.grpo import failsafe, trainer
from therapysim.train.grpo.grpo_settings import GRPOSettings
from therapysim.train.grpo.run import TrainResult, train
from therapysim.train.runs import run_folder, safe_trainer

MakeBatch = Callable[..., SessionBatch]
Run = Callable[..., TrainResult]
# The share of a longer run, and tokens spent, those of broken-off updates too.
_APART = ("epoch", "num_tokens")


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long a run meant to wait, each time."""
    told: list[float] = []
    monkeypatch.setattr(failsafe, "_pause", lambda seconds, terminated: told.append(seconds))
    return told


def runner(model: Path, make_batch: MakeBatch, place: Path) -> Run:
    """Four updates of one group of four, two turns a session; a checkpoint every two, unless told otherwise."""

    def start(out: str = "run", patient: Any = None, **changes: Any) -> TrainResult:
        settings = {
            "model": str(model), "out": str(place / out), "max_steps": 4, "generations": 4, "lr": 1e-2,
            "max_turn_tokens": 6, "save_steps": 2, "validate_every": 0, "mask_cut_turns": False, **changes,
        }  # fmt: skip
        return train(GRPOSettings(**settings), make_batch(max_turns=2, patient=patient))

    return start


@pytest.fixture
def run(tiny_model: Path, make_batch: MakeBatch, tmp_path: Path, pauses: list[float]) -> Run:
    """Trains in folders of the test's own."""
    return runner(tiny_model, make_batch, tmp_path)


@pytest.fixture(scope="module")
def sound(tiny_model: Path, make_batch: MakeBatch, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Trains, before anything is disturbed, what several tests compare with."""
    return runner(tiny_model, make_batch, tmp_path_factory.mktemp("sound"))


@pytest.fixture(scope="module")
def undisturbed(sound: Run) -> TrainResult:
    return sound("undisturbed")


@pytest.fixture(scope="module")
def by_two(sound: Run) -> TrainResult:
    """Without a fault, and with two updates from each generation."""
    return sound("by-two", generations=8)


@pytest.fixture
def disturbed(tmp_path: Path) -> Path:
    """The folder of the run that something happens to."""
    return tmp_path / "disturbed"


def same(one: TrainResult, other: TrainResult) -> bool:
    """Whether two runs went the same way and ended with the same policy."""
    a, b = (load_file(result.policy / "adapter_model.safetensors") for result in (one, other))
    return rows(one.out, *_APART) == rows(other.out, *_APART) and all(torch.equal(a[name], b[name]) for name in a)


class Outage:
    """A patient who answers nobody in some of the calls, numbered from 1, that go beyond the opening."""

    def __init__(self, batch: SessionBatch, calls: Sequence[int] | range) -> None:
        self.inner, self.calls, self.seen = batch.patient, calls, 0

    def speak(self, cues: Sequence[Cue]) -> Sequence[Line]:
        if len(cues) > 1 and len(cues[0].transcript):
            self.seen += 1
        if len(cues[0].transcript) and self.seen in self.calls:
            raise PatientError("nobody is there")
        return self.inner.speak(cues)


def test_rows_of_an_outage_are_tried_again(
    run: Run, undisturbed: TrainResult, make_batch: MakeBatch, pauses: list[float]
) -> None:
    # Calls 5 and 6: the first turns of the third generation, once and again.
    result = run("disturbed", patient=Outage(make_batch(), (5, 6)))
    assert pauses == [30.0, 60.0] and same(result, undisturbed)


def test_an_outage_while_a_group_is_drawn_anew_is_tried_again_from_the_rows(
    run: Run, make_batch: MakeBatch, pauses: list[float]
) -> None:
    """Four calls a generation, the last two of them with whoever was drawn: the third generation's first such."""
    drawn = {"redraw_groups": 1, "redraw_spread": 1e9}
    whole = run("whole", **drawn)
    result = run("disturbed", patient=Outage(make_batch(), (11,)), **drawn)
    assert pauses == [30.0] and same(result, whole)


def test_an_outage_that_lasts_ends_the_run_and_changes_no_weight(
    run: Run, undisturbed: TrainResult, disturbed: Path, make_batch: MakeBatch, pauses: list[float]
) -> None:
    with pytest.raises(TrainingError, match=r"after 2 updates: the patient failed in 4 of 4 sessions, 4 times"):
        run("disturbed", patient=Outage(make_batch(), range(5, 100)))
    assert pauses == [30.0, 60.0, 120.0]
    assert not (disturbed / "policy").exists() and rows(disturbed, *_APART) == rows(undisturbed.out, *_APART)[:2]
    assert same(run("disturbed", resume=True), undisturbed)


def test_no_patient_from_the_start_ends_the_run_too(run: Run, make_batch: MakeBatch, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="after 0 updates: the patient failed in 4 of 4 sessions, 2 times"):
        run(patient=Outage(make_batch(), range(1, 100)), retries=1)
    assert not list(tmp_path.glob("run/checkpoints/*")) and not (tmp_path / "run" / "metrics.jsonl").exists()


def spoil(monkeypatch: pytest.MonkeyPatch, times: int, step: int = 2) -> None:
    """Losses after so many updates are no number, so many times."""
    left, whole = [times], trainer.SessionGRPOTrainer._compute_loss

    def loss(self: Any, model: Any, inputs: Any) -> Any:
        found = whole(self, model, inputs)
        if self.state.global_step == step and left[0]:
            left[0] -= 1
            return found * float("nan")
        return found

    monkeypatch.setattr(trainer.SessionGRPOTrainer, "_compute_loss", loss)


@pytest.mark.parametrize("step", [0, 1, 2, 3])
def test_a_gradient_that_is_no_number_makes_no_update(
    run: Run, undisturbed: TrainResult, monkeypatch: pytest.MonkeyPatch, pauses: list[float], step: int
) -> None:
    spoil(monkeypatch, 1, step)
    assert same(run("disturbed"), undisturbed) and pauses == [0.0]


def test_a_gradient_that_is_never_a_number_ends_the_run(
    run: Run, undisturbed: TrainResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil(monkeypatch, 1000)
    with pytest.raises(
        TrainingError, match=r"the gradient is no finite number \(nan\), 4 times; none of it was learnt"
    ):
        run("disturbed")
    monkeypatch.undo()
    assert same(run("disturbed", resume=True), undisturbed)


def test_a_first_generation_that_is_tried_again_is_dealt_out_as_before(
    run: Run, by_two: TrainResult, make_batch: MakeBatch, pauses: list[float]
) -> None:
    assert same(run("disturbed", patient=Outage(make_batch(), (1,)), generations=8), by_two) and pauses == [30.0]


def test_a_run_that_ends_within_a_generation_finishes_without_another_update(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run("whole", max_steps=3, generations=8)
    with monkeypatch.context() as killed:
        killed.setattr(trainer.SessionGRPOTrainer, "keep_policy", lambda self, folder, describe: None)
        run("disturbed", max_steps=3, generations=8)
    result = run("disturbed", max_steps=3, generations=8, resume=True)
    assert same(result, whole) and result.steps == 3


def test_sigterm_ends_a_pause(run: Run, make_batch: MakeBatch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failsafe, "_pause", lambda seconds, terminated: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(TrainingError, match="stopped by SIGTERM after 2 updates"):
        run(patient=Outage(make_batch(), range(5, 100)), save_steps=1000)


def test_within_a_generation_a_run_goes_back_to_its_checkpoint(
    run: Run, by_two: TrainResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil(monkeypatch, 1, step=3)  # the second update of the second generation
    assert same(run("disturbed", generations=8), by_two)


def test_where_there_is_nothing_to_learn_the_optimizers_momentum_moves_no_weight(
    run: Run, undisturbed: TrainResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two updates with a gradient fill Adam's moments; the third has none, as where all its turns were cut off."""
    whole = trainer.SessionGRPOTrainer._compute_loss

    def loss(self: Any, model: Any, inputs: Any) -> Any:
        return whole(self, model, inputs) * float(self.state.global_step < 2)

    monkeypatch.setattr(trainer.SessionGRPOTrainer, "_compute_loss", loss)
    after = run("after", max_steps=3)
    assert [row["grad_norm"] > 0 for row in rows(after.out)] == [True, True, False]
    places = undisturbed.out / "checkpoints" / "checkpoint-2", after.policy
    one, other = (load_file(place / "adapter_model.safetensors") for place in places)
    assert all(torch.equal(one[name], other[name]) for name in one)


def cut_in_half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def not_a_number(path: Path) -> None:
    weights = load_file(path)
    weights[min(weights)][0, 0] = float("nan")
    save_file(weights, path)


def moments_not_numbers(path: Path) -> None:
    state = torch.load(path, weights_only=True)
    state["state"][0]["exp_avg"][0, 0] = float("inf")
    torch.save(state, path)


@pytest.fixture(scope="module")
def unfinished(sound: Run) -> Path:
    """The folder of a run that was killed between its last checkpoint and ``policy/``."""
    with pytest.MonkeyPatch.context() as killed:
        killed.setattr(trainer.SessionGRPOTrainer, "keep_policy", lambda self, folder, describe: None)
        return sound("unfinished").out


@pytest.mark.parametrize(
    ("name", "harm", "said"),
    [
        ("adapter_model.safetensors", cut_in_half, "is damaged: adapter_model.safetensors"),
        ("adapter_model.safetensors", not_a_number, "holds numbers that are none: adapter_model.safetensors"),
        ("optimizer.pt", cut_in_half, "is damaged: optimizer.pt"),
        ("optimizer.pt", moments_not_numbers, "holds numbers that are none: optimizer.pt"),
        ("rng_state.pth", cut_in_half, "is damaged: rng_state.pth"),
        ("trainer_state.json", cut_in_half, "was not written to its end"),
        ("optimizer.pt", Path.unlink, "is not whole: its optimizer's moments are missing"),
    ],
)
def test_a_checkpoint_that_is_not_sound_is_passed_over(
    run: Run,
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


def test_a_run_killed_before_its_policy_was_written_finishes(
    run: Run, undisturbed: TrainResult, disturbed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(model: Any, tokenizer: Any, place: Path) -> None:
        (place / "adapter_config.json").write_text("{}")
        raise KeyboardInterrupt

    with monkeypatch.context() as killed:
        killed.setattr(safe_trainer, "save_adapter", broken)
        with pytest.raises(KeyboardInterrupt):
            run("disturbed")
    assert not list(disturbed.glob("policy*"))  # whole or not there
    assert same(run("disturbed", resume=True), undisturbed)
    with pytest.raises(ConfigError, match="a checkpoint of 4 updates already; raise max_steps"):
        run("disturbed", resume=True)


class Terminating:
    """A patient in one of whose calls the process is told to end."""

    def __init__(self, batch: SessionBatch, call: int) -> None:
        self.inner, self.call, self.seen = batch.patient, call, 0

    def speak(self, cues: Sequence[Cue]) -> Sequence[Line]:
        self.seen += 1
        if self.seen == self.call:
            os.kill(os.getpid(), signal.SIGTERM)
        return self.inner.speak(cues)


@pytest.mark.parametrize(("call", "updates"), [(1, 0), (5, 1), (11, 3)])
def test_sigterm_saves_what_was_learnt(
    run: Run, undisturbed: TrainResult, disturbed: Path, make_batch: MakeBatch, call: int, updates: int
) -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(TrainingError, match=f"stopped by SIGTERM after {updates} updates; go on with --resume"):
        run("disturbed", patient=Terminating(make_batch(), call), save_steps=1000)
    assert signal.getsignal(signal.SIGTERM) is before
    assert [place.name for place in disturbed.glob("checkpoints/*")] == ([f"checkpoint-{updates}"] if updates else [])
    assert same(run("disturbed", resume=True), undisturbed)


@pytest.mark.parametrize("full", ["torch.save", "metrics"])
def test_a_full_disk_is_told_and_the_run_goes_on_afterwards(
    run: Run, undisturbed: TrainResult, disturbed: Path, monkeypatch: pytest.MonkeyPatch, full: str
) -> None:
    def no_space(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as disk:
        if full == "torch.save":
            disk.setattr(torch, "save", no_space)
        else:
            disk.setattr(run_folder, "append", no_space)
        with pytest.raises(TrainingError, match=r"cannot be written: .*No space left on device.*--resume"):
            run("disturbed")
    assert not list(disturbed.glob("checkpoints/*"))
    assert same(run("disturbed", resume=True), undisturbed)


def test_one_run_a_folder_until_its_process_is_gone(run: Run, tmp_path: Path) -> None:
    holds = f"""
        import pathlib, time
        from therapysim.train.runs.lock import locked
        with locked(pathlib.Path({str(tmp_path / "run")!r})):
            print("held", flush=True)
            time.sleep({HANGS_S})
    """
    holder = subprocess.Popen([sys.executable, "-c", textwrap.dedent(holds)], stdout=subprocess.PIPE)
    try:
        assert holder.stdout is not None and holder.stdout.readline() == b"held\n"
        for resume in (False, True):
            with pytest.raises(ConfigError, match="in use by another process that trains"):
                run(resume=resume)
    finally:
        holder.kill()
        holder.communicate()
    assert run(max_steps=1, save_steps=1).policy.is_dir()  # a crash lets go of it
    assert checkpoint.load(tmp_path / "run" / "policy")
