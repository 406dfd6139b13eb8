"""Therapist turns from a vLLM engine in the trainer's own process, with the weights that are being trained.

vLLM knows nothing of the adapter: the engine holds the base model's weights with the adapter's added, and is given them
anew after each update. They are added in float32 and rounded once. Merging the adapter into the model itself and taking
it out again, as TRL does, rounds the base weights at each update in bfloat16, and in 4 bits most of a small adapter.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from therapysim.errors import ModelError
from therapysim.models.checkpoint import adapter_base, resolve
from therapysim.train.grpo.grpo_settings import GRPOSettings

__all__ = ["Engine", "Said", "adapted_weights", "quantised_weights"]

_BATCHED_TOKENS = 8192
# vLLM keeps logits in float32 for as many turns as may be under way: 0.6 GB with a vocabulary of 150,000.
_MOST_UNDER_WAY = 1024


@dataclass(frozen=True)
class Said:
    """One sampled turn: the name it was asked under, its token ids, and the log-probability each was drawn with."""

    name: str
    ids: list[int]
    logprobs: list[float | None]


class Engine:
    """A vLLM engine that turns are put to one at a time, each as soon as its session's patient has answered.

    It lives in this process, since it is given the trained weights in memory: vLLM's ``AsyncLLM`` keeps its engine in a
    process of its own, which they would have to be copied to. ``stream.Turns`` lets sessions await their turns.

    The engine has a seed, and a turn has none. One each would make vLLM draw row by row, and would reproduce nothing:
    rounding, which hangs on what a turn is computed beside, parts equal sessions within a few turns (docs/training.md).

    Args:
        model: the model in training, with its adapter.
        settings: the run's.
        ends: ids of the tokens that end a turn.
        sessions: how many are played at once; of their turns, 1,024 are sampled at once, and the others wait.
        processes: how many processes train; each has an engine, and a seed, of its own.
        process: the number of this one.

    Raises:
        ModelError: vLLM is not installed, or cannot load the model.
    """

    def __init__(
        self,
        model: Any,
        settings: GRPOSettings,
        ends: Sequence[int],
        sessions: int,
        processes: int = 1,
        process: int = 0,
    ) -> None:
        self._model, self._settings, self.ends = model, settings, list(ends)
        self._vllm = _import_vllm()
        more: dict[str, Any] = {"distributed_executor_backend": "external_launcher"} if processes > 1 else {}
        if not settings.vllm_compile:  # CUDA graphs of the whole model, without compiling it first
            more["compilation_config"] = {"mode": 0, "cudagraph_mode": "FULL"}
        place = _base_place(settings.model)
        try:
            self._llm = self._vllm.LLM(
                model=place,
                dtype=str(_dtype(model)).removeprefix("torch."),
                seed=settings.seed + process,  # else members of a group on two processes would say the same
                gpu_memory_utilization=settings.vllm_gpu_memory,
                max_model_len=settings.max_prompt_tokens + settings.max_completion_tokens,
                max_num_seqs=min(sessions, _MOST_UNDER_WAY),
                max_num_batched_tokens=_BATCHED_TOKENS,
                logprobs_mode="processed_logprobs",  # of the distribution that was sampled from, temperature and all
                generation_config="vllm",  # and not the checkpoint's own settings of sampling
                enable_prefix_caching=True,
                **more,
            )
        except Exception as error:  # vLLM raises ValueError, RuntimeError, OSError and errors of CUDA
            raise ModelError(
                f"vllm colocate: vLLM cannot load '{place}': {error!r}; lower vllm_gpu_memory, or set vllm off"
            ) from error
        self._sampling = self._vllm.SamplingParams(
            max_tokens=settings.max_turn_tokens,
            temperature=settings.temperature,
            top_p=settings.top_p,
            stop_token_ids=self.ends,
            logprobs=0,  # of the sampled token alone
            detokenize=False,
        )
        self._load(quantised_weights(model))

    def sync_weights(self) -> None:
        """Takes over the adapter as it stands; what was cached of the old weights is dropped.

        Raises:
            ModelError: turns are under way, and would go on with a cache of the old weights.
        """
        self._load(adapted_weights(self._model))
        if not self._llm.reset_prefix_cache():
            raise ModelError("vllm colocate: new weights came while turns were under way; take these first")

    def ask(self, prompt: list[int]) -> str:
        """Puts a turn under way, given what it reads in tokens; the name that it is told under."""
        tokens = self._vllm.TokensPrompt(prompt_token_ids=prompt)
        (name,) = self._llm.enqueue([tokens], [self._sampling], use_tqdm=False)
        return _external(name)

    def take(self) -> list[Said]:
        """Goes one step on, one token in each turn, and gives the turns that ended with it; often none."""
        return [_said(output) for output in self._llm.llm_engine.step() if output.finished]

    def _load(self, weights: Iterator[tuple[str, torch.Tensor]]) -> None:
        for weight in weights:  # one at a time: all of a large model's would not fit beside it
            self._llm.apply_model(lambda held, weight=weight: held.load_weights([weight]))


def _said(output: Any) -> Said:
    (turn,) = output.outputs
    ids = [int(i) for i in turn.token_ids]
    drawn = [step[i].logprob for step, i in zip(turn.logprobs, ids, strict=True)]
    return Said(_external(output.request_id), ids, drawn)


def adapted_weights(model: Any) -> Iterator[tuple[str, torch.Tensor]]:
    """Each weight that has an adapter, by its name in the base model: base and adapter added in float32, then rounded.

    Raises:
        ModelError: the adapter is of a kind that cannot be added to the weights.
    """
    from peft.tuners.lora import LoraLayer

    dtype = _dtype(model)
    for name, module in model.named_modules():
        if isinstance(module, LoraLayer):
            if module.lora_variant:  # DoRA and the like
                raise ModelError(f"vllm colocate: {name} has an adapter that is no plain LoRA; set vllm off")
            base = _whole(module.get_base_layer()).float()
            for adapter in module.active_adapters:
                base = base + module.get_delta_weight(adapter).detach().float()
            yield f"{_base_name(name)}.weight", base.to(dtype)


def quantised_weights(model: Any) -> Iterator[tuple[str, torch.Tensor]]:
    """What 4 bits have made of each weight that is kept in them, by its name in the base model; nothing elsewhere."""
    from peft.tuners.lora import LoraLayer

    dtype = _dtype(model)
    for name, module in model.named_modules():
        if _in_4_bits(module) and not isinstance(module, LoraLayer):  # which shows its base layer's as its own
            yield f"{_base_name(name)}.weight", _whole(module).to(dtype)


def _in_4_bits(module: Any) -> bool:
    return type(getattr(module, "weight", None)).__name__ == "Params4bit"


def _whole(module: Any) -> torch.Tensor:
    """A linear layer's weight; the numbers that 4 bits stand for. peft's own reading changes the layer on a CPU."""
    weight = module.weight
    if not _in_4_bits(module):
        return weight.detach()
    from bitsandbytes.functional import dequantize_4bit

    return dequantize_4bit(weight.data, weight.quant_state)


def _base_name(name: str) -> str:
    """A module's name before the adapter was put on it."""
    return name.removeprefix("base_model.model.").replace(".base_layer", "")


def _dtype(model: Any) -> torch.dtype:
    """The precision that the model computes in, whatever its adapter is kept in."""
    dtype = getattr(model.config, "dtype", None) or next(model.parameters()).dtype
    return dtype if isinstance(dtype, torch.dtype) else getattr(torch, str(dtype))


def _base_place(model: str) -> str:
    """The base model's folder or hub id: vLLM is given no adapter."""
    place = resolve(model)
    if (Path(place) / "adapter_config.json").is_file():
        return str(resolve(adapter_base(Path(place))))
    return str(place)


def _external(request: str) -> str:
    """A turn's name, without the suffix that vLLM adds to keep names apart."""
    return request.partition("-")[0]


def _import_vllm() -> Any:
    # The weights can be reached only in this process, and FlashInfer's sampler, of use where top_p is below 1, takes
    # two minutes to compile.
    os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
    os.environ.setdefault("VLLM_USE_FLASHINFER_SAMPLER", "0")
    try:
        import vllm
    except ImportError as error:
        raise ModelError(
            f"vllm colocate needs vllm: {error}; install it with `python -m pip install 'therapysim[vllm]'`"
        ) from error
    return vllm
