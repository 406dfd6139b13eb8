"""Files are written whole or not at all."""

import json
import math
import os
from pathlib import Path

import pytest

from therapysim.files import finite, whole, whole_folder, write_json


def test_a_file_takes_its_place_when_the_block_ends(tmp_path: Path) -> None:
    target = tmp_path / "new" / "a.txt"
    with whole(target) as part:
        part.write_text("first")
        assert not target.exists() and part.parent == target.parent
    assert target.read_text() == "first" and list(target.parent.iterdir()) == [target]


def test_a_block_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(ZeroDivisionError), whole(target) as part:
        part.write_text("half")
        raise ZeroDivisionError
    assert target.read_text() == "old" and list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("kinds", [["part"], ["old"], ["part", "old"]])
def test_what_a_dead_process_of_this_id_left_does_no_harm(tmp_path: Path, kinds: list[str]) -> None:
    out = tmp_path / "a"
    for folder in (out, *(tmp_path / f".a.{os.getpid()}.{kind}" for kind in kinds)):
        folder.mkdir()
        (folder / "left.txt").write_text("old")
    with whole_folder(out) as draft:
        (draft / "b.txt").write_text("new")
    assert list(tmp_path.iterdir()) == [out] and [file.name for file in out.iterdir()] == ["b.txt"]


def test_json_of_what_is_not_finite_is_null(tmp_path: Path) -> None:
    value = {"low": -math.inf, "rows": [(1.5, math.nan), {"n": 3}], "text": "inf", "none": None}
    write_json(tmp_path / "a.json", value)
    told = json.loads((tmp_path / "a.json").read_text(), parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert told == finite(value) == {"low": None, "rows": [[1.5, None], {"n": 3}], "text": "inf", "none": None}
