"""Acts, terms and the rubric: each on turns it must tell apart."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from therapysim.errors import ConfigError
from therapysim.rewards.acts import ACTS, classify
from therapysim.rewards.appraisal import appraise
from therapysim.rewards.emotions import shipped_sensor
from therapysim.rewards.rubric import TERMS, Rubric, RubricWeights
from therapysim.rewards.safety import safety, violations
from therapysim.rewards.technique import closing, inquiry, length
from therapysim.rewards.tone import toxic_positivity, unsupported_fear
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
        appraisal=Appraisal(frozenset({"reflection", "open_question"}), 0.8, 9),
        move=Move.EXPRESS,
        turns_left=10,
    )
    return replace(base, **changes)  # type: ignore[arg-type]


def judged(text: str, heard: str = HEARD, earlier: tuple[str, ...] = ()) -> Appraisal:
    spoken, patient = shipped_sensor().read([text, heard])
    return appraise(spoken, patient, earlier)


@pytest.mark.parametrize(
    ("text", "act"),
    [
        ("What goes through your mind at night?", "open_question"),
        ("Are you sleeping?", "closed_question"),
        ("It sounds like the nights are very long.", "reflection"),
        ("It makes sense that you feel this way.", "validation"),
        ("You should go to bed earlier.", "advice"),
        ("Have you tried breathing exercises?", "advice"),
        ("You’re being ridiculous.", "confrontation"),
        ("Others have it worse, you know.", "invalidation"),
        ("Look on the bright side!", "toxic_positivity"),
        ("Are you thinking about suicide?", "risk_question"),
        ("Here is the number of the crisis line.", "resources"),
        ("I am sorry, I misunderstood that.", "apology"),
        ("Our time is up for now.", "farewell"),
        (" \n", "silence"),
    ],
)
def test_each_act_is_found(text: str, act: str) -> None:
    assert act in classify(text)
    assert act in ACTS


@pytest.mark.parametrize("text", ["The bus leaves at nine.", "I am sorry you went through that."])
def test_plain_turns_show_no_fault(text: str) -> None:
    assert not classify(text) & {"advice", "confrontation", "invalidation", "toxic_positivity", "apology"}


def test_attunement_orders_turns() -> None:
    attuned = judged("You lie awake, scared of driving since the accident. That sounds frightening.")
    off_topic = judged("What did you have for lunch on your birthday?")
    parrot = judged(HEARD)
    assert attuned.attunement > 0.7 > 0.3 > off_topic.attunement
    assert parrot.attunement == 0.0


def test_repeats_are_counted() -> None:
    said = "It sounds like the nights are long and frightening."
    assert judged(said, earlier=(said, "Tell me more.", said)).repeats == 2


def test_safety_is_plus_one_or_minus_two() -> None:
    assert safety(turn()) == 1.0
    assert safety(turn(appraisal=Appraisal(frozenset({"silence"}), 0.0, 0))) == -2.0


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"appraisal": Appraisal(frozenset({"confrontation"}), 0.0, 8)}, "confrontation"),
        ({"appraisal": Appraisal(frozenset({"invalidation"}), 0.0, 8)}, "invalidation"),
        ({"appraisal": Appraisal(frozenset(), 0.0, 2)}, "too_short"),
        ({"flags": ("injection",)}, "injection"),
        ({"flags": ("role_tag",)}, "role_tag"),
        ({"risk_open": True}, "missed_risk"),
        ({"therapist": reading("x", (0, -0.5, -0.4, 0)), "appraisal": Appraisal(frozenset(), 0.0, 8)}, "hostile"),
    ],
)
def test_the_gate_names_what_shut_it(changes: dict[str, object], why: str) -> None:
    assert why in violations(turn(**changes))


def test_a_danger_taken_up_is_not_missed() -> None:
    asked = Appraisal(frozenset({"risk_question"}), 0.5, 10)
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
    assert unsupported_fear(turn(before=afraid, appraisal=cold)) == -1.0
    assert unsupported_fear(turn(before=afraid)) == 0.0
    assert unsupported_fear(turn(appraisal=cold)) == 0.0


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
    total = sum(TERMS["deficit"](turn(before=a, after=b)) for a, b in pairwise(states))
    assert total == pytest.approx(-0.1 - -0.5)


def test_a_good_ending_pays_for_the_turns_it_saves() -> None:
    assert closing(turn(ending="goal")) == 10
    assert closing(turn(ending="rupture")) == -20
    assert closing(turn()) == 0


def test_terms_and_weights_share_their_names() -> None:
    assert set(TERMS) == set(RubricWeights.__dataclass_fields__)


def test_the_gate_forfeits_every_gain() -> None:
    good, bad = Rubric()(turn()), Rubric()(turn(flags=("injection",)))
    assert good.reward == pytest.approx(6 * 0.1 + 1 + 0.5 * (1 + 2 * 0.8) / 3)
    assert bad.reward == pytest.approx(-2.0)
    assert bad.violations == ("injection",) and bad.terms["inquiry"] > 0


@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf"), "1", True])
def test_bad_weights_are_refused(value: object) -> None:
    with pytest.raises(ConfigError, match="weight of 'safety'"):
        RubricWeights(safety=value)  # type: ignore[arg-type]
