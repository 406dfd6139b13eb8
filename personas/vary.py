"""Variants of the training patients: the same person on another day, a little better or worse, met in another mood.

A variant differs in severity (with its scores, and its code where that says the severity), mood, resistance, trust,
temperament, style of speech, and in what has happened lately. Its facts, its risk and its life stay. Only patients of
the train split have variants, so that no amount of sampling touches dev or test.
"""

from dataclasses import replace
from typing import get_args

import numpy as np

from therapysim.errors import PersonaError, require_count
from therapysim.personas.consistency import BANDS, Diagnosis, diagnoses
from therapysim.personas.schema import Fact, Persona, Severity, Style, Temperament
from therapysim.state import Vector

__all__ = ["MARK", "vary"]

#: Between a patient's id and the seed of its variant, as in ``marta~17``.
MARK = "~"

_SEVERITIES: tuple[Severity, ...] = get_args(Severity)
# One step of severity moves every dimension of the mood by this share of itself.
_STEP = 0.25


def vary(persona: Persona, seed: int) -> Persona:
    """The variant of that seed; equal seeds give equal variants. Its id is ``persona.id~seed``.

    Args:
        persona: a patient of the train split, as written.
        seed: at least 0.

    Raises:
        PersonaError: the patient belongs to dev or test, is a variant itself, or has a diagnosis that nobody knows.
        ConfigError: the seed is below 0 or no whole number.
    """
    require_count("variant seed", seed, 0)
    if persona.split != "train" or MARK in persona.id:
        what = "is a variant itself" if MARK in persona.id else f"belongs to {persona.split}"
        raise PersonaError(f"persona {persona.id!r} {what}: only the train split's patients as written have variants")
    if persona.diagnosis not in diagnoses():
        found = f"diagnosis is {persona.diagnosis!r}, expected one of diagnoses.yaml"
        raise PersonaError(f"persona {persona.id!r}: {found}; only those have variants")
    rng = np.random.default_rng([seed, *persona.id.encode()])
    severity = _severity(persona, rng)
    step = _SEVERITIES.index(severity) - _SEVERITIES.index(persona.severity)
    kind = _kind(persona, severity)
    phq9, gad7 = _scores(persona, kind, severity, step, rng)
    facts, circumstances = _lately(persona, rng)
    return replace(
        persona,
        id=f"{persona.id}{MARK}{seed}",
        diagnosis=kind.name,
        code=kind.code,
        severity=severity,
        phq9=phq9,
        gad7=gad7,
        style=_style(persona.style, rng),
        mood=_mood(persona.mood, severity, step, rng),
        resistance=_near(persona.resistance, 0.15, rng),
        trust=_near(persona.trust, 0.1, rng),
        temperament=Temperament(*(_near(v, 0.12, rng) for v in _values(persona.temperament))),
        facts=facts,
        circumstances=circumstances,
    )


def _severity(persona: Persona, rng: np.random.Generator) -> Severity:
    """The same, or one step beside it, where the diagnosis has such a one and the risk allows it."""
    here = _SEVERITIES.index(persona.severity)
    beside = [s for i, s in enumerate(_SEVERITIES) if abs(i - here) == 1 and _exists(persona, s)]
    # Someone who thinks of ending it is not mildly ill.
    options = [s for s in beside if not (persona.risk >= 2 and s == "mild")]
    draw = rng.random()
    return options[int(rng.integers(len(options)))] if options and draw < 0.5 else persona.severity


def _exists(persona: Persona, severity: Severity) -> bool:
    return _find(persona, severity) is not None


def _find(persona: Persona, severity: Severity) -> Diagnosis | None:
    own = diagnoses()[persona.diagnosis]
    kin = (d for d in diagnoses().values() if d is own or (own.family and d.family == own.family))
    return next((d for d in kin if d.severity in (None, severity)), None)


def _kind(persona: Persona, severity: Severity) -> Diagnosis:
    return _find(persona, severity) or diagnoses()[persona.diagnosis]


def _scores(
    persona: Persona, kind: Diagnosis, severity: Severity, step: int, rng: np.random.Generator
) -> tuple[int, int]:
    """PHQ-9 and GAD-7: the one that grows with the disorder drawn from the severity's band, the other moved along."""
    moved = {
        name: int(np.clip(value + 4 * step + rng.integers(-2, 3), low, high))
        for name, value, low, high in (
            ("phq9", persona.phq9, 5 if persona.risk else 0, 27),
            ("gad7", persona.gad7, 0, 21),
        )
    }
    if kind.score:
        low, high = BANDS[kind.score][severity]
        moved[kind.score] = int(np.clip(moved[kind.score], low, high))
    elif severity == "mild":
        moved = {name: min(value, 14) for name, value in moved.items()}
    elif severity == "severe" and max(moved.values()) < 10:
        moved["phq9"] = 10
    return moved["phq9"], moved["gad7"]


def _mood(mood: Vector, severity: Severity, step: int, rng: np.random.Generator) -> Vector:
    m = np.clip(np.array(mood) * (1 + _STEP * step) + rng.normal(0.0, 0.05, 4), -0.95, 0.95)
    # The dimension that suffers most stays where its severity belongs.
    worst = int(np.argmin(mood))
    low, high = {"mild": (-0.45, -0.15), "moderate": (-0.9, -0.2), "severe": (-0.95, -0.5)}[severity]
    m[worst] = np.clip(m[worst], low, high)
    if severity == "mild":
        m = np.maximum(m, low)
    i, t, a, s = (round(float(v), 3) for v in m)
    return i, t, a, s


def _style(style: Style, rng: np.random.Generator) -> Style:
    styles: tuple[Style, ...] = get_args(Style)
    drawn = styles[int(rng.integers(len(styles)))]
    return drawn if rng.random() < 0.5 else style


def _near(value: float, spread: float, rng: np.random.Generator) -> float:
    return round(float(np.clip(value + rng.normal(0.0, spread), 0.05, 0.95)), 3)


def _values(temperament: Temperament) -> tuple[float, float]:
    return temperament.inertia, temperament.reactivity


def _lately(persona: Persona, rng: np.random.Generator) -> tuple[tuple[Fact, ...], tuple[Fact, ...]]:
    """One circumstance becomes something to tell, among the facts that are told readily."""
    pick = int(rng.integers(len(persona.circumstances)))
    place = int(rng.integers(1 + sum(fact.depth == 1 for fact in persona.facts)))
    chosen, facts = persona.circumstances[pick], persona.facts
    rest = tuple(fact for fact in persona.circumstances if fact is not chosen)
    return (*facts[:place], chosen, *facts[place:]), rest
