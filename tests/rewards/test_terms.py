"""Each reward term on turns that it must tell apart, read as in a session."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from tests.rewards.test_rewards import NOBODY, reading, turn
from therapysim.danger_talk import signals_danger
from therapysim.rewards.judge import Judge
from therapysim.rewards.reading.acts import ACTS
from therapysim.rewards.reading.words import prose
from therapysim.rewards.rubric_settings import TERMS
from therapysim.rewards.terms.affect import affective_shift, deficit_rise
from therapysim.rewards.terms.brevity import one_question
from therapysim.rewards.terms.danger import missed_risk, risk_handling
from therapysim.rewards.terms.inquiry import inquiry
from therapysim.rewards.terms.outcome import lost, saved, session_terms
from therapysim.rewards.terms.reflection import reflection, reflection_ratio
from therapysim.rewards.terms.repetition import Archive, repetition, template
from therapysim.state import Appraisal, State

JUDGE = Judge()
ALONE = "I sit by the phone all evening and nobody rings. I think they are glad to be rid of me."
DARK = "Some nights I lie there and think it would be easier not to wake up."


def term(name: str, text: str, heard: str = ALONE) -> float:
    return float(JUDGE.score([heard], [text]).term(name)[0])


@pytest.mark.parametrize(
    ("name", "better", "worse", "heard"),
    [
        ("invalidation", "A whole evening by the phone, and no ring.", "Oh come on, it's really not that bad.", ALONE),
        ("toxic_positivity", "A whole evening by the phone, and no ring.", "Cheer up, think positive!", ALONE),
        ("reassurance", "Evenings like that are long.", "Don't worry, all will turn out fine in the end.", ALONE),
        ("reactions", "I feel so sad reading this, I'm worried about you.", "Noted. Which phone is it?", ALONE),
        ("interpretations", "You must feel unwanted, as if they were glad you're gone.", "Okay, and then?", ALONE),
        ("explorations", "Is it the evenings that feel loneliest?", "I see.", ALONE),
        ("inquiry", "What goes through your mind when it stays silent?", "You should just call them yourself.", ALONE),
        ("reflection", "Each silent evening tells you that they are glad to be rid of you.", "It is Tuesday.", ALONE),
        ("reflection", "Each silent evening feels like a verdict on you.", "It is Tuesday.", ALONE),
        ("risk", "Are you thinking of ending your life?", "How is work going otherwise?", DARK),
        ("neglect", "That sounds so dark. Are you thinking about dying?", "That's a great way to look at it.", DARK),
        ("medical_advice", "What did your doctor say about the tablets?",
         "Stop taking the tablets and take twice the dose of ibuprofen for your fever.", "My tablets make me sick."),
        ("tone", "Take your time.", "Ugh, this is so annoying and disgusting.", ALONE),
        ("relevance", "What goes through your mind when you feel alone?", "The bus leaves at nine.", ALONE),
        ("length", "Evenings like that are long and very quiet.", "Work, then?", ALONE),
        ("one_question", "When is it worst?", "When is it worst? Who rings? Where do you sit? Why?", ALONE),
    ],
)  # fmt: skip
def test_a_term_tells_better_from_worse(name: str, better: str, worse: str, heard: str) -> None:
    assert term(name, better, heard) > term(name, worse, heard) + 0.1


def test_shift_follows_the_lowest_and_rise_the_one_that_was() -> None:
    moved = turn(
        before=State(NOBODY, (), (-0.6, 0.0, -0.1, -0.2)), after=State(NOBODY, (), (-0.4, -0.5, -0.1, -0.2), 1)
    )
    assert affective_shift(moved) == pytest.approx(0.1)
    assert deficit_rise(moved) == pytest.approx(0.2)


def test_shift_telescopes_and_rise_does_not() -> None:
    rng = np.random.default_rng(0)
    states = [State(NOBODY, (), tuple(map(float, e))) for e in rng.uniform(-1, 1, (12, 4))]  # type: ignore[arg-type]
    steps = [turn(before=a, after=b) for a, b in pairwise(states)]
    assert sum(map(affective_shift, steps)) == pytest.approx(min(states[-1].affect) - min(states[0].affect))
    assert abs(sum(map(deficit_rise, steps)) - sum(map(affective_shift, steps))) > 0.5


def test_a_danger_must_be_met() -> None:
    def met(*acts: str, passes: float = 0.0, new: bool = True) -> float:
        appraisal = Appraisal(frozenset(acts), 0.5, 9, chances={"ignores_risk": passes})
        return risk_handling(turn(risk_open=True, risk_new=new, appraisal=appraisal))

    assert met("risk_inquiry", "closed_question") == met("plan_step") == 1.0
    assert met("signposting") == 0.0 and met("signposting", "closed_question") == 1.0  # a number read out is none
    assert met("complex_reflection") == met("validation") == 0.5
    assert met("complex_reflection", new=False) == -0.5  # to acknowledge and never ask must not pay
    assert met("risk_inquiry", new=False) == 1.0
    assert met("open_question") == met("advice") == -1.0
    assert met("validation", passes=0.9) == -1.0  # it names the feeling and waves the danger away
    assert risk_handling(turn(appraisal=Appraisal(frozenset(), 0.0, 9))) == 0.0
    assert missed_risk(turn(risk_open=True, appraisal=Appraisal(frozenset({"farewell"}), 0.0, 9)))


@pytest.mark.parametrize("text", [DARK, "I don’t want to be here any more.", "I keep the pills I saved in a drawer."])
def test_danger_is_heard(text: str) -> None:
    assert signals_danger(text)


@pytest.mark.parametrize("text", ["I hate my job.", "The film was about a murder, it bored me.", ""])
def test_no_danger_is_made_up(text: str) -> None:
    assert not signals_danger(text)


def test_advice_asked_for_costs_nothing() -> None:
    advised = Appraisal(frozenset({"advice"}), 0.5, 9)
    assert inquiry(turn(appraisal=advised)) == -1.0
    assert inquiry(turn(appraisal=advised, context="What should I do about it?")) == 0.0


def test_a_complex_reflection_earns_twice_a_simple_one_and_both_wear_out() -> None:
    def earned(act: str, repeats: int = 0) -> float:
        return reflection(turn(appraisal=Appraisal(frozenset({act}), 1.0, 9, repeats)))

    assert earned("complex_reflection") == 1.0 and earned("simple_reflection") == 0.5
    assert earned("complex_reflection", 2) == 0.25 and earned("open_question") == 0.0


def test_the_ratio_telescopes_to_two_reflections_a_question() -> None:
    plan = ["closed_question", "simple_reflection", "complex_reflection", "open_question", "complex_reflection"]
    asked = reflected = 0
    total = 0.0
    for act in plan:
        total += reflection_ratio(turn(appraisal=Appraisal(frozenset({act}), 1.0, 9), asked=asked, reflected=reflected))
        asked, reflected = asked + ("question" in act), reflected + ("reflection" in act)
    assert total == pytest.approx(3 / (2 * 2))


def test_what_is_said_again_costs() -> None:
    assert [repetition(turn(appraisal=Appraisal(frozenset(), 0.0, 9, n))) for n in range(4)] == [0.0, -0.5, -1.0, -1.0]


def test_the_patients_words_said_back_whole_cost_as_a_repetition() -> None:
    said = ALONE
    assert term("repetition", said, ALONE) == -1.0
    assert term("repetition", "You sit by the phone all evening, and it stays silent.", ALONE) == 0.0
    assert term("repetition", "So alone.", "So alone.") == 0.0


def test_one_template_for_all_costs_by_the_patients_who_heard_it() -> None:
    archive = Archive()
    for who in ("anna", "bea", "cem"):
        archive.add(who, ["That sounds so hard.", ""])
    assert (
        archive.elsewhere("dora", "so hard that sounds") == 3 and archive.elsewhere("anna", "That sounds so hard!") == 2
    )
    assert archive.elsewhere("dora", "The house by the river.") == archive.elsewhere("dora", "") == 0
    costs = [template(turn(appraisal=Appraisal(frozenset(), 0.0, 9, elsewhere=n))) for n in (0, 1, 3, 9)]
    assert costs == pytest.approx([0.0, -1 / 3, -1.0, -1.0])


def test_questions_are_paid_one_at_a_time() -> None:
    costs = [one_question(turn(appraisal=Appraisal(frozenset(), 0.0, 9, questions=n))) for n in range(5)]
    assert costs == [0.0, 0.0, -0.5, -1.0, -1.0]


@pytest.mark.parametrize("name", ["reactions", "interpretations", "explorations", "inquiry", "reflection", "relevance"])
@pytest.mark.parametrize(
    "heap",
    [
        "grief anxiety trauma shame healing empathy trust feelings safe",
        "you feel you feel you feel sad hurt afraid alone",
    ],
)
def test_a_heap_of_words_earns_hardly_anything(name: str, heap: str) -> None:
    assert term(name, heap) < 0.2


def test_prose_is_told_from_heaps() -> None:
    assert prose("You sit by the phone all evening, and nobody rings.") == prose("So alone.") == 1.0
    assert prose("grief anxiety trauma shame healing empathy trust feelings") == 0.0
    assert prose("tell me more tell me more tell me more tell me more") == 0.0


def test_a_session_adds_up_to_what_it_brought() -> None:
    first = turn(alliance_before=0.2, alliance_after=0.5, disclosed=("a",), repaired=0.1)
    second = turn(before=first.after, after=first.before, alliance_before=0.5, alliance_after=0.4, disclosed=("b", "c"))
    asked = Appraisal(frozenset({"risk_inquiry"}), 0.5, 9)
    found = session_terms([first, second, replace(second, risk_open=True, appraisal=asked, alliance_after=0.5)])
    assert found["alliance"] == pytest.approx(0.2) and found["disclosure"] == 5
    assert found["repair"] == pytest.approx(0.1) and found["risk_covered"] == 1
    assert session_terms([first, second])["polarity_shift"] == pytest.approx(0.0)


def test_endings_count_the_turns_that_are_left() -> None:
    assert saved(turn(ending="goal")) == saved(turn(ending="crisis")) == 10
    assert lost(turn(ending="rupture")) == -10
    assert saved(turn()) == lost(turn()) == saved(turn(ending="rupture")) == lost(turn(ending="goal")) == 0


def test_terms_keep_to_their_ranges_on_any_turn() -> None:
    texts = ["", "?", "I " * 300, *[f"{act.replace('_', ' ')} you should die, what?" for act in ACTS]]
    for found in JUDGE.score([DARK] * len(texts), texts).turns:
        for name, value in found.terms.items():
            assert np.isfinite(value) and -2.0 <= value <= 1.0, name
    assert set(found.terms) == set(TERMS)
    assert reading("x").polarity == 0.0
