"""The sessions that a run keeps to copy, and the data sets that are made of them."""

import math
from pathlib import Path
from typing import Any

from accelerate import PartialState
from datasets import Dataset

from therapysim.envs.batch import SessionBatch
from therapysim.errors import ConfigError
from therapysim.train.runs.run_folder import announce
from therapysim.train.runs.start_up import by_one
from therapysim.train.runs.starts import dev_starts
from therapysim.train.sft.examples import Example, collect, draw, read_examples, write_examples
from therapysim.train.sft.sft_settings import SFTSettings
from therapysim.train.sft.tokens import Row, rows_of

__all__ = ["DEV_EXAMPLES", "EXAMPLES", "dev_set", "keep_sessions", "practice_set"]

#: In a run's folder: the sessions that are copied, and those that the loss of a validation is of.
EXAMPLES, DEV_EXAMPLES = "examples.jsonl", "dev_examples.jsonl"


def keep_sessions(settings: SFTSettings, batch: SessionBatch) -> None:
    """The sessions are played by one process, and before the first update alone: a resumed run copies the same.

    Raises:
        ConfigError: as ``collect``, in every process; or the folder cannot be written.
    """
    folder = Path(settings.out)

    def keep_them() -> None:
        begun = (folder / "metrics.jsonl").exists()  # else what lies there may be of other settings
        if not begun or not (folder / EXAMPLES).exists():
            examples = collect(settings, batch)
            _keep(examples, folder / EXAMPLES)
            announce(_counted(examples))
        if settings.validate_every and not (begun and (folder / DEV_EXAMPLES).exists()):
            _keep(draw(settings, batch, dev_starts(settings)), folder / DEV_EXAMPLES)

    by_one(keep_them)


def practice_set(settings: SFTSettings, tokenizer: Any, processes: int) -> Dataset:
    """What is learned from; says how much of it there is."""
    rows = _rows(Path(settings.out) / EXAMPLES, settings, tokenizer)
    if PartialState().is_main_process:
        announce(_told_turns(rows, settings, processes))
    return _dataset(rows)


def dev_set(settings: SFTSettings, tokenizer: Any) -> Dataset | None:
    """What a validation's loss is of; None where nothing is validated, or no therapist is named who would play it."""
    rows = _rows(Path(settings.out) / DEV_EXAMPLES, settings, tokenizer) if settings.validate_every else []
    return _dataset(rows) if rows else None


def _keep(examples: list[Example], path: Path) -> None:
    try:
        write_examples(examples, path)
    except OSError as error:
        raise ConfigError(
            f"run folder {path.parent} cannot be written: {error}; mend that, and give the command again"
        ) from error


def _counted(examples: list[Example]) -> str:
    names = sorted({example.therapist for example in examples})
    by_name = ", ".join(f"{sum(e.therapist == name for e in examples)} of {name or 'nobody'}" for name in names)
    mean = sum(example.total for example in examples) / len(examples)
    return f"sessions to learn from: {len(examples)} ({by_name}), mean return {mean:.2f}"


def _rows(path: Path, settings: SFTSettings, tokenizer: Any) -> list[Row]:
    limits: dict[str, int] = {"max_tokens": settings.max_tokens, "max_turn_tokens": settings.max_turn_tokens}
    return rows_of(read_examples(path), tokenizer, chat_template_kwargs=settings.chat_template_kwargs, **limits)


def _dataset(rows: list[Row]) -> Dataset:
    """Those with a turn to learn from."""
    return Dataset.from_list([{"input_ids": row.input_ids, "labels": row.labels} for row in rows if row.learned])


def _told_turns(rows: list[Row], settings: SFTSettings, processes: int) -> str:
    """How many turns are learned from, which are not and why, and how often each session is seen."""
    used = sum(row.learned > 0 for row in rows)
    said = f"{sum(row.learned for row in rows)} turns to learn from in {used} sessions"
    for count, why in (
        (sum(row.too_long for row in rows), f"have more than max_turn_tokens {settings.max_turn_tokens}, and are read"),
        (sum(row.left_out for row in rows), f"lie behind max_tokens {settings.max_tokens}"),
    ):
        said += f"; {count} {why}" if count else ""
    return f"{said}; {settings.max_steps} updates are {_epochs(used, settings, processes):.3g} epochs"


def _epochs(sessions: int, settings: SFTSettings, processes: int) -> float:
    """How often each session is seen; the last update of an epoch makes do with what is left."""
    batches = math.ceil(sessions / (settings.batch_size * processes))
    return settings.max_steps / math.ceil(batches / settings.accumulation)
