"""``therapysim train dpo``: its help, where its settings come from, and what it answers to mistakes."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from therapysim.cli import main as cli
from therapysim.cli.train.dpo import settings_of
from therapysim.settings import describe_settings
from therapysim.train.dpo.dpo_settings import DPOSettings, load_settings, preset_notes, presets

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def dpo(capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs the command: exit code, what it printed, what it complained of."""

    def run(*arguments: str) -> tuple[int, str, str]:
        try:
            code = cli.main(["train", "dpo", *arguments])
        except SystemExit as stop:
            code = int(stop.code or 0)
        return code, *capsys.readouterr()

    return run


def chosen(*arguments: str) -> DPOSettings:
    return settings_of(cli.build_parser().parse_args(["train", "dpo", *arguments]))


def test_help_lists_every_setting_and_preset(dpo: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "400")  # one line an option
    code, text, _ = dpo("--help")
    assert code == 0
    for name, setting in DPOSettings.model_fields.items():
        assert f"--{name.replace('_', '-')}" in text and str(setting.description) in text, name
    for name, about in preset_notes().items():
        assert re.search(rf"{name} +{re.escape(about)}", text)
    assert "--beta VALUE" in text and "--axolotl FILE" in text


def test_every_kind_of_setting_can_be_an_option() -> None:
    own = chosen("--pairs", "a", "b", "--beta", "auto", "--steps", "4", "--loss-type", "ipo", "--no-vary")
    assert (own.pairs, own.beta, own.max_steps, own.loss_type, own.vary) == (("a", "b"), "auto", 4, "ipo", False)
    assert chosen("--beta", "0.5").beta == 0.5


@pytest.mark.parametrize("arguments", [[], ["--beta", "auto", "--pairs", "a: b # c"], ["--preset", "user"]])
def test_what_is_printed_can_be_read_back(arguments: list[str], dpo: Command, tmp_path: Path) -> None:
    code, text, _ = dpo(*arguments, "--print")
    file = tmp_path / "run.yaml"
    file.write_text(text, encoding="utf-8")
    assert code == 0 and load_settings(file) == chosen(*arguments)
    assert set(yaml.safe_load(text)) == set(DPOSettings.model_fields)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--beta", "high"], "beta is 'high', expected a number above 0, or auto"),
        (["--preset", "usr"], "preset is 'usr', expected one of smoke, user"),
        (["--loss-type", "sigmoyd"], "loss_type is 'sigmoyd', expected one of .*did you mean 'sigmoid'"),
        (["--pair", "a"], "option --pair is unknown; did you mean --pairs"),
        (["--personas", "tomas"], r"test patients \(tomas\)"),
        (["--config", "/nowhere.yaml"], r"/nowhere\.yaml: the file cannot be read"),
    ],
)
def test_a_mistake_is_told_with_what_was_expected(arguments: list[str], message: str, dpo: Command) -> None:
    code, told, error = dpo(*arguments, "--print")
    assert (code, told) == (2, "")
    assert re.search(message, error), error
    assert len(error.splitlines()) <= 2 and "Traceback" not in error


def test_a_run_without_pairs_says_where_they_come_from(dpo: Command, tmp_path: Path) -> None:
    pytest.importorskip("trl")
    code, _, error = dpo("--out", str(tmp_path / "run"))
    assert code == 2 and "write one by `therapysim data pairs`" in error and not (tmp_path / "run").exists()


def test_the_smoke_preset_runs(tiny_model: Path, tmp_path: Path, dpo: Command) -> None:
    pytest.importorskip("trl")
    from tests.parts.preferring import made_pairs, write_rows

    pairs = write_rows(tmp_path / "a.jsonl", made_pairs())
    out = tmp_path / "run"
    given = ["--preset", "smoke", "--model", str(tiny_model), "--pairs", str(pairs), "--out", str(out)]
    arguments = [*given, "--max-turn-tokens", "96"]
    code, told, said = dpo(*arguments)
    assert code == 0, said
    assert describe_settings(chosen(*arguments)) in told and f"policy in {out / 'policy'}" in told
    assert "6 pairs to learn from; 4 updates are" in said and "suggested beta" in said
    assert set(presets()["smoke"]) <= set(DPOSettings.model_fields)
