"""Do 95 % intervals hold the truth as often as they say? In full: ``python -m tests.measures.coverage_simulation``."""

import numpy as np
import pytest

from tests.measures.coverage_simulation import (
    Design,
    Floats,
    balanced,
    coverage,
    lowest_tenth,
    rates,
    sessions,
    unbalanced,
)
from therapysim.agents.statistics.intervals import Interval, mean_interval, proportion, worst_decile

SETS = 600

#: The lowest coverage that is let through. Two standard errors, .02, lie below what 4,000 sets give.
LEAST = {"normal": 0.93, "exponential": 0.91, "lognormal": 0.905}


def held(kind: str, design: Design) -> float:
    values = sessions(kind, design, SETS, np.random.default_rng(1))
    return coverage(mean_interval, values, design.who, 0.0)[0]


@pytest.mark.parametrize("kind", LEAST)
@pytest.mark.parametrize("patients", [8, 16, 24])
@pytest.mark.parametrize("seeds", [1, 4, 8])
def test_with_noise_within_patients(kind: str, patients: int, seeds: int) -> None:
    assert LEAST[kind] <= held(kind, balanced(patients, seeds, 0.5)) <= 0.985


@pytest.mark.parametrize("kind", LEAST)
@pytest.mark.parametrize("patients", [8, 16, 24])
def test_with_unequal_numbers_of_sessions(kind: str, patients: int) -> None:
    assert LEAST[kind] <= held(kind, unbalanced(patients, 0.5)) <= 0.985


@pytest.mark.parametrize(
    ("kind", "patients", "least"),
    [
        ("normal", 8, 0.93),
        ("normal", 24, 0.93),
        ("exponential", 8, 0.91),
        ("exponential", 16, 0.925),
        ("exponential", 24, 0.93),
        ("lognormal", 16, 0.90),
        ("lognormal", 24, 0.91),
    ],
)
def test_with_no_noise_to_hide_the_skew(kind: str, patients: int, least: float) -> None:
    assert least <= held(kind, balanced(patients, 1, 1.0)) <= 0.985


def test_what_takes_sessions_for_independent_or_patients_for_normal_holds_it_too_seldom() -> None:
    def naive(values: Floats, _: list[str]) -> Interval:
        return mean_interval(values, np.arange(len(values)))

    design = balanced(16, 4, 0.4)
    values = sessions("normal", design, SETS, np.random.default_rng(1))
    assert coverage(naive, values, design.who, 0.0)[0] < 0.90


@pytest.mark.parametrize(("rate", "patients"), [(0.02, 16), (0.1, 8), (0.1, 16), (0.4, 8), (0.4, 24)])
def test_of_rates(rate: float, patients: int) -> None:
    for design in (balanced(patients, 4, 0.3), unbalanced(patients, 0.3)):
        values = rates(rate, design, SETS, np.random.default_rng(1))
        assert coverage(proportion, values, design.who, rate)[0] >= 0.92


@pytest.mark.parametrize("kind", LEAST)
def test_of_the_worst_tenth(kind: str) -> None:
    design = balanced(16, 4, 0.3)
    values = sessions(kind, design, SETS, np.random.default_rng(1))
    assert coverage(worst_decile, values, design.who, lowest_tenth(kind, 0.3))[0] >= 0.91
