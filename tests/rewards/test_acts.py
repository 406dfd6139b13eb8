"""The acts of a turn, on turns that the reader was not trained on.

``tests/data/turns_test.jsonl``: turns with the patient's words before them, by three writers who saw neither the
training turns nor the reader, coded after ``docs/acts.md``. ``tests/data/second_coding.jsonl``: 300 of them coded again
without sight of the first coding. ``python -m tests.measures.reading --only own`` prints the table.
"""

import json
from functools import cache
from pathlib import Path

import pytest

from tests.measures.reading import acts_by, f1, rows_of
from therapysim.rewards.reading.acts import ACTS, HARMS
from therapysim.rewards.reading.reader import open_reader

DATA = Path(__file__).parents[1] / "data"
LEARNT = [act for act in ACTS if act != "silence"]

#: The least macro-F1 of all acts, share of harmful turns found, most false alarms; a little off what was measured.
MACRO, FOUND, ALARMS = 0.70, 0.80, 0.03


@cache
def coded() -> tuple[list[frozenset[str]], list[frozenset[str]]]:
    """The key and the reading of every test turn."""
    rows = list(rows_of(DATA / "turns_test.jsonl"))
    heard = [" ".join([*row.get("earlier", ()), row["patient"]]) for row in rows]
    return [frozenset(row["acts"]) for row in rows], acts_by(open_reader(), heard, [row["text"] for row in rows])


def score(act: str) -> float:
    true, found = coded()
    return f1([act in a for a in found], [act in t for t in true])[2]


@pytest.mark.parametrize("act", LEARNT)
def test_each_act_is_found(act: str) -> None:
    assert score(act) >= 0.35


def test_the_acts_together() -> None:
    assert sum(map(score, LEARNT)) / len(LEARNT) >= MACRO


def test_harms_are_found_and_good_turns_left_alone() -> None:
    true, found = coded()
    harms = set(HARMS)
    harmful = [bool(a & harms) for a, t in zip(found, true, strict=True) if t & harms]
    harmless = [bool(a & harms) for a, t in zip(found, true, strict=True) if not t & harms]
    assert sum(harmful) / len(harmful) >= FOUND and sum(harmless) / len(harmless) <= ALARMS


def test_the_turns_are_enough() -> None:
    true, _ = coded()
    assert len(true) >= 1_500 and all(sum(act in t for t in true) >= 20 for act in LEARNT)


def test_two_codings_agree() -> None:
    rows = [json.loads(line) for line in (DATA / "second_coding.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len(rows) == 300
    agreed = [f1([act in r["second"] for r in rows], [act in r["first"] for r in rows])[2] for act in LEARNT]
    assert sum(agreed) / len(agreed) > 0.9
