"""Which training a run is of."""

from pathlib import Path

from pydantic import ConfigDict

from therapysim.errors import ConfigError
from therapysim.records import Record, read_record
from therapysim.train.dpo.dpo_settings import DPOSettings
from therapysim.train.grpo.grpo_settings import GRPOSettings
from therapysim.train.run_settings import RunSettings, load
from therapysim.train.sft.sft_settings import SFTSettings

__all__ = ["KINDS", "read_settings"]

#: Settings by the name of their training.
KINDS: dict[str, type[RunSettings]] = {kind.training: kind for kind in (GRPOSettings, SFTSettings, DPOSettings)}


class _Named(Record):
    model_config = ConfigDict(extra="ignore")

    training: str = GRPOSettings.training  # of runs from before there was another


def read_settings(path: Path) -> RunSettings:
    """A run's ``settings.json``, of whatever training.

    Raises:
        ConfigError: it cannot be read, or is of a training that nobody knows.
    """
    training = read_record(path, _Named, ConfigError).training
    if training not in KINDS:
        raise ConfigError(f"settings file {path}: training is {training!r}, expected one of {', '.join(KINDS)}")
    return load(KINDS[training], path)
