"""How much better a session, or a turn of it, went than its group's: pure functions, no model in sight.

Rows come group by group: rows ``k*size`` to ``(k+1)*size - 1`` share persona and seed, so that the mean of a group is
what this patient would have given to an average policy. A failed session (its patient never answered) has no return: it
counts for nothing in its group, and its advantage is 0. So has a group in which all fared alike. First turns that the
sessions of a group share have NaN for rewards: nothing is compared there, and returns count from the next turn on.
"""

import math
from collections.abc import Sequence
from itertools import dropwhile
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from therapysim.errors import ConfigError

__all__ = ["Scale", "by_trajectory", "by_turn", "flat_groups", "mixed", "rewards_to_go", "spread_over_tokens",
           "within_groups"]  # fmt: skip

Floats = NDArray[np.float64]
TurnRewards = Sequence[Sequence[float]]
#: What differences from the group's mean are divided by: the group's spread (Shao et al. 2024), that of all groups
#: together, so that a group that hardly differs counts little, or nothing (Liu et al. 2025, Dr. GRPO).
Scale = Literal["group", "batch", "none"]

# As in TRL: keeps a group that fared almost alike from being blown up to unit spread.
_EPSILON = 1e-4


def by_trajectory(turn_rewards: TurnRewards, failed: Sequence[bool], size: int, scale: Scale = "group") -> Floats:
    """Group-normalised returns (sums over the turns), shape (B,).

    Source: Shao et al. 2024, DeepSeekMath, section 4.1.2 (outcome supervision).
    """
    return _normalise(_returns(turn_rewards, failed), size, scale)[:, 0]


def by_turn(turn_rewards: TurnRewards, failed: Sequence[bool], size: int, scale: Scale = "group") -> Floats:
    """Rewards-to-go, normalised turn by turn over the members that reached it; shape (B, turns), 0 beyond the end.

    After Shao et al. 2024, DeepSeekMath, section 4.1.3 (process supervision), with turns for steps. There, the rewards
    of steps are normalised and then added up; here, the sums are normalised, each turn against its own peers.
    """
    return _normalise(_to_go(turn_rewards, failed), size, scale)


def mixed(
    turn_rewards: TurnRewards, failed: Sequence[bool], size: int, turn_weight: float, scale: Scale = "group"
) -> Floats:
    """``turn_weight`` of the turn's credit and the rest of the session's, shape (B, turns)."""
    whole = by_trajectory(turn_rewards, failed, size, scale)[:, None]
    return (1 - turn_weight) * whole + turn_weight * by_turn(turn_rewards, failed, size, scale)


def rewards_to_go(turn_rewards: TurnRewards) -> Floats:
    """What each turn and those after it earned, shape (B, longest), NaN beyond a session's end and for shared turns."""
    table = np.full((len(turn_rewards), max((len(r) for r in turn_rewards), default=0)), np.nan)
    for row, rewards in zip(table, turn_rewards, strict=True):
        row[: len(rewards)] = np.cumsum(np.asarray(rewards, dtype=np.float64)[::-1])[::-1]
    return table


def spread_over_tokens(advantages: Floats, turn_ids: Sequence[Sequence[int]], width: int) -> Floats:
    """Each token's advantage from its turn's, shape (B, width).

    Args:
        advantages: shape (B, turns).
        turn_ids: for each token of a session the turn it belongs to, -1 where the patient speaks.
        width: the longest session in tokens, with padding.
    """
    table = np.zeros((len(turn_ids), width))
    for row, own, turns in zip(table, advantages, turn_ids, strict=True):
        ids = np.asarray(turns, dtype=np.int64)
        spoken = np.flatnonzero(ids >= 0)
        row[spoken] = own[ids[spoken]]
    return table


def within_groups(turn_rewards: TurnRewards, failed: Sequence[bool], size: int) -> float:
    """The spread of returns within a group (standard deviation, n - 1), mean over groups: what there is to learn from.

    Groups with fewer than two sound sessions are left out; 0 where no other is left.
    """
    groups = _returns(turn_rewards, failed).reshape(-1, size)
    spreads = [float(np.std(own, ddof=1)) for group in groups if len(own := group[~np.isnan(group)]) > 1]
    return float(np.mean(spreads or [0.0]))


def flat_groups(
    turn_rewards: TurnRewards, failed: Sequence[bool], size: int, below: float, *, by_turn: bool = False
) -> list[int]:
    """Numbers of the groups in which all fared alike, so that there is nothing to learn from them.

    Alike: the standard deviation (n - 1) of their returns is less than ``below``, and ``by_turn`` that of the
    rewards-to-go of any turn. A group with fewer than two sound sessions has nothing to compare, and is not flat.
    """
    values = _to_go(turn_rewards, failed) if by_turn else _returns(turn_rewards, failed)
    centred, count = _centred(values, size)
    spreads = np.sqrt((centred**2).sum(axis=1) / np.maximum(count[:, 0] - 1, 1)).max(axis=1, initial=0.0)
    compared = count[:, 0].max(axis=1, initial=0) > 1
    return [int(group) for group in np.flatnonzero(compared & (spreads < below))]


def _returns(turn_rewards: TurnRewards, failed: Sequence[bool]) -> Floats:
    """Sums over the turns that are not shared, shape (B, 1), NaN for a failed session."""
    returns = np.array([sum(dropwhile(math.isnan, rewards)) for rewards in turn_rewards], dtype=np.float64)
    returns[np.asarray(failed, dtype=bool)] = np.nan
    return returns[:, None]


def _to_go(turn_rewards: TurnRewards, failed: Sequence[bool]) -> Floats:
    """Rewards-to-go, shape (B, turns), NaN for a failed session and beyond another's end."""
    to_go = rewards_to_go(turn_rewards)
    to_go[np.asarray(failed, dtype=bool)] = np.nan
    return to_go


def _centred(values: Floats, size: int) -> tuple[Floats, NDArray[np.int64]]:
    """Distances from the mean of each column of each group, over what is not NaN and 0 there; how many these were.

    Shapes (groups, size, columns) and (groups, 1, columns).
    """
    if size < 2 or len(values) % size:
        raise ConfigError(f"{len(values)} sessions do not make whole groups of {size}; expected a multiple, size >= 2")
    grouped = values.reshape(len(values) // size, size, values.shape[1])  # no turns at all where every patient failed
    there = ~np.isnan(grouped)
    count = there.sum(axis=1, keepdims=True)
    mean = np.nansum(grouped, axis=1, keepdims=True) / np.maximum(count, 1)
    return np.where(there, grouped - mean, 0.0), count


def _normalise(values: Floats, size: int, scale: Scale = "group") -> Floats:
    """(x - mean) / (std + eps) down each column of each group, over what is not NaN; std as ``scale`` says.

    0 where there is nothing to compare. The deviation is the sample's (n - 1), as in TRL.
    """
    centred, count = _centred(values, size)
    if scale == "none":
        return np.asarray(centred.reshape(values.shape))
    over = (0, 1) if scale == "batch" else 1
    free = np.maximum((np.maximum(count, 1) - 1).sum(axis=over, keepdims=True), 1)
    deviation = np.sqrt((centred**2).sum(axis=over, keepdims=True) / free)
    return np.asarray((centred / (deviation + _EPSILON)).reshape(values.shape))
