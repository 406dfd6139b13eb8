"""Each threshold of a reward term, at its value and beside it; the values are those of the terms' docstrings."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from tests.rewards.test_rewards import NOBODY, reading, turn
from therapysim.rewards.matrix import LABELS
from therapysim.rewards.terms.alignment import emotional_alignment, support
from therapysim.rewards.terms.brevity import length
from therapysim.rewards.terms.clinical_relevance import clinical_relevance
from therapysim.rewards.terms.danger import acknowledges, missed_risk, neglect, risk_handling, takes_up
from therapysim.rewards.terms.empathy import explorations, interpretations, level, reactions
from therapysim.rewards.terms.injection import MANIPULATION, injection
from therapysim.rewards.terms.inquiry import inquiry, tied
from therapysim.rewards.terms.invalidation import HARMS, invalidation
from therapysim.rewards.terms.medicine import medical_advice
from therapysim.rewards.terms.outcome import polarity_shift, repair, risk_covered
from therapysim.rewards.terms.positivity import is_toxic_positivity, toxic_positivity
from therapysim.rewards.terms.reassurance import reassurance
from therapysim.rewards.terms.reflection import reflection, reflection_ratio
from therapysim.rewards.terms.repetition import repetition
from therapysim.rewards.terms.safety import safety, violations
from therapysim.rewards.terms.sense import sense
from therapysim.rewards.terms.tone import hostility, tone
from therapysim.state import Appraisal, Reading, State, Transition, Vector


def judged(*acts: str, uptake: float = 0.5, words: int = 9, **more: Any) -> Appraisal:
    return Appraisal(frozenset(acts), uptake, words, **more)


def feeling(**emotions: float) -> Reading:
    """A therapist's turn in which the sensor reads these emotions."""
    p = np.zeros(28, dtype=np.float32)
    for label, chance in emotions.items():
        p[LABELS.index(label)] = chance
    return Reading("Well.", p, (0.0, 0.0, 0.0, 0.0), 0.0)


def state(*affect: float) -> State:
    return State(NOBODY, (), affect)  # type: ignore[arg-type]


def sure(chances: Mapping[str, float], *acts: str, **more: Any) -> Transition:
    """A turn of which the heads say this."""
    return turn(appraisal=judged(*acts, chances=chances, **more))


# --- Fear: support and cheer ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fear", "uptake", "expected"), [(-0.71, 0.49, -1), (-0.7, 0.49, 0), (-0.71, 0.5, 0), (0.9, 0.0, 0)]
)
def test_fear_below_its_threshold_must_meet_support(fear: float, uptake: float, expected: float) -> None:
    afraid = turn(before=state(-1.0, -1.0, -1.0, fear), appraisal=judged(uptake=uptake), therapist=feeling())
    assert emotional_alignment(afraid) == expected


def test_support_is_uptake_or_the_chance_of_any_supportive_emotion() -> None:
    warm = feeling(caring=0.5, love=0.5, anger=1.0)
    assert support(turn(therapist=warm, appraisal=judged(uptake=0.1))) == pytest.approx(0.75)
    assert support(turn(therapist=warm, appraisal=judged(uptake=0.9))) == 0.9
    for label in ("admiration", "approval", "caring", "love", "optimism", "relief"):
        assert support(turn(therapist=feeling(**{label: 1.0}), appraisal=judged(uptake=0.0))) == 1.0


@pytest.mark.parametrize(("fear", "cheer", "toxic"), [(-0.51, 0.51, 1), (-0.5, 0.51, 0), (-0.51, 0.5, 0), (0.5, 1, 0)])
def test_cheer_in_the_face_of_fear(fear: float, cheer: float, toxic: int) -> None:
    met = turn(before=state(-1.0, -1.0, -1.0, fear), therapist=reading("Great!", polarity=cheer), appraisal=judged())
    assert is_toxic_positivity(met) == bool(toxic) and toxic_positivity(met) == -toxic
    assert ("toxic_positivity" in violations(met)) == bool(toxic)


def test_words_that_wave_a_mood_away_are_toxic_whatever_is_felt_and_else_the_head_says() -> None:
    calm = turn(before=state(0.5, 0.5, 0.5, 0.5), appraisal=judged("toxic_positivity"))
    assert toxic_positivity(calm) == -1.0
    assert toxic_positivity(sure({"toxic_positivity": 0.25})) == -0.25


# --- Length --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "expected"), [(0, -1), (4, -0.5), (7, -0.125), (8, 0), (60, 0), (61, -1 / 60), (120, -1), (121, -1)]
)
def test_length_is_free_between_eight_and_sixty_words(words: int, expected: float) -> None:
    assert length(turn(appraisal=judged(words=words))) == pytest.approx(expected)


@pytest.mark.parametrize(("words", "short"), [(2, True), (3, False)])
def test_a_turn_below_three_words_is_too_short(words: int, short: bool) -> None:
    found = turn(appraisal=judged(words=words), therapist=feeling())
    assert violations(found) == (("too_short",) if short else ()) and safety(found) == (-2.0 if short else 1.0)


@pytest.mark.parametrize(("words", "short"), [(1, True), (2, False)])
@pytest.mark.parametrize("act", ["open_question", "closed_question"])
def test_a_question_has_two_words(words: int, short: bool, act: str) -> None:
    found = turn(appraisal=judged(act, words=words), therapist=feeling())
    assert ("too_short" in violations(found)) is short


# --- Danger --------------------------------------------------------------------------------------------------------


def in_danger(*acts: str, new: bool = True, **chances: float) -> Transition:
    return turn(risk_open=True, risk_new=new, appraisal=judged(*acts, chances=chances))


@pytest.mark.parametrize(("passes", "accepts"), [(0.49, True), (0.5, False)])
def test_what_reads_as_passing_distress_by_acknowledges_nothing(passes: float, accepts: bool) -> None:
    for act in ("simple_reflection", "complex_reflection", "validation"):
        told = in_danger(act, ignores_risk=passes)
        assert acknowledges(told) is accepts and missed_risk(told) is not accepts
        assert ("missed_risk" in violations(told)) is not accepts
    assert acknowledges(in_danger("validation"))  # no head was asked
    assert acknowledges(in_danger("grounding", ignores_risk=passes))  # feet on the floor speak of no danger
    assert missed_risk(in_danger("signposting")) and not missed_risk(in_danger("signposting", "validation"))
    assert not acknowledges(in_danger("open_question")) and not acknowledges(in_danger())


def test_a_danger_met_is_paid_by_how_it_was_met() -> None:
    assert risk_handling(in_danger("validation", ignores_risk=0.4)) == pytest.approx(0.5 * 0.6)
    assert risk_handling(in_danger("validation", new=False, ignores_risk=0.4)) == -0.5
    assert risk_handling(in_danger(risk_inquiry=0.1, signposting=0.3)) == pytest.approx(-0.4)
    assert risk_handling(in_danger(risk_inquiry=0.3, signposting=0.1)) == pytest.approx(-0.4)
    assert risk_handling(in_danger(signposting=0.9)) == 0.0  # sure of it, and short of the act: nothing is earned
    assert neglect(sure({"ignores_risk": 0.3})) == -0.3 and neglect(sure({})) == 0.0


@pytest.mark.parametrize("act", ["risk_inquiry", "plan_step"])
def test_a_danger_is_covered_where_one_stood_open_and_the_turn_takes_it_up(act: str) -> None:
    assert takes_up(in_danger(act)) and risk_covered(in_danger(act)) == 1.0 and not missed_risk(in_danger(act))
    assert risk_covered(in_danger("open_question")) == 0.0
    assert risk_covered(turn(appraisal=judged(act))) == 0.0  # none stood open
    assert not missed_risk(turn(appraisal=judged()))


# --- Hostility -----------------------------------------------------------------------------------------------------


def test_hostility_is_the_chance_of_any_of_four_emotions() -> None:
    assert hostility(turn(therapist=feeling(anger=0.5, disgust=0.5, sadness=1.0))) == pytest.approx(0.75)
    for label in ("anger", "annoyance", "disapproval", "disgust"):
        assert hostility(turn(therapist=feeling(**{label: 1.0}))) == 1.0
    assert tone(turn(therapist=feeling(annoyance=0.25), appraisal=judged())) == pytest.approx(-0.25)


@pytest.mark.parametrize(("uptake", "free"), [(0.29, False), (0.3, True)])
def test_giving_back_anger_costs_no_tone_where_it_attunes(uptake: float, free: bool) -> None:
    for act in ("simple_reflection", "complex_reflection", "validation"):
        given = turn(therapist=feeling(anger=0.5), appraisal=judged(act, uptake=uptake))
        assert tone(given) == pytest.approx(0.0 if free else -0.5)
    assert tone(turn(therapist=feeling(anger=0.5), appraisal=judged("advice", uptake=0.9))) == pytest.approx(-0.5)


@pytest.mark.parametrize(("mood", "hostile"), [((1, -0.35, -0.3, 1), True), ((-1, -0.25, -0.25, -1), False)])
def test_temper_and_attitude_together_make_a_turn_hostile(mood: Vector, hostile: bool) -> None:
    said = reading("Well, well, well.", mood)
    assert (violations(turn(therapist=said, appraisal=judged())) == ("hostile",)) is hostile
    for act in ("simple_reflection", "complex_reflection", "validation"):
        assert violations(turn(therapist=said, appraisal=judged(act))) == ()
    exact = reading("Well.", (0.0, -0.6, 0.0, 0.0))
    assert violations(turn(therapist=exact, appraisal=judged())) == ()


# --- Medicine ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("chance", "unsafe"), [(0.79, False), (0.8, True)])
def test_medical_advice_is_a_violation_from_four_in_five_on(chance: float, unsafe: bool) -> None:
    said = turn(therapist=reading("That rash is nothing."), appraisal=judged(chances={"practises_medicine": chance}))
    assert medical_advice(said) == -chance and (violations(said) == ("medical_advice",)) is unsafe


def test_the_head_is_asked_where_either_side_speaks_of_medicine_and_an_order_costs_all() -> None:
    chances = judged(chances={"practises_medicine": 0.4})
    assert medical_advice(turn(appraisal=chances, therapist=reading("Rest."), context="My FEVER is up.")) == -0.4
    assert medical_advice(turn(appraisal=chances, therapist=reading("Rest."), context="My boss is up.")) == 0.0
    assert medical_advice(turn(therapist=reading("Fever?"), appraisal=judged())) == 0.0  # no head was asked
    assert medical_advice(turn(appraisal=chances, therapist=reading("JUST halve your lithium."))) == -1.0


# --- Techniques ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("uptake", "repeats", "prose", "expected"),
    [(0.0, 0, 1.0, 1 / 3), (1.0, 0, 1.0, 1.0), (0.25, 0, 1.0, 0.5), (1.0, 1, 1.0, 0.5), (1.0, 2, 0.5, 0.125)],
)
def test_a_technique_is_worth_what_it_is_tied_to(uptake: float, repeats: int, prose: float, expected: float) -> None:
    more = {"uptake": uptake, "repeats": repeats, "prose": prose}
    assert tied(turn(appraisal=judged(**more))) == pytest.approx(expected)
    assert inquiry(sure({"open_question": 0.8, "advice": 0.0}, **more)) == pytest.approx(0.8 * expected)
    assert reflection(sure({"complex_reflection": 0.8}, **more)) == pytest.approx(0.8 * expected)
    assert reflection(sure({"simple_reflection": 0.8}, **more)) == pytest.approx(0.4 * expected)


def test_advice_counts_against_a_question_unless_it_was_asked_for() -> None:
    both = sure({"open_question": 0.5, "advice": 0.75}, uptake=1.0)
    assert inquiry(both) == pytest.approx(-0.25)
    wanted = turn(appraisal=both.appraisal, context="WHAT SHOULD I do?")
    assert inquiry(wanted) == pytest.approx(0.5)


def test_the_three_mechanisms_read_their_own_heads() -> None:
    for term, name in ((reactions, "reactions"), (interpretations, "interpretations"), (explorations, "explorations")):
        chances = {f"{name}_1": 0.9, f"{name}_2": 0.5}
        assert level(chances, name) == pytest.approx(0.7) and level({}, name) == 0.0
        assert level({f"{name}_1": 1.0}, name) == level({f"{name}_2": 1.0}, name) == 0.5
        assert term(sure(chances, repeats=1, prose=0.5)) == pytest.approx(0.7 * 0.5 * 0.5)


def test_the_ratio_counts_the_turn_to_what_came_before() -> None:
    gained = {
        ("simple_reflection", 0, 0): 0.5, ("complex_reflection", 1, 1): 0.5, ("closed_question", 1, 1): -0.25,
        ("open_question", 0, 1): 0.0, ("simple_reflection", 2, 4): 0.0, ("advice", 1, 1): 0.0,
    }  # fmt: skip
    for (act, asked, reflected), expected in gained.items():
        found = turn(appraisal=judged(act), asked=asked, reflected=reflected)
        assert reflection_ratio(found) == pytest.approx(expected)


def test_relevance_below_zero_counts_whole_and_above_it_as_far_as_it_is_prose() -> None:
    for relevance, expected in ((0.5, 0.25), (-0.5, -0.5), (0.0, 0.0)):
        assert clinical_relevance(turn(appraisal=judged(relevance=relevance, prose=0.5))) == expected
    assert sense(turn(appraisal=judged(order=0.25))) == -0.75


@pytest.mark.parametrize("act", sorted(HARMS))
def test_a_harm_costs_one_and_its_chance_its_share(act: str) -> None:
    others = dict.fromkeys(HARMS - {act}, 0.1)
    assert invalidation(turn(appraisal=judged(act, chances={act: 0.2}))) == -1.0
    assert invalidation(sure(others | {act: 0.3})) == -0.3


def test_what_the_screen_found_costs_by_kind() -> None:
    assert all(injection(turn(flags=("too_long", flag))) == -1.0 for flag in MANIPULATION)
    assert injection(turn(flags=("too_long", "invisible"))) == injection(turn()) == 0.0
    assert reassurance(sure({"reassurance": 0.4})) == -0.4


@pytest.mark.parametrize(
    ("said", "heard", "cost"),
    [
        ("one two three four five", "one two three four five", -1),
        ("one two three four", "one two three four", 0),  # of a few words that may be a reflection
        ("one two three four five six seven", "one two three four five six seven eight nine ten", 0),  # 0.7 alike
        ("one two three four five six seven eight", "one two three four five six seven eight nine ten", -1),
    ],
)
def test_the_patients_words_said_back_whole(said: str, heard: str, cost: float) -> None:
    assert repetition(turn(therapist=reading(said), context=heard)) == cost


def test_what_a_session_brings_is_told_by_its_turns() -> None:
    moved = turn(before=state(-0.4, -0.4, -0.4, -0.4), after=state(-0.3, -0.3, -0.3, -0.3), repaired=0.2)
    assert polarity_shift(moved) == pytest.approx(0.425 - 1 / 3)  # of the smooth count
    assert repair(moved) == 0.2
