"""A run's folder is taken up again wherever a crash left it."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("trl")

import torch
from safetensors.torch import save_file

from therapysim.errors import ConfigError
from therapysim.train.grpo.grpo_settings import GRPOSettings
from therapysim.train.run_settings import save_settings
from therapysim.train.runs.rows import append, read_rows
from therapysim.train.runs.run_folder import open_run


@pytest.fixture
def settings(tmp_path: Path) -> GRPOSettings:
    return GRPOSettings(out=str(tmp_path / "run"), save_steps=2, resume=True)


def begun(settings: GRPOSettings, *checkpoints: int) -> Path:
    """A run's folder with metrics of three updates and these checkpoints."""
    folder = Path(settings.out)
    folder.mkdir()
    save_settings(settings, folder / "settings.json")
    append(folder / "metrics.jsonl", [{"step": step, "loss": 0.5} for step in (1, 2, 3)])
    for step in checkpoints:
        state = folder / "checkpoints" / f"checkpoint-{step}" / "trainer_state.json"
        state.parent.mkdir(parents=True)
        save_file({"weight": torch.zeros(1)}, state.with_name("adapter_model.safetensors"))
        for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth"):
            torch.save({}, state.with_name(name))
        state.write_text(json.dumps({"global_step": step}))
    return folder


def steps(folder: Path, name: str = "metrics.jsonl") -> list[int]:
    return [row["step"] for row in read_rows(folder / name)]


@pytest.mark.parametrize("state", [None, '{"global_st'], ids=["missing", "half"])
def test_a_checkpoint_that_a_crash_cut_off_is_passed_over(
    settings: GRPOSettings, state: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = begun(settings, 2, 10)
    last = folder / "checkpoints" / "checkpoint-10" / "trainer_state.json"  # the last file of a checkpoint
    last.unlink()
    if state:
        last.write_text(state)
    assert open_run(settings) == str(folder / "checkpoints" / "checkpoint-2")
    assert steps(folder) == [1, 2]
    assert "checkpoint-10 was not written to its end" in capsys.readouterr().err


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\x85"])
def test_a_line_separator_that_a_policy_says_ends_no_row(settings: GRPOSettings, separator: str) -> None:
    folder = begun(settings, 2)
    said: dict[str, Any] = {"step": 1, "messages": [{"speaker": "therapist", "text": f"I see.{separator}Go on."}]}
    append(folder / "completions.jsonl", [said, {"step": 3}])
    assert read_rows(folder / "completions.jsonl") == [said, {"step": 3}]
    open_run(settings)
    assert read_rows(folder / "completions.jsonl") == [said]


def test_a_row_cut_within_a_letter_is_dropped(settings: GRPOSettings) -> None:
    folder = begun(settings, 2)
    whole = json.dumps({"step": 1, "text": "it’s"}, ensure_ascii=False).encode()
    (folder / "completions.jsonl").write_bytes(whole + b"\n" + whole[:-4])  # two of the apostrophe's three bytes
    assert steps(folder, "completions.jsonl") == [1]
    open_run(settings)
    assert (folder / "completions.jsonl").read_bytes() == whole + b"\n"


@pytest.mark.parametrize("row", ["\0\0\0\n", "3\n", '{"loss": 1}\n'])
def test_a_row_that_is_none_is_named(settings: GRPOSettings, row: str) -> None:
    folder = begun(settings, 2)
    with (folder / "metrics.jsonl").open("a") as file:
        file.write(row)
    with pytest.raises(ConfigError, match=r"metrics.jsonl: row 4 is no JSON object with a step.*mend or remove"):
        open_run(settings)


def test_a_best_policy_of_a_run_that_never_began_is_no_rival(settings: GRPOSettings) -> None:
    folder = begun(settings)
    (folder / "best").mkdir()
    (folder / "best" / "best.json").write_text("{}")
    open_run(settings)
    assert (folder / "best").exists()  # the same run, from updates that a crash undid
    (folder / "metrics.jsonl").unlink()  # the crash came within the first validation, and other settings may follow
    open_run(GRPOSettings(out=settings.out, seed=1))
    assert not (folder / "best").exists()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"run folder .*file/run cannot be written.*--out"):
        open_run(GRPOSettings(out=str(tmp_path / "file" / "run")))


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="whoever may write everywhere is refused nothing")
def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(ConfigError, match="cannot be written"):
        open_run(GRPOSettings(out=str(tmp_path)))


def test_rows_are_read_up_to_where_a_crash_cut_them(tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    assert read_rows(file) == []
    file.write_text('{"step": 1, "kl": 2}\n{"step": 2, "k')
    assert read_rows(file) == [{"step": 1, "kl": 2}]
    file.write_text("3\n")
    with pytest.raises(ConfigError, match=r"metrics.jsonl: row 1 is no JSON object with a step"):
        read_rows(file)
