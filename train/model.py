"""The policy that learns: a base model, the LoRA adapter on it, and where they are kept."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig

from therapysim.checkpoint import load, resolve
from therapysim.errors import ConfigError, ModelError
from therapysim.train.config import GRPOSettings

__all__ = ["load_policy", "lora_config", "precision", "save_policy"]


def load_policy(settings: GRPOSettings) -> tuple[Any, Any]:
    """The model to train and its tokenizer.

    An adapter folder goes on learning from where it stands; anything else gets a fresh adapter from ``lora_config``.

    Raises:
        ConfigError: the budgets do not fit the model's context.
        ModelError: the model cannot be loaded, or a package that a setting needs is missing.
    """
    _check_packages(settings)
    if settings.threads:
        torch.set_num_threads(settings.threads)
    source = _findable(resolve(settings.model))
    model, tokenizer = (
        _load_4bit(source, settings) if settings.quantize_4bit else load(source, dtype=precision(settings))
    )
    _check_context(model, settings)
    if hasattr(model, "peft_config"):
        model.set_adapter("default")  # loaded for inference: makes the adapter's weights trainable
    return model, tokenizer


def lora_config(model: Any, settings: GRPOSettings) -> LoraConfig | None:
    """The adapter to put on a model; None where it already has one."""
    if hasattr(model, "peft_config"):
        return None
    return LoraConfig(
        r=settings.lora_r,
        lora_alpha=settings.lora_alpha,
        lora_dropout=settings.lora_dropout,
        target_modules=list(settings.lora_targets),
        task_type="CAUSAL_LM",
    )


def precision(settings: GRPOSettings) -> str:
    """The name of the precision that ``dtype`` comes to on this machine."""
    if settings.dtype != "auto":
        return settings.dtype
    return "bfloat16" if torch.cuda.is_available() and torch.cuda.is_bf16_supported() else "float32"


def save_policy(model: Any, tokenizer: Any, folder: Path) -> None:
    """Writes the adapter and the tokenizer; ``therapysim.checkpoint.load`` reads the folder.

    The copy of a starting adapter that TRL keeps as the reference is left out.
    """
    model.save_pretrained(folder, selected_adapters=["default"])
    tokenizer.save_pretrained(folder)


def _check_packages(settings: GRPOSettings) -> None:
    """Names setting and extra at once; the libraries' own messages come late and name neither."""
    wanted = {"quantize_4bit": ("bitsandbytes", "qlora"), "use_vllm": ("vllm", "vllm"), "wandb": ("wandb", "wandb")}
    for setting, (package, extra) in wanted.items():
        if getattr(settings, setting) and find_spec(package) is None:
            raise ModelError(
                f"{setting} needs {package}, which is not installed; install it with "
                f"`python -m pip install 'therapysim[{extra}]'`, or leave the setting out"
            )


def _findable(place: str) -> str:
    """An absolute path for a folder: the adapter records it, and may be loaded from anywhere."""
    return str(Path(place).resolve()) if Path(place).is_dir() else place


def _load_4bit(source: str, settings: GRPOSettings) -> tuple[Any, Any]:
    if (Path(source) / "adapter_config.json").is_file():
        raise ConfigError(f"model '{source}' is an adapter, and quantize_4bit wants a base model; drop one of the two")
    from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig

    dtype = getattr(torch, precision(settings))
    nf4 = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype)
    try:
        tokenizer = AutoTokenizer.from_pretrained(source, padding_side="left")
        return AutoModelForCausalLM.from_pretrained(source, quantization_config=nf4, dtype=dtype), tokenizer
    except Exception as error:  # OSError where it is missing; anything where the hardware lacks what 4 bits need
        raise ModelError(f"model '{source}': it cannot be loaded in 4 bits: {error}") from error


def _check_context(model: Any, settings: GRPOSettings) -> None:
    limit = getattr(model.config, "max_position_embeddings", None)
    wanted = settings.max_prompt_tokens + settings.max_completion_tokens
    if limit is not None and wanted > limit:
        raise ConfigError(
            f"max_prompt_tokens + max_completion_tokens is {wanted}, but the context of model '{settings.model}' is "
            f"{limit}; lower one of them"
        )
