"""The shipped patients: each agrees with itself, no two are one, and the splits are fair."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from therapysim.personas import Fact, Persona, find, personas
from therapysim.personas.consistency import check, check_splits, diagnoses, symptoms

ALL = personas()


def said_by(persona: Persona) -> list[str]:
    """All that a patient may say of its own."""
    voice = persona.voice
    told = [line for fact in (*persona.facts, *persona.circumstances) for line in fact.lines]
    return [*voice.opening, *voice.express, *voice.change, *voice.sustain, *voice.ask, *told]


# --- the library as it ships ----------------------------------------------------------------------


@pytest.mark.parametrize("persona", ALL, ids=lambda p: p.id)
def test_a_shipped_patient_agrees_with_itself(persona: Persona) -> None:
    assert check(persona) == []


def test_the_splits_are_fair() -> None:
    assert Counter(p.split for p in ALL) == {"train": 24, "dev": 8, "test": 16}
    assert check_splits(ALL) == []


def test_the_ages_span_a_life() -> None:
    ages = sorted(p.age for p in ALL)
    assert ages[0] == 16 and ages[-1] >= 75
    assert all(later - earlier <= 6 for earlier, later in pairwise(ages))


def test_no_two_patients_share_a_line() -> None:
    count = Counter(line.lower() for persona in ALL for line in said_by(persona))
    assert [line for line, n in count.items() if n > 1] == []


def test_no_test_patient_lives_a_training_patients_life() -> None:
    for label in ("presenting_problem", "core_belief", "living", "occupation", "coping"):
        count = Counter(getattr(persona, label) for persona in ALL)
        assert [text for text, n in count.items() if n > 1] == []


# --- what consistency.check finds -----------------------------------------------------------------


def fact(persona: Persona, i: int, **changes: Any) -> Persona:
    """The persona with its i-th fact changed."""
    facts = list(persona.facts)
    facts[i] = replace(facts[i], **changes)
    return replace(persona, facts=tuple(facts))


def risk_at(persona: Persona) -> int:
    return next(i for i, f in enumerate(persona.facts) if f.risk)


def voiced(persona: Persona, kind: str, line: str) -> Persona:
    """The persona with one more line of its own."""
    lines = (*getattr(persona.voice, kind), line)
    return replace(persona, voice=replace(persona.voice, **{kind: lines}))


SUICIDE = "I have thought of suicide for as long as I can remember."
SPOILT: dict[str, tuple[str, Callable[[Persona], Persona], str]] = {
    "diagnosis": ("marta", lambda p: replace(p, diagnosis="Sadness"), "diagnosis is 'Sadness', expected one of"),
    "code": ("marta", lambda p: replace(p, code="F41.1"), "code is F41.1, expected F32.1"),
    "severity": ("marta", lambda p: replace(p, severity="severe", phq9=16), "but the diagnosis says moderate"),
    "unknown symptom": ("marta", lambda p: replace(p, symptoms=(*p.symptoms, "gloom")), "symptom 'gloom' is unknown"),
    "too few symptoms": ("marta", lambda p: replace(p, symptoms=("low_mood", "guilt")), "needs 5 of"),
    "no core symptom": (
        "marta", lambda p: replace(p, symptoms=("insomnia", "fatigue", "guilt", "slowed", "worthlessness")),
        "needs 1 of low_mood, anhedonia",
    ),
    "phq9": ("marta", lambda p: replace(p, phq9=25), "phq9 is 25, expected 10-19 for moderate"),
    "gad7": ("deniz", lambda p: replace(p, gad7=20), "gad7 is 20, expected 10-14 for moderate"),
    "mild with high scores": ("ruben", lambda p: replace(p, severity="mild", phq9=15), "do not go with mild"),
    "severe with low scores": (
        "ruben", lambda p: replace(p, severity="severe", phq9=9, gad7=9), "do not go with severe",
    ),
    "risk untold": ("marta", lambda p: replace(p, risk=1), "risk is 1 with 0 risk facts, expected at least 1"),
    "plan told once": (
        "duncan", lambda p: replace(p, facts=tuple(f for f in p.facts if not f.risk or f is p.facts[risk_at(p)])),
        "risk is 3 with 1 risk facts, expected at least 2",
    ),
    "risk without low mood": ("terence", lambda p: replace(p, phq9=4), "risk is 1, but phq9 is 4"),
    "a risk that says none": (
        "duncan", lambda p: fact(p, risk_at(p), lines=("It rained on the pier.", *p.facts[risk_at(p)].lines)),
        "'It rained on the pier.' says no danger",
    ),
    "a risk told at once": ("duncan", lambda p: fact(p, risk_at(p), depth=1), "is a risk of depth 1, expected 2 or 3"),
    "suicide in a plain fact": (
        "marta", lambda p: fact(p, 0, lines=(*p.facts[0].lines, SUICIDE)), "speaks of suicide, but is no risk fact",
    ),
    "suicide in a circumstance": (
        "marta", lambda p: replace(p, circumstances=(Fact("news", 1, (SUICIDE,), ("news",)), *p.circumstances)),
        "speaks of suicide, but is no risk fact",
    ),
    "suicide in the voice": ("marta", lambda p: voiced(p, "ask", SUICIDE), "speaks of suicide, but is no risk fact"),
    "no deep fact": (
        "marta", lambda p: replace(p, facts=tuple(f for f in p.facts if f.depth < 3)),
        "facts lie at depths 1, 2, expected",
    ),
    "a line twice": ("marta", lambda p: voiced(p, "express", p.voice.sustain[0]), "stands 2 times"),
    "a line in voice and fact": ("marta", lambda p: voiced(p, "change", p.facts[0].lines[0]), "stands 2 times"),
    "no question": ("marta", lambda p: voiced(p, "ask", "I wonder."), "'I wonder.' is no question"),
    "no sentence": ("marta", lambda p: voiced(p, "express", "I trail off"), "does not end like a sentence"),
    "a long line": ("marta", lambda p: voiced(p, "express", "soup and " * 16 + "soup."), "33 words, expected"),
    "nothing to treat": ("marta", lambda p: replace(p, mood=(0.1, 0.0, 0.2, -0.05)), "nothing to treat"),
    "severe, hardly low": ("duncan", lambda p: replace(p, mood=(-0.4, 0.0, 0.0, 0.0)), "expected -0.45 or less"),
    "mild, very low": ("amara", lambda p: replace(p, mood=(0.0, 0.0, 0.0, -0.7)), "expected -0.6 or more"),
}  # fmt: skip


@pytest.mark.parametrize("name", SPOILT)
def test_a_spoilt_patient_is_found_out(name: str) -> None:
    persona_id, spoil, part = SPOILT[name]
    problems = check(spoil(find(persona_id)))
    assert [problem for problem in problems if part in problem], problems


def test_a_moved_patient_unbalances_its_group_and_its_risk() -> None:
    moved = [replace(p, split="test") if p.id == "marta" else p for p in ALL]
    problems = check_splits(moved)
    assert len(problems) == 2
    assert problems[0].startswith("group depressive: train 2, dev 1, test 3, expected 3 : 1 : 2")
    assert problems[1].startswith("risk 0: train ")


def test_two_patients_of_one_name_are_found() -> None:
    renamed = [replace(p, name="Owen") if p.id == "marta" else p for p in ALL]
    assert check_splits(renamed) == ["name 'Owen' is borne by 2 patients"]


def test_every_diagnosis_needs_known_symptoms_and_says_its_severity() -> None:
    for row in diagnoses().values():
        assert {name for _, names in row.needs for name in names} <= set(symptoms())
        assert all(0 < count <= len(names) for count, names in row.needs)
        said = [word for word in ("mild", "moderate", "severe") if f", {word}" in row.name]
        assert said == ([row.severity] if row.severity else [])
