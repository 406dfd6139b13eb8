"""GRPO over whole sessions; ``run`` reads top to bottom as the whole training."""

from typing import Any

from therapysim.moved import refuse_renamed


def __getattr__(name: str) -> Any:
    refuse_renamed(__name__, name, {"train": "therapysim.train.train_grpo"})
