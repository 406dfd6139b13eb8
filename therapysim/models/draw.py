"""Draws the tokens of each reply from a seed of its own, whatever else is in the batch."""

from collections.abc import Sequence
from typing import Any

import numpy as np

__all__ = ["warpers"]


class _RowNoise:
    """Adds Gumbel noise to each row of the logits from that row's own generator, so that the maximum is a sample.

    Source: Maddison, Tarlow and Minka (2014), A* Sampling, section 2: argmax(logits + Gumbel) ~ softmax(logits).
    """

    def __init__(self, seeds: Sequence[int]) -> None:
        self.rows = [np.random.default_rng(seed) for seed in seeds]

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        import torch

        drawn = np.stack([row.standard_exponential(scores.shape[1], dtype=np.float32) for row in self.rows])
        # -log of an exponential draw is Gumbel; the floor keeps a draw of exactly 0 from making an infinity.
        gumbel = -np.log(np.maximum(drawn, np.finfo(np.float32).tiny))
        return scores.float() + torch.from_numpy(gumbel).to(scores.device)


def warpers(temperature: float, top_p: float, seeds: Sequence[int]) -> list[Any]:
    """What is done to the logits before the maximum is taken; nothing at temperature 0."""
    from transformers import TemperatureLogitsWarper, TopPLogitsWarper

    if temperature == 0:
        return []
    nucleus = [TopPLogitsWarper(top_p)] if top_p < 1 else []
    return [TemperatureLogitsWarper(float(temperature)), *nucleus, _RowNoise(seeds)]
