"""``therapysim train grpo``: its help, where its settings come from, and what it answers to mistakes."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest
import yaml

from therapysim.cli import main as cli
from therapysim.cli.train.grpo import settings_of
from therapysim.errors import ModelError
from therapysim.settings import about, describe_settings
from therapysim.train.grpo.grpo_settings import GRPOSettings, load_settings, preset_notes, presets

# What each preset promises in docs/training.md.
_NUMBERS: dict[str, dict[str, Any]] = {
    "smoke": {"max_steps": 4, "generations": 4, "max_turns": 2, "max_turn_tokens": 24, "vllm": "off", "threads": 1},
    "single-gpu": {
        "groups": 8, "generations": 8, "max_turns": 8, "max_turn_tokens": 64, "vllm": "colocate",
        "quantize_4bit": False, "batch_size": 8, "accumulation": 8, "lr": 2e-4, "beta": 0.01, "loss_type": "dapo",
        "mask_cut_turns": False, "rubric": "grpo",
    },
    "qlora-24gb": {"groups": 4, "generations": 8, "max_turns": 6, "vllm": "off", "quantize_4bit": True},
    "multi-gpu": {"groups": 16, "generations": 8, "max_turns": 8, "vllm": "server"},
    "user": {
        "generations": 8, "beta": 0.04, "lr": 5e-6, "batch_size": 1, "accumulation": 4, "max_prompt_tokens": 512,
        "max_completion_tokens": 512, "lora_r": 16, "lora_alpha": 16, "lora_dropout": 0.0, "quantize_4bit": True,
        "lora_targets": ("q_proj", "k_proj", "v_proj", "o_proj"), "rubric": "user", "validate_every": 100,
    },
}  # fmt: skip


@pytest.fixture
def grpo(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Runs the command: exit code, what it printed, what it complained of."""

    def run(*arguments: str) -> tuple[int, str, str]:
        try:
            code = cli.main(["train", "grpo", *arguments])
        except SystemExit as stop:
            code = int(stop.code or 0)
        return code, *capsys.readouterr()

    return run


def chosen(*arguments: str) -> GRPOSettings:
    return settings_of(cli.build_parser().parse_args(["train", "grpo", *arguments]))


def _words(kind: Any) -> tuple[str, ...]:
    """What a setting may be, where it is one of a few names, or several of them."""
    inner = get_args(kind)[0] if get_origin(kind) is tuple else kind
    return get_args(inner) if get_origin(inner) is Literal else ()


def test_help_lists_every_setting_with_its_default(
    grpo: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "400")  # one line an option
    code, text, _ = grpo("--help")
    rows = text.splitlines()
    assert code == 0
    for name, setting in GRPOSettings.model_fields.items():
        flag = f"--{name.replace('_', '-')}"
        at = next(i for i, row in enumerate(rows) if row.strip().split(" ")[0].strip(",") == flag)
        told = rows[at] + rows[at + 1]
        default = setting.default
        shown = str(default).lower() if isinstance(default, bool) else default
        shown = " ".join(default) if isinstance(default, tuple | dict) else shown
        assert f"(default {'none' if shown in ('', {}) else shown})" in told, flag
        assert all(choice in told for choice in _words(setting.annotation)), flag


#: As they are listed: what any training has, then GRPO's own.
GROUPS = ["policy", "sessions", "learning", "adapter and memory", "checkpoints and validation", "tracking", "sampling"]


def test_help_is_in_groups_and_lists_the_presets(grpo: Callable[..., tuple[int, str, str]]) -> None:
    _, text, _ = grpo("--help")
    groups = ["where settings come from", *GROUPS]
    places = [text.index(f"\n{group}:\n") for group in groups]
    assert places == sorted(places)
    for name, note in preset_notes().items():
        assert any(row.split(maxsplit=1) == [name, note] for row in text.splitlines()), name


def test_every_setting_belongs_to_one_group_and_says_what_it_does() -> None:
    groups = [about(setting)["group"] for setting in GRPOSettings.model_fields.values()]
    assert list(dict.fromkeys(groups)) == GROUPS
    assert all(len(setting.description or "") > 12 for setting in GRPOSettings.model_fields.values())


def test_an_option_counts_before_the_file_and_the_file_before_the_preset(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text("lr: 2e-5\nseed: 5\n")
    settings = chosen("--preset", "user", "--config", str(file), "--seed", "7")
    assert (settings.rubric, settings.lr, settings.seed) == ("user", 2e-5, 7)
    assert settings.max_turns == GRPOSettings().max_turns


def test_every_kind_of_setting_can_be_an_option() -> None:
    settings = chosen("--steps", "4", "--lr", "1e-4", "--no-show-state", "--personas", "owen", "--track", "wandb")
    assert (settings.max_steps, settings.lr, settings.show_state) == (4, 1e-4, False)
    assert (settings.personas, settings.track) == (("owen",), ("wandb",))
    assert chosen("--preset", "user", "--no-quantize-4bit").quantize_4bit is False
    assert chosen("--preset", "single-gpu", "--vllm", "off").vllm == "off"


@pytest.mark.parametrize(
    "arguments",
    [[], *(["--preset", name] for name in presets()), ["--model", "a: b # c", "--personas", "owen", "--lr", "1e-7"]],
    ids=lambda arguments: " ".join(arguments) or "defaults",
)
def test_what_is_printed_can_be_read_back(
    arguments: list[str], grpo: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    code, text, _ = grpo(*arguments, "--print")
    file = tmp_path / "run.yaml"
    file.write_text(text, encoding="utf-8")
    assert code == 0 and load_settings(file) == chosen(*arguments)
    assert set(yaml.safe_load(text)) == set(GRPOSettings.model_fields)
    assert GRPOSettings(**yaml.safe_load(text)) == chosen(*arguments)  # by any YAML reader


def test_what_differs_from_the_defaults_is_marked() -> None:
    rows = describe_settings(GRPOSettings(lr=1e-4, vllm="colocate", show_state=False)).splitlines()
    marked = [row for row in rows if "default:" in row]
    assert marked == [
        "show_state: false  # default: true", "lr: 0.0001  # default: 5e-06", "vllm: colocate  # default: off",
    ]  # fmt: skip


@pytest.mark.parametrize("name", list(presets()))
def test_a_preset_is_what_it_promises(name: str) -> None:
    settings = load_settings(None, preset=name).model_dump()
    assert {key: settings[key] for key in _NUMBERS[name]} == _NUMBERS[name]
    assert preset_notes()[name]


def test_cut_turns_are_masked_unless_a_preset_says_otherwise() -> None:
    masked = {name: load_settings(None, preset=name).mask_cut_turns for name in presets()}
    unmasked = [name for name, masks in masked.items() if not masks]
    assert GRPOSettings().mask_cut_turns and unmasked == ["smoke", "single-gpu"]


def test_every_preset_is_described() -> None:
    assert set(presets()) == set(_NUMBERS)
    table = (Path(__file__).parents[2] / "docs" / "training.md").read_text(encoding="utf-8")
    assert all(f"| `{name}` |" in table for name in presets())


@pytest.mark.parametrize("name", ["single-gpu", "qlora-24gb"])
def test_every_update_of_a_gpus_preset_is_on_policy(name: str) -> None:
    assert load_settings(None, preset=name).updates_per_generation == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--preset", "singel-gpu"], "preset is 'singel-gpu', .*; did you mean 'single-gpu'"),
        (["--advantage", "turns"], "one of trajectory, turn, mixed; did you mean 'turn'"),
        (["--rubric", "judge"], "rubric is 'judge', expected one of default, grpo, user"),
        (["--track", "wandb", "tensorbord"], r"track\[1\] is 'tensorbord', .*did you mean 'tensorboard'"),
        (["--max-step", "3"], "option --max-step is unknown; did you mean --max-steps"),
        (["--no-resum"], "did you mean --no-resume"),
        (["--zzz=1"], "option --zzz is unknown; see --help"),
        (["--seed", "one"], "--seed: invalid int value: 'one'"),
        (["--lr", "nan"], "lr is nan, expected a finite number"),
        (["--vllm", "server"], "vllm_server_url is '', expected http://HOST:PORT, since vllm is server"),
        (["--split", "test"], "split is 'test', expected one of train, dev"),
        (["--personas", "ownen"], "'ownen' is unknown"),
        (["--patient", " "], "patient is ' ', expected a name"),
        (["--config", "/nowhere.yaml"], r"/nowhere\.yaml: the file cannot be read"),
    ],
)
def test_a_mistake_is_told_with_what_was_expected(
    arguments: list[str], message: str, grpo: Callable[..., tuple[int, str, str]]
) -> None:
    code, told, error = grpo(*arguments, "--print")
    assert (code, told) == (2, "")
    assert re.search(message, error), error
    assert len(error.splitlines()) <= 2 and "Traceback" not in error


def test_other_kinds_of_training_name_the_nearest_option_too(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["train", "patient-lines", "--out", "a.jsonl", "--varients", "3"])
    assert "did you mean --variants" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "setting"),
    [
        (["--preset", "single-gpu"], "vllm"),
        (["--preset", "multi-gpu"], "vllm"),
        (["--unsloth"], "unsloth"),
        (["--unsloth", "--quantize-4bit"], "unsloth"),
    ],
)
def test_without_a_gpu_what_needs_one_is_refused_before_a_model_is_loaded(
    arguments: list[str],
    setting: str,
    grpo: Callable[..., tuple[int, str, str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    code, _, error = grpo(*arguments, "--model", str(tmp_path / "no-model"), "--out", str(tmp_path / "run"))
    assert code == 2 and error.startswith(f"therapysim: {setting} needs a GPU"), error


def test_with_a_gpu_unsloth_must_be_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    from therapysim.train.runs import model

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(model, "find_spec", lambda _: None)
    for settings in (GRPOSettings(unsloth=True), GRPOSettings(unsloth=True, vllm="off", quantize_4bit=False)):
        with pytest.raises(ModelError, match=r"unsloth needs unsloth, .*therapysim\[unsloth\]"):
            model.load_policy(settings)
    with pytest.raises(ModelError, match=r"track trackio needs trackio, .*install 'therapysim\[trackio\]'"):
        model.load_policy(GRPOSettings(track=("trackio",)))


def test_a_run_tells_its_settings_and_saves_them(
    tiny_model: Path, tmp_path: Path, grpo: Callable[..., tuple[int, str, str]]
) -> None:
    pytest.importorskip("trl")
    out = tmp_path / "run"
    arguments = ["--preset", "user", "--no-quantize-4bit", "--model", str(tiny_model), "--out", str(out),
                 "--steps", "1", "--generations", "2", "--accumulation", "2", "--max-turns", "1",
                 "--max-turn-tokens", "4", "--no-mask-cut-turns", "--validate-every", "0"]  # fmt: skip
    code, told, _ = grpo(*arguments)
    assert code == 0
    assert describe_settings(chosen(*arguments)) in told
    assert load_settings(out / "settings.json") == chosen(*arguments)


@pytest.mark.parametrize(("kept", "told"), [("checkpoints/checkpoint-2", True), ("checkpoints", False)])
def test_who_breaks_a_run_off_is_told_how_to_go_on(
    kept: str,
    told: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    grpo: Callable[..., tuple[int, str, str]],
) -> None:
    pytest.importorskip("trl")

    def broken_off(_: GRPOSettings) -> None:
        (tmp_path / kept).mkdir(parents=True)
        raise KeyboardInterrupt

    monkeypatch.setattr("therapysim.train.grpo.run.train", broken_off)
    code, _, error = grpo("--out", str(tmp_path))
    assert code == 130 and ("the same command with --resume goes on" in error) is told


def test_one_of_several_processes_speaks(
    monkeypatch: pytest.MonkeyPatch, grpo: Callable[..., tuple[int, str, str]]
) -> None:
    pytest.importorskip("trl")
    from therapysim.train.grpo.run import TrainResult

    result = TrainResult(Path("policy"), Path("run"), 1, 2.0, {})
    monkeypatch.setattr("therapysim.train.grpo.run.train", lambda _: result)
    for rank, speaks in (("0", True), ("1", False)):
        monkeypatch.setenv("RANK", rank)
        assert bool(grpo()[1]) is speaks
