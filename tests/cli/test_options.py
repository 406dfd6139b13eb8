"""What the commands about patients refuse before they work, and how they open a patient."""

import argparse
from pathlib import Path

import pytest

from therapysim.cli.main import main
from therapysim.cli.options import keep, open_chosen, require_place
from therapysim.errors import ConfigError
from therapysim.personas import ScriptedPatient


@pytest.mark.parametrize(
    "command",
    [
        ["portrayal", "scripted"],
        ["agreement", "scripted", "scripted"],
        ["attack"],
        ["train", "patient-lines"],
    ],
)
def test_a_place_that_cannot_be_written_is_refused_before_the_work(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def played(*_: object, **__: object) -> None:
        raise AssertionError("it began to work")

    monkeypatch.setattr("therapysim.envs.batch.SessionBatch.reset", played)
    (tmp_path / "file").write_text("")
    assert main([*command, "--out", str(tmp_path / "file" / "found.json")]) == 2
    assert "cannot be written" in capsys.readouterr().err
    assert main([*command, "--out", str(tmp_path)]) == 2
    assert "is a folder" in capsys.readouterr().err


def test_a_place_is_tried_and_left_as_it_was(tmp_path: Path) -> None:
    require_place(tmp_path / "new" / "found.json")
    assert list((tmp_path / "new").iterdir()) == []
    require_place(None)
    keep(None, {})
    keep(tmp_path / "found.json", {"a": "é"})
    assert (tmp_path / "found.json").read_text(encoding="utf-8") == '{\n "a": "é"\n}\n'


def test_a_servers_key_comes_from_the_variable_named(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("aiohttp")
    chosen = argparse.Namespace(api_key_env="MY_KEY")
    assert isinstance(open_chosen("scripted", chosen), ScriptedPatient)
    with pytest.raises(ConfigError, match="MY_KEY is not set"):
        open_chosen("http://localhost:1/v1#m", chosen)
    monkeypatch.setenv("MY_KEY", "s3cret")
    patient = open_chosen("http://localhost:1/v1#m", chosen)
    assert patient.model._key.get_secret_value() == "s3cret" and "s3cret" not in repr(patient.model)  # type: ignore[attr-defined]
