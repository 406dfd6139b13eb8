"""``therapysim train sft``: its help, where its settings come from, and what it answers to mistakes."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from therapysim.cli import main as cli
from therapysim.cli.train.sft import settings_of
from therapysim.settings import about, describe_settings
from therapysim.train.sft.sft_settings import SFTSettings, load_settings

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def sft(capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs the command: exit code, what it printed, what it complained of."""

    def run(*arguments: str) -> tuple[int, str, str]:
        try:
            code = cli.main(["train", "sft", *arguments])
        except SystemExit as stop:
            code = int(stop.code or 0)
        return code, *capsys.readouterr()

    return run


def chosen(*arguments: str) -> SFTSettings:
    return settings_of(cli.build_parser().parse_args(["train", "sft", *arguments]))


def test_help_lists_every_setting_with_its_default(sft: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "400")  # one line an option
    code, text, _ = sft("--help")
    rows = text.splitlines()
    assert code == 0
    for name, setting in SFTSettings.model_fields.items():
        flag = f"--{name.replace('_', '-')}"
        at = next(i for i, row in enumerate(rows) if row.strip().split(" ")[0].strip(",") == flag)
        default: Any = setting.default
        shown = str(default).lower() if isinstance(default, bool) else default
        shown = " ".join(default) if isinstance(default, tuple | dict) else shown
        told = rows[at] + rows[at + 1]
        assert f"(default {'none' if shown == '' else shown})" in told and str(setting.description) in told, flag


def test_help_names_each_group_once(sft: Command) -> None:
    _, text, _ = sft("--help")
    groups = {about(setting)["group"] for setting in SFTSettings.model_fields.values()}
    assert groups == {"policy", "sessions", "learning", "adapter and memory", "checkpoints and validation", "tracking"}
    assert all(text.count(f"\n{group}:\n") == 1 for group in ("where settings come from", *groups))
    assert "therapysim train grpo --model RUN/policy" in text


def test_it_stands_among_the_trainings(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["train", "--help"])
    assert re.search(r"\n +sft +a therapist policy that copies others", capsys.readouterr().out)


def test_an_option_counts_before_the_file(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text("lr: 2e-5\nseed: 5\ntherapists: [mi]\n")
    settings = chosen("--config", str(file), "--seed", "7")
    assert (settings.therapists, settings.lr, settings.seed) == (("mi",), 2e-5, 7)
    assert settings.max_turns == SFTSettings().max_turns


def test_every_kind_of_setting_can_be_an_option() -> None:
    settings = chosen(
        "--steps", "4", "--best", "0.25", "--no-vary", "--therapists", "--sessions", "a", "b", "--track", "wandb"
    )  # fmt: skip
    assert (settings.max_steps, settings.best, settings.vary, settings.therapists) == (4, 0.25, False, ())
    assert (settings.sessions, settings.track) == (("a", "b"), ("wandb",))


@pytest.mark.parametrize(
    "arguments",
    [[], ["--therapists", "--sessions", "a: b # c"], ["--best", "1", "--personas", "owen", "--lr", "1e-7"]],
    ids=lambda arguments: " ".join(arguments) or "defaults",
)
def test_what_is_printed_can_be_read_back(arguments: list[str], sft: Command, tmp_path: Path) -> None:
    code, text, _ = sft(*arguments, "--print")
    file = tmp_path / "run.yaml"
    file.write_text(text, encoding="utf-8")
    assert code == 0 and load_settings(file) == chosen(*arguments)
    assert set(yaml.safe_load(text)) == set(SFTSettings.model_fields)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--therapists"], r"therapists is \[\], expected at least one, or some sessions"),
        (["--therapists", "mi", "mi"], "expected none twice"),
        (["--max-turn-tokens", "99", "--max-tokens", "98"], "max_turn_tokens is 99, expected at most max_tokens 98"),
        (["--split", "dev"], "vary is True, expected false: bao"),
        (["--personas", "tomas"], r"test patients \(tomas\)"),
        (["--beta", "0.1"], "option --beta is unknown"),
        (["--therapist", "mi"], "option --therapist is unknown; did you mean --therapists"),
        (["--draws", "many"], "--draws: invalid int value: 'many'"),
        (["--config", "/nowhere.yaml"], r"/nowhere\.yaml: the file cannot be read"),
    ],
)
def test_a_mistake_is_told_with_what_was_expected(arguments: list[str], message: str, sft: Command) -> None:
    code, told, error = sft(*arguments, "--print")
    assert (code, told) == (2, "")
    assert re.search(message, error), error
    assert len(error.splitlines()) <= 2 and "Traceback" not in error


@pytest.mark.parametrize(("mine", "other"), [("sft", "grpo"), ("grpo", "sft")])
def test_settings_that_the_other_training_printed_are_refused(
    mine: str, other: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "other.yaml"
    assert cli.main(["train", other, "--print"]) == 0
    file.write_text(capsys.readouterr().out)
    assert cli.main(["train", mine, "--config", str(file), "--print"]) == 2
    assert re.search(r"settings file .*other\.yaml: \w+ is an unknown field", capsys.readouterr().err)


def test_a_run_tells_its_settings_and_saves_them(tiny_model: Path, tmp_path: Path, sft: Command) -> None:
    pytest.importorskip("trl")
    out = tmp_path / "run"
    arguments = ["--model", str(tiny_model), "--out", str(out), "--steps", "1", "--therapists", "cbt", "--draws", "2",
                 "--max-turns", "1", "--best", "1", "--validate-every", "0", "--batch-size", "2"]  # fmt: skip
    code, told, said = sft(*arguments)
    assert code == 0
    assert describe_settings(chosen(*arguments)) in told
    assert f"policy in {out / 'policy'}" in told and "1 updates in" in told
    assert "sessions to learn from: 2 (2 of cbt)" in said
    assert "2 turns to learn from in 2 sessions; 1 updates are 1 epochs" in said
    assert load_settings(out / "settings.json") == chosen(*arguments)
    code, _, error = sft(*arguments)
    assert code == 2 and "holds a run already; go on with it by --resume" in error


@pytest.mark.parametrize(("kept", "told"), [("checkpoints/checkpoint-2", True), ("checkpoints", False)])
def test_who_breaks_a_run_off_is_told_how_to_go_on(
    kept: str, told: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sft: Command
) -> None:
    pytest.importorskip("trl")

    def broken_off(_: SFTSettings) -> None:
        (tmp_path / kept).mkdir(parents=True)
        raise KeyboardInterrupt

    monkeypatch.setattr("therapysim.train.sft.run.train", broken_off)
    code, _, error = sft("--out", str(tmp_path))
    assert code == 130 and ("the same command with --resume goes on" in error) is told


def test_one_of_several_processes_speaks(monkeypatch: pytest.MonkeyPatch, sft: Command) -> None:
    pytest.importorskip("trl")
    from therapysim.train.runs.start_up import TrainResult

    result = TrainResult(Path("policy"), Path("run"), 1, 2.0, {})
    monkeypatch.setattr("therapysim.train.sft.run.train", lambda _: result)
    for rank, speaks in (("0", True), ("1", False)):
        monkeypatch.setenv("RANK", rank)
        assert bool(sft()[1]) is speaks
