"""Credit: by session, by turn, mixed; failures and groups that fared alike."""

import numpy as np
import pytest

from therapysim.errors import ConfigError
from therapysim.train.grpo.advantages import (
    by_trajectory,
    by_turn,
    mixed,
    rewards_to_go,
    spread_over_tokens,
    within_groups,
)

FINE = [False] * 4


def test_trajectory_compares_sums_within_each_group() -> None:
    rewards = [[1.0, 2.0], [4.0, 3.0], [10.0], [20.0]]
    low, high, third, fourth = by_trajectory(rewards, FINE, 2)
    deviation = np.std([3.0, 7.0], ddof=1)
    assert low == pytest.approx(-2.0 / (deviation + 1e-4))
    assert high == pytest.approx(-low)
    # Another group's level makes no difference.
    assert (third, fourth) == pytest.approx((low, high), rel=1e-3)


def test_trajectory_is_what_trl_computes() -> None:
    torch = pytest.importorskip("torch")
    returns = torch.tensor([1.0, 2.0, 4.0, 4.5])
    expected = (returns - returns.mean()) / (returns.std() + 1e-4)
    ours = by_trajectory([[r] for r in returns.tolist()], FINE, 4)
    np.testing.assert_allclose(ours, expected.numpy(), rtol=1e-5)


def test_a_group_without_spread_gets_nothing() -> None:
    rewards = [[1.0, 1.0], [2.0, 0.0], [1.5, 0.5], [0.0, 2.0]]
    np.testing.assert_array_equal(by_trajectory(rewards, FINE, 4), np.zeros(4))


def test_the_spread_may_be_the_groups_the_generations_or_left_out() -> None:
    rewards = [[1.0], [3.0], [10.0], [30.0]]
    np.testing.assert_array_equal(by_trajectory(rewards, FINE, 2, "none"), [-1.0, 1.0, -10.0, 10.0])
    spread = np.sqrt((1 + 1 + 100 + 100) / 2)  # two groups, one degree of freedom each
    np.testing.assert_allclose(by_trajectory(rewards, FINE, 2, "batch"), np.array([-1, 1, -10, 10]) / (spread + 1e-4))
    turns = by_turn([[1.0, 1.0], [3.0, 2.0], [1.0], [2.0]], FINE, 2, "none")
    np.testing.assert_array_equal(turns, [[-1.5, -0.5], [1.5, 0.5], [-0.5, 0.0], [0.5, 0.0]])
    table = mixed(rewards, [False, True, False, False], 2, 0.5, "batch")
    assert table.shape == (4, 1) and table[:2].tolist() == [[0.0], [0.0]] and table[3] > 0


def test_a_failed_session_counts_for_nothing() -> None:
    rewards = [[1.0], [3.0], [-99.0], [2.0]]
    failed = [False, False, True, False]
    with_failure = by_trajectory(rewards, failed, 4)
    without = by_trajectory([[1.0], [3.0], [2.0]], [False] * 3, 3)
    np.testing.assert_allclose(with_failure[[0, 1, 3]], without)
    assert with_failure[2] == 0.0
    assert by_turn(rewards, failed, 4)[2].tolist() == [0.0]


def test_a_group_that_failed_whole_gets_nothing() -> None:
    np.testing.assert_array_equal(by_trajectory([[], [], [1.0], [3.0]], [True, True, False, False], 2)[:2], [0, 0])


@pytest.mark.parametrize("turns", [[], [1.0]])
def test_sessions_that_all_failed_have_no_turn_to_credit(turns: list[float]) -> None:
    for table in (by_turn([turns] * 4, [True] * 4, 2), mixed([turns] * 4, [True] * 4, 2, 0.5)):
        assert table.shape == (4, len(turns)) and not table.any()
        assert not spread_over_tokens(table, [[-1, -1]] * 4, 3).any()


def test_only_one_survivor_has_nothing_to_be_compared_with() -> None:
    assert by_trajectory([[5.0], []], [False, True], 2).tolist() == [0.0, 0.0]


def test_rewards_to_go() -> None:
    table = rewards_to_go([[1.0, 2.0, 3.0], [4.0], []])
    np.testing.assert_array_equal(table[0], [6.0, 5.0, 3.0])
    np.testing.assert_array_equal(table[1, 0], 4.0)
    assert np.isnan(table[1, 1:]).all() and np.isnan(table[2]).all()


def test_by_turn_compares_only_members_that_reached_the_turn() -> None:
    rewards = [[0.0, 1.0, 5.0], [0.0, 3.0], [0.0]]
    table = by_turn(rewards, [False] * 3, 3)
    first, second = np.array([6.0, 3.0, 0.0]), np.array([6.0, 3.0])
    np.testing.assert_allclose(table[:, 0], (first - first.mean()) / (first.std(ddof=1) + 1e-4))
    np.testing.assert_allclose(table[:2, 1], (second - second.mean()) / (second.std(ddof=1) + 1e-4))
    assert table[2, 1] == 0.0
    # Alone in the third turn: no comparison.
    np.testing.assert_array_equal(table[:, 2], np.zeros(3))


def test_by_turn_credits_no_turn_with_what_came_before_it() -> None:
    early, late = [9.0, 1.0], [0.0, 2.0]
    table = by_turn([early, late], [False] * 2, 2)
    assert table[0, 0] > 0 > table[1, 0]
    assert table[0, 1] < 0 < table[1, 1]


@pytest.mark.parametrize(("turn_weight", "source"), [(0.0, "trajectory"), (1.0, "turn")])
def test_mixed_has_both_ends(turn_weight: float, source: str) -> None:
    rewards = [[1.0, 0.0], [0.0, 3.0]]
    whole = np.repeat(by_trajectory(rewards, [False] * 2, 2)[:, None], 2, axis=1)
    expected = whole if source == "trajectory" else by_turn(rewards, [False] * 2, 2)
    np.testing.assert_allclose(mixed(rewards, [False] * 2, 2, turn_weight), expected)


def test_spread_over_tokens_leaves_the_patient_and_the_padding_out() -> None:
    table = spread_over_tokens(np.array([[0.5, -2.0], [1.0, 0.0]]), [[0, 0, -1, 1], [0]], 6)
    np.testing.assert_array_equal(table, [[0.5, 0.5, 0, -2.0, 0, 0], [1.0, 0, 0, 0, 0, 0]])


@pytest.mark.parametrize("size", [1, 3])
def test_groups_must_be_whole(size: int) -> None:
    with pytest.raises(ConfigError, match="whole groups"):
        by_trajectory([[1.0]] * 4, FINE, size)


def test_the_spread_within_groups_leaves_out_what_lies_between_them() -> None:
    rewards = [[1.0], [3.0], [101.0], [103.0]]
    assert within_groups(rewards, FINE, 2) == pytest.approx(np.std([1.0, 3.0], ddof=1))
    assert within_groups(rewards, [False, True, False, False], 2) == pytest.approx(np.std([101.0, 103.0], ddof=1))
    assert within_groups([[1.0], [1.0]], [True, False], 2) == 0.0
