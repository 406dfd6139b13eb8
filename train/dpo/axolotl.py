"""The same training as an Axolotl config, for whoever trains there: `axolotl train FILE`.

Source: https://docs.axolotl.ai/docs/rlhf.html (DPO, ``chat_template.default``) and its config reference; the names are
those of Axolotl 0.19.
"""

from pathlib import Path
from typing import Any

import yaml

from therapysim.errors import ConfigError
from therapysim.files import whole
from therapysim.models.checkpoint import SMOLLM2, adapter_base
from therapysim.train.dpo.dpo_settings import AUTO, DPOSettings, require_pairs

__all__ = ["axolotl_config", "write_axolotl"]

_SMOLLM2_ID = "HuggingFaceTB/SmolLM2-135M-Instruct"
_HEAD = """\
# A DPO run of TherapySim in the words of Axolotl (0.19): axolotl train FILE
# Axolotl plays no sessions: no validation with patients, no fail-safe checkpoints. It adds no system message to a
# prompt that is a plain text, and checks neither headers nor patients: pairs.jsonl of a run of ours holds checked ones.
"""


def write_axolotl(settings: DPOSettings, path: Path) -> None:
    """Writes the config, whole or not at all.

    Raises:
        ConfigError: as ``axolotl_config``; or the file cannot be written.
    """
    text = _HEAD + yaml.safe_dump(axolotl_config(settings), sort_keys=False, allow_unicode=True)
    try:
        with whole(path) as part:
            part.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error}; name another file by --axolotl") from error


def axolotl_config(settings: DPOSettings) -> dict[str, Any]:
    """The settings by Axolotl's names, as far as it has them.

    Raises:
        ConfigError: no pairs are named, the model is a .gguf file, β is ``auto``, or a setting has no name there.
    """
    require_pairs(settings)
    _require_known(settings)
    return {
        **_model(settings.model),
        "rl": "dpo",
        "rl_beta": settings.beta,
        **_loss(settings),
        "datasets": [_dataset(path) for path in settings.pairs],
        **({"test_datasets": [_dataset(path) for path in settings.dev_pairs]} if settings.dev_pairs else {}),
        "chat_template": "tokenizer_default",
        "sequence_len": settings.max_tokens,
        "excess_length_strategy": "drop",
        **_adapter(settings),
        "micro_batch_size": settings.batch_size,
        "gradient_accumulation_steps": settings.accumulation,
        "max_steps": settings.max_steps,
        "learning_rate": settings.lr,
        "lr_scheduler": "constant_with_warmup" if settings.warmup else "constant",
        "warmup_steps": settings.warmup,
        "optimizer": "adamw_torch_fused",
        "max_grad_norm": settings.max_grad_norm,
        "bf16": {"auto": "auto", "bfloat16": True, "float32": False}[settings.dtype],
        "gradient_checkpointing": settings.gradient_checkpointing,
        "logging_steps": 1,
        "save_steps": settings.save_steps,
        "save_total_limit": 2,
        "seed": settings.seed,
        "output_dir": settings.out,
    }


def _require_known(settings: DPOSettings) -> None:
    if settings.beta == AUTO:
        raise ConfigError(f"beta is {AUTO}, and Axolotl plays no sessions that would suggest one; give --beta a number")
    if settings.chat_template_kwargs:
        raise ConfigError(
            "chat_template_kwargs is set, and a DPO run of Axolotl has none; write them into its template"
        )
    if settings.unsloth:
        raise ConfigError("unsloth is true, and Axolotl loads no model with it; give --no-unsloth")


def _model(model: str) -> dict[str, Any]:
    place = Path(model).expanduser()
    if place.suffix == ".gguf":
        raise ConfigError(f"model is {model!r}, expected a hub id or a model's folder: Axolotl reads no .gguf file")
    if (place / "adapter_config.json").is_file():
        return {"base_model": adapter_base(place), "lora_model_dir": str(place)}
    return {"base_model": _SMOLLM2_ID if model == SMOLLM2 else model}


def _loss(settings: DPOSettings) -> dict[str, Any]:
    told: dict[str, Any] = {"dpo_loss_type": [settings.loss_type]}
    if settings.sft_weight:
        told = {"dpo_loss_type": [settings.loss_type, "sft"], "dpo_loss_weights": [1.0, settings.sft_weight]}
    return told | ({"dpo_label_smoothing": settings.label_smoothing} if settings.label_smoothing else {})


def _dataset(path: str) -> dict[str, Any]:
    return {
        "path": path,
        "ds_type": "json",
        "split": "train",
        "type": "chat_template.default",
        "field_messages": "prompt",
        "field_chosen": "chosen",
        "field_rejected": "rejected",
        "message_property_mappings": {"role": "role", "content": "content"},
    }


def _adapter(settings: DPOSettings) -> dict[str, Any]:
    return {
        "adapter": "qlora" if settings.quantize_4bit else "lora",
        "load_in_4bit": settings.quantize_4bit,
        "lora_r": settings.lora_r,
        "lora_alpha": settings.lora_alpha,
        "lora_dropout": settings.lora_dropout,
        "lora_target_modules": list(settings.lora_targets),
    }
