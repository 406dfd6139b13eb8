"""One turn of the dynamics: its ranges, its chance, and what it can never do. By hand: test_turn_by_hand.py."""

from dataclasses import replace

import numpy as np
import pytest

from therapysim.envs.dynamics import DynamicsSettings, predict
from therapysim.envs.latent import Latent, begin
from therapysim.personas.load import personas
from therapysim.personas.schema import Persona, Temperament
from therapysim.rewards.reading.acts import ACTS
from therapysim.state import Appraisal


def drawn(rng: np.random.Generator) -> tuple[Persona, Latent, Appraisal]:
    """Some patient, some state, some turn."""
    people = personas("dev")
    temperament = Temperament(float(rng.random()), float(rng.random()))
    persona = people[int(rng.integers(len(people)))]
    persona = replace(persona, temperament=temperament, resistance=float(rng.random()))
    mood, held = (
        tuple(float(x) for x in rng.uniform(low, 1, n)) for low, n in ((-1, 4), (0.2, len(persona.case.situations)))
    )
    danger = ("", "open", "heard", "missed")[int(rng.integers(4))]
    latent = Latent(
        mood, float(rng.random()), danger=danger, wound=float(rng.random()), idle=int(rng.integers(9)),  # type: ignore[arg-type]
        beliefs=held, kept=held, debt=float(rng.random()) / 2, worn=int(rng.integers(4)), small=int(rng.integers(4)),
    )  # fmt: skip
    acts = frozenset(str(a) for a in rng.choice(ACTS, int(rng.integers(5)), replace=False))
    return persona, latent, Appraisal(acts, float(rng.random()), 12, int(rng.integers(4)), frame=float(rng.random()))


@pytest.mark.parametrize("extreme", [False, True])
def test_mood_alliance_and_wound_stay_in_their_ranges(extreme: bool) -> None:
    rng = np.random.default_rng(1)
    settings = DynamicsSettings(1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0) if extreme else DynamicsSettings()
    for i in range(400):
        persona, latent, appraisal = drawn(rng)
        seed = np.random.default_rng(i)
        after = predict(persona, latent, appraisal, "and?", seed, settings, neutralised=i % 7 == 0).latent
        assert all(-1.0 <= x <= 1.0 for x in after.mood)
        assert 0.0 <= after.alliance <= 1.0 and 0.0 <= after.wound <= 1.0
        assert all(0.2 <= c <= 1.5 for c in after.beliefs) and 0.0 <= after.debt <= 0.5


def test_equal_chance_gives_equal_turns_and_every_turn_draws_as_much() -> None:
    rng, settings = np.random.default_rng(2), DynamicsSettings()
    states = set()
    for _ in range(60):
        row = drawn(rng)
        chances = [np.random.default_rng(5) for _ in range(2)]
        first, second = (predict(*row, "and?", chance, settings) for chance in chances)
        assert first == second
        states.add(str(chances[0].bit_generator.state))
    assert len(states) == 1  # whatever was said: two policies under one seed meet the same chance


def test_better_uptake_is_never_worse() -> None:
    rng, settings = np.random.default_rng(3), DynamicsSettings()
    higher = 0
    for i in range(400):
        persona, latent, appraisal = drawn(rng)
        low, high = sorted(rng.random(2))
        turns = [replace(appraisal, uptake=float(x)) for x in (low, high)]
        worse, better = (
            predict(persona, latent, turn, "and?", np.random.default_rng(i), settings).latent for turn in turns
        )
        assert better.alliance >= worse.alliance
        assert all(b >= w for b, w in zip(better.mood, worse.mood, strict=True))
        higher += better.alliance > worse.alliance
    assert higher > 100


def test_the_session_begins_as_the_patient_walks_in() -> None:
    persona = personas("dev")[0]
    latent = begin(persona)
    assert (latent.mood, latent.alliance, latent.wound, latent.idle) == (persona.mood, persona.trust, 0.0, 0)
    assert hash(latent) == hash(begin(persona))


def test_asking_about_danger_over_and_over_helps_ever_less() -> None:
    persona, settings = next(p for p in personas("dev") if p.risk == 0), DynamicsSettings(noise=0.0)
    latent, gains = begin(persona), []
    for _ in range(6):
        rng = np.random.default_rng(0)
        asks = Appraisal(frozenset({"risk_inquiry", "closed_question"}), uptake=0.5, words=12)
        after = predict(persona, latent, asks, "are you safe?", rng, settings).latent
        gains.append((after.alliance - latent.alliance) / (1.0 - latent.alliance))
        latent = after
    assert gains[0] == pytest.approx(gains[1]) and latent.pressed == 5  # one question is well taken
    assert all(gain < 0.0 for gain in gains[2:])  # the third is not
