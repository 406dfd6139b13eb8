"""Trackers by name: each logs a run into its own place, offline, and beside metrics.jsonl."""

import json
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("trl")

from tests.parts.patience import HANGS_S
from therapysim.envs.batch import SessionBatch
from therapysim.train.grpo.grpo_settings import GRPOSettings
from therapysim.train.grpo.run import TrainResult, train
from therapysim.train.runs.rows import read_rows
from therapysim.train.runs.tracking import trackers

MakeBatch = Callable[..., SessionBatch]
Run = Callable[..., TrainResult]


def needs(package: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(find_spec(package) is None, reason=f"{package} is not installed")


@pytest.fixture
def run(tiny_model: Path, make_batch: MakeBatch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Two updates and two validations; nobody is logged in, and there is no terminal to ask at."""
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_PROJECT", "TENSORBOARD_LOGGING_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "no-settings"))

    def start(*track: str, out: str = "first", **changes: Any) -> TrainResult:
        settings = {
            "model": str(tiny_model), "out": str(tmp_path / out), "max_steps": 2, "generations": 4,
            "max_turn_tokens": 4, "save_steps": 2, "validate_every": 2, "validate_sessions": 1, "track": track,
            **changes,
        }  # fmt: skip
        return train(GRPOSettings(**settings), make_batch(max_turns=1))

    return start


def test_without_a_name_nothing_is_tracked(run: Run) -> None:
    assert trackers(GRPOSettings()) == []
    result = run()
    assert {path.name for path in result.out.iterdir()} >= {"metrics.jsonl", "validation.jsonl"}
    assert not (result.out / "wandb").exists() and not (result.out / "tensorboard").exists()


def records(file: Path) -> Iterator[bytes]:
    """The records of a W&B file: LevelDB's log format behind a header of 7 bytes, in blocks of 32 KiB."""
    data, at, whole = file.read_bytes(), 7, b""
    while at + 7 <= len(data):
        if 2**15 - at % 2**15 < 7:  # no header fits into the rest of the block
            at += 2**15 - at % 2**15
            continue
        _, length, kind = struct.unpack("<IHB", data[at : at + 7])
        whole += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # the only part, or the last
            yield whole
            whole = b""


def logged(file: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """What the run of a W&B file is, and its rows."""
    from wandb.proto import wandb_internal_pb2

    about: dict[str, Any] = {}
    rows = []
    for data in records(file):
        record = wandb_internal_pb2.Record()
        record.ParseFromString(data)
        if record.HasField("run") and not about:
            config = {item.key: json.loads(item.value_json) for item in record.run.config.update}
            about = {"name": record.run.display_name, "project": record.run.project, "config": config}
        if record.HasField("history"):
            items = record.history.item
            rows.append({i.key or "/".join(i.nested_key): json.loads(i.value_json) for i in items})
    return about, rows


@needs("wandb")
def test_wandb_logs_offline_where_there_is_no_key(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    import wandb

    result = run("wandb")
    assert wandb.run is None  # finished
    (file,) = result.out.glob("wandb/offline-run-*/run-*.wandb")
    about, rows = logged(file)
    assert (about["name"], about["project"]) == ("first", "therapysim")
    assert about["config"]["therapysim"]["max_turn_tokens"] == 4
    steps = [row["train/global_step"] for row in rows if "train/loss" in row]
    assert steps == [1, 2]
    own = read_rows(result.out / "metrics.jsonl")
    assert [row["train/loss"] for row in rows if "train/loss" in row] == [row["loss"] for row in own if "loss" in row]
    assert sum("train/validation/return" in row for row in rows) == 2
    assert "no key is configured, so it logs offline" in capsys.readouterr().err


@needs("wandb")
def test_a_resumed_run_is_the_same_to_wandb(run: Run) -> None:
    run("wandb")
    result = run("wandb", max_steps=3, resume=True)
    ids = {path.suffix and path.stem for path in result.out.glob("wandb/offline-run-*/run-*.wandb")}
    assert len(list(result.out.glob("wandb/offline-run-*"))) == 2 and len(ids) == 1


@needs("wandb")
def test_a_wandb_run_of_ones_own_is_left_open(run: Run, tmp_path: Path) -> None:
    import wandb

    mine = wandb.init(mode="offline", dir=str(tmp_path), project="mine", settings=wandb.Settings(silent=True))
    try:
        result = run("wandb")
        assert wandb.run is mine and not (result.out / "wandb").exists()
    finally:
        wandb.finish()


@needs("tensorboard")
def test_tensorboard(run: Run) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run("tensorboard")
    result = run("tensorboard", max_steps=3, resume=True)
    events = EventAccumulator(str(result.out / "tensorboard"))
    events.Reload()
    own = [(row["step"], row["loss"]) for row in read_rows(result.out / "metrics.jsonl") if "loss" in row]
    found = [(event.step, event.value) for event in events.Scalars("train/loss")]
    assert [step for step, _ in found] == [1, 2, 3]
    assert [value for _, value in found] == pytest.approx([value for _, value in own])
    assert [event.step for event in events.Scalars("train/validation/return")] == [0, 2]


_TRACKIO = """
import os, sys
from therapysim.envs.batch import SessionBatch, SessionConfig
from therapysim.train.grpo.grpo_settings import GRPOSettings
from therapysim.train.grpo.run import train
out, model = sys.argv[1:]
common = dict(model=model, out=out, generations=4, max_turn_tokens=4, save_steps=2, validate_every=2,
              validate_sessions=1, track=("trackio",))
train(GRPOSettings(max_steps=2, **common), SessionBatch(SessionConfig(max_turns=1)))
train(GRPOSettings(max_steps=3, resume=True, **common), SessionBatch(SessionConfig(max_turns=1)))
import trackio
(run,) = trackio.Api().runs("therapysim")
print("NAME", run.name)
from trackio.sqlite_storage import SQLiteStorage
rows = SQLiteStorage.get_logs("therapysim", run.name)
print("STEPS", [row["train/global_step"] for row in rows if "train/loss" in row])
"""


@needs("trackio")
def test_trackio(tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))  # read as trackio is imported: a process of its own
    command = [sys.executable, "-c", _TRACKIO, str(tmp_path / "first"), str(tiny_model)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=HANGS_S, check=False)
    assert "NAME first" in done.stdout, done.stdout + done.stderr
    assert "STEPS [1, 2, 3]" in done.stdout
