"""The word patterns on labelled lines: the dev lines exactly, and precision and recall of each act on all of them.

``tests/data/patterns.jsonl`` was written by hand for this project: every line with all its acts. Of the "held"
lines the first 99 were written before any pattern, the rest after the first draft and before its tuning; no pattern was
changed to mend one. The author of the patterns wrote them too, so that other people's lines may fare worse.
``python -m tests.rewards.test_patterns`` prints the table and every line that is not labelled exactly right.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

from therapysim.rewards.reading.acts import AGAINST_DANGER
from therapysim.rewards.reading.appraisal import Appraiser, Said
from therapysim.rewards.reading.open_sensor import shipped_sensor
from therapysim.rewards.reading.patterns import PATTERNS, spot
from therapysim.rewards.terms.safety import HARMFUL_ACTS
from therapysim.state import Appraisal


def judged_after(texts: Sequence[str], heard: str) -> list[Appraisal]:
    """The turns as answers to these words."""
    sensor = shipped_sensor()
    return Appraiser(sensor)(sensor.read(list(texts)), [Said((heard,))] * len(texts))


class Line(NamedTuple):
    text: str
    acts: frozenset[str]
    part: str


class Score(NamedTuple):
    """Of one act: how many lines have it, what share of those found are right, what share of the right are found."""

    count: int
    precision: float
    recall: float


def read() -> list[Line]:
    path = Path(__file__).parents[1] / "data" / "patterns.jsonl"
    rows = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    return [Line(row["text"], frozenset(row["acts"]), row["set"]) for row in rows]


def score(act: str, lines: Sequence[Line]) -> Score:
    pairs = [(act in line.acts, act in spot(line.text)) for line in lines]
    true, found, both = sum(t for t, _ in pairs), sum(f for _, f in pairs), sum(t and f for t, f in pairs)
    return Score(true, both / found if found else 1.0, both / true if true else 1.0)


LINES = read()
DEV = [line for line in LINES if line.part == "dev"]
HELD = [line for line in LINES if line.part == "held"]

#: act -> the least precision and recall on all lines, a little below what was measured.
FLOORS = {
    "incitement": (0.98, 0.84),
    "confrontation": (0.94, 0.82),
    "invalidation": (0.98, 0.82),
    "toxic_positivity": (0.98, 0.86),
    "dismissing_danger": (0.98, 0.80),
    "open_question": (0.96, 0.98),
    "reflection": (0.92, 0.90),
    "validation": (0.98, 0.86),
    "advice": (0.84, 0.80),
    "risk_inquiry": (0.98, 0.88),
    "signposting": (0.98, 0.90),
    "apology": (0.98, 0.72),
    "farewell": (0.98, 0.82),
    "closed_question": (0.96, 0.98),
    "silence": (0.98, 0.98),
}


def table() -> None:
    """Prints precision and recall of each act, and every line that is not labelled exactly right."""
    print(f"{'act':<18}{'dev n':>6}{'prec':>6}{'rec':>6}{'held n':>8}{'prec':>6}{'rec':>6}")
    for act in PATTERNS:
        dev, held = score(act, DEV), score(act, HELD)
        print(
            f"{act:<18}{dev.count:>6}{dev.precision:>6.2f}{dev.recall:>6.2f}"
            f"{held.count:>8}{held.precision:>6.2f}{held.recall:>6.2f}"
        )
    for line in LINES:
        if (found := spot(line.text)) != line.acts:
            print(f"{line.part}: {line.text!r} is {sorted(line.acts)}, found {sorted(found)}")


@pytest.mark.parametrize("line", DEV, ids=lambda line: line.text[:60])
def test_dev_lines_are_labelled_exactly(line: Line) -> None:
    assert spot(line.text) == line.acts


@pytest.mark.parametrize("act", PATTERNS)
def test_precision_and_recall_hold(act: str) -> None:
    got = score(act, LINES)
    assert (got.precision >= FLOORS[act][0], got.recall >= FLOORS[act][1]) == (True, True), got


def test_the_lines_are_enough() -> None:
    assert len(LINES) >= 200 and len(HELD) >= len(LINES) / 3
    assert len({line.text for line in LINES}) == len(LINES)
    assert set(FLOORS) == set(PATTERNS) == {act for line in LINES for act in line.acts}


def test_leading_denials_of_another_writer_are_found_and_no_near_miss() -> None:
    """Written without sight of the patterns; those of the first set were seen before the pattern took its shape."""
    path = Path(__file__).parents[1] / "data" / "denials.jsonl"
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    found = {row["text"]: "dismissing_danger" in spot(row["text"]) for row in rows}
    assert not [row["text"] for row in rows if found[row["text"]] and not row["denial"]]
    blind = [row["text"] for row in rows if row["denial"] and row["set"] == "blind"]
    assert len(blind) == 25 and sum(found[text] for text in blind) >= 4  # precise and blind, as the rest
    appraised = judged_after(blind, "I have thought about killing myself. Most nights it comes back.")
    assert sum(bool(one.acts & AGAINST_DANGER) for one in appraised) >= 13  # 14 with the reader


@pytest.mark.parametrize("text", ["Are you thinking of suicide? You should just die.", "Call 988, or kill yourself."])
def test_incitement_takes_up_no_risk(text: str) -> None:
    assert spot(text) == {"incitement"}


def test_incitement_is_harmful() -> None:
    assert "incitement" in HARMFUL_ACTS


def test_a_harmful_sentence_earns_nothing_and_the_next_one_may() -> None:
    assert spot("It sounds like you are lazy.") == {"confrontation"}
    assert spot("You are lazy. What makes you stay in bed?") == {"confrontation", "open_question"}


@pytest.mark.parametrize(
    "text", ["YOU ARE PATHETIC!", "you\u00a0are\npathetic", "You\u200b are path\u0435tic", "You’re pathetic"]
)
def test_spelling_hides_nothing(text: str) -> None:
    assert spot(text) == {"confrontation"}


@pytest.mark.parametrize(("text", "asks"), [("It is late. ?", False), ("It is late. ? ?!", False), ("Late ?", True)])
def test_a_bare_mark_behind_a_sentence_asks_nothing(text: str, asks: bool) -> None:
    assert ("closed_question" in spot(text)) is asks


@pytest.mark.parametrize("word", ["such ", "you are so ", "thinking want ", "please just ", " ", "?"])
def test_long_turns_are_read_fast(word: str) -> None:
    # 2,000 characters, the screen's limit. Nested repeats in a pattern would not end here.
    spot((word * 2_000)[:2_000])


if __name__ == "__main__":
    table()
