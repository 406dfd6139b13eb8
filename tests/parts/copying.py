"""Small SFT runs: a tiny model that copies a few short sessions of a script."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from tests.parts.run_files import rows
from therapysim.envs.batch import SessionBatch, SessionConfig
from therapysim.personas.patient import Patient
from therapysim.train.runs.start_up import TrainResult
from therapysim.train.sft.run import train
from therapysim.train.sft.sft_settings import SFTSettings

__all__ = ["Copy", "copier", "patients", "same", "settings", "weights"]

Copy = Callable[..., TrainResult]
# Six sessions to copy, three an update: two updates are an epoch.
SHAPE: dict[str, Any] = {
    "therapists": ("cbt", "attuned"), "draws": 3, "best": 1.0, "max_turns": 2, "max_steps": 4, "batch_size": 3,
    "accumulation": 1, "lr": 3e-2, "save_steps": 2, "validate_every": 0, "validate_sessions": 2, "max_turn_tokens": 96,
}  # fmt: skip


def settings(source: Path, out: Path, **changes: Any) -> SFTSettings:
    """Those of a small run, changed."""
    return SFTSettings(**{"model": str(source), "out": str(out), **SHAPE, **changes})


def patients(patient: Patient | None = None, max_turns: int = 2) -> SessionBatch:
    """Whom the therapists meet, with the rubric that a run has by itself."""
    return SessionBatch(SessionConfig(max_turns=max_turns), patient=patient, rubric="grpo")


def copier(model: Path, place: Path) -> Copy:
    """Trains in folders of ``place``: ``copier(...)("one", lr=0.1)``."""

    def start(out: str = "run", patient: Patient | None = None, **changes: Any) -> TrainResult:
        return train(settings(model, place / out, **changes), patients(patient))

    return start


def weights(result: TrainResult) -> dict[str, torch.Tensor]:
    """Of the adapter that a run left."""
    return dict(load_file(result.policy / "adapter_model.safetensors"))


def same(one: TrainResult, other: TrainResult, *leave_out: str) -> bool:
    """Whether two runs went the same way, number for number, and ended with the same policy."""
    a, b = weights(one), weights(other)
    return rows(one.out, *leave_out) == rows(other.out, *leave_out) and all(torch.equal(a[n], b[n]) for n in a)
