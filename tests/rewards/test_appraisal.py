"""What is judged of a turn without a model: attunement by hand, what gives nothing back, and which acts are decided."""

from typing import Any

import numpy as np
import pytest

from tests.rewards.test_rewards import appraiser, judged, reading
from therapysim.rewards.matrix import LABELS
from therapysim.rewards.reading.acts import ACTS, chance, decide
from therapysim.rewards.reading.appraisal import _attunement, _gainsays, _meets, _nothing_back, _parrots, _same
from therapysim.rewards.reading.emotions import shipped_sensor
from therapysim.state import Appraisal, Reading, Vector

NONE = (0.0, 0.0, 0.0, 0.0)
HEARD = "Grief shame anger regret loneliness"


def said(text: str, affect: Vector = NONE, polarity: float = 0.0, caring: float = 0.0) -> Reading:
    p = np.zeros(28, dtype=np.float32)
    p[LABELS.index("caring")] = caring
    return Reading(text, p, affect, polarity)


# --- Attunement ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("You, grief.", 0.25),  # one of two words is enough for half the uptake
        ("You, grief and shame.", 0.5),
        ("You, grief and shame and anger.", 0.5),
        ("Grief and shame.", 0.125),  # spoken neither to the patient nor of what it said
        ("It sounds of grief and shame.", 0.5),
        ("You grief " + " ".join(f"word{c}" for c in "abcdefghi"), 0.5 * 0.5 * 0.5),  # lost among the turn's own
        ("You see.", 0.0),
    ],
)
def test_half_of_attunement_is_taking_up_two_words(text: str, expected: float) -> None:
    assert _attunement(said(text), said(HEARD)) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("mine", "theirs", "caring", "expected"),
    [
        ((-0.3, 0.0, 0.0, 0.0), (-0.9, 0.0, 0.0, 0.0), 0.0, 1.0),
        ((-0.15, 0.0, 0.0, 0.0), (-0.9, 0.0, 0.0, 0.0), 0.0, 0.5),  # half as strong as it takes
        ((0.0, -0.9, 0.0, 0.0), (-0.9, 0.0, 0.0, 0.0), 0.0, 0.0),
        ((0.9, 0.0, 0.0, 0.0), (-0.9, 0.0, 0.0, 0.0), 0.0, 0.0),
        ((-0.3, -0.4, 0.0, 0.0), (-0.5, 0.0, 0.0, 0.0), 0.0, 0.6),
        ((0.9, 0.0, 0.0, 0.0), (-0.9, 0.0, 0.0, 0.0), 0.2, 0.4),  # or it cares
        ((0.0, 0.0, 0.0, 0.0), (-0.9, 0.0, 0.0, 0.0), 0.7, 1.0),
        ((-0.5, 0.0, 0.0, 0.0), (-0.021, 0.0, 0.0, 0.0), 0.0, 1.0),
        ((-0.5, 0.0, 0.0, 0.0), (-0.019, 0.0, 0.0, 0.0), 0.0, 0.0),  # a mood too faint to be met
    ],
)
def test_the_other_half_is_meeting_the_mood(mine: Vector, theirs: Vector, caring: float, expected: float) -> None:
    turn, heard = said("You.", mine, caring=caring), said(HEARD, theirs)
    assert _meets(turn, heard) == pytest.approx(expected)
    assert _attunement(turn, heard) == pytest.approx(0.5 * expected)


def test_the_patients_words_and_no_more_attune_to_nothing() -> None:
    for more, echoes in (("", True), (" extra", True), (" extra words", False)):
        heard = "grief shame anger regret loneliness"  # 5 of 6 alike lie above 0.8, 5 of 7 do not
        assert _parrots(said(heard + more), said(heard)) is echoes
        assert (_attunement(said("You " + heard + more), said(heard)) == 0.0) is echoes
    assert not _parrots(said("grief shame anger regret"), said("grief shame anger regret loneliness"))  # 0.8 exactly


# --- What gives nothing back ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "heard", "mine", "theirs", "refused"),
    [
        ("You said you feel wonderful.", "I am low.", 0.0, 0.0, True),
        ("YOU FEEL WONDERFUL.", "I feel WONDERFUL.", 0.0, 0.0, False),
        ("So it is.", "I am low.", 0.31, -0.01, True),
        ("So it is.", "I am low.", 0.3, -0.01, False),
        ("So it is.", "I am fine.", 0.31, 0.0, False),
    ],
)
def test_a_bright_state_laid_in_the_patients_mouth(
    text: str, heard: str, mine: float, theirs: float, refused: bool
) -> None:
    assert _gainsays(said(text, polarity=mine), said(heard, polarity=theirs)) is refused


@pytest.mark.parametrize(
    ("attunement", "sure", "nothing"), [(0.04, 0.49, True), (0.05, 0.49, False), (0.04, 0.5, False)]
)
def test_an_unsure_reflection_tied_to_nothing_is_none(attunement: float, sure: float, nothing: bool) -> None:
    acts, chances = frozenset({"simple_reflection", "advice"}), {"simple_reflection": sure, "advice": 0.1}
    assert _nothing_back(said("Well."), said("Grief."), acts, chances, attunement) is nothing


def test_turns_are_the_same_above_seven_tenths_and_two_without_words_are() -> None:
    ten = [f"w{c}" for c in "abcdefghij"]
    assert not _same(frozenset(ten), frozenset(ten[:7])) and _same(frozenset(ten), frozenset(ten[:8]))
    assert _same(frozenset(), frozenset()) and not _same(frozenset(ten), frozenset())


# --- Acts ----------------------------------------------------------------------------------------------------------


def decided(*spotted: str, **chances: float) -> set[str]:
    return set(decide(frozenset(spotted), chances, dict.fromkeys(ACTS, 0.5)))


def test_an_act_is_there_from_its_threshold_on_and_a_harm_where_it_was_spotted() -> None:
    assert decided(advice=0.5, validation=0.49) == {"advice"}
    assert decided("invalidation", "open_question") == {"invalidation"}  # of patterns only the harms count
    assert decided("silence", advice=0.9) == {"silence"} and decided() == set()
    assert decide(frozenset(), {"advice": 0.99}, {}) == frozenset()  # no threshold, no act


def test_a_turn_that_incites_does_nothing_else_and_a_complex_reflection_includes_the_simple_one() -> None:
    assert decided("incitement", "confrontation", advice=0.9) == {"incitement", "confrontation"}
    assert decided(incitement=0.9, validation=0.9) == {"incitement"}
    assert decided(complex_reflection=0.9, simple_reflection=0.9) == {"complex_reflection"}
    assert decided(simple_reflection=0.9) == {"simple_reflection"}


def test_a_chance_is_the_heads_and_else_whether_the_act_is_there() -> None:
    turn = Appraisal(frozenset({"advice", "apology"}), 0.0, 9, chances={"advice": 0.6, "validation": 0.2})
    assert [chance(turn, act) for act in ("advice", "validation", "apology", "farewell")] == [0.6, 0.2, 1.0, 0.0]


# --- The whole -----------------------------------------------------------------------------------------------------


def test_a_turn_is_counted_as_it_stands() -> None:
    found = judged("What is it? I see. Why? 42", "I am low.")
    assert (found.questions, found.words, found.repeats, found.prose) == (2, 6, 0, pytest.approx(found.order))
    assert judged("Tell me.", earlier=("Tell me.", "tell ME", "Go on.")).repeats == 2


def test_a_question_that_names_no_danger_asks_about_none() -> None:
    refused = judged("Would you like to add anything to that?", "I keep thinking about killing myself.")
    assert "risk_inquiry" not in refused.acts and refused.chances["risk_inquiry"] == 0.0
    assert "risk_inquiry" in judged("Are you thinking of ending your life?", "I keep thinking about it.").acts


def test_a_refused_reflection_leaves_neither_act_nor_chance() -> None:
    found = judged("You told me that you feel wonderful now.", "She died and I cannot stop crying.")
    assert not found.acts & {"simple_reflection", "complex_reflection"}
    assert found.chances["simple_reflection"] == found.chances["complex_reflection"] == 0.0


def test_danger_is_heard_by_plain_words_or_by_the_head_for_hints() -> None:
    texts = ["I want to die.", "The kitchen will be blue.", ""]
    assert appraiser().danger(shipped_sensor().read(texts)) == [True, False, False]
    assert appraiser().danger([]) == []


def test_each_turn_is_judged_by_its_own_row() -> None:
    rows: list[Any] = [("Why? Why?", HEARD, ()), ("You, grief and shame.", HEARD, ("You, grief and shame.",))]
    read = shipped_sensor().read
    turns, heard = read([row[0] for row in rows]), read([row[1] for row in rows])
    together = appraiser()(turns, heard, [row[2] for row in rows])
    assert together == [judged(text, before, earlier) for text, before, earlier in rows]
    assert [found.repeats for found in together] == [0, 1] and reading().text == ""
