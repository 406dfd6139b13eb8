"""A chat model run in this process with vLLM."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from therapysim.errors import ConfigError, ModelError
from therapysim.models.chat import ChatMessage, Sampling, TemplateValue, check_seeds, told_kwargs
from therapysim.models.checkpoint import DTYPES, adapter_base, resolve
from therapysim.models.fingerprint import fingerprint
from therapysim.models.rendering import Rendering

__all__ = ["VLLMChat"]

_INSTALL = "install it with `python -m pip install 'therapysim[vllm]'`, and note that it wants a GPU"
# The ranks that vLLM reserves memory for; an adapter takes the next one up.
_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
# vLLM seeds a generator of PyTorch, which takes 64 bits with a sign.
_SEEDS = 2**63


class VLLMChat:
    """A causal language model run in this process with vLLM: all chats of a call in one go, batched as memory allows.

    Every chat is sampled from its own seed. vLLM's arithmetic depends on how it batches, so equal calls give equal
    replies up to rounding: where two tokens all but tie, the other may win. ``engine={"enable_prefix_caching": False}``
    and vLLM's own VLLM_BATCH_INVARIANT=1 narrow that; ``therapysim.models.replay.RecordedChat`` ends it.
    """

    def __init__(
        self,
        source: str | Path,
        *,
        dtype: str = "auto",
        max_model_len: int | None = None,
        gpu_memory: float = 0.9,
        adapter: str | Path | None = None,
        cache: Path | None = None,
        engine: Mapping[str, Any] | None = None,
        chat_template_kwargs: Mapping[str, TemplateValue] | None = None,
    ) -> None:
        """Load the model.

        Args:
            source: whatever ``therapysim.models.checkpoint.resolve`` accepts; an adapter folder brings its base model
                along.
            dtype: precision of the weights, "auto" (the checkpoint's own) or one of
                ``therapysim.models.checkpoint.DTYPES``.
            max_model_len: the longest chat and reply together, in tokens; None takes the model's own limit.
            gpu_memory: the share of the GPU's memory that vLLM takes, in (0, 1].
            adapter: the folder of a LoRA adapter on ``source``.
            cache: where a GGUF file is kept once converted.
            engine: more arguments of ``vllm.LLM``, such as ``{"tensor_parallel_size": 2}``.
            chat_template_kwargs: variables of its chat template, such as ``{"enable_thinking": False}``.

        Raises:
            ConfigError: a setting is out of range, or the template has no such variable.
            ModelError: the model cannot be loaded, or has no chat template, or vLLM is not installed.
        """
        _check(dtype, max_model_len, gpu_memory)
        self.source = str(source)
        self.base, self.adapter = _places(source, adapter, cache)
        lora = _lora_arguments(self.adapter)
        limits = {"dtype": dtype, "max_model_len": max_model_len, "gpu_memory_utilization": gpu_memory}
        self._vllm = _import_vllm()
        try:
            self.llm = self._vllm.LLM(model=self.base, **limits, **lora, **(engine or {}))
            self._lora = self._lora_request()
        except Exception as error:  # vLLM raises ValueError, RuntimeError, OSError and errors of CUDA
            raise ModelError(f"model '{self.source}': vLLM cannot load it: {error!r}") from error
        #: Lays chats out as a training does, and reads what is sampled; vLLM is given tokens, and gives tokens.
        self.rendering = Rendering(self._tokenizer(), chat_template_kwargs)
        # vLLM knows the base model's end tokens; an adapter may have learnt one of its own.
        self.ends = self.rendering.ends(_end_tokens(self.adapter))
        added = f" with adapter {fingerprint(self.adapter)}" if self.adapter else ""
        #: What a recorded reply hangs on besides chat, sampling and seed: the files and the precision, not the place.
        self.identity = f"vllm {fingerprint(self.base)}{added} in {dtype}{told_kwargs(self.rendering.kwargs)}"

    def reply(self, chats: Sequence[Sequence[ChatMessage]], sampling: Sampling, seeds: Sequence[int]) -> list[str]:
        """One reply a chat, in order, stripped, without its reasoning; it may be empty.

        Raises:
            ConfigError: the numbers of chats and seeds differ, or a seed is negative.
            ModelError: a chat does not fit the model's context, or vLLM failed.
        """
        return [message["content"] for message in self.answer(chats, sampling, seeds)]

    def answer(
        self, chats: Sequence[Sequence[ChatMessage]], sampling: Sampling, seeds: Sequence[int]
    ) -> list[ChatMessage]:
        """The same as messages that a chat goes on from, its reasoning kept beside the words.

        Raises:
            ConfigError: the numbers of chats and seeds differ, or a seed is negative.
            ModelError: a chat does not fit the model's context, or vLLM failed.
        """
        check_seeds(chats, seeds)
        if not chats:
            return []
        try:
            sampled = self._sample(chats, sampling, seeds)
        except Exception as error:  # ValueError where a chat is too long; the engine's errors are many
            raise ModelError(f"model '{self.source}': answering {len(chats)} chats failed: {error!r}") from error
        if len(sampled) != len(chats):
            raise ModelError(f"model '{self.source}': vLLM gave {len(sampled)} replies to {len(chats)} chats")
        return [self.rendering.read(ids, self.ends).message for ids in sampled]

    def count_tokens(self, chats: Sequence[Sequence[ChatMessage]], replies: Sequence[str]) -> list[tuple[int, int]]:
        """How many tokens each chat and its reply have: read, with all that the chat template adds, and written."""
        read, encode = self.rendering.prompt, self.rendering.tokenizer.encode
        return [(len(read(chat)), len(encode(reply))) for chat, reply in zip(chats, replies, strict=True)]

    def _tokenizer(self) -> Any:
        tokenizer = self.llm.get_tokenizer()
        if not hasattr(tokenizer, "chat_template"):  # Mistral's own
            raise ModelError(
                f"model '{self.source}': vLLM took {type(tokenizer).__name__}, which has no chat template to lay chats "
                'out by as a training does; give engine={"tokenizer_mode": "hf"}'
            )
        return tokenizer

    def _sample(
        self, chats: Sequence[Sequence[ChatMessage]], sampling: Sampling, seeds: Sequence[int]
    ) -> list[list[int]]:
        """The sampled tokens of each chat."""
        outputs = self.llm.generate(
            [self._vllm.TokensPrompt(prompt_token_ids=self.rendering.prompt(chat)) for chat in chats],
            [self._sampling(sampling, seed) for seed in seeds],
            use_tqdm=False,
            lora_request=self._lora,
        )
        return [[int(i) for i in output.outputs[0].token_ids] for output in outputs]

    def _sampling(self, sampling: Sampling, seed: int) -> Any:
        return self._vllm.SamplingParams(
            max_tokens=int(sampling.max_tokens),
            temperature=float(sampling.temperature),
            top_p=float(sampling.top_p),
            seed=int(seed) % _SEEDS,
            stop_token_ids=self.ends,
        )

    def _lora_request(self) -> Any:
        if not self.adapter:
            return None
        from vllm.lora.request import LoRARequest

        return LoRARequest(Path(self.adapter).name, 1, self.adapter)


def _check(dtype: str, max_model_len: int | None, gpu_memory: float) -> None:
    if dtype not in ("auto", *DTYPES):
        raise ConfigError(f"VLLMChat: dtype is '{dtype}', expected one of auto, {', '.join(DTYPES)}")
    if max_model_len is not None and max_model_len < 1:
        raise ConfigError(f"VLLMChat: max_model_len is {max_model_len}, expected at least 1, or None")
    if not 0 < gpu_memory <= 1:
        raise ConfigError(f"VLLMChat: gpu_memory is {gpu_memory}, expected a share in (0, 1]")


def _places(source: str | Path, adapter: str | Path | None, cache: Path | None) -> tuple[str, str | None]:
    """The base model's place, and the adapter's folder, if any."""
    place = resolve(source, cache=cache)
    if not _is_adapter(place):
        if adapter is not None and not _is_adapter(adapter):
            raise ModelError(f"adapter '{adapter}': expected a folder with adapter_config.json")
        return place, None if adapter is None else str(adapter)
    if adapter is not None:
        raise ConfigError(f"VLLMChat: source '{source}' is an adapter, and adapter '{adapter}' is given; give one")
    base = adapter_base(Path(place))
    try:
        under = resolve(base, cache=cache)
    except ModelError as error:
        raise ModelError(f"adapter '{source}': its base model '{base}' cannot be found: {error}") from error
    if _is_adapter(under):
        raise ModelError(
            f"adapter '{source}': its base '{base}' is an adapter itself; vLLM takes one; merge them first"
        )
    return under, place


def _end_tokens(adapter: str | None) -> list[int]:
    """What ends a reply beside the base's own end tokens, from the adapter's ``generation_config.json``, if any."""
    file = Path(adapter or "") / "generation_config.json"
    if adapter is None or not file.is_file():
        return []
    try:
        ends = json.loads(file.read_text(encoding="utf-8")).get("eos_token_id")
        return [int(end) for end in (ends if isinstance(ends, list) else [ends]) if end is not None]
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise ModelError(f"adapter '{adapter}': generation_config.json cannot be read: {error!r}") from error


def _is_adapter(place: str | Path) -> bool:
    return (Path(place) / "adapter_config.json").is_file()


def _lora_arguments(adapter: str | None) -> dict[str, Any]:
    if adapter is None:
        return {}
    try:
        config = json.loads((Path(adapter) / "adapter_config.json").read_text(encoding="utf-8"))
        wanted = max(int(rank) for rank in (config["r"], *(config.get("rank_pattern") or {}).values()))
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise ModelError(f"adapter '{adapter}': adapter_config.json names no LoRA rank r: {error!r}") from error
    rank = next((rank for rank in _RANKS if rank >= wanted), None)
    if rank is None:
        raise ModelError(f"adapter '{adapter}': its rank is {wanted}, expected at most {_RANKS[-1]}")
    return {"enable_lora": True, "max_lora_rank": rank}


def _import_vllm() -> Any:
    try:
        import vllm
    except ImportError as error:
        raise ModelError(f"VLLMChat needs the package vllm; {_INSTALL}: {error}") from error
    return vllm
