"""Direct preference optimisation of a therapist on pairs of answers, through TRL.

The run itself stands in ``train/runs/on_rows.py``; how pairs are read in ``pairs.py``, how one becomes tokens in
``pair_tokens.py``, what a run keeps of both in ``data.py``, how β is suggested in ``beta.py``.

Source: Rafailov et al. 2023, "Direct Preference Optimization: Your Language Model is Secretly a Reward Model";
https://huggingface.co/docs/trl (DPOTrainer).
"""

from typing import Any

from trl import DPOConfig, DPOTrainer

from therapysim.envs.batch import SessionBatch
from therapysim.train.dpo.data import dev_set, keep_pairs, practice_set
from therapysim.train.dpo.dpo_settings import AUTO, DPOSettings, require_pairs
from therapysim.train.dpo.validate import PairCheck
from therapysim.train.runs.on_rows import RowTrainer, Way, learn, shared_arguments
from therapysim.train.runs.start_up import TrainResult

__all__ = ["PairDPOTrainer", "train"]


class PairDPOTrainer(RowTrainer, DPOTrainer):
    """TRL's trainer, fail-safe, on pairs that are tokens already.

    The reference is the policy as it was loaded: its base where the adapter is new, else TRL's copy of the adapter.
    """

    def _prepare_dataset(self, dataset: Any, *_: Any) -> Any:
        """As it is: TRL would tokenise prompt and answers in a way of its own."""
        return dataset


def train(settings: DPOSettings, batch: SessionBatch | None = None) -> TrainResult:
    """Trains a policy to prefer the chosen answer of each pair to the rejected one.

    Args:
        settings: of the run.
        batch: the patients that the policy plays with in validations; by default scripted ones, with the shipped
            sensor and the settings' rubric.

    Raises:
        ConfigError: settings do not fit one another, the model, or the run that is resumed; or a line of the files is
            no pair to learn from.
        ModelError: the model cannot be loaded, or its chat template does not suit sessions of many turns.
        PersonaError: a persona or split is unknown.
        TrainingError: the run cannot go on, or SIGTERM ended it; its folder holds what it has learnt.
    """
    require_pairs(settings)
    return learn(_WAY, settings, batch)


def trl_arguments(settings: DPOSettings) -> DPOConfig:
    """The settings in TRL's words."""
    return DPOConfig(
        **shared_arguments(settings),
        beta=0.1 if settings.beta == AUTO else float(settings.beta),  # auto is set once the start has played
        loss_type=[settings.loss_type, *(["sft"] if settings.sft_weight else [])],
        loss_weights=[1.0, settings.sft_weight] if settings.sft_weight else None,
        label_smoothing=settings.label_smoothing,
        disable_dropout=not settings.lora_dropout,
    )


_WAY: Way[DPOSettings] = Way(
    PairDPOTrainer, trl_arguments, lambda settings, _: keep_pairs(settings), practice_set, dev_set, PairCheck
)
