"""Alarms: which rows raise them, which do not, and what a run does then."""

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("trl")

from therapysim.envs.batch import SessionBatch
from therapysim.train.grpo.grpo_settings import GRPOSettings
from therapysim.train.grpo.run import TrainResult, train
from therapysim.train.run_settings import free
from therapysim.train.runs import alarms
from therapysim.train.runs.alarms import HOLD, Alarm, standing
from therapysim.train.runs.rows import read_rows

MakeBatch = Callable[..., SessionBatch]
SETTINGS = GRPOSettings(alarm_reward_std=0.1, alarm_kl=2.0, alarm_repetition=0.4)
SOUND = {
    "loss": 0.1, "grad_norm": 1.0, "kl": 0.1, "reward": 1.0, "reward_std": 0.5, "frac_reward_zero_std": 0.0,
    "turns/cut": 0.1, "validation/repetition": 0.1,
}  # fmt: skip


def names(*rows: dict[str, Any]) -> list[str]:
    return [alarm.name for alarm in standing(rows, SETTINGS)]


def test_a_sound_run_raises_none() -> None:
    assert names(*[SOUND] * 5) == [] == names()


@pytest.mark.parametrize(
    ("changes", "name", "hold"),
    [
        ({"reward_std": 0.05}, "reward_std", HOLD),
        ({"frac_reward_zero_std": 1.0}, "reward_std", HOLD),
        ({"reward/group_std": 0.05}, "reward_std", HOLD),
        ({"kl": 2.5}, "kl", HOLD),
        ({"turns/cut": 0.6}, "cut", HOLD),
        ({"validation/repetition": 0.5}, "repetition", 1),
        ({"loss": math.nan}, "not_finite", 1),
        ({"grad_norm": math.inf}, "not_finite", 1),
        ({"ending/failed": 0.75}, "failed", 1),
    ],
)
def test_each_sign_raises_its_alarm_when_it_holds(changes: dict[str, float], name: str, hold: int) -> None:
    bad = SOUND | changes
    assert names(*[SOUND] * 3, *[bad] * hold) == [name]
    assert names(*[SOUND] * 3, *[bad] * (hold - 1)) == []
    assert names(*[bad] * hold, SOUND) == []
    if hold > 1:
        assert names(bad, SOUND, *[bad] * (hold - 1)) == []


@pytest.mark.parametrize("name", ["reward_std", "kl", "turns/cut", "validation/repetition"])
def test_a_value_at_the_threshold_is_not_beyond_it(name: str) -> None:
    at = {"reward_std": 0.1, "kl": 2.0, "turns/cut": 0.5, "validation/repetition": 0.4}
    assert names(*[SOUND | {name: at[name]}] * HOLD) == []


def test_rows_that_say_nothing_are_skipped() -> None:
    flat = SOUND | {"reward_std": 0.0}
    later = {"loss": 0.1, "kl": 0.1}  # learns from sessions played for an earlier update
    failed = {"loss": 0.0, "reward": None, "reward_std": None, "frac_reward_zero_std": 0.0}
    assert names(flat, later, flat, failed, flat) == ["reward_std"]
    assert names(flat, flat, flat, later) == [] == names(flat, flat, flat, failed)
    assert names({"validation/return": 1.0}) == []


def test_an_alarm_says_what_was_found_and_what_to_do() -> None:
    (alarm,) = standing([SOUND | {"kl": 2.5}] * HOLD, SETTINGS)
    assert alarm == Alarm("kl", 2.5, 2.0, alarm.advice)
    assert str(alarm).startswith("alarm kl: 2.5 (threshold 2); ") and "a lower --lr or a higher --beta" in str(alarm)


def advice(name: str) -> str:
    (text,) = [sign.advice for sign in alarms._SIGNS if sign.name == name]
    return text


@pytest.mark.parametrize("name", [sign.name for sign in alarms._SIGNS])
def test_what_is_advised_can_be_done(name: str) -> None:
    """A resumed run keeps what decides its curve: whoever is to change that is told of a new run."""
    options = {option.replace("-", "_") for option in re.findall(r"--([a-z][a-z-]*)", advice(name))}
    assert options and options <= set(GRPOSettings.model_fields)
    assert bool(options - set(free(GRPOSettings))) == ("new run" in advice(name))


def test_variants_give_a_group_no_spread() -> None:
    assert "vary" not in advice("reward_std")  # the sessions of a group share their variant


@pytest.fixture
def run(tiny_model: Path, make_batch: MakeBatch, tmp_path: Path) -> Callable[..., TrainResult]:
    """A run whose every turn is cut off: that alarm rings at its third generation."""

    def start(out: str = "run", **changes: Any) -> TrainResult:
        settings = {
            "model": str(tiny_model), "out": str(tmp_path / out), "max_steps": 5, "generations": 4,
            "max_turn_tokens": 3, "lr": 1e-2, "save_steps": 2, "validate_every": 0, "mask_cut_turns": False,
            "alarm_reward_std": 0.0, **changes,
        }  # fmt: skip
        return train(GRPOSettings(**settings), make_batch(max_turns=1))

    return start


def rung(result: TrainResult) -> list[int]:
    return [row["step"] for row in read_rows(result.out / "metrics.jsonl") if row.get("alarm/cut") == 1.0]


def test_an_alarm_is_said_once_and_logged_while_it_holds(
    run: Callable[..., TrainResult], capsys: pytest.CaptureFixture[str]
) -> None:
    result = run()
    assert result.steps == 5 and rung(result) == [3, 4, 5]
    told = capsys.readouterr().err
    assert told.count("update 3: alarm cut: 1 (threshold 0.5)") == 1 == told.count("alarm cut")


def test_the_run_stops_at_an_alarm_if_it_is_to(
    run: Callable[..., TrainResult], capsys: pytest.CaptureFixture[str]
) -> None:
    result = run(stop_on_alarm=True, mask_cut_turns=True)
    assert result.steps == 3 and rung(result) == [3]
    assert "update 3: the run stops here (stop_on_alarm)" in capsys.readouterr().err
    assert (result.policy / "adapter_config.json").is_file()


def test_who_learns_from_cut_turns_by_choice_is_told_and_not_stopped(
    run: Callable[..., TrainResult], capsys: pytest.CaptureFixture[str]
) -> None:
    result = run(stop_on_alarm=True)
    assert result.steps == 5 and rung(result) == [3, 4, 5]
    told = capsys.readouterr().err
    assert told.count("alarm cut") == 1 and "stops here" not in told


def test_a_resumed_run_rings_when_a_whole_one_does(run: Callable[..., TrainResult]) -> None:
    run(max_steps=2)
    assert rung(run(resume=True)) == [3, 4, 5] == rung(run("whole"))


def test_every_process_stops_when_one_does(monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import TrainerControl, TrainerState

    state, control = TrainerState(is_world_process_zero=False), TrainerControl()
    monkeypatch.setattr(alarms, "gather_object", lambda mine: [*mine, True])  # the main process says so
    bell = alarms.Alarms(GRPOSettings(stop_on_alarm=True))
    bell.on_log(None, state, control, logs={"loss": 0.0})  # type: ignore[arg-type]
    assert control.should_training_stop


def test_a_resumed_runs_clock_goes_on(tmp_path: Path) -> None:
    from transformers import TrainerControl, TrainerState

    from therapysim.train.runs.run_folder import MetricsFile

    state, control = TrainerState(global_step=2), TrainerControl()
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "seconds/run": 5000.0}\n{"step": 1, "alarm/cut": 1.0}\n')
    resumed = MetricsFile(tmp_path)
    resumed.on_train_begin(None, state, control)  # type: ignore[arg-type]
    resumed.on_log(None, state, control, logs={"loss": 0.5})  # type: ignore[arg-type]
    assert read_rows(tmp_path / "metrics.jsonl")[-1]["seconds/run"] >= 5000.0


def test_numbers_that_are_none_are_null_in_the_files(tmp_path: Path) -> None:
    from transformers import TrainerControl, TrainerState

    from therapysim.train.runs.run_folder import MetricsFile

    logs = {"loss": math.nan, "grad_norm": math.inf, "kl": 0.5}
    for callback in (alarms.Alarms(GRPOSettings(out=str(tmp_path))), MetricsFile(tmp_path)):
        callback.on_log(None, TrainerState(global_step=3), TrainerControl(), logs=logs)  # type: ignore[arg-type]
    text = (tmp_path / "metrics.jsonl").read_text()
    assert "NaN" not in text and "Infinity" not in text
    (row,) = read_rows(tmp_path / "metrics.jsonl")
    assert row.pop("seconds/run") >= 0
    assert row == {"step": 3, "loss": None, "grad_norm": None, "kl": 0.5, "alarm/not_finite": 1.0}
