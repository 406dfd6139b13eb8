"""Risk categories: which dimension drives which, how far, and what the environment tells of it."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from therapysim.envs.therapy import TherapySimEnv
from therapysim.envs.vector import TherapySimVectorEnv
from therapysim.errors import ConfigError
from therapysim.rewards.matrix import DIMENSIONS, deficit_dimension, polarity
from therapysim.rewards.risk import CATEGORIES, Lapse, RiskCategory, RiskThresholds, risk, risk_category, risks

WARM = "That sounds heavy, and I can hear how tired you are. What is it like for you?"


def rows(n: int = 500) -> np.ndarray:
    return np.random.default_rng(0).uniform(-1, 1, (n, 4)).round(1)


@pytest.mark.parametrize(
    ("dimensions", "category", "driver"),
    [
        ([-0.9, 0, -0.2, 0], "depressive", "introspection"),
        ([0, -0.9, -0.2, 0], "aggression/outburst", "temper"),
        ([0, 0, -0.9, -0.2], "withdrawal/contempt", "attitude"),
        ([0, 0, -0.2, -0.9], "anxiety/panic", "sensitivity"),
        ([0, -0.31, 0, 0], "aggression/outburst", "temper"),
        ([0, -0.3, 0, 0], "none", ""),  # at the thresholds, not below
        ([0.5, -0.9, 0.5, 0.5], "none", ""),  # the polarity is not low
        ([-0.29, -0.29, -0.29, -0.29], "none", ""),
        ([0, 0, 0, 0], "none", ""),
    ],
)
def test_each_dimension_drives_its_category(dimensions: list[float], category: str, driver: str) -> None:
    found = risk(dimensions)
    assert (found.category, found.driver) == (category, driver) and risk_category(dimensions) == category
    assert found.polarity == float(polarity(dimensions))


def test_what_else_lies_below_is_listed_by_depth() -> None:
    found = risk([-0.5, -0.4, 0.1, -0.8])
    assert found.driver == "sensitivity" and found.depth == pytest.approx(0.5)
    assert [lapse.dimension for lapse in found.others] == ["introspection", "temper"]
    assert [lapse.depth for lapse in found.others] == pytest.approx([0.2, 0.1])


def test_without_a_risk_all_that_lies_below_is_listed() -> None:
    found = risk([0.9, -0.4, 0.9, -0.5])
    assert (found.category, found.driver, found.depth) == (RiskCategory.NONE, "", 0.0)
    assert [lapse.dimension for lapse in found.others] == ["sensitivity", "temper"]


def test_the_driver_is_the_deepest_below_its_own_threshold_not_the_lowest() -> None:
    found = risk([-0.9, 0, 0, -0.5], RiskThresholds(introspection=-0.85))
    assert found.driver == "sensitivity" and found.depth == pytest.approx(0.2)
    assert found.others == (Lapse("introspection", pytest.approx(0.05)),)
    assert risk_category([-1, 0, 0, 0], RiskThresholds(introspection=-1)) is RiskCategory.NONE  # switched off


def test_equally_deep_dimensions_go_by_their_order() -> None:
    found = risk([0.0, -0.7, -0.7, -0.7])
    assert found.driver == "temper" and [x.dimension for x in found.others] == ["attitude", "sensitivity"]
    for d in rows():
        if (found := risk(d)).driver:
            assert found.driver == DIMENSIONS[deficit_dimension(d)]
            assert found.category is CATEGORIES[found.driver]


def test_a_batch_reads_like_single_vectors() -> None:
    thresholds = RiskThresholds(polarity_below=-0.1, temper=-0.6, count="smooth")
    together = risks(rows(), thresholds)
    assert together == tuple(risk(d, thresholds) for d in rows())
    assert {found.category for found in together} == set(RiskCategory)
    assert risks(np.zeros((0, 4))) == ()


@pytest.mark.parametrize("limit", [-0.3, -0.4, -0.5, -0.7])  # the float32 of the first two lies below the float64
def test_what_equals_a_threshold_does_not_lie_below_it(limit: float) -> None:
    alone = [limit, 0, 0, 0]  # its polarity is the value itself
    assert risk(alone, RiskThresholds(polarity_below=limit, introspection=0)).category is RiskCategory.NONE
    assert risk(alone, RiskThresholds(polarity_below=limit + 0.01, introspection=0)).driver == "introspection"
    equal = RiskThresholds(0, limit, limit, limit, limit)
    assert risk(alone, equal).category is RiskCategory.NONE and risk(alone, equal).others == ()
    assert risk([limit, limit, limit, -0.9], equal).others == ()


def test_thresholds_are_settable() -> None:
    mild = [0, 0, 0, -0.25]
    assert risk_category(mild) is RiskCategory.NONE
    assert risk_category(mild, RiskThresholds(sensitivity=-0.2)) is RiskCategory.NONE
    assert risk_category(mild, RiskThresholds(polarity_below=-0.2)) is RiskCategory.NONE
    assert risk_category(mild, RiskThresholds(polarity_below=-0.2, sensitivity=-0.2)) is RiskCategory.ANXIETY


def test_the_smooth_count_can_be_chosen() -> None:
    split = [-0.5, 0.06, 0, 0]  # two dimensions by the hard count, so that the polarity is halved
    assert risk_category(split) is RiskCategory.NONE
    assert risk_category(split, RiskThresholds(count="smooth")) is RiskCategory.DEPRESSIVE


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"temper": -1.5}, "risk threshold temper is -1.5, expected a number from -1 to 1"),
        ({"polarity_below": float("nan")}, "risk threshold polarity_below is nan"),
        ({"attitude": True}, "risk threshold attitude is True"),
        ({"count": "soft"}, "count is 'soft', expected 'hard' or 'smooth'"),
    ],
)
def test_wrong_thresholds_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        RiskThresholds(**values)


def test_wrong_vectors_are_refused() -> None:
    with pytest.raises(ValueError, match=r"shape \(3,\), expected \(4,\): introspection"):
        risk([0, 0, 0])
    with pytest.raises(ValueError, match=r"shape \(2, 4\), expected \(4,\).*risks"):
        risk(np.zeros((2, 4)))
    with pytest.raises(ValueError, match=r"shape \(4,\), expected \(n, 4\)"):
        risks(np.zeros(4))
    with pytest.raises(ValueError, match=r"dimensions\[1\] is .*nan.*, expected finite"):
        risks([[0, 0, 0, 0], [0, float("nan"), 0, 0]])


def test_the_environment_tells_the_risk_and_what_drove_it() -> None:
    env = gym.make("TherapySim-v0", persona="owen")
    shown, info = env.reset(seed=0)
    seen = set()
    for _ in range(8):
        found = risk(shown["affect"])
        assert type(info["risk"]) is str and info["risk"] == found.category and info["risk_driver"] == found.driver
        assert info["risk_depth"] == found.depth and info["risk_others"] == tuple(x.dimension for x in found.others)
        seen.add(info["risk"])
        shown, _, _, _, info = env.step("Why?")
    assert len(seen) > 1


def test_the_environments_thresholds_are_settable() -> None:
    keen = RiskThresholds(1, 1, 1, 1, 1)
    env, many = TherapySimEnv(risk_thresholds=keen), TherapySimVectorEnv(2, risk_thresholds=keen)
    first, second = env.reset(seed=4)[1], many.reset(seed=4)[1]
    assert first["risk_driver"] == first["deficit"] == second["risk_driver"][0] and len(first["risk_others"]) == 3
    info, infos = env.step(WARM)[4], many.step([WARM, WARM])[4]
    assert info["risk"] == infos["risk"][0] != "none" and info["risk_depth"] == infos["risk_depth"][0] > 0
    never = TherapySimEnv(risk_thresholds=RiskThresholds(polarity_below=-1))
    never.reset(seed=4)
    assert {never.step("You are useless.")[4]["risk"] for _ in range(2)} == {"none"}
    with pytest.raises(ConfigError, match=r"risk_thresholds is -0\.5, expected a RiskThresholds"):
        TherapySimEnv(risk_thresholds=-0.5)  # type: ignore[arg-type]
