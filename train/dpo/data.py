"""The pairs that a run keeps to learn from, and the data sets that are made of them."""

import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from accelerate import PartialState
from datasets import Dataset

from therapysim.errors import ConfigError
from therapysim.personas.load import training_ids
from therapysim.personas.own import id_of
from therapysim.train.dpo.dpo_settings import DPOSettings
from therapysim.train.dpo.pair_tokens import PairRow, Told, fitting, pair_rows
from therapysim.train.dpo.pairs import Practice, kept_pairs, read_pairs, write_pairs
from therapysim.train.runs.run_folder import announce
from therapysim.train.runs.start_up import by_one

__all__ = ["DEV_PAIRS", "PAIRS", "dev_set", "keep_pairs", "practice_set"]

#: In a run's folder: the pairs that are learned from, and those that validations rank.
PAIRS, DEV_PAIRS = "pairs.jsonl", "dev_pairs.jsonl"


def keep_pairs(settings: DPOSettings) -> None:
    """The files are read by one process, and before the first update alone: a resumed run learns from the same.

    Raises:
        ConfigError: as ``read_pairs``, in every process; or the folder cannot be written.
    """
    folder = Path(settings.out)

    def keep_them() -> None:
        begun = (folder / "metrics.jsonl").exists()  # else what lies there may be of other settings
        own = [id_of(name) for name in training_ids(settings.split, settings.personas)]
        known = (*training_ids("train"), *training_ids("dev"))  # of these, dev pairs only show how they are ranked
        for name, files, ids in ((PAIRS, settings.pairs, own), (DEV_PAIRS, settings.dev_pairs, known)):
            if not (begun and (folder / name).exists()):
                _keep(files, folder / name, Practice(frozenset(ids), settings.vary, settings.show_state))

    by_one(keep_them)


def practice_set(settings: DPOSettings, tokenizer: Any, processes: int) -> Dataset:
    """What is learned from; says how much of it there is."""
    rows, told = _rows(Path(settings.out) / PAIRS, settings, tokenizer)
    if PartialState().is_main_process:
        announce(_told_pairs(told, settings, processes))
    return _dataset(rows)


def dev_set(settings: DPOSettings, tokenizer: Any) -> Dataset | None:
    """What a validation ranks; None where no such pairs are named."""
    if not settings.dev_pairs:
        return None
    return _dataset(_rows(Path(settings.out) / DEV_PAIRS, settings, tokenizer)[0])


def _keep(files: Sequence[str], path: Path, practice: Practice) -> None:
    if not files:
        path.unlink(missing_ok=True)
        return
    pairs = read_pairs(files, practice)
    try:
        write_pairs(pairs, path)
    except OSError as error:
        raise ConfigError(
            f"run folder {path.parent} cannot be written: {error}; mend that, and give the command again"
        ) from error


def _rows(path: Path, settings: DPOSettings, tokenizer: Any) -> tuple[list[PairRow], Told]:
    rows = pair_rows(kept_pairs(path), tokenizer, settings.chat_template_kwargs)
    return fitting(rows, max_tokens=settings.max_tokens, max_turn_tokens=settings.max_turn_tokens)


def _dataset(rows: Sequence[PairRow]) -> Dataset:
    return Dataset.from_list([asdict(row) for row in rows])


def _told_pairs(told: Told, settings: DPOSettings, processes: int) -> str:
    """How many pairs are learned from, which are not and why, and how often each is seen."""
    said = f"{told.used} pairs to learn from"
    for count, why in (
        (told.too_long, f"have more than max_tokens {settings.max_tokens}, and are left out"),
        (told.cut, f"have a chosen answer of more than max_turn_tokens {settings.max_turn_tokens}, and are left out"),
        (told.same, "have two answers of the same tokens, and are left out"),
    ):
        said += f"; {count} {why}" if count else ""
    return f"{said}; {settings.max_steps} updates are {_epochs(told.used, settings, processes):.3g} epochs"


def _epochs(pairs: int, settings: DPOSettings, processes: int) -> float:
    """How often each pair is seen; the last update of an epoch makes do with what is left."""
    batches = math.ceil(pairs / (settings.batch_size * processes))
    return settings.max_steps / math.ceil(batches / settings.accumulation)
