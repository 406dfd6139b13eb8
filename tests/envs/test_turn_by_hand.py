"""The dynamics' equations at values worked out by hand, and each of its thresholds at the value and beside it."""

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from therapysim.envs.answers.answered import Answer, answered
from therapysim.envs.beliefs import resting_mood
from therapysim.envs.danger import handled, stage
from therapysim.envs.dynamics import DynamicsSettings, Outcome, predict
from therapysim.envs.latent import Latent, begin
from therapysim.errors import ConfigError
from therapysim.personas.items import items_of
from therapysim.personas.load import personas
from therapysim.personas.schema import Fact, Persona, Temperament
from therapysim.state import Appraisal, Move

LOW = (-0.4, -0.4, -0.4, -0.4)
NONE = (0.0, 0.0, 0.0, 0.0)
STILL = DynamicsSettings(noise=0.0)
#: Nothing moves but what harm and repair do.
FROZEN = DynamicsSettings(noise=0.0, drift=0.0, gain=0.0, bond=0.0)
#: Convictions of two thoughts, given up as far as a goal asks.
SETTLED: dict[str, Any] = {"beliefs": (0.6, 0.8), "kept": (0.6, 0.8)}
ASKS = frozenset({"open_question"})
DARK = Fact("dark", 3, ("a", "b"), ("dark",), risk=True)


def someone(**changes: Any) -> Persona:
    """Middling in temperament, without resistance or anything to tell, and low at the set point."""
    plain = {"mood": LOW, "resistance": 0.0, "risk": 0, "facts": (), "temperament": Temperament(0.5, 0.5)}
    return replace(personas("dev")[0], **plain | changes)


def turn(
    *acts: str,
    latent: Latent | None = None,
    persona: Persona | None = None,
    settings: DynamicsSettings = STILL,
    neutralised: bool = False,
    **appraised: Any,
) -> Outcome:
    """One turn of these acts; it attunes to nothing unless it is said to."""
    judged = Appraisal(frozenset(acts), appraised.pop("uptake", 0.0), 12, **appraised)
    before, who = latent or Latent(LOW, 0.5), persona or someone()
    return predict(who, before, judged, "", np.random.default_rng(0), settings, neutralised=neutralised)


def helped(*acts: str, **given: Any) -> float:
    """r, found from the alliance that the turn gained: α r (1 - a) with α = 0.14 and a = 0.5."""
    return (turn(*acts, **given).latent.alliance - 0.5) / (0.14 * 0.5)


# --- Help ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("acts", "uptake", "expected"),
    [
        (["open_question"], 0.0, 0.125),  # without a tie to what was said a technique is worth half
        (["complex_reflection"], 0.0, 0.175),
        (["risk_inquiry"], 0.0, 0.075),
        (["simple_reflection"], 1.0, 0.75),  # all of the technique, and 0.5 for the uptake
        (["open_question"], 0.4, 0.25 * 0.7 + 0.2),
        (["complex_reflection", "open_question", "validation"], 0.8, 1.0),  # never above 1
        (["closed_question"], 1.0, 0.5),
        (["silence", "open_question"], 1.0, -0.04 / 0.07),  # no help at all, and what a silence costs
        ([], 0.0, 0.0),
    ],
)
def test_acts_and_uptake_add_up(acts: list[str], uptake: float, expected: float) -> None:
    assert helped(*acts, uptake=uptake) == pytest.approx(expected)


@pytest.mark.parametrize(("repeats", "share"), [(0, 1.0), (1, 0.5), (2, 0.0), (3, 0.0)])
def test_the_same_turn_helps_fully_then_half_then_not(repeats: int, share: float) -> None:
    assert helped(*ASKS, repeats=repeats) == pytest.approx(0.125 * share)


@pytest.mark.parametrize(("wound", "share"), [(0.0, 1.0), (0.25, 0.5), (1.0, 0.0)])
def test_who_was_hurt_takes_less(wound: float, share: float) -> None:
    assert helped(*ASKS, latent=Latent(LOW, 0.5, wound=wound)) == pytest.approx(0.125 * share)


@pytest.mark.parametrize(
    ("act", "uptake", "idle", "expected"),
    [
        ("affirmation", 0.2, 0, 0.3),
        ("affirmation", 0.0, 0, 0.075),  # said to anyone
        ("normalising", 0.3, 0, 0.3),
        ("affirmation", 0.2, 1, 0.3 * 0.7),
        ("affirmation", 0.2, 3, 0.3 * 0.7**3),
        ("information", 0.2, 0, 0.1),  # no kindness, and what uptake there is
    ],
)
def test_kindness_is_an_act_tied_to_what_was_said_and_fades(
    act: str, uptake: float, idle: int, expected: float
) -> None:
    assert helped(act, uptake=uptake, latent=Latent(LOW, 0.5, idle=idle)) == pytest.approx(expected)


def test_kindness_never_counts_with_a_harm() -> None:
    assert turn("affirmation", "advice", uptake=0.0).latent.alliance < 0.5
    assert helped("affirmation", "dependence", uptake=1.0) == pytest.approx(0.0)


@pytest.mark.parametrize(
    ("acts", "small", "heavy", "expected"),
    [
        (["encourager"], 0, False, 0.1),
        (["encourager"], 1, False, 0.1),
        (["encourager"], 2, False, 0.0),  # the third in a row is absence
        (["silence"], 0, True, 0.1),  # after something heavy
        (["silence"], 0, False, -0.04 / 0.07),
    ],
)
def test_a_few_small_turns_help_a_little(acts: list[str], small: int, heavy: bool, expected: float) -> None:
    found = helped(*acts, latent=Latent(LOW, 0.5, small=small, heavy=heavy))
    assert found == pytest.approx(expected)


@pytest.mark.parametrize(("worn", "made", "share"), [(0, 0.49, 1.0), (0, 0.5, 1.0), (1, 0.5, 0.5), (2, 0.0, 0.5)])
def test_turns_of_one_make_wear_out(worn: int, made: float, share: float) -> None:
    after = turn(*ASKS, latent=Latent(LOW, 0.5, worn=worn), frame=made).latent
    assert (after.alliance - 0.5) / 0.07 == pytest.approx(0.125 * share)
    assert after.worn == (worn + 1 if made >= 0.5 else max(0, worn - 1))


def test_the_third_turn_of_one_make_is_said_to_be_and_costs() -> None:
    who = personas("dev")[0]
    found = predict(
        who, replace(begin(who), worn=2), Appraisal(ASKS, 0.0, 12, frame=0.9), "", np.random.default_rng(0), STILL
    )
    assert found.answer is not None and [item.id for item in found.answer.items] == ["replies.echo"]
    assert found.latent.alliance < who.trust and found.latent.wound == 0.0


@pytest.mark.parametrize("act", ["simple_reflection", "complex_reflection", "validation"])
def test_a_danger_may_be_given_back_once_and_no_more(act: str) -> None:
    first = turn(act, latent=Latent(LOW, 0.5, danger="open"), settings=FROZEN).latent
    assert (first.danger, first.alliance) == ("heard", 0.5)
    second = turn(act, latent=first, settings=FROZEN).latent
    assert second.danger == "missed" and second.alliance < 0.5


@pytest.mark.parametrize(("pressed", "share"), [(0, 1.0), (1, 0.5)])
def test_a_question_about_danger_that_was_answered_wears_out_and_then_costs(pressed: int, share: float) -> None:
    bare = turn("risk_inquiry", latent=Latent(LOW, 0.5, pressed=pressed)).latent.alliance
    cost = 0.04 if pressed else 0.0
    assert (bare + cost - 0.5) / 0.07 == pytest.approx(0.075 * share)
    answered = helped("risk_inquiry", latent=Latent(LOW, 0.5, danger="missed"))
    assert answered == pytest.approx(0.6)  # a danger taken up helps at least so much


def test_a_danger_taken_up_helps_three_fifths_at_least() -> None:
    for act, uptake, expected in (("plan_step", 0.0, 0.6), ("risk_inquiry", 1.0, 0.65), ("open_question", 0, 0)):
        found = turn(act, latent=Latent(LOW, 0.5, danger="open"), uptake=uptake).latent
        assert found.danger == ("" if expected else "missed")
        assert found.alliance == pytest.approx(0.5 + 0.07 * (expected or 0.125) - (0.0 if expected else 0.1))


# --- Mood and alliance ---------------------------------------------------------------------------------------------


def test_mood_goes_a_share_of_the_way_to_what_talk_lifts_it_to_and_back_to_its_rest() -> None:
    mood = turn(*ASKS, latent=Latent((-0.4, -0.3, 0.9, -0.4), 0.5)).latent.mood
    way = 0.125 * 0.14
    assert mood == pytest.approx((-0.4 + way * 0.25, -0.3 + way * 0.15 - 0.1 * 0.1, 0.9 - 0.1 * 1.3, -0.4 + way * 0.25))


def test_the_mood_rests_higher_the_less_is_believed_and_lower_the_more() -> None:
    for held, rests in (((0.5, 0.5), 0.0), ((1.0, 1.0), -0.4), ((1.4, 1.4), -0.6)):
        latent = Latent(LOW, 0.5, beliefs=held, kept=held)
        assert resting_mood(someone(), latent, 0.4) == pytest.approx([rests] * 4)
        assert resting_mood(someone(), replace(latent, debt=0.1), 0.4) == pytest.approx([rests - 0.1] * 4)
    free = turn(latent=Latent(LOW, 0.5, beliefs=(0.5,), kept=(0.5,))).latent.mood
    assert free == pytest.approx([-0.4 + 0.1 * 0.4] * 4)


@pytest.mark.parametrize(("inertia", "pace"), [(0.0, 1.5), (0.5, 1.0), (1.0, 0.5)])
def test_an_inert_mood_moves_slowly_either_way(inertia: float, pace: float) -> None:
    calm = someone(temperament=Temperament(inertia, 0.5))
    assert turn(persona=calm, latent=Latent(NONE, 0.5)).latent.mood == pytest.approx([-0.4 * 0.1 * pace] * 4)


@pytest.mark.parametrize(("resistance", "alliance", "openness"), [(0.5, 0.6, 0.8), (1.0, 0.25, 0.25), (0.0, 0.1, 1.0)])
def test_resistance_yields_to_alliance(resistance: float, alliance: float, openness: float) -> None:
    after = turn(*ASKS, persona=someone(resistance=resistance), latent=Latent(LOW, alliance)).latent
    assert after.mood == pytest.approx([-0.4 + openness * 0.125 * 0.14 * 0.25] * 4)
    assert after.alliance == pytest.approx(alliance + 0.14 * (1 - resistance / 2) * 0.125 * (1 - alliance))


def test_chance_moves_the_mood_by_the_noise_that_is_set() -> None:
    still, moved = (turn(settings=DynamicsSettings(noise=noise)).latent.mood for noise in (0.0, 0.05))
    drawn = np.random.default_rng(0).normal(0.0, 0.05, 4)
    assert np.array(moved) - np.array(still) == pytest.approx(drawn)


# --- Harm ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("act", "alliance", "reactivity", "lost"),
    [
        ("invalidation", 0.5, 0.5, 0.12),
        ("invalidation", 0.5, 1.0, 0.18),
        ("invalidation", 0.1, 0.5, 0.1),  # an attack can take all there is
        ("silence", 0.5, 0.5, 0.04),
        ("silence", 0.05, 0.5, 0.02),  # all else two fifths of it
        ("toxic_positivity", 0.1, 1.0, 0.04),
        ("advice", 0.5, 0.5, 0.05 * 0.25),  # weighed from someone trusted, resented by a stranger
        ("advice", 0.9, 0.5, 0.05 * 0.09),
    ],
)
def test_harm_costs_alliance(act: str, alliance: float, reactivity: float, lost: float) -> None:
    touchy = someone(temperament=Temperament(0.5, reactivity))
    after = turn(act, persona=touchy, latent=Latent(LOW, alliance)).latent
    assert after.alliance == pytest.approx(alliance - lost)
    assert after.wound == pytest.approx(0.0 if act == "advice" else lost)
    assert after.strain == (0 if act == "advice" else 1)


def test_harms_of_one_turn_add_up_and_strain_goes_on_until_a_turn_without() -> None:
    hurt = turn("confrontation", "silence", latent=Latent(LOW, 0.8, strain=1, wound=0.1)).latent
    assert (hurt.alliance, hurt.wound, hurt.strain) == (pytest.approx(0.6), pytest.approx(0.3), 2)
    assert turn(*ASKS, latent=hurt).latent.strain == 0
    assert turn("incitement", latent=Latent(LOW, 0.9, wound=0.9)).latent.wound == 1.0


def test_harm_lowers_the_mood_by_its_dimensions_and_the_patients_reactivity() -> None:
    for reactivity, h in ((0.0, 0.5), (0.5, 1.0), (1.0, 1.5)):
        mood = turn(
            "silence", "toxic_positivity", persona=someone(temperament=Temperament(0.5, reactivity))
        ).latent.mood
        assert mood == pytest.approx([-0.4 - h * x for x in (0.08, 0.05, 0.07, 0.05)])


def test_a_danger_passed_by_costs_once_and_stays_missed_until_it_is_taken_up() -> None:
    first = turn(*ASKS, latent=Latent(LOW, 0.5, danger="open"), settings=FROZEN).latent
    assert (first.danger, first.alliance, first.strain) == ("missed", pytest.approx(0.4), 1)
    second = turn(*ASKS, latent=first, settings=FROZEN).latent
    assert (second.danger, second.alliance, second.strain) == ("missed", first.alliance, 0)
    assert turn("signposting", latent=second, settings=FROZEN).latent.danger == "missed"  # a number read out
    assert turn("plan_step", latent=second, settings=FROZEN).latent.danger == ""


@pytest.mark.parametrize(("act", "uptake", "danger"), [
    ("grounding", 0.0, "heard"), ("encourager", 0.0, "heard"), ("validation", 0.0, "heard"),
    ("open_question", 0.6, "heard"), ("open_question", 0.59, "missed"), ("closed_question", 0.9, "missed"),
])  # fmt: skip
def test_a_danger_is_heard_once_by_whoever_steadies_accepts_or_asks_about_just_that(
    act: str, uptake: float, danger: str
) -> None:
    heard = turn(act, uptake=uptake, latent=Latent(LOW, 0.5, danger="open"), settings=FROZEN).latent
    assert heard.danger == danger
    assert turn(act, uptake=uptake, latent=heard, settings=FROZEN).latent.danger == "missed"
    assert (
        turn(act, "dismissing_danger", uptake=uptake, latent=Latent(LOW, 0.5, danger="open")).latent.danger == "missed"
    )


def test_a_neutralised_turn_helps_nothing_asks_nothing_and_strains() -> None:
    before = Latent(LOW, 0.5, danger="missed", pressed=1)
    after = turn("risk_inquiry", "open_question", uptake=1.0, latent=before, neutralised=True).latent
    assert (after.alliance, after.strain, after.idle, after.pressed) == (pytest.approx(0.44), 1, 1, 1)
    assert after.danger == "missed"


@pytest.mark.parametrize(("order", "heard"), [(0.29, False), (0.3, True), (1.0, True)])
def test_words_without_order_say_nothing(order: float, heard: bool) -> None:
    after = turn(*ASKS, order=order).latent
    assert (after.strain, after.idle) == ((0, 0) if heard else (1, 1)) and (after.alliance > 0.5) is heard


def test_turns_without_work_are_counted_and_help_that_nobody_needs() -> None:
    before = Latent(LOW, 0.5, idle=2)
    for act, idle, pressed in (
        ("validation", 3, 0),
        ("open_question", 0, 0),
        ("encourager", 2, 0),
        ("signposting", 0, 1),
    ):
        after = turn(act, latent=before).latent
        assert (after.idle, after.pressed) == (idle, pressed)


# --- Repair --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("acts", "repeats", "share"),
    [
        (["apology"], 0, 0.3),
        (["apology", "open_question"], 0, 0.55),
        (["apology", "validation"], 0, 0.55),
        (["apology", "simple_reflection"], 0, 0.55),
        (["apology", "advice"], 0, 0.3),
        (["apology"], 1, 0.15),
        (["apology", "open_question"], 2, 0.0),
        (["open_question"], 0, 0.0),  # nothing without owning up to it
        (["apology", "invalidation"], 0, 0.0),
    ],
)
def test_owning_up_makes_good_a_share_of_the_wound(acts: list[str], repeats: int, share: float) -> None:
    after = turn(*acts, repeats=repeats, latent=Latent(LOW, 0.5, wound=0.4), settings=FROZEN).latent
    lost = {"advice": (0.0125, 0.0), "invalidation": (0.12, 0.12)}.get(acts[-1], (0.0, 0.0))
    assert after.wound == pytest.approx(0.4 * (1 - share) + lost[1])
    assert after.alliance == pytest.approx(0.5 + 1.1 * 0.4 * share - lost[0])  # a tenth more than was lost


# --- Endings -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("strain", "limit", "ending"), [(1, 1e-9, "rupture"), (5, 1e-9, "rupture"), (1, 0.0, ""), (0, 1e-9, "")]
)
def test_the_patient_leaves_below_the_limit_at_the_second_strained_turn(strain: int, limit: float, ending: str) -> None:
    settings = replace(FROZEN, rupture_alliance=limit)
    found = turn("silence", latent=Latent(LOW, 0.0, strain=strain), settings=settings)
    assert found.ending == ending and found.latent.alliance == 0.0  # at the limit is not below it


@pytest.mark.parametrize(
    ("mood", "alliance", "danger", "ending"),
    [
        ((0.3, 0.3, 0.3, 0.3), 0.7, "", "goal"),
        ((0.9, 0.9, 0.2, 0.9), 0.7, "", ""),  # every dimension, and above, not at
        ((0.3, 0.3, 0.3, 0.3), 0.6, "", ""),
        ((0.3, 0.3, 0.3, 0.3), 0.7, "missed", ""),
    ],
)
def test_the_goal_is_met_above_both_limits_with_no_danger_left(
    mood: tuple[float, float, float, float], alliance: float, danger: Any, ending: str
) -> None:
    settings = replace(FROZEN, goal_mood=0.2, goal_gain=1.0, goal_alliance=0.6)
    found = turn(*ASKS, latent=Latent(mood, alliance, danger=danger, **SETTLED), settings=settings)
    assert found.ending == ending and (found.move is Move.CLOSE) is bool(ending) and found.facts == ()


@pytest.mark.parametrize(("mood", "alliance", "ending"), [(-0.14, 0.61, "goal"), (-0.16, 0.61, ""), (-0.14, 0.6, "")])
def test_unless_set_otherwise_the_goal_is_a_rise_of_a_quarter_and_an_alliance_above_six_tenths(
    mood: float, alliance: float, ending: str
) -> None:
    latent = Latent((0.5, mood, 0.5, 0.5), alliance, **SETTLED)
    assert turn(*ASKS, latent=latent, settings=FROZEN).ending == ending
    still_held = replace(latent, beliefs=(0.7, 0.72), kept=(0.7, 0.72))
    assert turn(*ASKS, latent=still_held, settings=FROZEN).ending == ""


@pytest.mark.parametrize(("alliance", "ending"), [(0.121, ""), (0.119, "rupture")])
def test_unless_set_otherwise_the_patient_leaves_below_an_alliance_of_eight_hundredths(
    alliance: float, ending: str
) -> None:
    found = turn("silence", latent=Latent(LOW, alliance, strain=1), settings=FROZEN)
    assert found.latent.alliance == pytest.approx(alliance - 0.04) and found.ending == ending


ASSESSED = ("danger.asked", "danger.frequency", "danger.intent", "danger.means")
PLANNED = ("danger.signs", "danger.people")
AGREED = ("danger.let_tell",)


@pytest.mark.parametrize(
    ("risk", "answered", "act", "ending"),
    [
        (2, (*ASSESSED, *PLANNED, *AGREED), "signposting", "crisis"),
        (2, (*AGREED, *PLANNED, *ASSESSED), "contact_agreed", "crisis"),  # any order
        (2, (*ASSESSED, *PLANNED), "signposting", ""),
        (2, (*ASSESSED, *AGREED), "signposting", ""),
        (2, (*ASSESSED[:3], *PLANNED, *AGREED), "signposting", ""),
        (2, (*ASSESSED, *PLANNED, *AGREED), "risk_inquiry", ""),
        (3, ("danger.asked", "danger.intent"), "handover", "crisis"),  # imminent
        (3, ("danger.asked", "danger.intent"), "contact_agreed", "crisis"),
        (3, ("danger.asked", "danger.intent"), "signposting", ""),  # a number read out takes nobody over
        (3, ("danger.asked",), "handover", ""),
        (3, ("danger.intent",), "handover", ""),  # nobody was told of it
        (2, ("danger.asked", "danger.intent"), "handover", ""),
        (1, (*ASSESSED, *PLANNED, *AGREED), "signposting", "goal"),
        (1, (), "signposting", "goal"),
    ],
)
def test_at_grave_risk_the_way_out_is_a_hand_over_that_was_prepared(
    risk: int, answered: tuple[str, ...], act: str, ending: str
) -> None:
    latent = Latent((0.3, 0.3, 0.3, 0.3), 0.7, answered=answered, **SETTLED)
    found = turn(act, persona=someone(risk=risk), latent=latent, settings=FROZEN)
    assert found.ending == ending
    assert ending != "crisis" or found.latent.answered[-1:] == ("danger.handover",)


def test_what_cannot_wait_and_is_handed_over_needs_no_plan() -> None:
    told = ("danger.asked", "danger.intent")
    late, grave = someone(risk=2), someone(risk=3)
    assert handled(grave, Latent(LOW, 0.5, answered=told)) == pytest.approx(0.2 + 0.35 / 5)
    over = Latent(LOW, 0.5, answered=(*told, "danger.handover"))
    assert handled(grave, over) == pytest.approx(0.2 + 0.35 / 5 + 0.3 + 0.15)
    assert handled(late, over) == pytest.approx(0.2 + 0.35 / 5 + 0.15)
    vague = Latent(LOW, 0.5, answered=("danger.asked", "danger.history", "danger.handover"))
    assert handled(grave, vague) == pytest.approx(0.2 + 0.35 / 5 + 0.15)  # nothing tells that it cannot wait


@pytest.mark.parametrize(("before", "acts", "row"), [
    (0, ("open_question",), 1), (4, ("closed_question",), 5), (4, ("open_question", "simple_reflection"), 0),
    (4, ("risk_history", "closed_question"), 0), (4, ("validation",), 0), (4, ("open_question", "apology"), 0),
])  # fmt: skip
def test_turns_that_only_ask_are_counted(before: int, acts: tuple[str, ...], row: int) -> None:
    assert turn(*acts, latent=Latent(LOW, 0.5, asking=before)).latent.asking == row


@pytest.mark.parametrize(("before", "questions", "share"), [
    (1, 1, 1.0), (2, 1, 0.7), (4, 1, 0.7**3), (0, 2, 1.0), (0, 3, 2 / 3), (2, 4, 0.7 / 2),
])  # fmt: skip
def test_a_row_of_bare_questions_and_many_at_once_help_less(before: int, questions: int, share: float) -> None:
    def gained(asking: int, at_once: int) -> float:
        return helped("open_question", latent=Latent(LOW, 0.5, asking=asking), questions=at_once)

    assert gained(before, questions) == pytest.approx(share * gained(0, 1)) and gained(0, 1) > 0


def test_what_was_told_before_wears_the_asking_out() -> None:
    item = next(i for i in items_of(someone()).values() if i.id.startswith("life."))
    once = answered(Latent(LOW, 0.5), Answer((item,)))
    again = answered(once, Answer((item,)))
    assert (once.stale, once.worn, again.stale, again.worn) == (False, 0, True, 1)
    assert turn("validation", latent=again).latent.worn == 1 and turn("validation", latent=once).latent.worn == 0
    assert answered(again, Answer((item,), danger=True)).stale is False


def test_a_danger_is_dealt_with_step_by_step_in_any_order() -> None:
    who, steps = someone(risk=2), [*ASSESSED, *PLANNED, *AGREED]
    shares = [handled(who, Latent(LOW, 0.5, answered=tuple(steps[:n]))) for n in range(len(steps) + 1)]
    assert shares[:2] == [0.0, 0.2] and all(b > a for a, b in pairwise(shares))
    assert shares[-1] == pytest.approx(0.2 + 0.35 * 3 / 5 + 0.3 * 2 / 5 + 0.15)
    assert handled(who, Latent(LOW, 0.5, answered=tuple(reversed(steps)))) == shares[-1]
    assert handled(someone(risk=0), Latent(LOW, 0.5, answered=tuple(steps))) == 0.0
    stages = [stage(who, Latent(LOW, 0.5, answered=tuple(steps[:n]))) for n in (0, 1, 4, 6, 7)]
    assert stages == ["hidden", "told", "assessed", "planned", "agreed"]


# --- What is told --------------------------------------------------------------------------------------------------


def test_a_danger_that_is_told_stands_open_and_questions_count_anew() -> None:
    who = someone(facts=(DARK, replace(DARK, id="plain", risk=False)), risk=1)
    found = turn("risk_inquiry", persona=who, latent=Latent(LOW, 0.5, pressed=3))
    assert (found.move, found.facts, found.latent.told) == (Move.ANSWER, (DARK,), (DARK,))
    assert found.answer is not None and found.answer.admits
    assert (found.latent.danger, found.latent.pressed) == ("open", 0)


def test_an_ordinary_fact_leaves_danger_and_count_as_they_were_and_a_strained_turn_brings_none() -> None:
    plain = replace(DARK, id="plain", depth=1, risk=False)
    who = someone(facts=(plain,))
    judged, chance = Appraisal(ASKS, 0.0, 12), np.random.default_rng(0)
    before = Latent(LOW, 0.5, danger="missed", pressed=3, told=(DARK,))
    found = predict(who, before, judged, "so dark?", chance, STILL)
    assert (found.facts, found.latent.told) == ((plain,), (DARK, plain))
    assert (found.latent.danger, found.latent.pressed) == ("missed", 3)
    strained = predict(who, before, judged, "so dark?", np.random.default_rng(0), STILL, neutralised=True)
    assert strained.facts == () and strained.move is Move.WITHDRAW


@pytest.mark.parametrize("name", ["well", "goal_mood"])
def test_settings_of_a_mood_go_from_minus_one_all_others_from_zero(name: str) -> None:
    assert getattr(DynamicsSettings(**{name: -1.0}), name) == -1.0
    for wrong in ({name: -1.01}, {name: 1.01}, {"noise": -0.01}, {"bond": 1.01}):
        with pytest.raises(ConfigError, match=f"dynamics {next(iter(wrong))} is"):
            DynamicsSettings(**wrong)
