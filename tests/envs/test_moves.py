"""Which fact a patient is ready to tell, and which move it makes: each threshold at its value and beside it."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from therapysim.envs.latent import Latent
from therapysim.envs.moves import choose_move, next_fact
from therapysim.personas.load import personas
from therapysim.personas.schema import Fact, Persona
from therapysim.state import Appraisal, Move

FIRST, SECOND, THIRD = (Fact(f"f{d}", d, ("a", "b"), ("shop", "day off")) for d in (1, 2, 3))
DARK = Fact("dark", 3, ("a", "b"), ("dark",), risk=True)
NONE = (0.0, 0.0, 0.0, 0.0)


def ready(
    *facts: Fact, alliance: float = 0.9, acts: tuple[str, ...] = (), said: str = "", chance: float = 0.5, told: Any = ()
) -> Fact | None:
    persona = replace(personas("dev")[0], facts=facts)
    return next_fact(persona, Latent(NONE, alliance, told=told), Appraisal(frozenset(acts), 0.0, 9), said, chance)


@pytest.mark.parametrize(("fact", "needed"), [(FIRST, 0.15), (SECOND, 0.35), (THIRD, 0.55)])
def test_a_deeper_fact_needs_more_alliance(fact: Fact, needed: float) -> None:
    assert ready(fact, alliance=needed, chance=0.0) is fact
    assert ready(fact, alliance=needed - 0.01, chance=0.0) is None


@pytest.mark.parametrize(
    ("chance", "invited", "unasked"), [(0.0, 1, 1), (0.09, 1, 1), (0.1, 1, 0), (0.59, 1, 0), (0.6, 0, 0)]
)
def test_six_in_ten_tell_when_invited_and_one_in_ten_unasked(chance: float, invited: int, unasked: int) -> None:
    for act in ("open_question", "validation", "simple_reflection", "complex_reflection"):
        assert bool(ready(FIRST, acts=(act,), chance=chance)) == bool(invited)
    for act in ("closed_question", "advice"):
        assert bool(ready(FIRST, acts=(act,), chance=chance)) == bool(unasked)


@pytest.mark.parametrize(
    ("said", "named"),
    [("how is the shop?", True), ("(shopping)", True), ("a workshop", False), ("the day", False), ("", False)],
)
def test_a_topic_that_is_named_opens_the_fact(said: str, named: bool) -> None:
    assert (ready(FIRST, said=said, chance=0.99) is FIRST) is named


def test_the_nearest_fact_comes_and_once_equals_in_the_order_of_the_file() -> None:
    assert ready(FIRST, SECOND, chance=0.0) is FIRST
    assert ready(FIRST, SECOND, chance=0.0, told=(FIRST,)) is SECOND
    assert ready(FIRST, chance=0.0, told=(FIRST,)) is None and ready(chance=0.0) is None
    assert ready(SECOND, FIRST, alliance=0.2, chance=0.0) is FIRST  # what is too deep holds up nothing else
    garden = replace(SECOND, lines=("The garden is all weeds.", "Weeds, and no garden left."), topics=("garden",))
    assert ready(FIRST, garden, said="what became of the garden?", chance=0.0) is garden
    assert ready(FIRST, garden, said="go on", chance=0.0) is FIRST


def test_a_direct_question_brings_out_a_danger_before_its_turn_and_trust() -> None:
    assert ready(FIRST, DARK, acts=("risk_inquiry",), alliance=0.2, chance=0.99) is DARK
    assert ready(FIRST, DARK, acts=("risk_inquiry",), alliance=0.19, chance=0.99) is None
    assert ready(FIRST, DARK, acts=("open_question",), chance=0.3) is FIRST
    assert ready(FIRST, DARK, acts=("risk_inquiry",), chance=0.05, told=(DARK,)) is FIRST


def move(
    *, alliance: float = 0.5, chance: tuple[float, float] = (0.99, 0.99), resistance: float = 0.0, **given: Any
) -> Move:
    attacked, advised, fact = (given.pop(name, None) for name in ("attacked", "advised", "fact"))
    persona: Persona = replace(personas("dev")[0], resistance=resistance)
    latent = Latent(given.pop("mood", NONE), alliance, **given)
    drawn = np.array([0.5, *chance])
    return choose_move(persona, latent, fact, drawn, attacked=bool(attacked), advised=bool(advised))


def test_an_attack_is_objected_to_by_whoever_trusts_little_and_by_half_of_the_rest() -> None:
    assert move(attacked=True, alliance=0.49, strain=1) is Move.RUPTURE
    assert move(attacked=True, alliance=0.5, strain=1) is Move.WITHDRAW
    assert move(attacked=True, alliance=0.5, strain=1, chance=(0.49, 0.99)) is Move.RUPTURE
    assert move(attacked=True, alliance=0.5, strain=1, chance=(0.5, 0.99)) is Move.WITHDRAW
    assert move(alliance=0.1, strain=1, chance=(0.0, 0.99)) is Move.WITHDRAW


def test_a_fact_comes_before_all_but_strain() -> None:
    assert move(fact=FIRST, advised=True, wound=1.0, chance=(0.0, 0.0)) is Move.DISCLOSE
    assert move(fact=FIRST, strain=1) is Move.WITHDRAW


@pytest.mark.parametrize(("resistance", "limit"), [(0.0, 0.3), (0.5, 0.65), (1.0, 1.0)])
def test_advice_is_argued_with_the_more_the_patient_resists(resistance: float, limit: float) -> None:
    low = {"mood": (-1.0, -1.0, -1.0, -1.0), "resistance": resistance}
    assert move(advised=True, chance=(limit - 0.01, 0.99), **low) is Move.SUSTAIN
    assert move(advised=True, chance=(limit, 0.99), **low) is Move.EXPRESS
    assert move(chance=(0.0, 0.99), **low) is Move.EXPRESS


def test_who_was_hurt_says_less_in_proportion_to_the_wound() -> None:
    assert move(wound=0.4, chance=(0.99, 0.39)) is Move.WITHDRAW
    assert move(wound=0.4, chance=(0.99, 0.4)) is Move.EXPRESS


@pytest.mark.parametrize(
    ("alliance", "resistance", "mood", "limit"),
    [(0.5, 0.0, NONE, 0.25), (0.75, 0.5, NONE, 0.25), (0.5, 0.0, (0.5, 0.5, 0.5, 0.5), 0.375), (0.25, 1.0, NONE, 0.0)],
)
def test_talk_of_change_comes_with_alliance_and_mood_against_resistance(
    alliance: float, resistance: float, mood: tuple[float, float, float, float], limit: float
) -> None:
    given = {"alliance": alliance, "resistance": resistance, "mood": mood}
    assert move(chance=(limit, 0.99), **given) is Move.EXPRESS
    assert limit == 0.0 or move(chance=(limit - 0.01, 0.99), **given) is Move.CHANGE


def test_eight_in_a_hundred_ask_something() -> None:
    assert move(chance=(0.99, 0.079)) is Move.ASK and move(chance=(0.99, 0.08)) is Move.EXPRESS
