"""The best policy so far: which it is, and that it is kept whole or not at all."""

from pathlib import Path
from typing import Any

import pytest

from therapysim.train.runs.best import Standing, held_return, keep_best, mend


def test_a_standing_is_read_back_from_rows_of_the_same_sessions() -> None:
    rows: list[dict[str, Any]] = [
        {"step": 0, "asked": 8, "validation/return": 1.0},
        {"step": 5, "asked": 2, "validation/return": 9.0},
        {"step": 10, "asked": 8, "validation/failed": 1.0},
        {"step": 15, "asked": 8, "validation/return": 3.0},
        {"step": 20, "asked": 8, "validation/return": 3.0},
    ]
    assert Standing.of(rows, 8) == Standing(3.0, 15, 1)
    assert Standing.of([], 8) == Standing()


def test_a_policy_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    folder = tmp_path / "best"
    keep_best(folder, {"return": 1.0, "asked": 2}, lambda place: (place / "weights").write_text("old"))  # type: ignore[arg-type,func-returns-value]

    def fail(place: Path) -> None:
        (place / "weights").write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        keep_best(folder, {"return": 2.0, "asked": 2}, fail)
    assert [path.name for path in tmp_path.iterdir()] == ["best"]
    assert (folder / "weights").read_text() == "old" and held_return(folder, 2) == 1.0
    assert held_return(folder, 3) is None  # of other sessions

    (tmp_path / "best.part").mkdir()  # a crash while the policy is written
    mend(folder)
    assert [path.name for path in tmp_path.iterdir()] == ["best"]

    folder.rename(tmp_path / "best.old")  # a crash between the two renames
    mend(folder)
    assert (folder / "weights").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["best"]
