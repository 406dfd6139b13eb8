"""Appraisal, and the terms that came first: each on turns it must tell apart."""

from dataclasses import replace
from functools import cache
from itertools import pairwise

import numpy as np
import pytest

from therapysim.rewards.reading.appraisal import Appraiser, Said
from therapysim.rewards.reading.emotions import shipped_sensor
from therapysim.rewards.rubric_settings import TERMS
from therapysim.rewards.terms.alignment import emotional_alignment
from therapysim.rewards.terms.brevity import length
from therapysim.rewards.terms.inquiry import inquiry
from therapysim.rewards.terms.positivity import toxic_positivity
from therapysim.rewards.terms.safety import safety, violations
from therapysim.state import Appraisal, Attributes, Move, Reading, State, Transition

NOBODY = Attributes("nobody", "none", "mild", 40)
HEARD = "I lie awake every night since the accident and I am so scared of driving."


def reading(text: str = "", affect: tuple[float, float, float, float] = (0, 0, 0, 0), polarity: float = 0.0) -> Reading:
    return Reading(text, np.zeros(28, dtype=np.float32), affect, polarity)


def turn(**changes: object) -> Transition:
    base = Transition(
        before=State(NOBODY, (-0.4,), (-0.5, -0.1, -0.2, -0.3)),
        after=State(NOBODY, (-0.4, -0.3), (-0.4, -0.1, -0.2, -0.3), 1),
        therapist=reading("That sounds hard. What is it like for you?"),
        patient=reading("I do not know."),
        appraisal=Appraisal(frozenset({"simple_reflection", "open_question"}), 0.8, 9),
        move=Move.EXPRESS,
        turns_left=10,
    )
    return replace(base, **changes)  # type: ignore[arg-type]


@cache
def appraiser() -> Appraiser:
    return Appraiser(shipped_sensor())


def judged(text: str, heard: str = HEARD, earlier: tuple[str, ...] = ()) -> Appraisal:
    return appraiser()(shipped_sensor().read([text]), [Said((heard,), earlier)])[0]


def test_uptake_orders_turns() -> None:
    takes_up = judged("Since the crash the wheel itself frightens you, and the nights are no rest from it.")
    off_topic = judged("What did you have for lunch on your birthday?")
    parrot = judged(HEARD)
    assert takes_up.uptake > 0.6 > 0.3 > off_topic.uptake
    assert parrot.uptake == 0.0


def test_repeats_are_counted() -> None:
    said = "It sounds like the nights are long and frightening."
    assert judged(said, earlier=(said, "Tell me more.", said)).repeats == 2


def test_safety_is_plus_one_or_minus_two() -> None:
    assert safety(turn()) == 1.0
    assert safety(turn(appraisal=Appraisal(frozenset({"silence"}), 0.0, 0))) == 0.0
    assert safety(turn(appraisal=Appraisal(frozenset(), 0.0, 1))) == -2.0
    assert safety(turn(appraisal=Appraisal(frozenset({"encourager"}), 0.0, 1))) == 1.0


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"appraisal": Appraisal(frozenset({"confrontation"}), 0.0, 8)}, "confrontation"),
        ({"appraisal": Appraisal(frozenset({"invalidation"}), 0.0, 8)}, "invalidation"),
        ({"appraisal": Appraisal(frozenset(), 0.0, 2)}, "too_short"),
        ({"flags": ("injection",)}, "injection"),
        ({"flags": ("role_tag",)}, "role_tag"),
        ({"risk_open": True, "appraisal": Appraisal(frozenset({"open_question"}), 0.5, 8)}, "missed_risk"),
        ({"therapist": reading("x", (0, -0.5, -0.4, 0)), "appraisal": Appraisal(frozenset(), 0.0, 8)}, "hostile"),
    ],
)
def test_the_gate_names_what_shut_it(changes: dict[str, object], why: str) -> None:
    assert why in violations(turn(**changes))


def test_a_danger_taken_up_is_not_missed() -> None:
    asked = Appraisal(frozenset({"risk_inquiry"}), 0.5, 10)
    assert violations(turn(risk_open=True, appraisal=asked)) == ()


def test_cheer_in_the_face_of_fear_is_toxic() -> None:
    afraid = State(NOBODY, (-0.5,), (0, 0, 0, -0.6))
    cheer, calm = reading("Wonderful!", (0.9, 0, 0, 0), 0.9), reading("I see.", (0, 0, 0, 0), 0.1)
    assert toxic_positivity(turn(before=afraid, therapist=cheer)) == -1.0
    assert toxic_positivity(turn(before=afraid, therapist=calm)) == 0.0
    assert toxic_positivity(turn(therapist=cheer)) == 0.0  # S = -0.3: no fear, no rule


def test_fear_without_support_costs() -> None:
    afraid = State(NOBODY, (-0.5,), (0, 0, 0, -0.8))
    cold = Appraisal(frozenset(), 0.1, 8)
    assert emotional_alignment(turn(before=afraid, appraisal=cold)) == -1.0
    assert emotional_alignment(turn(before=afraid)) == 0.0
    assert emotional_alignment(turn(appraisal=cold)) == 0.0


def test_questions_beat_advice_and_wear_out() -> None:
    asked, advised = frozenset({"open_question"}), frozenset({"advice"})
    assert inquiry(turn(appraisal=Appraisal(asked, 1.0, 9))) == 1.0
    assert inquiry(turn(appraisal=Appraisal(asked, 0.0, 9))) == pytest.approx(1 / 3)
    assert inquiry(turn(appraisal=Appraisal(asked, 1.0, 9, repeats=2))) == 0.25
    assert inquiry(turn(appraisal=Appraisal(advised, 0.5, 9))) == -1.0


@pytest.mark.parametrize(("words", "expected"), [(0, -1.0), (4, -0.5), (8, 0.0), (60, 0.0), (90, -0.5), (500, -1.0)])
def test_length(words: int, expected: float) -> None:
    assert length(turn(appraisal=Appraisal(frozenset(), 0.5, words))) == pytest.approx(expected)


def test_deficit_shifts_add_up_to_the_whole_way() -> None:
    states = [State(NOBODY, (), e) for e in [(-0.5, 0, 0, 0), (-0.2, -0.6, 0, 0), (-0.1, -0.1, 0.2, 0.3)]]
    total = sum(TERMS["affect"](turn(before=a, after=b)) for a, b in pairwise(states))
    assert total == pytest.approx(-0.1 - -0.5)
