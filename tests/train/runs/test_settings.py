"""What may be set, how a file of settings is read, and what the command line makes of it."""

import json
from pathlib import Path
from typing import Any

import pytest

from therapysim.errors import ConfigError
from therapysim.train.grpo.grpo_settings import GRPOSettings, load_settings, preset_notes, presets
from therapysim.train.run_settings import save_settings


def test_the_defaults_are_those_asked_for() -> None:
    s = GRPOSettings()
    assert (s.generations, s.beta, s.lr, s.batch_size, s.accumulation) == (8, 0.04, 5e-6, 1, 4)
    assert (s.max_prompt_tokens, s.max_completion_tokens, s.validate_every) == (512, 512, 100)
    assert (s.lora_r, s.lora_alpha, s.lora_dropout) == (16, 16, 0.0)
    assert s.lora_targets == ("q_proj", "k_proj", "v_proj", "o_proj")
    assert (s.generation_sessions, s.updates_per_generation) == (8, 2)
    assert s.importance == "token_truncate"  # by sequence, the ratio of a whole dialogue is near 0


def test_values_come_in_the_types_of_their_defaults() -> None:
    s = GRPOSettings(lr=1e-4, beta=0, personas=["owen"], out=Path("runs") / "a")  # type: ignore[arg-type]
    assert (s.beta, type(s.beta), s.personas, s.out) == (0.0, float, ("owen",), str(Path("runs") / "a"))
    assert s == GRPOSettings(lr=1e-4, beta=0.0, personas=("owen",), out=str(Path("runs") / "a"))


def test_allowed_together() -> None:
    GRPOSettings(unsloth=True, quantize_4bit=True)
    GRPOSettings(unsloth=True, vllm="colocate")
    GRPOSettings(vllm="off", vllm_server_url="http://localhost:8000")  # a preset's address stays, and is not used


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"seed": -1}, "seed is -1, expected 0–4294967295, a whole number"),
        ({"seed": "1"}, "seed is '1', expected 0–4294967295, a whole number, without quotes"),
        ({"seed": True}, "seed is True, expected 0–4294967295, a whole number"),
        ({"lr": float("nan")}, "lr is nan, expected a finite number"),
        ({"show_state": 1}, "show_state is 1, expected true or false"),
        ({"personas": "owen"}, "personas is 'owen', expected a list of texts$"),
        ({"personas": (1,)}, r"personas\[0\] is 1, expected a text"),
        ({"model": ""}, "model is '', expected a name that is not empty"),
        ({"patient": " "}, "patient is ' ', expected a name"),
        ({"rubric": "usr"}, "rubric preset 'usr' is unknown, .*; did you mean 'user'"),
        ({"track": ("wandb", "mlflow")}, r"track\[1\] is 'mlflow', expected one of wandb, trackio, tensorboard"),
        ({"vllm": "server"}, "vllm_server_url is '', expected http://HOST:PORT"),
        ({"vllm": "server", "vllm_server_url": "localhost:8000"}, "expected one such as 'http://localhost:8000/v1'"),
        ({"vllm": "server", "vllm_server_url": "http://a:1", "quantize_4bit": True}, "off or colocate.*packed 4-bit"),
        ({"vllm": "server", "vllm_server_url": "http://a:1", "unsloth": True}, "off or colocate, since unsloth is set"),
        ({"vllm": True}, "vllm is True, expected one of off, colocate, server$"),
        ({"vllm_gpu_memory": 0.0}, "above 0 and of at most 1"),
        ({"lora_dropout": 1.0}, "at least 0 and below 1"),
        ({"importance": "token"}, "did you mean 'token_mask'"),
        ({"importance_max": 0.5}, "importance_max is 0.5, expected a finite number of at least 1"),
        ({"max_minutes": -1}, "max_minutes is -1, expected a finite number of at least 0"),
        ({"sensor_threads": -1}, "sensor_threads is -1, expected a whole number of at least 0"),
        ({"clip": 1.0}, "clip is 1.0, expected a finite number above 0 and below 1"),
        ({"alarm_repetition": 2}, "alarm_repetition is 2, expected 0–1, a finite number"),
        ({"max_completion_tokens": 0}, "max_completion_tokens is 0, expected a whole number of at least 1"),
        ({"patience": 2, "validate_every": 0}, "patience is 2, expected 0, since validate_every is 0"),
        ({"max_turns": 8, "max_completion_tokens": 64}, "is 64, expected at least 128, 16 for each of max_turns 8"),
        ({"vllm": "colocate", "top_p": 0.9}, "top_p is 0.9, expected 1, since vllm is set"),
        ({"clip_high": 1.0}, "clip_high is 1.0, expected a finite number of at least 0 and below 1"),
        ({"scale_rewards": "std"}, "scale_rewards is 'std', expected one of group, batch, none"),
        (
            {"patient_key_env": "sk-abcdefghijklmnopqrstuvwxyz123456"},
            "not shown here: it may be the key",
        ),
        ({"generations": 1}, "generations is 1, expected a whole number of at least 2"),
        ({"lr": 0.0}, "lr is 0.0, expected a finite number above 0 and below 1"),
        ({"beta": -0.1}, "beta is -0.1, expected a finite number of at least 0"),
        ({"top_p": 0.0}, "top_p"),
        ({"temperature": 0.0}, "temperature"),
        ({"advantage": "gae"}, "one of trajectory, turn, mixed"),
        ({"split": "validation"}, "one of train, dev$"),
        ({"vllm": "remote"}, "off, colocate, server"),
        ({"turn_weight": 1.5}, "0–1"),
        ({"lora_targets": ()}, "lora_targets is a list of 0, expected a list of at least 1 texts"),
        ({"max_turn_tokens": 600}, "at most max_completion_tokens 512"),
        ({"batch_size": 3}, "a divisor of groups x generations = 8"),
        ({"accumulation": 3}, "3 and groups x generations = 8 to divide one another"),
        ({"process_timeout_s": 0}, "process_timeout_s is 0, expected a finite number above 0"),
        ({"shared_turns": 3}, "shared_turns is 3, expected less than max_turns 3, so that each session has a turn"),
        ({"redraw_spread": 0.0}, "redraw_spread is 0.0, expected a finite number above 0"),
        ({"redraw_groups": -1}, "redraw_groups is -1, expected a whole number of at least 0"),
        ({"overlong_tokens": 65, "cut_penalty": 1.0}, "overlong_tokens is 65, expected at most max_turn_tokens 64"),
        ({"overlong_tokens": 8}, "overlong_tokens is 8, expected 0, since cut_penalty is 0"),
        ({"save_steps": 5}, "save_steps is 5, expected a multiple of 2 updates a generation, such as 4$"),
        ({"save_steps": 1}, "such as 2$"),
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


@pytest.mark.parametrize("text", ["vllm: off\nimportance: off\n", "vllm: 'off'\nimportance: \"off\"\n"])
def test_off_needs_no_quotes(tmp_path: Path, text: str) -> None:
    file = tmp_path / "run.yaml"
    file.write_text(text)
    settings = load_settings(file, preset="single-gpu")
    assert (settings.vllm, settings.importance) == ("off", "off")


@pytest.mark.parametrize("text", ["lr: 5e-6", "lr: 5E-06", "lr: 5.0e-6", "lr: 0.000005", '{"lr": 5e-06}'])
def test_numbers_are_read_however_they_are_written(tmp_path: Path, text: str) -> None:
    file = tmp_path / "run.yaml"
    file.write_text(text)
    assert load_settings(file).lr == 5e-6


def test_an_earlier_names_setting_is_pointed_to() -> None:
    for old, new in (("sample_every", "validate_every"), ("use_vllm", "vllm"), ("wandb", "track")):
        with pytest.raises(ConfigError, match=f"{old} is an unknown field; did you mean '{new}'"):
            load_settings(None, {old: 1})


def test_presets_come_by_name() -> None:
    assert set(presets()) == set(preset_notes())
    for name, values in presets().items():
        settings = load_settings(None, preset=name)
        assert all(getattr(settings, key) == (tuple(v) if isinstance(v, list) else v) for key, v in values.items())
    with pytest.raises(ConfigError, match=r"preset is 'smoek', .*did you mean 'smoke'"):
        load_settings(None, preset="smoek")


def test_saved_settings_come_back(tmp_path: Path) -> None:
    settings = GRPOSettings(personas=("owen",), lr=1e-4)
    save_settings(settings, tmp_path / "settings.json")
    assert load_settings(tmp_path / "settings.json") == settings


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("learning_rate: 1", r"run\.yaml: learning_rate is an unknown field; known are model"),
        ("max_step: 3", "did you mean 'max_steps'"),
        ("seed: one", r"run\.yaml: seed is 'one', expected 0–4294967295, a whole number, without quotes"),
        ("seed: '3'", "seed is '3', expected 0–4294967295, a whole number, without quotes"),
        ("lr: fast", "lr is 'fast', expected a finite number"),
        ("lr: '5e-6'", "lr is '5e-6', expected a finite number above 0 and below 1, without quotes"),
        ("beta: .inf", "beta is '.inf', expected a finite number of at least 0"),
        ("beta: 1e999", r"run\.yaml: the file cannot be read as YAML: line 1, column 7: 1e999 is no number"),
        ("resume: 'true'", "resume is 'true', expected true or false, without quotes"),
        ("resume: 1", "resume is 1, expected true or false$"),
        ("seed: 3.5", "seed is 3.5, expected 0–4294967295, a whole number$"),
        ("personas: claire", "personas is 'claire', expected a list of texts$"),
        ("model: 3", "model is 3, expected a text"),
        ("seed:", "seed is empty, expected 0–4294967295, a whole number"),
        ("3: 4", "line 1, column 1: a name is 3, expected a text"),
        ("", "run.yaml holds nothing, expected names with values, such as lr: 5e-6$"),
        ("just words", "holds a str, expected names"),
        ("- 1", "holds a list, expected names"),
        ("a: [", r"run\.yaml: the file cannot be read as YAML: line 2, column 1: did not find expected node[^\n]*$"),
        ("\tlr: 1", r"cannot be read as YAML: line 1, column 1: found character that cannot start any token"),
        ("lr: 1e-4\nseed: 1\nlr: 1e-5", "cannot be read as YAML: line 3, column 1: 'lr' is given twice"),
        ('{"lr": 1e-4, "lr": 1e-5}', "line 1, column 14: 'lr' is given twice"),
        ("[1]: 3", "cannot be read as YAML: line 1, column 1: a name is"),
        ("preset: smoke", "preset is an unknown field; it stands on the command line alone: --preset$"),
        ("vllm: on", "vllm is 'on', expected one of off, colocate, server$"),
        ("dtype: 16", "dtype is 16, expected one of auto, float32, bfloat16$"),
    ],
)
def test_bad_files_are_refused(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "run.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_settings(file)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.yaml: the file cannot be read: No such file"):
        load_settings(tmp_path / "none.yaml")


def test_settings_of_before_there_were_versions_are_read_and_later_ones_refused(tmp_path: Path) -> None:
    file, settings = tmp_path / "settings.json", GRPOSettings(seed=3, personas=("owen",))
    save_settings(settings, file)
    held = json.loads(file.read_text())
    assert held.pop("version") == 1
    file.write_text(json.dumps(held))
    assert load_settings(file) == settings
    file.write_text(json.dumps({**held, "version": 2}))
    with pytest.raises(ConfigError, match=r"settings\.json: version is 2, expected 1; update TherapySim"):
        load_settings(file)


def test_changed_settings_are_checked_anew() -> None:
    settings = GRPOSettings()
    assert settings.changed(seed=4) == GRPOSettings(seed=4) and settings.seed == 0
    with pytest.raises(ConfigError, match="batch_size is 3"):
        settings.changed(batch_size=3)
