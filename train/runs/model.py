"""The policy that learns: a base model, the LoRA adapter on it, and where they are kept."""

import difflib
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig

from therapysim.errors import ConfigError, ModelError
from therapysim.models.checkpoint import load, resolve, set_padding
from therapysim.models.rendering import Rendering
from therapysim.train.run_settings import RunSettings

__all__ = ["load_policy", "lora_config", "precision", "set_ends"]


def load_policy(settings: RunSettings) -> tuple[Any, Any]:
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
    model, tokenizer = _loader(settings)(source, settings)
    _check_context(model, settings)
    if hasattr(model, "peft_config") and not settings.unsloth:
        model.set_adapter("default")  # loaded for inference: makes the adapter's weights trainable
    return model, tokenizer


def set_ends(model: Any, tokenizer: Any, settings: RunSettings) -> list[int]:
    """Ids of the tokens that end a turn, also those that the model stops at from now on.

    Raises:
        ConfigError: the chat template has no variable that the settings name.
        ModelError: there is no chat template.
    """
    known = model.generation_config.eos_token_id
    ends = Rendering(tokenizer, settings.chat_template_kwargs).ends(known)
    model.generation_config.eos_token_id = ends
    return ends


def lora_config(model: Any, settings: RunSettings) -> LoraConfig | None:
    """The adapter to put on a model; None where it already has one.

    Raises:
        ConfigError: the model has no layers of a name in ``lora_targets``, or one is the last, which TRL cannot train.
    """
    if hasattr(model, "peft_config"):
        return None
    if "lm_head" in settings.lora_targets:
        raise ConfigError("lora_targets names 'lm_head', and TRL computes probabilities past its adapter; leave it out")
    layers = {name.rpartition(".")[2] for name, _ in model.named_modules()}
    for target in settings.lora_targets:
        if target not in layers:
            near = difflib.get_close_matches(target, layers, n=1)
            hint = f"did you mean {near[0]!r}?" if near else "expected such as q_proj"
            raise ConfigError(f"lora_targets names {target!r}, and model '{settings.model}' has no such layer; {hint}")
    return LoraConfig(
        r=settings.lora_r,
        lora_alpha=settings.lora_alpha,
        lora_dropout=settings.lora_dropout,
        target_modules=list(settings.lora_targets),
        task_type="CAUSAL_LM",
    )


def precision(settings: RunSettings) -> str:
    """The name of the precision that ``dtype`` comes to on this machine."""
    if settings.dtype != "auto":
        return settings.dtype
    return "bfloat16" if torch.cuda.is_available() and torch.cuda.is_bf16_supported() else "float32"


def _check_packages(settings: RunSettings) -> None:
    """Names setting and remedy at once; the libraries' own messages come late and name neither."""
    served = settings.samples_with_vllm
    for setting, on, off in (("vllm", served, "--vllm off"), ("unsloth", settings.unsloth, "--no-unsloth")):
        if on and not torch.cuda.is_available():
            raise ModelError(f"{setting} needs a GPU, and PyTorch finds none; go where there is one, or give {off}")
    wanted = [("quantize_4bit", settings.quantize_4bit, "bitsandbytes", "therapysim[qlora]")]
    wanted += [("vllm", served, "vllm", "therapysim[vllm]")]
    wanted += [("unsloth", settings.unsloth, "unsloth", "therapysim[unsloth]")]
    wanted += [(f"track {name}", True, name, f"therapysim[{name}]") for name in settings.track]
    for setting, on, package, requirement in wanted:
        if on and find_spec(package) is None:
            raise ModelError(
                f"{setting} needs {package}, which is not installed; install it with "
                f"`python -m pip install '{requirement}'`, or leave the setting out"
            )


def _findable(place: str) -> str:
    """An absolute path for a folder: the adapter records it, and may be loaded from anywhere."""
    return str(Path(place).resolve()) if Path(place).is_dir() else place


def _loader(settings: RunSettings) -> Callable[[str, RunSettings], tuple[Any, Any]]:
    if settings.unsloth:
        return _load_unsloth
    return _load_4bit if settings.quantize_4bit else _load_plain


def _load_plain(source: str, settings: RunSettings) -> tuple[Any, Any]:
    return load(source, dtype=precision(settings))


def _load_unsloth(source: str, settings: RunSettings) -> tuple[Any, Any]:
    """unsloth's form of the model with a fresh adapter, in 4 bits if asked for.

    It is trained by TRL's own trainer, imported before unsloth puts one of its own in its place: that one takes no
    ``rollout_func``.
    """
    _refuse_adapter(source, "unsloth")
    try:
        from unsloth import FastLanguageModel

        model, _ = FastLanguageModel.from_pretrained(
            source,
            max_seq_length=settings.context,
            dtype=getattr(torch, precision(settings)),
            load_in_4bit=settings.quantize_4bit,
            use_exact_model_name=True,  # and not a copy of unsloth's own
        )
        model = FastLanguageModel.get_peft_model(
            model,
            r=settings.lora_r,
            lora_alpha=settings.lora_alpha,
            lora_dropout=settings.lora_dropout,
            target_modules=list(settings.lora_targets),
            use_gradient_checkpointing="unsloth" if settings.gradient_checkpointing else False,
            random_state=settings.seed,
        )
        return model, _tokenizer(source, model)
    except Exception as error:  # unsloth has many parts, each with errors of its own
        raise ModelError(
            f"model '{source}': unsloth cannot load it: {error!r}; leave unsloth out (--no-unsloth)"
        ) from error


def _tokenizer(source: str, model: Any) -> Any:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(source, padding_side="left")
    set_padding(model, tokenizer)
    return tokenizer


def _refuse_adapter(source: str, setting: str) -> None:
    if (Path(source) / "adapter_config.json").is_file():
        raise ConfigError(f"model '{source}' is an adapter, and {setting} wants a base model; drop one of the two")


def _load_4bit(source: str, settings: RunSettings) -> tuple[Any, Any]:
    _refuse_adapter(source, "quantize_4bit")
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    dtype = getattr(torch, precision(settings))
    nf4 = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype)
    try:
        model = AutoModelForCausalLM.from_pretrained(source, quantization_config=nf4, dtype=dtype)
        return model, _tokenizer(source, model)
    except Exception as error:  # OSError where it is missing; anything where the hardware lacks what 4 bits need
        raise ModelError(f"model '{source}': it cannot be loaded in 4 bits: {error}") from error


def _check_context(model: Any, settings: RunSettings) -> None:
    limit = getattr(model.config, "max_position_embeddings", None)
    if limit is not None and settings.context > limit:
        raise ConfigError(
            f"{settings.budgets} is {settings.context}, but the context of model '{settings.model}' is "
            f"{limit}; lower it"
        )
