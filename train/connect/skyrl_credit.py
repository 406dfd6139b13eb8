"""SkyRL: credit by the turn, for its trainer: ``trainer.algorithm.advantage_estimator=therapysim_turn``."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from therapysim.train.grpo.advantages import by_turn, rewards_to_go, spread_over_tokens

if TYPE_CHECKING:
    import torch

__all__ = ["ESTIMATOR", "register_advantages", "turn_advantages"]

#: What the trainer's settings call it.
ESTIMATOR = "therapysim_turn"


def register_advantages() -> None:
    """Makes SkyRL's trainer know the estimator; needs the package ``skyrl``."""
    from skyrl.backends.skyrl_train.utils.ppo_utils import register_advantage_estimator

    register_advantage_estimator(ESTIMATOR)(turn_advantages)


def turn_advantages(
    token_level_rewards: "torch.Tensor",
    response_mask: "torch.Tensor",
    index: Sequence[Any],
    *,
    grpo_norm_by_std: bool = True,
    **_: Any,
) -> tuple["torch.Tensor", "torch.Tensor"]:
    """Each token gets its turn's reward-to-go against that of the group, as ``train grpo --advantage turn`` has it.

    Args:
        token_level_rewards: shape (B, T), each turn's reward on its last token, 0 elsewhere.
        response_mask: shape (B, T), 1 where a session has tokens.
        index: whose group each row is of.
        grpo_norm_by_std: divide by the group's spread at that turn.

    Returns:
        Advantages and rewards-to-go, each (B, T), 0 outside the mask.
    """
    import torch

    table = token_level_rewards.detach().cpu().double().numpy()
    ends = [np.flatnonzero(row) for row in table]
    earned = [row[own].tolist() for row, own in zip(table, ends, strict=True)]
    turns = [np.searchsorted(own, np.arange(table.shape[1])) for own in ends]
    turn_ids = [np.where(row < len(own), row, -1) for row, own in zip(turns, ends, strict=True)]
    advantages = np.zeros((len(earned), max(map(len, earned), default=0)))
    groups: dict[Any, list[int]] = {}
    for i, own in enumerate(index):
        groups.setdefault(own, []).append(i)
    for group in groups.values():
        if len(group) > 1:
            found = by_turn([earned[i] for i in group], [False] * len(group), len(group),
                            "group" if grpo_norm_by_std else "none")  # fmt: skip
            advantages[group, : found.shape[1]] = found
    to_go = np.nan_to_num(rewards_to_go(earned))
    ids, width = [row.tolist() for row in turn_ids], table.shape[1]
    spread = (torch.from_numpy(spread_over_tokens(values, ids, width)) for values in (advantages, to_go))
    mask = response_mask.to(token_level_rewards.dtype)
    first, second = (own.to(token_level_rewards) * mask for own in spread)
    return first, second
