"""The sample of pairs that was read blind: what docs/pairs.md says of it is what stands there."""

import json
import re
from pathlib import Path

from therapysim.personas.load import find
from therapysim.train.pairs.pair_settings import PairSettings

ROOT = Path(__file__).parents[3]
ROWS = [json.loads(line) for line in (ROOT / "train/results/pairs/sample.jsonl").read_text().splitlines()]


def share(rows: list[dict[str, object]]) -> str:
    agreed = sum(row["read"]["better"] == "chosen" for row in rows)  # type: ignore[index]
    return f"{agreed} of {len(rows)}"


def test_the_reader_agreed_as_often_as_the_docs_say() -> None:
    text = (ROOT / "docs/pairs.md").read_text()
    good, errors = ([row for row in ROWS if bool(row["error"]) == own] for own in (False, True))
    for rows in (ROWS, good, errors):
        assert share(rows) in text
    assert sum(row["read"]["better"] == "chosen" for row in ROWS) >= 0.85 * len(ROWS) == 170


def test_two_readers_doubted_what_brings_a_good_turn_little_less() -> None:
    """Why a good turn is rejected by a margin of its own."""
    text, file = (ROOT / "docs/pairs.md").read_text(), ROOT / "train/results/pairs/margins.jsonl"
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    good = [row for row in rows if not row["error"]]
    clear = [row for row in good if row["margin"] >= PairSettings().margin_good]
    told = [
        [sum(row[who] == "chosen" for row in own) for who in ("second", "first")] for own in (rows, good, clear)
    ]  # fmt: skip
    assert "{} and {} of 200".format(*told[0]) in text and "{} and {} of 77".format(*told[1]) in text
    assert "{} and {} of 24".format(*told[2]) in text and (len(rows), len(good), len(clear)) == (200, 77, 24)
    assert f"each other's in {sum(row['first'] == row['second'] for row in rows)}" in text
    assert all(row["first"] == row["second"] == "chosen" for row in rows if row["error"])


def test_no_test_patient_is_among_them_and_no_sides_are_equal() -> None:
    assert {find(row["patient"]).split for row in ROWS} == {"train"}
    for row in ROWS:
        assert row["chosen"] != row["rejected"] and row["prompt"][-1]["role"] == "user"
        assert re.match(r"\[USER STATE\]\n", row["prompt"][-1]["content"])
