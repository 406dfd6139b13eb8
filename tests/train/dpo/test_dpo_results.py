"""What the page says of the run with a real model is what that run logged."""

import json
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")


def rows(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (ROOT / "train" / "results" / "dpo" / name).read_text().splitlines()]


@pytest.mark.parametrize(("first", "last"), [(1, 10), (251, 300)])
def test_the_page_tells_what_the_updates_came_to(first: int, last: int) -> None:
    own = [row for row in rows("metrics.jsonl") if first <= row["step"] <= last]
    assert len(own) == last - first + 1

    def mean(name: str) -> str:
        return f"{fmean(row[name] for row in own):.2f}"

    right = mean("rewards/accuracies").lstrip("0")
    cells = [mean("loss"), right, *(mean(f"rewards/{name}") for name in ("margins", "chosen", "rejected"))]
    assert f"| {first} to {last} | {' | '.join(cells)} |" in PAGE


def test_the_page_tells_how_it_ranks_what_people_judged() -> None:
    held = {(row["policy"], row["file"]): row for row in rows("implicit_reward.jsonl")}

    def cell(own: dict[str, float]) -> str:
        return "{} [{}, {}]".format(*(f"{own[name]:.2f}".lstrip("0") for name in ("right", "low", "high")))

    for file in ("pair_train.jsonl", "dev.jsonl"):
        dpo, sft = held["dpo-1", file], held["sft-1", file]
        assert f"| {cell(dpo['mean'])} | {cell(sft['mean'])} | {cell(dpo['longer'])} |" in PAGE


def test_the_set_is_the_one_that_its_sheet_describes() -> None:
    sheet = json.loads((ROOT / "train" / "results" / "pairs" / "sheet_5000.json").read_text())
    assert sheet["rows"] >= 5000 and max(sheet["shortcuts"]["after"][name] for name in ("length", "surface")) <= 0.6
    page = (ROOT / "docs" / "pairs.md").read_text(encoding="utf-8")
    assert f"**{sheet['rows']:,} pairs** of {sheet['states']:,} states" in page
    compared = sum(count for why, count in sheet["dropped"].items() if why != "no valid candidate") + sheet["rows"]
    assert f"| {100 * sheet['dropped']['shortcut'] / compared:.1f} % |" in page


def test_the_page_tells_the_memory_of_each_way() -> None:
    held = json.loads((ROOT / "train" / "results" / "dpo" / "memory.json").read_text(encoding="utf-8"))["ways"]
    assert held["4 bits"]["gib_in_use"] < held["16 bits"]["gib_in_use"]
    for name, way in held.items():
        assert f"| {name} | {way['gib_in_use']:.1f} | {way['seconds_an_update']:.1f} |" in PAGE
