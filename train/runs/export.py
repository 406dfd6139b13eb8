"""A trained policy in a folder of its own: the adapter, or the whole model with the adapter merged in."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from therapysim.agents.therapists.policies import run_of
from therapysim.errors import ConfigError, ModelError
from therapysim.files import whole_folder, write_json
from therapysim.models.checkpoint import HUB_ID, SMOLLM2, adapter_base, load
from therapysim.models.rendering import TemplateValue
from therapysim.train.run_settings import RunSettings
from therapysim.train.runs.best import best_step
from therapysim.train.runs.kinds import read_settings
from therapysim.train.runs.model import set_ends
from therapysim.train.runs.policy_card import Merge, write_card
from therapysim.train.runs.rows import read_rows

__all__ = ["Exported", "Source", "export", "find_source"]

#: In every exported folder: what it was made from. Only a folder that has one is ever replaced.
MADE = "export.json"

_ADAPTER_FILES = (
    "adapter_config.json", "adapter_model.*", "generation_config.json", "tokenizer*", "special_tokens_map.json",
    "added_tokens.json", "chat_template*", "vocab*", "merges.txt", "*.model",
)  # fmt: skip
# A float32 sum rounds in another order when it is merged; a wrong merge is off by far more.
_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Source:
    """Where in a run a policy lies.

    Attributes:
        run: the run's folder.
        adapter: the folder of the adapter in it.
        settings: of the run.
        step: updates that the adapter has seen.
    """

    run: Path
    adapter: Path
    settings: RunSettings
    step: int


@dataclass(frozen=True)
class Exported:
    """What stands in ``export.json``: enough to prompt the policy as it was trained."""

    base: str
    step: int
    merged: bool
    dtype: str
    show_state: bool
    max_turn_tokens: int
    quantize_4bit: bool
    chat_template_kwargs: dict[str, TemplateValue]


def export(
    run: str | Path,
    out: str | Path,
    *,
    merged: bool = False,
    dtype: str = "float32",
    checkpoint: int | None = None,
    force: bool = False,
) -> Path:
    """Writes a run's policy to a folder, whole or not at all.

    Args:
        run: folder of ``therapysim train grpo``, ``sft`` or ``dpo``, or one in it: ``policy``, ``best``, a checkpoint.
        out: the new folder.
        merged: the whole model, for servers and programs that know no adapters; else the adapter alone.
        dtype: precision of a merged model; the merging itself is done in float32. Half precision rounds small changes
            of the base away.
        checkpoint: updates of the checkpoint to take, in place of the final policy.
        force: replace an earlier export.

    Returns:
        ``out``, which ``therapysim.models.checkpoint.load`` reads, and transformers (and peft, for an adapter).

    Raises:
        ConfigError: the run or checkpoint is none, or ``out`` is taken.
        ModelError: the base cannot be loaded, or the merged model does not say what the adapter on its base says.
    """
    target, merge = Path(out), Merge(dtype) if merged else None
    source = find_source(Path(run), checkpoint)
    _check_place(target, source, force)
    with _whole_folder(target) as draft:
        if merge:
            _merge(source, draft, merge)
        else:
            _copy_adapter(source, draft)
        write_json(draft / MADE, asdict(_made(source, merge)))
        write_card(draft, source.settings, read_rows(source.run / "metrics.jsonl"), source.step, merge)
        for file in draft.iterdir():  # safetensors keeps its files from everybody else
            shutil.copymode(draft / MADE, file)
    return target


def find_source(place: Path, checkpoint: int | None = None) -> Source:
    """The final policy of a run, one of its checkpoints, or the policy in a folder of it.

    Raises:
        ConfigError: says what is missing, and which checkpoints there are.
    """
    around = run_of(place)
    run = place if around is None or around.samefile(place) else around
    if not (run / "settings.json").is_file():
        found = f"it holds {_names(run)}" if run.is_dir() else "there is no such folder"
        raise ConfigError(
            f"{run} is no run: {found}, expected settings.json of `therapysim train grpo`, `sft` or `dpo`; check the "
            "path"
        )
    folder = run / "policy" if run == place else place.resolve()
    folder = folder if checkpoint is None else run / "checkpoints" / f"checkpoint-{checkpoint}"
    if not (folder / "adapter_config.json").is_file():
        steps = _checkpoints(run)
        there = f"checkpoints: {', '.join(map(str, steps)) or 'none'}"
        hint = "name one of them by --checkpoint" if steps else "train it first"
        raise ConfigError(f"run {run} has no adapter in {folder.relative_to(run)} ({there}); {hint}")
    return Source(run, folder, read_settings(run / "settings.json"), _step(run, folder))


def _checkpoints(run: Path) -> list[int]:
    names = (folder.name.rpartition("-")[2] for folder in (run / "checkpoints").glob("checkpoint-*"))
    return sorted(int(name) for name in names if name.isdigit())


def _step(run: Path, folder: Path) -> int:
    """Updates that a policy has seen; the final one those of the newest row, since a run may stop early."""
    number = folder.name.removeprefix("checkpoint-")
    if number.isdigit():
        return int(number)
    if folder.name == "best":
        return best_step(folder)
    return max((int(row.get("step", 0)) for row in read_rows(run / "metrics.jsonl")), default=0)


def _names(folder: Path) -> str:
    return ", ".join(sorted(path.name for path in folder.iterdir())[:8]) or "nothing"


def _check_place(out: Path, source: Source, force: bool) -> None:
    """Refuses a folder that is taken, and one whose replacement would take the run or its base along."""
    if not out.exists():
        return
    if not (out / MADE).is_file():
        raise ConfigError(f"{out} is there already, and is no earlier export; name another folder")
    if not force:
        raise ConfigError(f"{out} is there already; name another folder, or add --force to replace this export")
    place = out.resolve()
    for used in (source.run.resolve(), Path(adapter_base(source.adapter)).resolve()):
        if used.is_relative_to(place):
            raise ConfigError(f"{out} holds {used.name}, which this export is made from; name another folder")


@contextmanager
def _whole_folder(out: Path) -> Iterator[Path]:
    """As ``files.whole_folder``; tells what the disk refuses."""
    try:
        with whole_folder(out) as draft:
            yield draft
    except OSError as error:
        raise ConfigError(f"{out} cannot be written: {error.strerror or error}; name another folder") from error


def _copy_adapter(source: Source, draft: Path) -> None:
    """The adapter's and the tokenizer's files, without what only a resumed training reads."""
    for pattern in _ADAPTER_FILES:
        for file in source.adapter.glob(pattern):
            shutil.copyfile(file, draft / file.name)
    if source.settings.model == SMOLLM2:  # the folder that it was unpacked to is this computer's own
        _rename_base(draft / "adapter_config.json", SMOLLM2)


def _rename_base(file: Path, base: str) -> None:
    config = json.loads(file.read_text(encoding="utf-8"))
    write_json(file, {**config, "base_model_name_or_path": base})


def _merge(source: Source, draft: Path, merge: Merge) -> None:
    """The adapter added to its base in float32, held against the two apart, and saved in the precision asked for."""
    model, tokenizer = load(source.adapter)
    ids = tokenizer("Patient: I hardly sleep, and I am scared of the day.", return_tensors="pt")["input_ids"]
    apart, ends = _logits(model, ids), set_ends(model, tokenizer, source.settings)
    pad, settings = tokenizer.pad_token_id, model.generation_config
    whole = model.merge_and_unload()
    _check_same(source, apart, _logits(whole, ids))
    whole.generation_config = settings
    whole.generation_config.eos_token_id = ends if len(ends) > 1 else ends[0]
    whole.generation_config.pad_token_id = pad
    whole.config.eos_token_id = whole.generation_config.eos_token_id
    whole.to(getattr(torch, merge.dtype)).save_pretrained(draft)
    tokenizer.save_pretrained(draft)


def _logits(model: Any, ids: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        logits: torch.Tensor = model(input_ids=ids).logits
    return logits


def _check_same(source: Source, apart: torch.Tensor, merged: torch.Tensor) -> None:
    """Where layers share weights, as tied embeddings do, an adapter on one of them cannot be merged."""
    off = float((apart - merged).abs().max() / apart.abs().max().clamp_min(1.0))
    if not off <= _TOLERANCE:
        raise ModelError(
            f"run {source.run}: the merged model's logits are off by {off:.2g} of the largest, expected at most "
            f"{_TOLERANCE:g}; layers that share weights cannot be merged: export the adapter, without --merged"
        )


def _made(source: Source, merge: Merge | None) -> Exported:
    settings, base = source.settings, adapter_base(source.adapter)
    public = settings.model == SMOLLM2 or (HUB_ID.fullmatch(base) and not Path(base).exists())
    return Exported(
        base=(SMOLLM2 if settings.model == SMOLLM2 else base) if public else Path(base).name,
        step=source.step,
        merged=merge is not None,
        dtype=merge.dtype if merge else "as trained",
        show_state=settings.show_state,
        max_turn_tokens=settings.max_turn_tokens,
        quantize_4bit=settings.quantize_4bit,
        chat_template_kwargs=settings.chat_template_kwargs,
    )
