"""Convictions at values worked out by hand: what each thing told takes of them, asked for or by itself."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from therapysim.envs import beliefs, dynamics
from therapysim.envs.beliefs import examined
from therapysim.envs.latent import Latent, begin
from therapysim.personas.items import items_of
from therapysim.personas.load import personas
from therapysim.personas.schema import Persona
from therapysim.state import Appraisal

#: Nothing but the floor holds against evidence: full openness, and each core of another thought moves as written.
OPEN = replace(personas("dev")[0], resistance=0.0)
FIRST, *_ = (situation.id for situation in OPEN.case.situations)


def started(persona: Persona = OPEN, **changes: Any) -> Latent:
    """A session in which the thought of the first situation was voiced."""
    return replace(begin(persona), alliance=0.5, answered=(f"situations.{FIRST}.thinking",), **changes)


def left(place: str, latent: Latent | None = None, persona: Persona = OPEN, share: float = 1.0) -> tuple[float, ...]:
    """Convictions once an item is told."""
    return examined(persona, latent or started(persona), [items_of(persona)[place]], share).beliefs


@pytest.mark.parametrize(
    ("column", "beta"),
    [("evidence_for", 0.08), ("evidence_against", 0.4), ("other_view", 0.35), ("worst", 0.12), ("balanced", 0.5)],
)
def test_a_column_weakens_its_thought_by_beta_and_the_others_with_it(column: str, beta: float) -> None:
    own, *others = left(f"situations.{FIRST}.{column}")
    lost = beta * (1 - 0.2)
    assert own == pytest.approx(1 - lost) and others == pytest.approx([1 - 0.6 * lost] * len(others))


def test_what_nobody_voiced_cannot_be_examined() -> None:
    silent = replace(started(), answered=())
    assert left(f"situations.{FIRST}.evidence_against", silent) == silent.beliefs


@pytest.mark.parametrize(("place", "size"), [("change", 0.15), ("strengths", 0.1)])
def test_what_is_told_without_a_situation_weakens_every_thought(place: str, size: float) -> None:
    assert left(place) == pytest.approx([1 - size * (1 - 0.2)] * len(OPEN.case.situations))
    unvoiced = replace(started(), answered=())
    assert left(place, unvoiced) == pytest.approx(left(place))


def test_no_other_reply_moves_a_conviction() -> None:
    others = [
        place for place in items_of(OPEN) if not place.startswith("situations.") and place not in beliefs.SPOKEN_FOR
    ]
    assert "sustain" in others and "replies.right" in others and "beliefs.core" in others
    assert all(left(place) == started().beliefs for place in others)


@pytest.mark.parametrize("place", ["change", f"situations.{FIRST}.evidence_against"])
def test_told_again_it_counts_half(place: str) -> None:
    once = 1 - left(place)[0]
    again = 1 - left(place, replace(started(), answered=(*started().answered, place)))[0]
    assert again == pytest.approx(once / 2)


@pytest.mark.parametrize("place", ["strengths", f"situations.{FIRST}.other_view"])
def test_what_comes_up_by_itself_counts_less(place: str) -> None:
    assert 1 - left(place, share=0.5)[0] == pytest.approx((1 - left(place)[0]) / 2)


@pytest.mark.parametrize("place", ["change", f"situations.{FIRST}.balanced"])
def test_whoever_resists_or_was_hurt_takes_less(place: str) -> None:
    held = replace(OPEN, resistance=0.8)
    assert 1 - left(place, persona=held)[0] == pytest.approx((1 - left(place)[0]) * (1 - 0.8 * 0.5))
    assert 1 - left(place, started(wound=0.25))[0] == pytest.approx((1 - left(place)[0]) / 2)
    assert left(place, started(wound=1.0)) == started().beliefs


@pytest.mark.parametrize("place", ["change", f"situations.{FIRST}.balanced"])
def test_no_conviction_falls_below_the_floor(place: str) -> None:
    low = started(beliefs=tuple([0.2] * len(OPEN.case.situations)))
    assert left(place, low) == low.beliefs


def test_a_fairer_thought_is_kept_and_change_talk_is_not() -> None:
    items = items_of(OPEN)
    fair = examined(OPEN, started(), [items[f"situations.{FIRST}.balanced"]])
    assert fair.kept == fair.beliefs
    assert examined(OPEN, started(), [items["change"]]).kept == started().kept


@pytest.mark.parametrize(("uptake", "share"), [(0.1, 0.0), (0.19, 0.0), (0.2, 0.5), (0.9, 0.5)])
def test_what_comes_up_to_a_reflection_counts_half_where_it_is_tied(uptake: float, share: float) -> None:
    calm = replace(OPEN, risk=0, facts=(), style="talkative")
    before = started(calm, about=FIRST)
    reflects = Appraisal(frozenset({"complex_reflection"}), uptake, 12)
    still = dynamics.DynamicsSettings(noise=0.0, bond=0.0)
    words = " ".join(items_of(calm)[f"situations.{FIRST}.other_view"].lines).lower()
    found = dynamics.predict(calm, before, reflects, words, np.random.default_rng(0), still)
    assert found.answer is not None and found.answer.open
    told = [item.id for item in found.answer.items if item.id.partition(".")[0] == "situations"]
    whole = 1 - examined(calm, before, found.answer.items).beliefs[0]
    assert told and whole > 0
    assert 1 - found.latent.beliefs[0] == pytest.approx(share * whole)
