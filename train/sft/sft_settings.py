"""The settings of one supervised fine-tuning (SFT)."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import model_validator

from therapysim.personas.load import open_persona, training_ids
from therapysim.personas.own import id_of
from therapysim.personas.vary import MARK
from therapysim.settings import Count, Name, Names, Positive
from therapysim.train.run_settings import RunSettings, load, policy_setting, require, setting

__all__ = ["SFTSettings", "load_settings"]

_session = partial(setting, "sessions")
_learning = partial(setting, "learning")
_adapter = partial(setting, "adapter and memory")
_keeping = partial(setting, "checkpoints and validation")


class SFTSettings(RunSettings):
    """Everything that decides an SFT run; saved as ``settings.json`` in its folder.

    Sessions of other therapists are played with patients of the split, or read from session files. Of those with each
    patient the share ``best`` that earned most is learned from, the therapist's tokens alone.

    Raises:
        ConfigError: a value has the wrong type, is outside its range, or does not fit another.
        PersonaError: a persona is unknown, or one of the test patients.
    """

    training: ClassVar[str] = "sft"
    budgets: ClassVar[str] = "max_tokens"
    renamed: ClassVar[Mapping[str, str]] = {  # as other trainers call them
        "max_length": "max_tokens",
        "learning_rate": "lr",
        "warmup_steps": "warmup",
        "num_train_epochs": "max_steps",
        "epochs": "max_steps",
    }

    out: Name = policy_setting(
        "runs/sft", "folder of this run; one that holds a run already is refused, unless --resume", free=True
    )
    therapists: Names = _session(
        ("cbt", "mi", "attuned"), "therapists to copy: baselines, or any other policy that `therapysim bench` plays"
    )
    draws: Positive = _session(64, "sessions that each of them plays; all meet the same patients and seeds")
    sessions: Names = _session((), "session files to copy as well, or folders of them; `bench --sessions` writes some")
    best: float = _session(
        0.5, "share of each patient's sessions that is learned from: those that earned most", gt=0, le=1
    )
    vary: bool = _session(True, "play with variants of the patients: none is learned by heart")
    max_turns: Positive = _session(8, "therapist turns in a session that is played")
    max_turn_tokens: Positive = _session(
        128, "tokens of one therapist turn at most: the policy's limit; what goes on longer is not learned from"
    )
    max_tokens: Positive = _session(2048, "tokens of a session at most; what follows is left out, by whole turns")

    max_steps: Positive = _learning(100, "number of updates", free=True)
    batch_size: Positive = _learning(1, "sessions in one forward pass on each device: memory against speed")
    accumulation: Positive = _learning(
        16, "forward passes in an update; an update learns from batch_size x accumulation sessions"
    )
    lr: float = _learning(2e-4, "learning rate, constant after warmup", gt=0, lt=1)
    warmup: Count = _learning(0, "updates over which the learning rate rises from 0 to lr")

    lora_dropout: float = _adapter(0.0, "dropout of the adapter while it learns: it copies less by heart", ge=0, lt=1)

    save_steps: Positive = _keeping(50, "updates between two checkpoints", free=True)
    validate_every: Count = _keeping(50, "updates between two validations on dev patients; 0 makes none", free=True)
    validate_sessions: Positive = _keeping(
        16,
        "sessions in a validation, the same each time: those that the policy plays, and those it is held against",
        free=True,
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        some = bool(self.therapists or self.sessions)
        require("therapists", list(self.therapists), some, "at least one, or some sessions")
        require("therapists", list(self.therapists), len(set(self.therapists)) == len(self.therapists), "none twice")
        fits = self.max_turn_tokens <= self.max_tokens
        require("max_turn_tokens", self.max_turn_tokens, fits, f"at most max_tokens {self.max_tokens}")
        fixed = [
            i for i in training_ids(self.split, self.personas) if MARK in id_of(i) or open_persona(i).split != "train"
        ]
        require("vary", self.vary, not (self.vary and fixed), f"false: {', '.join(fixed)} cannot be varied")
        return self

    @property
    def context(self) -> int:
        """Tokens that one session may have."""
        return self.max_tokens


def load_settings(path: str | Path | None, overrides: Mapping[str, Any] | None = None) -> SFTSettings:
    """Settings of a YAML or JSON file, changed by ``overrides``.

    Raises:
        ConfigError: the file cannot be read, a name is unknown, or a value is not allowed.
        PersonaError: a persona is unknown, or one of the test patients.
    """
    return load(SFTSettings, path, overrides)
