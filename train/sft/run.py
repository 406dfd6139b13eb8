"""Supervised fine-tuning of a therapist on sessions of others, through TRL.

The run itself stands in ``train/runs/on_rows.py``; what is copied in ``examples.py``, how a session becomes tokens in
``tokens.py``, what a run keeps of both in ``data.py``.

Source: Ouyang et al. 2022, "Training language models to follow instructions with human feedback" (SFT before
reinforcement learning); https://huggingface.co/docs/trl (SFTTrainer).
"""

from trl import SFTConfig, SFTTrainer

from therapysim.envs.batch import SessionBatch
from therapysim.train.runs.on_rows import RowTrainer, Way, learn, shared_arguments
from therapysim.train.runs.start_up import TrainResult
from therapysim.train.sft.data import dev_set, keep_sessions, practice_set
from therapysim.train.sft.sft_settings import SFTSettings
from therapysim.train.sft.validate import Check

__all__ = ["SessionSFTTrainer", "train"]


class SessionSFTTrainer(RowTrainer, SFTTrainer):
    """TRL's trainer, fail-safe, with the loss on dev sessions."""


def train(settings: SFTSettings, batch: SessionBatch | None = None) -> TrainResult:
    """Trains a policy to say what other therapists said.

    Args:
        settings: of the run.
        batch: the patients that the others play with, and the policy in validations; by default scripted ones, with
            the shipped sensor and the settings' rubric.

    Raises:
        ConfigError: settings do not fit one another, the model, or the run that is resumed.
        ModelError: the model cannot be loaded, or its chat template does not suit sessions of many turns.
        PersonaError: a persona or split is unknown.
        TrainingError: the run cannot go on, or SIGTERM ended it; its folder holds what it has learnt.
    """
    return learn(_WAY, settings, batch)


def trl_arguments(settings: SFTSettings) -> SFTConfig:
    """The settings in TRL's words."""
    ready = {"skip_prepare_dataset": True}  # they are tokens already
    return SFTConfig(**shared_arguments(settings), dataset_kwargs=ready)


_WAY = Way(SessionSFTTrainer, trl_arguments, keep_sessions, practice_set, dev_set, Check)
