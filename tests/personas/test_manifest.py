"""The manifest that freezes the library, and the command that writes it."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from therapysim.errors import PersonaError
from therapysim.personas import library, lint, load, personas
from therapysim.personas.consistency import diagnoses
from therapysim.personas.load import LIBRARY, library_hash
from therapysim.personas.manifest import MANIFEST, changes, write
from therapysim.personas.schema import Split

TRAIN = personas("train")


FEW = ("marta", "owen", "kenji", "claire")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four patients, frozen."""
    for name in FEW:
        shutil.copy(LIBRARY / f"{name}.yaml", tmp_path)
    write(tmp_path, splits(tmp_path))
    return tmp_path


@pytest.fixture
def whole_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the shipped library, in its place for the command and the reader."""
    copied = tmp_path / "library"
    shutil.copytree(LIBRARY, copied)
    monkeypatch.setattr(lint, "LIBRARY", copied)
    monkeypatch.setattr(load, "LIBRARY", copied)
    return copied


def splits(folder: Path) -> dict[str, Split]:
    files = sorted(folder.glob("*.yaml"))
    return {path.stem: yaml.safe_load(path.read_text(encoding="utf-8"))["split"] for path in files}


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def test_a_frozen_folder_reads(folder: Path) -> None:
    assert list(library(folder)) == sorted(FEW)
    assert changes(folder, splits(folder)) == []


def test_a_changed_patient_is_named(folder: Path) -> None:
    edit(folder / "marta.yaml", "age: 38", "age: 39")
    with pytest.raises(PersonaError, match=r"marta\.yaml differs from the frozen file.*--freeze"):
        library(folder)


def test_a_moved_patient_is_named(folder: Path) -> None:
    edit(folder / "owen.yaml", "split: train", "split: test")
    with pytest.raises(PersonaError, match="owen is in split test, frozen in train"):
        library(folder)


def test_a_removed_patient_is_named(folder: Path) -> None:
    (folder / "kenji.yaml").unlink()
    with pytest.raises(PersonaError, match="kenji is in the manifest, but there is no such file"):
        library(folder)


def test_an_added_patient_is_named(folder: Path) -> None:
    shutil.copy(LIBRARY / "tomas.yaml", folder)
    with pytest.raises(PersonaError, match="tomas is not in the manifest"):
        library(folder)


def test_everything_that_changed_is_named_at_once(folder: Path) -> None:
    edit(folder / "marta.yaml", "age: 38", "age: 39")
    (folder / "kenji.yaml").unlink()
    shutil.copy(LIBRARY / "tomas.yaml", folder)
    assert [line.split()[0] for line in changes(folder, splits(folder))] == ["kenji", "marta.yaml", "tomas"]


def test_line_ends_make_no_other_patient(folder: Path) -> None:
    path = folder / "marta.yaml"
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert changes(folder, splits(folder)) == []


def damaged(kept: dict[str, Any]) -> dict[str, str]:
    """What a manifest may have become."""
    row = kept["patients"]["marta"]
    return {
        "cut": json.dumps(kept)[:200],
        "a list": "[]",
        "another format": json.dumps(kept | {"format": "recipe"}),
        "a newer version": json.dumps(kept | {"version": 99}),
        "no patients": json.dumps(kept | {"patients": {}}),
        "a row without hash": json.dumps(kept | {"patients": {"marta": {"split": row["split"]}}}),
        "patients as a list": json.dumps(kept | {"patients": ["marta"]}),
        "no hash of all": json.dumps({k: v for k, v in kept.items() if k != "sha256"}),
        "not text": "\x00",
        "another hash of all": json.dumps(kept | {"sha256": "0" * 64}),
    }


@pytest.mark.parametrize(
    "how",
    [
        "cut", "a list", "another format", "a newer version", "no patients", "a row without hash", "patients as a list",
        "no hash of all", "not text", "another hash of all",
    ],
)  # fmt: skip
def test_a_damaged_manifest_is_named(folder: Path, how: str) -> None:
    kept = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    (folder / MANIFEST).write_text(damaged(kept)[how], encoding="utf-8")
    with pytest.raises(PersonaError, match=r"manifest\.json|hash of all"):
        library(folder)


def test_a_folder_without_manifest_is_read_as_it_is(folder: Path) -> None:
    (folder / MANIFEST).unlink()
    assert len(library(folder)) == len(FEW)


def test_the_library_has_a_hash_and_is_as_frozen() -> None:
    kept = json.loads((LIBRARY / MANIFEST).read_text(encoding="utf-8"))
    assert library_hash() == kept["sha256"] and len(library_hash()) == 64
    assert set(kept["patients"]) == set(library())
    assert lint.main([]) == 0


def test_a_library_without_manifest_has_no_hash(whole_library: Path) -> None:
    (whole_library / MANIFEST).unlink()
    with pytest.raises(PersonaError, match=r"manifest\.json is missing.*install anew"):
        library_hash()


def test_the_hash_changes_with_a_patient(whole_library: Path) -> None:
    before = json.loads((whole_library / MANIFEST).read_text(encoding="utf-8"))["sha256"]
    edit(whole_library / "marta.yaml", "phq9: 14", "phq9: 15")
    assert lint.main([]) == 1
    assert lint.main(["--freeze"]) == 0
    assert library_hash() != before


def test_freezing_twice_writes_the_same(whole_library: Path) -> None:
    before = (whole_library / MANIFEST).read_bytes()
    assert lint.main(["--freeze"]) == 0
    assert (whole_library / MANIFEST).read_bytes() == before


def test_freezing_moves_no_patient(whole_library: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = twins()
    edit(whole_library / f"{first}.yaml", "split: train", "split: test")
    edit(whole_library / f"{second}.yaml", "split: test", "split: train")
    before = (whole_library / MANIFEST).read_bytes()
    assert lint.main(["--freeze"]) == 1
    said = capsys.readouterr().out
    assert "was frozen in" in said and (first in said or second in said)
    assert (whole_library / MANIFEST).read_bytes() == before


def twins() -> tuple[str, str]:
    """A patient of train and one of test who could change places without unbalancing a stratum."""
    alike = {(diagnoses()[p.diagnosis].group, p.risk): p.id for p in TRAIN}
    return next(
        (alike[key], p.id) for p in personas("test") if (key := (diagnoses()[p.diagnosis].group, p.risk)) in alike
    )


def test_freezing_lets_no_patient_go(folder: Path) -> None:
    (folder / "kenji.yaml").unlink()
    with pytest.raises(PersonaError, match="'kenji' was frozen in dev and is gone now"):
        write(folder, splits(folder))


def test_nothing_wrong_is_frozen(whole_library: Path, capsys: pytest.CaptureFixture[str]) -> None:
    edit(whole_library / "marta.yaml", "phq9: 14", "phq9: 27")
    before = (whole_library / MANIFEST).read_bytes()
    assert lint.main(["--freeze"]) == 1
    assert "persona 'marta' (library/marta.yaml): phq9 is 27" in capsys.readouterr().out
    assert (whole_library / MANIFEST).read_bytes() == before


def test_a_manifest_is_written_whole_or_not_at_all(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = (folder / MANIFEST).read_bytes()
    shutil.copy(LIBRARY / "tomas.yaml", folder)

    def full(path: Path, text: str, **_: Any) -> int:
        path.write_bytes(text[:50].encode())
        raise OSError(28, "No space left on device")

    own = splits(folder)
    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match="No space left"):
        write(folder, own)
    assert (folder / MANIFEST).read_bytes() == before
    assert sorted(p.name for p in folder.iterdir()) == sorted([MANIFEST, *(f"{i}.yaml" for i in own)])


def test_the_command_checks_single_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy(LIBRARY / "marta.yaml", tmp_path)
    assert lint.main([str(tmp_path / "marta.yaml")]) == 0
    edit(tmp_path / "marta.yaml", "code: F32.1", "code: F32.2")
    assert lint.main([str(tmp_path / "marta.yaml")]) == 1
    assert "marta.yaml): code is F32.2, expected F32.1" in capsys.readouterr().out
    assert lint.main([str(tmp_path / "nobody.yaml")]) == 1
    assert "cannot be read" in capsys.readouterr().out
