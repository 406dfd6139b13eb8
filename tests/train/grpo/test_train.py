"""Real GRPO runs of a tiny random model against the real environment."""

import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("trl")

import torch
from accelerate import PartialState

from tests.parts import run_files
from therapysim.cli import main as cli
from therapysim.envs.batch import SessionBatch
from therapysim.errors import ConfigError, ModelError, PatientError
from therapysim.models import checkpoint
from therapysim.personas.patient import Cue, Line
from therapysim.personas.scripted.scripted_patient import ScriptedPatient
from therapysim.rewards.rubric_settings import PRESETS
from therapysim.train.grpo import run as grpo
from therapysim.train.grpo import trainer
from therapysim.train.grpo.grpo_settings import GRPOSettings, load_settings
from therapysim.train.grpo.run import SessionGRPOTrainer, TrainResult, group_rows, train
from therapysim.train.grpo.trajectory import Trajectory
from therapysim.train.runs import safe_trainer
from therapysim.train.runs.kept_rubric import kept_settings
from therapysim.train.runs.model import load_policy
from therapysim.train.runs.run_folder import Transcripts
from therapysim.train.runs.start_up import cores

MakeBatch = Callable[..., SessionBatch]


@pytest.fixture
def run(tiny_model: Path, make_batch: MakeBatch, tmp_path: Path) -> Callable[..., TrainResult]:
    """Trains for two updates of one group of four, two turns a session, unless told otherwise."""

    def start(out: str = "run", patient: Any = None, **changes: Any) -> TrainResult:
        settings = {
            "model": str(tiny_model), "out": str(tmp_path / out), "max_steps": 2, "generations": 4,
            "max_turn_tokens": 6, "lr": 1e-2, "save_steps": 2, "validate_every": 0, "mask_cut_turns": False, **changes,
        }  # fmt: skip
        return train(GRPOSettings(**settings), make_batch(max_turns=2, patient=patient))

    return start


def rows(result: TrainResult, *leave_out: str) -> list[dict[str, Any]]:
    return run_files.rows(result.out, *leave_out)


def test_a_run_logs_saves_and_loads_again(run: Callable[..., TrainResult], tiny_model: Path) -> None:
    result = run()
    first, second = rows(result)
    assert (first["step"], second["step"], result.steps) == (1, 2, 2)
    expected = {
        "reward", "reward_std", "frac_reward_zero_std", "ratio/mean", "ratio/max", "kl", "loss", "grad_norm",
        "guard/scripted", "term/safety", "term/affect", "session/turns", "session/polarity", "ending/turns",
    }  # fmt: skip
    assert expected <= set(first)
    assert set(run_files.TIMES) <= set(result.metrics)
    assert first["ratio/mean"] == 1.0 and first["kl"] == 0.0 and second["kl"] > 0.0
    assert load_settings(result.out / "settings.json").generations == 4
    assert kept_settings(result.out / "rubric.json") == PRESETS["default"]  # of the batch that was given

    model, tokenizer = checkpoint.load(result.policy)
    base, _ = checkpoint.load(tiny_model)
    ids = tokenizer("Hello.", return_tensors="pt")["input_ids"]
    assert not torch.equal(model(input_ids=ids).logits, base(input_ids=ids).logits)
    recorded = json.loads((result.policy / "adapter_config.json").read_text())
    assert recorded["base_model_name_or_path"] == str(tiny_model.resolve())
    assert set(recorded["target_modules"]) == {"q_proj", "k_proj", "v_proj", "o_proj"}


def test_equal_seeds_give_equal_runs(run: Callable[..., TrainResult]) -> None:
    torch.manual_seed(1)
    one = run("one", validate_every=1, validate_sessions=2)
    torch.manual_seed(2)  # what happened before the run makes no difference
    two, other = run("two", validate_every=1, validate_sessions=2), run("other", seed=1)
    assert rows(one) == rows(two)
    assert (one.out / "completions.jsonl").read_text() == (two.out / "completions.jsonl").read_text()
    assert rows(one)[-1]["reward"] != rows(other)[-1]["reward"]


@pytest.mark.parametrize("generations", [4, 8], ids=["on-policy", "two updates a generation"])
def test_a_resumed_run_follows_the_same_curve(run: Callable[..., TrainResult], generations: int) -> None:
    whole = run("whole", max_steps=4, generations=generations, validate_every=2, validate_sessions=1)
    run("parts", max_steps=2, generations=generations, validate_every=2, validate_sessions=1)
    parts = run("parts", max_steps=4, generations=generations, validate_every=2, validate_sessions=1, resume=True)
    # Epochs count a data set that is as long as the run.
    assert rows(parts, "epoch") == rows(whole, "epoch")
    assert (parts.out / "completions.jsonl").read_text() == (whole.out / "completions.jsonl").read_text()
    old, _ = checkpoint.load(whole.policy)
    new, _ = checkpoint.load(parts.policy)
    for (name, a), (_, b) in zip(old.named_parameters(), new.named_parameters(), strict=True):
        assert torch.equal(a, b), name


def test_rows_after_the_checkpoint_are_made_anew(run: Callable[..., TrainResult]) -> None:
    result = run()
    before = rows(result)
    with (result.out / "metrics.jsonl").open("a") as file:
        file.write('{"step": 3, "loss": 9}\n{"step": 4, "lo')  # a crash between two checkpoints
    after = rows(run(max_steps=4, resume=True))
    assert after[:2] == before
    assert [r["step"] for r in after] == [1, 2, 3, 4]
    assert after[2]["loss"] != 9


def test_a_folder_with_a_run_is_not_written_over(run: Callable[..., TrainResult]) -> None:
    run()
    with pytest.raises(ConfigError, match="holds a run already; go on with it by --resume"):
        run()
    with pytest.raises(ConfigError, match=r"other settings: lr 0\.01 -> 0\.1"):
        run(resume=True, lr=0.1)
    with pytest.raises(ConfigError, match="a checkpoint of 2 updates already; raise max_steps"):
        run(resume=True)


def test_the_second_update_of_a_generation_corrects_for_the_first(run: Callable[..., TrainResult]) -> None:
    first, second = rows(run(generations=8))
    assert "reward" in first and "reward" not in second
    assert first["ratio/max"] == pytest.approx(1.0, abs=1e-5)
    assert second["ratio/max"] > 1.001


@pytest.mark.parametrize("advantage", ["turn", "mixed"])
def test_credit_by_turn(run: Callable[..., TrainResult], advantage: str) -> None:
    by_session = rows(run("session"))
    by_turn = rows(run("turn", advantage=advantage))
    assert by_turn[0]["reward"] == by_session[0]["reward"]
    assert by_turn[0]["grad_norm"] != by_session[0]["grad_norm"]


class Unreachable:
    """A scripted patient who stops answering in its second turn, every other session."""

    def __init__(self, batch: SessionBatch, every: int) -> None:
        self.scripted, self.every, self.calls = ScriptedPatient(batch.sensor.affect), every, 0

    def speak(self, cues: Sequence[Cue]) -> list[Line]:
        if len(cues[0].transcript) >= 3:
            if len(cues) > 1:
                raise PatientError("one of them has hung up")
            self.calls += 1
            if self.calls % self.every == 0:
                raise PatientError("has hung up")
        return self.scripted.speak(cues)


@pytest.mark.parametrize("advantage", ["trajectory", "turn", "mixed"])
def test_failed_sessions_are_masked_not_scored(
    run: Callable[..., TrainResult], make_batch: MakeBatch, advantage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    played: list[Trajectory] = []
    monkeypatch.setattr(Transcripts, "keep", lambda self, step, episodes: played.extend(episodes))
    some = rows(run("some", patient=Unreachable(make_batch(), every=3), advantage=advantage))
    assert 0 < some[0]["ending/failed"] < 1
    went_on = [sum(e.turn_rewards) for e in played[:4] if not e.failed]
    assert 0 < len(went_on) < 4 and some[0]["reward"] == pytest.approx(np.mean(went_on))  # a failed one has none
    assert some[0]["grad_norm"] > 0


def test_a_turn_that_was_cut_off_is_charged(run: Callable[..., TrainResult]) -> None:
    free, charged = rows(run("free", max_steps=1)), rows(run("charged", max_steps=1, cut_penalty=0.5))
    cut = free[0]["turns/cut"] * free[0]["session/turns"]
    assert cut > 0 and charged[0]["reward"] == pytest.approx(free[0]["reward"] - 0.5 * cut, abs=1e-4)


def test_how_far_a_token_may_rise_and_what_advantages_are_divided_by_reach_the_update(
    run: Callable[..., TrainResult],
) -> None:
    assert grpo.trl_arguments(GRPOSettings(clip_high=0.28)).epsilon_high == 0.28
    assert grpo.trl_arguments(GRPOSettings()).epsilon_high in (None, GRPOSettings().clip)
    by_group, whole = rows(run("group", max_steps=1)), rows(run("none", max_steps=1, scale_rewards="none"))
    assert by_group[0]["reward"] == whole[0]["reward"] and by_group[0]["grad_norm"] != whole[0]["grad_norm"]


def test_one_process_that_sees_several_gpus_is_told_what_to_do(
    run: Callable[..., TrainResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(ConfigError, match=r"2 GPUs are visible to one process.*VISIBLE_DEVICES=0.*accelerate launch"):
        run()


def test_the_adapter_of_a_base_in_4_bits_stays_in_float32(
    run: Callable[..., TrainResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    """TRL rounds it to bfloat16, which loses most of a small update; bitsandbytes itself is not needed to see that."""
    seen: list[torch.dtype] = []
    plain, keep = grpo.load_policy, SessionGRPOTrainer.keep_policy

    def in_4_bits(settings: GRPOSettings) -> Any:
        model, tokenizer = plain(settings)
        model.is_loaded_in_4bit = True
        return model, tokenizer

    def look(self: Any, folder: Path, describe: Any) -> None:
        seen.extend(p.dtype for p in self.model.parameters() if p.requires_grad)
        keep(self, folder, describe)

    monkeypatch.setattr(grpo, "load_policy", in_4_bits)
    monkeypatch.setattr(SessionGRPOTrainer, "keep_policy", look)
    run(max_steps=1, save_steps=1)
    assert seen and set(seen) == {torch.float32}


def test_a_patients_server_is_given_the_key_that_a_variable_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="NO_SUCH_KEY"):
        grpo.open_patients(GRPOSettings(patient="http://127.0.0.1:9#model", patient_key_env="NO_SUCH_KEY"))


@pytest.mark.parametrize("loss_type", ["grpo", "dapo", "dr_grpo"])
def test_where_every_turn_was_cut_off_nothing_is_learned(run: Callable[..., TrainResult], loss_type: str) -> None:
    for row in rows(run(mask_cut_turns=True, max_turn_tokens=1, loss_type=loss_type)):
        assert row["turns/cut"] == 1.0 and row["reward"] is not None
        assert row["loss"] == row["grad_norm"] == row["kl"] == 0.0


def test_weights_that_are_shared_out_are_put_together(
    run: Callable[..., TrainResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the trainer's own way, which takes all processes and writes the checkpoints."""
    first = run("first")
    monkeypatch.setattr(safe_trainer, "shares_weights_out", lambda accelerator: True)
    result = run("second", model=str(first.policy))
    assert not (result.policy / "ref").exists()
    policy, _ = checkpoint.load(result.policy)
    kept, _ = checkpoint.load(result.out / "checkpoints" / "checkpoint-2")
    for a, b in zip(policy.parameters(), kept.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize(
    ("kind", "stage", "settings", "message"),
    [
        ("FSDP", None, {}, "validate_every is 100, expected 0 with FSDP"),
        ("FSDP", None, {"validate_every": 0, "vllm": "colocate"}, "expected server with FSDP"),
        ("DEEPSPEED", 3, {"validate_every": 0}, "ZeRO stage is 3, expected at most 2"),
        ("FSDP", None, {"validate_every": 0}, None),
        ("DEEPSPEED", 2, {}, None),
        ("MULTI_GPU", None, {}, None),
    ],
)
def test_what_wants_the_weights_whole_is_refused_where_they_are_shared_out(
    kind: str, stage: int | None, settings: dict[str, Any], message: str | None
) -> None:
    plugin = SimpleNamespace(zero_stage=stage) if stage else None
    accelerator: Any = SimpleNamespace(distributed_type=kind, state=SimpleNamespace(deepspeed_plugin=plugin))
    if message is None:
        trainer.check_shards(GRPOSettings(**settings), accelerator)
        return
    with pytest.raises(ConfigError, match=message):
        trainer.check_shards(GRPOSettings(**settings), accelerator)


def test_cores_are_shared_with_the_processes_of_this_host_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 32)
    monkeypatch.setattr(PartialState(), "num_processes", 16)  # four hosts of four
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert cores() == 8


def test_an_adapter_goes_on_learning(run: Callable[..., TrainResult]) -> None:
    first = run("first")
    second = run("second", model=str(first.policy))
    assert rows(second)[0]["kl"] == pytest.approx(0.0, abs=1e-6)  # measured from where it started
    assert not (second.policy / "ref").exists()
    old, _ = checkpoint.load(first.policy)
    new, _ = checkpoint.load(second.policy)
    moved = [not torch.equal(a, b) for a, b in zip(old.parameters(), new.parameters(), strict=True)]
    assert any(moved)


def test_every_group_has_a_seed_of_its_own_and_personas_take_turns() -> None:
    settings = GRPOSettings(max_steps=40, personas=("marta", "owen", "ingrid"))
    listed = group_rows(settings)
    assert len(listed) == 20
    assert len({row["seed"] for row in listed}) == 20
    assert all(len({row["persona"] for row in listed[i : i + 3]}) == 3 for i in range(0, 18, 3))
    assert group_rows(GRPOSettings(max_steps=10, personas=settings.personas)) == listed[:5]


def test_a_context_too_small_is_refused(run: Callable[..., TrainResult]) -> None:
    with pytest.raises(ConfigError, match="is 2560, but the context of model"):
        run(max_completion_tokens=2048)


def test_a_missing_model_is_refused(run: Callable[..., TrainResult]) -> None:
    with pytest.raises(ModelError, match="no such file or folder"):
        run(model="nowhere")


@pytest.mark.parametrize(
    ("setting", "package", "extra"),
    [("quantize_4bit", "bitsandbytes", "qlora"), ("vllm", "vllm", "vllm"), ("unsloth", "unsloth", "unsloth")],
)
def test_a_package_that_a_setting_needs_is_named(
    monkeypatch: pytest.MonkeyPatch, setting: str, package: str, extra: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)  # or the GPU would be asked for first
    with pytest.raises(ModelError, match=rf"{setting} needs {package}.*therapysim\[{extra}\]"):
        load_policy(GRPOSettings(**{setting: "colocate" if setting == "vllm" else True}))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize(("setting", "value"), [("vllm", "colocate"), ("unsloth", True)])
def test_what_needs_a_gpu_says_so(run: Callable[..., TrainResult], setting: str, value: Any) -> None:
    with pytest.raises(ModelError, match=f"{setting} needs a GPU, and PyTorch finds none"):
        run(**{setting: value})


def test_a_wrong_patient_is_told_before_anything_is_loaded(run: Callable[..., TrainResult]) -> None:
    with pytest.raises(ModelError, match="model 'nobody'"):
        run(model="nowhere", patient="nobody")


def test_a_layer_that_the_model_lacks_is_named(run: Callable[..., TrainResult]) -> None:
    with pytest.raises(ConfigError, match=r"lora_targets names 'q_prj'.*did you mean 'q_proj'"):
        run(lora_targets=("v_proj", "q_prj"))


def test_the_command_line_trains(tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "tiny.yaml"
    file.write_text("generations: 2\naccumulation: 2\nmax_turns: 1\nmax_turn_tokens: 4\nvalidate_every: 0\n")
    arguments = ["train", "grpo", "--config", str(file), "--model", str(tiny_model), "--out", str(tmp_path / "run")]
    assert cli.main([*arguments, "--steps", "1"]) == 0
    assert "1 updates in" in capsys.readouterr().out
    assert cli.main([*arguments, "--steps", "1"]) == 2
    assert "holds a run already" in capsys.readouterr().err
