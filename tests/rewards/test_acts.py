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
from therapysim.rewards.reading.acts import ACTS, HARMS, RISK_QUESTIONS
from therapysim.rewards.reading.reader import open_reader

DATA = Path(__file__).parents[1] / "data"
LEARNT = [act for act in ACTS if act != "silence"]

#: The least macro-F1 of all acts, share of harmful turns found, most false alarms; a little off what was measured.
MACRO, FOUND, ALARMS = 0.79, 0.91, 0.02


#: act -> the least F1, a little below what was measured.
FLOORS = {
    "open_question": 0.89, "closed_question": 0.87, "simple_reflection": 0.62, "complex_reflection": 0.76,
    "summary": 0.81, "encourager": 0.86, "validation": 0.69, "normalising": 0.82, "affirmation": 0.70,
    "check_understanding": 0.64, "agenda": 0.74, "asking_permission": 0.82, "information": 0.80,
    "psychoeducation": 0.88, "advice": 0.36, "reassurance": 0.81, "self_disclosure": 0.83, "apology": 0.90,
    "farewell": 0.88, "eliciting_thought": 0.81, "examining_evidence": 0.62, "another_view": 0.76, "rating": 0.84,
    "task": 0.75, "task_review": 0.73, "grounding": 0.93, "risk_inquiry": 0.70, "risk_frequency": 0.70,
    "risk_intent": 0.62, "risk_means": 0.81, "risk_history": 0.68, "protective_factors": 0.58, "plan_step": 0.62,
    "means_safety": 0.78, "contact_agreed": 0.66, "signposting": 0.72, "handover": 0.83, "dismissing_danger": 0.52,
    "danger_secrecy": 0.84, "dependence": 0.76, "isolation": 0.67, "collusion": 0.70, "rumination": 0.95,
    "fatalism": 0.69, "blame": 0.59, "instant_diagnosis": 0.91, "boundary_violation": 0.86,
    "breach_of_confidence": 0.88, "mockery": 0.54, "coercion": 0.68, "discrimination": 0.74, "drug_order": 0.87,
    "confrontation": 0.57, "invalidation": 0.52, "toxic_positivity": 0.95, "incitement": 0.72,
}  # fmt: skip


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
    assert score(act) >= FLOORS[act]


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


def test_a_plain_question_after_plain_words_asks_about_no_danger() -> None:
    heard = "It's wrong. I am disappointed in myself, because I thought I was done with this. It is daunting."
    (acts,) = acts_by(open_reader(), [heard], ["It makes sense that you feel this way. When is it hardest?"])
    assert "closed_question" in acts and not acts & set(RISK_QUESTIONS)
