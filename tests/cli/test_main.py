"""The command itself: version, exit codes, what is missing, and that help needs nothing heavy."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from therapysim import __version__
from therapysim.cli import main as cli
from therapysim.cli.train import grpo


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
    assert error.startswith(f"therapysim: settings file {file}: sede is") and "did you mean 'seed'?" in error
    assert "Traceback" not in error


@pytest.mark.parametrize(("package", "extra"), [("torch", "train"), ("onnxscript", "sensor")])
def test_a_missing_extra_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], package: str, extra: str
) -> None:
    def lacking(_: object) -> None:
        raise ModuleNotFoundError(f"No module named '{package}'", name=f"{package}.nn")

    monkeypatch.setattr(grpo, "run", lacking)
    assert cli.main(["train", "grpo"]) == 2
    assert f'pip install "therapysim[{extra}]"' in capsys.readouterr().err


def test_a_broken_import_of_our_own_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: object) -> None:
        raise ImportError("cannot import name", name="therapysim.rewards")

    monkeypatch.setattr(grpo, "run", broken)
    with pytest.raises(ImportError):
        cli.main(["train", "grpo"])


@pytest.mark.parametrize("command", ["demo", "bench", "report", "profile", "export", "chat", "calibrate", "portrayal",
    "agreement", "realism", "attack", "judge", "learned", "audit"])  # fmt: skip
def test_every_command_says_what_it_is(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main([command, "--help"])
    assert stop.value.code == 0 and f"usage: therapysim {command}" in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["grpo", "emotions", "emotions-teacher", "emotions-texts", "emotions-labels",
    "reader", "valence", "patient-lines", "patient"])  # fmt: skip
def test_every_training_says_what_it_is(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main(["train", kind, "--help"])
    assert stop.value.code == 0 and f"usage: therapysim train {kind}" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["train", "--help"], ["train", "grpo", "--help"],
    ["train", "emotions", "--help"], ["train", "patient", "--help"]])  # fmt: skip
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    heavy = "torch", "transformers", "trl", "peft", "matplotlib", "aiohttp", "scipy"
    code = f"import sys\nfrom therapysim.cli.main import main\ntry:\n    main({arguments})\nexcept SystemExit: pass\n"
    code += f"print('heavy:', *sorted(set({heavy}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1].strip() == "heavy:"


def test_any_command_names_the_nearest_option(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main(["bench", "cbt", "--sead", "3"])
    assert stop.value.code == 2 and "option --sead is unknown; did you mean --seeds?" in capsys.readouterr().err


def test_a_mistake_that_one_of_several_processes_alone_finds_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    waited: list[float] = []
    monkeypatch.setattr("therapysim.cli.main.time.sleep", waited.append)
    mistaken = ["bench", "cbt", "--patients", "0", "--dry-run"]
    for rank in ("0", "1"):
        monkeypatch.setenv("RANK", rank)
        assert cli.main(mistaken) == 2 and "--patients is 0" in capsys.readouterr().err
    assert len(waited) == 1  # the second, which its launcher ends meanwhile where all find the mistake
