"""What an SFT run may be set to, and which file of settings is read by which training."""

import json
from pathlib import Path
from typing import Any

import pytest

from therapysim.errors import ConfigError, TherapySimError
from therapysim.train.grpo import grpo_settings
from therapysim.train.grpo.grpo_settings import GRPOSettings
from therapysim.train.run_settings import RunSettings, free, save_settings
from therapysim.train.runs.kinds import KINDS, read_settings
from therapysim.train.sft.sft_settings import SFTSettings, load_settings

_NOT_OURS = sorted(set(GRPOSettings.model_fields) - set(SFTSettings.model_fields))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"therapists": ()}, r"therapists is \[\], expected at least one, or some sessions"),
        ({"therapists": ("cbt", "mi", "cbt")}, r"therapists is \['cbt', 'mi', 'cbt'\], expected none twice"),
        ({"max_turn_tokens": 65, "max_tokens": 64}, "max_turn_tokens is 65, expected at most max_tokens 64"),
        ({"split": "dev"}, "vary is True, expected false: bao, .* cannot be varied"),
        ({"personas": ("marta", "kenji")}, "vary is True, expected false: kenji cannot be varied"),
        ({"personas": ("marta~3",)}, "vary is True, expected false: marta~3 cannot be varied"),
        ({"personas": ("tomas",)}, r"test patients \(tomas\) are kept apart"),
        ({"personas": ("tomas~1",)}, "tomas"),
        ({"personas": ("martha",)}, "'martha' is unknown; did you mean 'marta'"),
        ({"split": "test"}, "split is 'test', expected one of train, dev"),
        ({"best": 0.0}, "best is 0"),
        ({"best": 1.1}, "best is 1.1"),
        ({"draws": 0}, "draws is 0"),
        ({"lr": 0.0}, "lr is 0"),
        ({"warmup": -1}, "warmup is -1"),
        ({"max_tokens": "many"}, "max_tokens is 'many'"),
        ({"sessions": ("http://user:secret@host/files",)}, "sessions"),
        ({"learning_rate": 1e-4}, "learning_rate is an unknown field; did you mean 'lr'"),
        ({"num_train_epochs": 3}, "num_train_epochs is an unknown field; did you mean 'max_steps'"),
        ({"config": "run.yaml"}, "it stands on the command line alone"),
    ],
)
def test_what_does_not_fit_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(TherapySimError, match=message):
        SFTSettings(**values)


def test_what_fits_is_taken() -> None:
    assert SFTSettings(therapists=(), sessions=("runs/bench/sessions",)).sessions == ("runs/bench/sessions",)
    assert SFTSettings(split="dev", vary=False).split == "dev"
    assert SFTSettings(personas=("kenji",), vary=False).personas == ("kenji",)
    assert SFTSettings(max_turn_tokens=64, max_tokens=64).context == 64


@pytest.mark.parametrize("name", _NOT_OURS)
def test_a_setting_of_grpo_alone_is_unknown_here(name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name} is an unknown field"):
        SFTSettings(**{name: GRPOSettings.model_fields[name].default})


@pytest.mark.parametrize("name", sorted(set(SFTSettings.model_fields) - set(GRPOSettings.model_fields)))
def test_a_setting_of_sft_alone_is_unknown_to_grpo(name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name} is an unknown field"):
        GRPOSettings(**{name: SFTSettings.model_fields[name].default})


def test_what_both_have_may_be_changed_on_a_resume_in_both_or_neither() -> None:
    shared = set(GRPOSettings.model_fields) & set(SFTSettings.model_fields)
    assert set(free(SFTSettings)) & shared == set(free(GRPOSettings)) & shared
    assert {"out", "max_steps", "save_steps", "validate_every", "resume"} <= set(free(SFTSettings))
    decides = {"therapists", "draws", "sessions", "best", "vary", "max_tokens", "max_turn_tokens", "lr", "warmup"}
    assert not decides & set(free(SFTSettings))


def test_settings_are_read_back_as_they_were(tmp_path: Path) -> None:
    own = SFTSettings(therapists=("mi",), sessions=("a", "b"), best=0.25, personas=("owen",), lora_dropout=0.1)
    save_settings(own, tmp_path / "settings.json")
    assert load_settings(tmp_path / "settings.json") == own == read_settings(tmp_path / "settings.json")
    assert load_settings(tmp_path / "settings.json", {"best": 1.0}) == own.changed(best=1.0)


def test_a_file_of_the_other_training_is_refused(tmp_path: Path) -> None:
    for kind in (SFTSettings, GRPOSettings):
        save_settings(kind(), tmp_path / f"{kind.training}.json")
    with pytest.raises(ConfigError, match=r"sft\.json: training is 'sft', expected 'grpo'; read it by `therapysim tra"):
        grpo_settings.load_settings(tmp_path / "sft.json")
    with pytest.raises(ConfigError, match=r"grpo\.json: training is 'grpo', expected 'sft'; read it by"):
        load_settings(tmp_path / "grpo.json")


@pytest.mark.parametrize("kind", [SFTSettings, GRPOSettings])
def test_a_runs_settings_tell_its_training(kind: type[RunSettings], tmp_path: Path) -> None:
    save_settings(kind(), tmp_path / "settings.json")
    assert read_settings(tmp_path / "settings.json") == kind() and KINDS[kind.training] is kind


def test_a_run_from_before_there_was_another_training_is_of_grpo(tmp_path: Path) -> None:
    save_settings(GRPOSettings(seed=2), tmp_path / "settings.json")
    held = json.loads((tmp_path / "settings.json").read_text())
    del held["training"]
    (tmp_path / "settings.json").write_text(json.dumps(held))
    assert read_settings(tmp_path / "settings.json") == GRPOSettings(seed=2)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"training": "ppo"}', "training is 'ppo', expected one of grpo, sft, dpo"),
        ('{"training": 1}', "training is 1"),
        ("{", "cannot be read"),
        ('{"training": "sft", "draws": 0}', "draws is 0"),
    ],
)
def test_what_is_no_runs_settings_is_told(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "settings.json").write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_settings(tmp_path / "settings.json")
