"""The settings of one training on preferences (DPO), and its presets."""

import math
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, model_validator

from therapysim.errors import ConfigError
from therapysim.records import shown, wrong
from therapysim.settings import Count, Name, Names, Number, Positive
from therapysim.train.preset_sets import Presets
from therapysim.train.run_settings import RunSettings, policy_setting, require, setting

__all__ = ["AUTO", "DPOSettings", "load_settings", "preset_notes", "presets", "require_pairs"]

#: The β that is taken from the first validation; see ``beta.py``.
AUTO: Literal["auto"] = "auto"

# The losses that read label_smoothing.
_SMOOTHED = ("robust", "exo_pair")

_session = partial(setting, "sessions")
_learning = partial(setting, "learning")
_adapter = partial(setting, "adapter and memory")
_keeping = partial(setting, "checkpoints and validation")


def _beta(given: Any) -> Any:
    """A number above 0, or the word; a text that is a number will do, as the command line gives it."""
    try:
        value = given if given == AUTO else float(given)
    except (TypeError, ValueError):
        value = math.nan
    if value != AUTO and not 0 < value < math.inf:
        raise wrong(shown(given), f"a number above 0, or {AUTO}")
    return value


class DPOSettings(RunSettings):
    """Everything that decides a DPO run; saved as ``settings.json`` in its folder.

    Each pair is a prompt with a chosen and a rejected answer, read from files. An update learns from ``batch_size`` x
    ``accumulation`` pairs. The reference is the policy that the run starts from.

    Raises:
        ConfigError: a value has the wrong type, is outside its range, or does not fit another.
        PersonaError: a persona is unknown, or one of the test patients.
    """

    training: ClassVar[str] = "dpo"
    budgets: ClassVar[str] = "max_tokens"
    renamed: ClassVar[Mapping[str, str]] = {  # as other trainers call them
        "max_length": "max_tokens",
        "learning_rate": "lr",
        "warmup_steps": "warmup",
        "num_train_epochs": "max_steps",
        "epochs": "max_steps",
        "dataset": "pairs",
        "data": "pairs",
        "sample_every": "validate_every",
    }

    out: Name = policy_setting(
        "runs/dpo", "folder of this run; one that holds a run already is refused, unless --resume", free=True
    )
    pairs: Names = _session((), "JSONL files of pairs: prompt, chosen, rejected; `therapysim data pairs` writes some")
    dev_pairs: Names = _session((), "such files that are not learned from: each validation says how they are ranked")
    split: Literal["train", "dev"] = _session(
        "train", "patients whose pairs may be learned from; those of test are kept apart for benchmarks"
    )
    vary: bool = _session(True, "take pairs of variants of these patients too")
    max_turns: Positive = _session(8, "therapist turns in a session of a validation at most")
    max_turn_tokens: Positive = _session(
        128,
        "tokens of one therapist turn at most: the policy's limit; pairs whose chosen answer is longer are left out",
    )
    max_tokens: Positive = _session(2048, "tokens of a prompt with an answer at most; longer pairs are left out")

    max_steps: Positive = _learning(1000, "number of updates", free=True)
    batch_size: Positive = _learning(2, "pairs in one forward pass on each device: memory against speed")
    accumulation: Positive = _learning(
        4, "forward passes in an update; an update learns from batch_size x accumulation pairs"
    )
    lr: float = _learning(5e-5, "learning rate, constant after warmup", gt=0, lt=1)
    warmup: Count = _learning(0, "updates over which the learning rate rises from 0 to lr")
    beta: Annotated[float | Literal["auto"], BeforeValidator(_beta)] = _learning(
        0.1, "how closely the policy is held to its start; auto takes what the first validation suggests"
    )
    loss_type: Literal["sigmoid", "sigmoid_norm", "ipo", "hinge", "robust", "exo_pair", "apo_zero", "apo_down"] = (
        _learning("sigmoid", "what is minimised, in TRL's words; docs/training.md says what each is for")
    )
    label_smoothing: float = _learning(
        0.0, "share of pairs that may be the wrong way round; with robust or exo_pair", ge=0, lt=0.5
    )
    sft_weight: Number = _learning(0.0, "weight of a loss that copies the chosen answers, added to the other")

    lora_dropout: float = _adapter(0.0, "dropout of the adapter while it learns", ge=0, lt=1)

    save_steps: Positive = _keeping(100, "updates between two checkpoints", free=True)
    validate_every: Count = _keeping(100, "updates between two validations on dev patients; 0 makes none", free=True)
    validate_sessions: Positive = _keeping(16, "sessions in a validation, the same each time", free=True)

    @model_validator(mode="after")
    def _check(self) -> Self:
        fits = self.max_turn_tokens < self.max_tokens
        require("max_turn_tokens", self.max_turn_tokens, fits, f"less than max_tokens {self.max_tokens}")
        smoothed = self.loss_type in _SMOOTHED or not self.label_smoothing
        require("label_smoothing", self.label_smoothing, smoothed, f"0, since loss_type is {self.loss_type}")
        given = self.loss_type != "exo_pair" or self.label_smoothing > 0
        require("label_smoothing", self.label_smoothing, given, "above 0, such as 0.001, since loss_type is exo_pair")
        told = self.beta != AUTO or self.validate_every > 0
        require("beta", self.beta, told, "a number, since validate_every is 0 and no validation suggests one")
        return self

    @property
    def context(self) -> int:
        """Tokens that a prompt with an answer may have."""
        return self.max_tokens


def require_pairs(settings: DPOSettings) -> None:
    """Told before anything is loaded or written.

    Raises:
        ConfigError: no file is named.
    """
    if not settings.pairs:
        raise ConfigError(
            "pairs is [], expected at least one JSONL file of prompt, chosen and rejected; write one by `therapysim "
            "data pairs`, and name it by --pairs FILE"
        )


_PRESETS = Presets(DPOSettings, Path(__file__).with_name("presets.yaml"))
presets, preset_notes, load_settings = _PRESETS.settings, _PRESETS.notes, _PRESETS.load
