"""Files are written whole or not at all."""

import json
import math
from pathlib import Path

import pytest

from therapysim.files import finite, whole, write_json


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


def test_json_of_what_is_not_finite_is_null(tmp_path: Path) -> None:
    value = {"low": -math.inf, "rows": [(1.5, math.nan), {"n": 3}], "text": "inf", "none": None}
    write_json(tmp_path / "a.json", value)
    told = json.loads((tmp_path / "a.json").read_text(), parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert told == finite(value) == {"low": None, "rows": [[1.5, None], {"n": 3}], "text": "inf", "none": None}
