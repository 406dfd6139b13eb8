"""Variants of the training patients, found by id and played in sessions."""

from typing import Any

import pytest

from therapysim.envs.batch import SessionBatch, SessionConfig, Start
from therapysim.errors import ConfigError, PersonaError
from therapysim.personas import Persona, find, library, personas
from therapysim.personas.consistency import check
from therapysim.personas.vary import vary

TRAIN = personas("train")
SEEDS = range(40)


@pytest.mark.parametrize("persona", TRAIN, ids=lambda p: p.id)
def test_a_variant_agrees_with_itself(persona: Persona) -> None:
    assert {seed: found for seed in SEEDS if (found := check(vary(persona, seed)))} == {}


@pytest.mark.parametrize("persona", TRAIN, ids=lambda p: p.id)
def test_variants_differ_in_what_they_may(persona: Persona) -> None:
    variants = [vary(persona, seed) for seed in SEEDS]
    assert [vary(persona, seed) for seed in SEEDS] == variants
    for label in ("id", "mood", "resistance", "trust", "temperament"):
        assert len({getattr(v, label) for v in variants}) >= 20, label
    assert {v.style for v in variants} == {"terse", "plain", "talkative"}
    lately = {next(f.id for f in v.facts if f not in persona.facts) for v in variants}
    assert lately == {f.id for f in persona.circumstances}


@pytest.mark.parametrize("persona", TRAIN, ids=lambda p: p.id)
def test_a_variant_keeps_its_life(persona: Persona) -> None:
    for variant in (vary(persona, seed) for seed in SEEDS):
        kept = ("split", "name", "age", "living", "symptoms", "core_belief", "voice", "risk")
        assert all(getattr(variant, label) == getattr(persona, label) for label in kept)
        assert [f for f in variant.facts if f in persona.facts] == list(persona.facts)
        assert [f for f in variant.facts if f.risk] == [f for f in persona.facts if f.risk]
        assert len(variant.facts) == len(persona.facts) + 1
        depths = [f.depth for f in variant.facts]
        assert depths == sorted(depths)


def test_severity_moves_by_one_step_wherever_it_can() -> None:
    levels = ("mild", "moderate", "severe")
    moving = 0
    for persona in TRAIN:
        seen = {vary(persona, seed).severity for seed in SEEDS}
        assert persona.severity in seen
        assert all(abs(levels.index(s) - levels.index(persona.severity)) <= 1 for s in seen)
        assert not (persona.risk >= 2 and "mild" in seen)
        moving += len(seen) > 1
    assert moving >= 20


@pytest.mark.parametrize("persona", [*personas("dev"), *personas("test")], ids=lambda p: p.id)
def test_only_training_patients_have_variants(persona: Persona) -> None:
    with pytest.raises(PersonaError, match=f"persona '{persona.id}' belongs to {persona.split}: only the train split"):
        vary(persona, 0)


def test_a_variant_has_no_variants() -> None:
    with pytest.raises(PersonaError, match="'marta~3' is a variant itself"):
        vary(vary(find("marta"), 3), 4)


@pytest.mark.parametrize("seed", [-1, 1.5, True, "3", None])
def test_a_wrong_seed_is_refused(seed: Any) -> None:
    with pytest.raises(ConfigError, match=r"variant seed is .* expected a whole number of at least 0"):
        vary(find("marta"), seed)


def test_a_variant_is_found_by_its_id() -> None:
    assert find("marta~17") == vary(find("marta"), 17)
    assert find("marta~17").id == "marta~17" and find("marta~17").attributes.persona == "marta~17"
    assert "marta~17" not in library()


@pytest.mark.parametrize(
    ("persona_id", "part"),
    [
        ("marta~", "is no seed, expected such as 'marta~17'"),
        ("marta~-1", "'-1' after '~' is no seed"),
        ("marta~x", "'x' after '~' is no seed"),
        ("marta~1~2", "'1~2' after '~' is no seed"),
        ("marta~1.0", "'1.0' after '~' is no seed"),
        ("mrta~1", "'mrta' is unknown; did you mean 'marta'"),
        ("~1", "persona '' is unknown"),
        ("kenji~1", "'kenji' belongs to dev"),
        ("claire~1", "'claire' belongs to test"),
    ],
)
def test_a_bad_variant_id_says_why(persona_id: str, part: str) -> None:
    with pytest.raises(PersonaError) as error:
        find(persona_id)
    assert part in str(error.value)


# --- variants in a session ------------------------------------------------------------------------


def test_a_session_plays_the_variant_of_its_seed() -> None:
    batch = SessionBatch(SessionConfig(max_turns=2))
    batch.reset([Start(17, "marta", vary=True), Start(17, "marta~17"), Start(17, "marta"), Start(5, vary=True)])
    varied, named, plain, drawn = batch.sessions
    assert varied.persona == named.persona == find("marta~17")
    assert varied.state.attributes == named.state.attributes and varied.state.attributes.persona == "marta~17"
    assert plain.persona == find("marta")
    assert drawn.persona.split == "train" and drawn.persona.id.endswith("~5")
    batch.step(["What is it like for you at the moment?"] * 4)
    assert batch.sessions[0].transcript == batch.sessions[1].transcript


@pytest.mark.parametrize("start", [Start(0, split="dev", vary=True), Start(0, split="test", vary=True),
                                   Start(0, "kenji", vary=True), Start(0, "marta~3", vary=True)])  # fmt: skip
def test_a_session_varies_no_other_patient(start: Start) -> None:
    batch = SessionBatch(SessionConfig(max_turns=2))
    with pytest.raises(PersonaError, match="only the train split"):
        batch.reset([start])
