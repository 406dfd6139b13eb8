"""Places that hold no session files: each is called what it is, with what to name instead."""

import json
import shutil
from pathlib import Path

import pytest

from tests.parts.bench_parts import SMALL, found, scripted
from tests.parts.recorded import Thinking, record
from therapysim.agents.bench.runner import run
from therapysim.agents.sessions.session_file import load_sessions
from therapysim.cli.main import main
from therapysim.errors import ConfigError
from therapysim.train.chats.export_chats import export_chats


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bench") / "played"
    run(SMALL, found("cbt"), scripted(), folder, sessions=True)
    return folder


def told(place: Path, capsys: pytest.CaptureFixture[str], *commands: str) -> list[str]:
    """What each command says of a place that it refuses."""
    said = []
    for command in commands:
        out = place.parent.parent / ("out.svg" if command == "profile" else "out")
        assert main([command, str(place), "--out", str(out)]) == 2 and not out.exists()
        said.append(capsys.readouterr().err)
    return said


def test_an_export_and_a_recording_are_called_so(
    played: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "places"
    export_chats(played, place / "export")
    record(Thinking(), place)
    for said in told(place / "export", capsys, "export-sessions", "profile"):
        assert f"{place / 'export'} is an export of sessions, and holds none; give what it was made of" in said
        assert "played/results.jsonl" in said
    for said in told(place / "record", capsys, "export-sessions", "profile"):
        assert f"{place / 'record'} is a recording" in said
        assert f"`therapysim bench --replay {place / 'record'} --sessions --out FOLDER`" in said


def test_of_a_benchmark_the_folder_of_sessions_is_named(
    played: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(played, tmp_path / "places" / "played")
    place = tmp_path / "places" / "played"
    for path in (place, place / "results.jsonl", place / "settings.json"):
        [said] = told(path, capsys, "profile")
        assert f"{path} is of a benchmark; give the folder of its sessions, {place / 'sessions'}" in said
        assert "YAML" not in said
    shutil.rmtree(place / "sessions")
    [said] = told(place, capsys, "profile")
    assert f"{place} is of a benchmark that was played without --sessions; play it in another folder with it" in said
    lines = place / "notes.jsonl"
    lines.write_text('{"a": 1}\n{"b": 2}\n', encoding="utf-8")
    [said] = told(lines, capsys, "profile")
    assert "a file of lines, expected a session a file, .json" in said and "YAML" not in said


def test_a_foreign_file_among_session_files_is_named_with_what_to_do(played: Path, tmp_path: Path) -> None:
    place = tmp_path / "sessions"
    shutil.copytree(played / "sessions", place)
    assert len(load_sessions([place])) == 4
    for name, text in (("package.json", json.dumps({"name": "x"})), ("torn.json", "{")):
        (place / name).write_text(text, encoding="utf-8")
        with pytest.raises(ConfigError) as caught:
            load_sessions([place])
        assert f"session file {place / name}: " in str(caught.value)
        assert str(caught.value).endswith(f"; or take it out of {place}")
        assert len(load_sessions(sorted(place.rglob("*-*.json")))) == 4
        (place / name).unlink()
