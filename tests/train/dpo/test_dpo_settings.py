"""What a DPO run may be set to, and what its presets are."""

from pathlib import Path
from typing import Any

import pytest

from therapysim.errors import ConfigError, TherapySimError
from therapysim.train.dpo.dpo_settings import DPOSettings, load_settings, preset_notes, presets, require_pairs
from therapysim.train.grpo.grpo_settings import GRPOSettings
from therapysim.train.run_settings import free, save_settings
from therapysim.train.runs.kinds import KINDS, read_settings
from therapysim.train.sft.sft_settings import SFTSettings


def test_the_preset_of_the_user_is_exact() -> None:
    own = load_settings(None, preset="user")
    asked: dict[str, Any] = {
        "lora_r": 16, "lora_alpha": 16, "lora_dropout": 0.0, "lora_targets": ("q_proj", "k_proj", "v_proj", "o_proj"),
        "quantize_4bit": True, "batch_size": 2, "accumulation": 4, "beta": 0.1, "lr": 5e-5, "max_steps": 1000,
        "validate_every": 100, "loss_type": "sigmoid", "save_steps": 100,
    }  # fmt: skip
    assert {name: getattr(own, name) for name in asked} == asked
    assert set(presets()["user"]) == set(asked)  # named there, and not left to the defaults


def test_each_preset_is_fit_and_told() -> None:
    assert set(presets()) == set(preset_notes()) == {"smoke", "user"}
    for name in presets():
        assert load_settings(None, preset=name).changed() == load_settings(None, preset=name)
    with pytest.raises(ConfigError, match="preset is 'usr', expected one of smoke, user; did you mean 'user'"):
        load_settings(None, preset="usr")


def test_an_option_counts_before_the_file_and_the_file_before_the_preset(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text("beta: 0.3\nlr: 1e-4\n")
    own = load_settings(tmp_path / "own.yaml", {"lr": 1e-3}, preset="user")
    assert (own.beta, own.lr, own.max_steps) == (0.3, 1e-3, 1000)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"beta": 0.0}, "beta is 0.0, expected a number above 0, or auto"),
        ({"beta": "automatic"}, "beta is 'automatic', expected a number above 0, or auto"),
        ({"beta": float("nan")}, "beta is nan, expected a number above 0, or auto"),
        ({"beta": "auto", "validate_every": 0}, "beta is 'auto', expected a number, since validate_every is 0"),
        ({"loss_type": "simpo"}, "loss_type is 'simpo', expected one of sigmoid"),
        ({"label_smoothing": 0.1}, "label_smoothing is 0.1, expected 0, since loss_type is sigmoid"),
        ({"loss_type": "robust", "label_smoothing": 0.5}, "label_smoothing is 0.5"),
        ({"loss_type": "exo_pair"}, "label_smoothing is 0.0, expected above 0, such as 0.001"),
        ({"max_turn_tokens": 64, "max_tokens": 64}, "max_turn_tokens is 64, expected less than max_tokens 64"),
        ({"personas": ("tomas",)}, r"test patients \(tomas\) are kept apart"),
        ({"split": "test"}, "split is 'test', expected one of train, dev"),
        ({"max_length": 1024}, "max_length is an unknown field; did you mean 'max_tokens'"),
        ({"pairs": ("http://user:secret@host/files",)}, "pairs"),
    ],
)
def test_what_does_not_fit_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(TherapySimError, match=message):
        DPOSettings(**values)


def test_what_fits_is_taken(tmp_path: Path) -> None:
    assert DPOSettings(beta="0.5").beta == 0.5
    own = DPOSettings(beta="auto", pairs=("a", "b"), loss_type="robust", label_smoothing=0.1)
    assert own.context == 2048
    save_settings(own, tmp_path / "settings.json")
    assert load_settings(tmp_path / "settings.json") == own == read_settings(tmp_path / "settings.json")
    assert KINDS["dpo"] is DPOSettings


def test_what_all_have_may_be_changed_on_a_resume_in_all_or_none() -> None:
    for kind in (GRPOSettings, SFTSettings):
        shared = set(DPOSettings.model_fields) & set(kind.model_fields)
        assert set(free(DPOSettings)) & shared == set(free(kind)) & shared
    assert not {"pairs", "dev_pairs", "beta", "loss_type", "max_tokens", "lr"} & set(free(DPOSettings))


def test_pairs_have_to_be_named() -> None:
    with pytest.raises(ConfigError, match=r"pairs is \[\], expected at least one JSONL file .*therapysim data pairs"):
        require_pairs(DPOSettings())
    require_pairs(DPOSettings(pairs=("a.jsonl",)))
