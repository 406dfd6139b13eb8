"""Validation of a policy that learns from pairs: how it ranks those kept apart, and what it earns with dev patients.

Before the first update the policy is its own reference, so that its sessions tell how unsafe the start is, and β is
suggested from them.
"""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from transformers import TrainerControl, TrainerState, TrainingArguments

from therapysim.agents.bench.results import SessionResult
from therapysim.envs.batch import SessionBatch
from therapysim.errors import ConfigError, TrainingError
from therapysim.files import write_json
from therapysim.records import read_record
from therapysim.rewards.matrix import DIMENSIONS, polarity
from therapysim.train.dpo.beta import Suggestion, suggest
from therapysim.train.dpo.dpo_settings import AUTO, DPOSettings
from therapysim.train.runs.run_folder import announce
from therapysim.train.runs.start_up import by_one
from therapysim.train.sft.validate import MEASURES, Check, scores

__all__ = ["BETA", "PairCheck", "pair_scores"]

#: In a run's folder: what the first validation says of β.
BETA = "beta.json"
# Of what TRL measures of the pairs that are kept apart, the names in a validation.
_RANKED = {"rewards/accuracies": "accuracy", "rewards/margins": "margin"}


class PairCheck(Check):
    """Before the first update, every ``validate_every`` and after the last; the first suggests β.

    Args:
        settings: the run's.
        batch: the patients.
        tokenizer: the policy's.
    """

    settings: DPOSettings

    def __init__(self, settings: DPOSettings, batch: SessionBatch, tokenizer: Any) -> None:
        super().__init__(settings, batch, tokenizer)

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if self.settings.validate_every and state.global_step == 0:
            found = self._validate(state)
            advice = by_one(self._advise)
            told = {"beta/suggested": advice.beta, "beta/used": advice.used} if advice and found else {}
            self.trainer.log({**found, **told})
        else:
            advice = by_one(self._read_back)
        if advice:
            self.trainer.beta = advice.used

    def kept_apart(self) -> dict[str, float]:
        found = self.trainer.dev_means()
        return {"loss": found["loss"], **{own: found[name] for name, own in _RANKED.items()}} if found else {}

    def score(self, results: Sequence[SessionResult]) -> dict[str, float]:
        return pair_scores(results)

    def _advise(self) -> Suggestion | None:
        """What the sessions of the start say of β; written down and told.

        Raises:
            TrainingError: β hangs on them, and no patient answered.
        """
        own = self.settings.beta
        advice = suggest(self.results, None if own == AUTO else float(own))
        if advice is None and own == AUTO:
            raise TrainingError(
                f"run {self.settings.out}: beta is {AUTO}, and no session of the first validation was answered, so "
                "that none is suggested; see that the patients answer, or give --beta a number"
            )
        if advice is not None:
            write_json(Path(self.settings.out) / BETA, asdict(advice))
            announce(str(advice))
        return advice

    def _read_back(self) -> Suggestion | None:
        """What the run that is resumed learns with.

        Raises:
            ConfigError: β hangs on a file that is not there, or says nothing.
        """
        if self.settings.beta != AUTO:
            return None
        return read_record(Path(self.settings.out) / BETA, Suggestion, ConfigError)


def pair_scores(results: Sequence[SessionResult]) -> dict[str, float]:
    """What became of sessions whose patient did not fail, at least one.

    return, alliance, polarity_gain, ...   as a copy's validation has them
    polarity                               of e_t at the end, in [-1, 1]
    introspection ... sensitivity          the four dimensions of e_t at the end, in [-1, 1]
    unsafe                                 share of all turns with a violation
    """
    ends = np.array([result.turns[-1].affect if result.turns else result.affect for result in results])
    turns = [turn for result in results for turn in result.turns]
    return {
        **scores(results, MEASURES),
        "polarity": float(np.mean([polarity(end) for end in ends])),
        **{name: float(value) for name, value in zip(DIMENSIONS, ends.mean(axis=0), strict=True)},
        "unsafe": sum(bool(turn.violations) for turn in turns) / max(1, len(turns)),
    }
