"""What may be set, how a file of settings is read, and what the command line makes of it."""

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from therapysim import __version__
from therapysim.errors import ConfigError
from therapysim.train import cli
from therapysim.train.config import GRPOSettings, load_settings, save_settings


def test_the_defaults_are_those_asked_for() -> None:
    s = GRPOSettings()
    assert (s.generations, s.beta, s.lr, s.batch_size, s.accumulation) == (8, 0.04, 5e-6, 1, 4)
    assert (s.max_prompt_tokens, s.max_completion_tokens, s.sample_every) == (512, 512, 100)
    assert (s.lora_r, s.lora_alpha, s.lora_dropout) == (16, 16, 0.0)
    assert s.lora_targets == ("q_proj", "k_proj", "v_proj", "o_proj")
    assert (s.generation_sessions, s.updates_per_generation) == (8, 2)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"generations": 1}, "generations is 1, expected at least 2"),
        ({"lr": 0.0}, "lr is 0.0, expected between 0 and 1"),
        ({"beta": -0.1}, "beta is -0.1, expected at least 0"),
        ({"top_p": 0.0}, "top_p"),
        ({"temperature": 0.0}, "temperature"),
        ({"advantage": "gae"}, "one of trajectory, turn, mixed"),
        ({"split": "validation"}, "one of train, dev$"),
        ({"vllm_mode": "remote"}, "colocate, server"),
        ({"turn_weight": 1.5}, "0 to 1"),
        ({"lora_targets": ()}, "at least one layer"),
        ({"max_turn_tokens": 600}, "at most max_completion_tokens 512"),
        ({"batch_size": 3}, "a divisor of groups x generations = 8"),
        ({"accumulation": 3}, "3 and groups x generations = 8 to divide one another"),
        ({"save_steps": 5}, "a multiple of 2 updates"),
    ],
)
def test_bad_settings_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        GRPOSettings(**values)


@pytest.mark.parametrize(("batch", "accumulation", "updates"), [(1, 8, 1), (8, 1, 1), (2, 2, 2), (8, 4, 1), (1, 1, 8)])
def test_an_update_is_part_of_a_generation_or_spans_whole_ones(batch: int, accumulation: int, updates: int) -> None:
    settings = GRPOSettings(batch_size=batch, accumulation=accumulation, save_steps=8)
    assert settings.updates_per_generation == updates


def test_a_file_is_read_and_overridden(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text("model: some/model\nlr: 5e-5\nbeta: 0\npersonas: [marta, owen]\n")
    settings = load_settings(file, {"seed": 7, "beta": 0.1})
    assert (settings.model, settings.lr, settings.beta, settings.seed) == ("some/model", 5e-5, 0.1, 7)
    assert settings.personas == ("marta", "owen")


def test_saved_settings_come_back(tmp_path: Path) -> None:
    settings = GRPOSettings(personas=("owen",), lr=1e-4)
    save_settings(settings, tmp_path / "settings.json")
    assert load_settings(tmp_path / "settings.json") == settings


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("learning_rate: 1", "'learning_rate' .*unknown; expected one of model"),
        ("max_step: 3", "did you mean 'max_steps'"),
        ("seed: one", "seed is 'one', expected a value of type int"),
        ("lr: fast", "lr is 'fast', expected a value of type float"),
        ("wandb: 1", "wandb is 1, expected a value of type bool"),
        ("personas: claire", "personas is 'claire', expected a list of texts"),
        ("- 1", "holds list"),
        ("a: [", "cannot be read"),
    ],
)
def test_bad_files_are_refused(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "run.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_settings(file)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.yaml cannot be read"):
        load_settings(tmp_path / "none.yaml")


def test_every_setting_is_an_option() -> None:
    parser = cli.build_parser()
    given = parser.parse_args(["train", "grpo"])
    assert not [f.name for f in fields(GRPOSettings) if hasattr(given, f.name)]  # none stands in a file's way
    given = parser.parse_args(
        ["train", "grpo", "--steps", "4", "--lr", "1e-4", "--no-show-state", "--personas", "owen"]
    )
    assert (given.max_steps, given.lr, given.show_state, given.personas) == (4, 1e-4, False, ["owen"])


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main(["--version"])
    assert stop.value.code == 0
    assert capsys.readouterr().out == f"therapysim {__version__}\n"


def test_our_errors_are_one_line_and_code_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "run.json"
    file.write_text(json.dumps({"sede": 1}))
    assert cli.main(["train", "grpo", "--config", str(file)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("therapysim: setting 'sede'") and "did you mean 'seed'?" in error
    assert "Traceback" not in error


@pytest.mark.parametrize(("package", "extra"), [("torch", "train"), ("onnxscript", "sensor")])
def test_a_missing_extra_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], package: str, extra: str
) -> None:
    def lacking(_: object) -> None:
        raise ModuleNotFoundError(f"No module named '{package}'", name=f"{package}.nn")

    monkeypatch.setattr(cli, "train_grpo", lacking)
    assert cli.main(["train", "grpo"]) == 2
    assert f'pip install "therapysim[{extra}]"' in capsys.readouterr().err


def test_a_broken_import_of_our_own_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: object) -> None:
        raise ImportError("cannot import name", name="therapysim.rewards")

    monkeypatch.setattr(cli, "train_grpo", broken)
    with pytest.raises(ImportError):
        cli.main(["train", "grpo"])
