"""Chat models: one small protocol that therapists, patients and judges speak through, and its Hugging Face form."""

import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from therapysim.errors import ConfigError, ModelError
from therapysim.models.checkpoint import adapter_base, load, resolve
from therapysim.models.draw import warpers
from therapysim.models.fingerprint import fingerprint
from therapysim.models.rendering import ChatMessage, Rendering, Spoken, TemplateValue
from therapysim.models.speech import say_behind_server

__all__ = [
    "CHARS_PER_TOKEN",
    "TEMPLATE_TOKENS",
    "ChatMessage",
    "ChatModel",
    "HuggingFaceChat",
    "Sampling",
    "TemplateValue",
    "answer",
    "calls_at_once",
    "check_seeds",
    "count_tokens",
    "estimate_tokens",
    "identity_of",
    "interrupt",
    "told_kwargs",
]

#: For an estimate of tokens where no tokenizer is at hand.
CHARS_PER_TOKEN, TEMPLATE_TOKENS = 4, 4


@dataclass(frozen=True, slots=True)
class Sampling:
    """How a reply is drawn.

    Attributes:
        max_tokens: the longest reply, at least 1.
        temperature: at least 0; 0 takes the likeliest token every time.
        top_p: in (0, 1]; the share of probability that the candidates for a token hold together.
    """

    max_tokens: int = 64
    temperature: float = 0.8
    top_p: float = 0.95

    def __post_init__(self) -> None:
        if self.max_tokens < 1:
            raise ConfigError(f"Sampling: max_tokens is {self.max_tokens}, expected at least 1")
        if not 0 <= self.temperature < float("inf"):
            raise ConfigError(f"Sampling: temperature is {self.temperature}, expected 0 (greedy) or a positive number")
        if not 0 < self.top_p <= 1:
            raise ConfigError(f"Sampling: top_p is {self.top_p}, expected in (0, 1]")


@runtime_checkable
class ChatModel(Protocol):
    """Answers chats, many at once."""

    def reply(self, chats: Sequence[Sequence[ChatMessage]], sampling: Sampling, seeds: Sequence[int]) -> list[str]:
        """One reply a chat, in order, each drawn from its own seed.

        Raises:
            ModelError: the model gave no answer.
        """
        ...


class HuggingFaceChat:
    """A causal language model run in this process with transformers.

    Every chat is sampled from its own seed, so a reply does not depend on its neighbours in the batch or on their
    order. One limit: padding a chat differently changes the rounding of its logits, and where two tokens all but tie,
    the other may win. Equal calls give equal replies. Threads may share one: it answers one call at a time.
    """

    def __init__(
        self,
        source: str | Path,
        *,
        dtype: str = "float32",
        batch_size: int | None = None,
        device: str | None = None,
        cache: Path | None = None,
        chat_template_kwargs: Mapping[str, TemplateValue] | None = None,
    ) -> None:
        """Load the model.

        Args:
            source: whatever ``therapysim.models.checkpoint.resolve`` accepts.
            dtype: precision of the weights, one of ``therapysim.models.checkpoint.DTYPES``.
            batch_size: how many chats are answered at once; more need more memory. None takes 16, or 128 on a GPU.
            device: a PyTorch device name; None takes CUDA where there is one.
            cache: where a GGUF file is kept once converted.
            chat_template_kwargs: variables of its chat template, such as ``{"enable_thinking": False}``.

        Raises:
            ConfigError: a setting is out of range, or the template has no such variable.
            ModelError: the model cannot be loaded, or has no chat template.
        """
        if batch_size is not None and batch_size < 1:
            raise ConfigError(f"HuggingFaceChat: batch_size is {batch_size}, expected at least 1")
        model, tokenizer = load(source, dtype=dtype, cache=cache)
        model = _merged(model).to(device or _best_device())
        self._cache, self._dtype = cache, dtype
        self._hold(model, tokenizer, str(source), batch_size, chat_template_kwargs)

    @classmethod
    def around(
        cls,
        model: Any,
        tokenizer: Any,
        *,
        batch_size: int | None = None,
        chat_template_kwargs: Mapping[str, TemplateValue] | None = None,
    ) -> "HuggingFaceChat":
        """A model that is loaded already, such as one in training: it speaks as it stands at each call.

        Raises:
            ConfigError: the chat template has no variable of a name.
            ModelError: the tokenizer has no chat template.
        """
        chat = cls.__new__(cls)
        chat._cache, chat._dtype = None, str(model.dtype)
        place = str(getattr(model.config, "name_or_path", ""))
        chat._hold(model, tokenizer, place, batch_size, chat_template_kwargs)
        return chat

    def _hold(
        self,
        model: Any,
        tokenizer: Any,
        source: str,
        batch_size: int | None,
        kwargs: Mapping[str, TemplateValue] | None,
    ) -> None:
        self._turn = threading.Lock()  # a tokenizer is told how to pad, and pads, in two steps
        self.model, self.tokenizer, self.source = model, tokenizer, source
        self.rendering = Rendering(tokenizer, kwargs)
        self.ends = self.rendering.ends(model.generation_config.eos_token_id)
        self.batch_size = batch_size or (16 if model.device.type == "cpu" else 128)

    @cached_property
    def identity(self) -> str:
        """What the model is, for ``therapysim.models.replay``; its files are read for it, so it is made when asked
        for."""
        told = told_kwargs(self.rendering.kwargs)
        return f"transformers {identity_of(self.source, cache=self._cache)} in {self._dtype}{told}"

    def reply(self, chats: Sequence[Sequence[ChatMessage]], sampling: Sampling, seeds: Sequence[int]) -> list[str]:
        """One reply a chat, in order, stripped, without its reasoning; it may be empty.

        Raises:
            ConfigError: the numbers of chats and seeds differ, or a seed is negative.
            ModelError: a chat does not fit the model's context, or PyTorch failed.
        """
        return [message["content"] for message in self.answer(chats, sampling, seeds)]

    def answer(
        self, chats: Sequence[Sequence[ChatMessage]], sampling: Sampling, seeds: Sequence[int]
    ) -> list[ChatMessage]:
        """The same as messages that a chat goes on from, its reasoning kept beside the words.

        Raises:
            ConfigError: the numbers of chats and seeds differ, or a seed is negative.
            ModelError: a chat does not fit the model's context, or PyTorch failed.
        """
        check_seeds(chats, seeds)
        size = self.batch_size
        spoken: list[Spoken] = []
        with self._turn:
            for start in range(0, len(chats), size):
                spoken += self._answer_batch(chats[start : start + size], sampling, seeds[start : start + size])
        return [turn.message for turn in spoken]

    def count_tokens(self, chats: Sequence[Sequence[ChatMessage]], replies: Sequence[str]) -> list[tuple[int, int]]:
        """How many tokens each chat and its reply have: read, with all that the chat template adds, and written."""
        if not chats:  # of a session that failed at once; no tokenizer takes an empty list
            return []
        with self._turn:
            read = [self.rendering.prompt(chat) for chat in chats]
            written = self.tokenizer(list(replies), add_special_tokens=False)["input_ids"]
        return [(len(a), len(b)) for a, b in zip(read, written, strict=True)]

    def _answer_batch(
        self, chats: Sequence[Sequence[ChatMessage]], sampling: Sampling, seeds: Sequence[int]
    ) -> list[Spoken]:
        try:
            prompt = self._encode(chats)
            width = prompt["input_ids"].shape[1]
            self._check_context(width, sampling.max_tokens)
            tokens = self._generate(prompt, sampling, seeds)[:, width:]
            return [self.rendering.read(ids, self.ends) for ids in tokens.tolist()]
        except ModelError:
            raise
        except Exception as error:  # PyTorch, jinja2 and the tokenizer each raise errors of their own
            raise ModelError(f"model '{self.source}': answering {len(chats)} chats failed: {error!r}") from error

    def _encode(self, chats: Sequence[Sequence[ChatMessage]]) -> Any:
        texts = [self.rendering.text(chat) for chat in chats]
        batch = self.tokenizer(texts, add_special_tokens=False, padding=True, return_tensors="pt")
        return batch.to(self.model.device)

    def _check_context(self, width: int, max_tokens: int) -> None:
        limit = getattr(self.model.config, "max_position_embeddings", None)
        if limit is not None and width + max_tokens > limit:
            raise ModelError(
                f"model '{self.source}': the longest chat has {width} tokens and the reply up to {max_tokens}, but the "
                f"context is {limit}; shorten the session or lower Sampling.max_tokens"
            )

    def _generate(self, prompt: Any, sampling: Sampling, seeds: Sequence[int]) -> Any:
        import torch
        import transformers

        # Greedy over perturbed logits is sampling; transformers' own draw takes every row from one generator.
        config: Any = transformers.GenerationConfig
        settings = config(
            max_new_tokens=sampling.max_tokens,
            do_sample=False,
            pad_token_id=self.tokenizer.pad_token_id,
            eos_token_id=self.ends or None,
        )
        draw = transformers.LogitsProcessorList(warpers(sampling.temperature, sampling.top_p, seeds))
        with torch.inference_mode():
            return self.model.generate(**prompt, generation_config=settings, logits_processor=draw)


def _merged(model: Any) -> Any:
    """With its adapter added to its weights: beside them it costs several times the model on a CPU, merged nothing.

    One on embeddings stays beside them, since they may be shared with the last layer, which would get it too.
    """
    ends = (model.get_input_embeddings(), model.get_output_embeddings())
    if not hasattr(model, "merge_and_unload") or any(hasattr(layer, "base_layer") for layer in ends):
        return model
    settings = model.generation_config
    merged = model.merge_and_unload()
    merged.generation_config = settings
    return merged


def _best_device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def told_kwargs(kwargs: Mapping[str, TemplateValue]) -> str:
    """The chat template's settings, as the end of a model's identity; "" where there are none."""
    return f" with {json.dumps(dict(kwargs), sort_keys=True)}" if kwargs else ""


def answer(
    model: ChatModel, chats: Sequence[Sequence[ChatMessage]], sampling: Sampling, seeds: Sequence[int]
) -> list[ChatMessage]:
    """Replies as messages that a chat goes on from: by the model's own ``answer`` where it has one.

    Elsewhere, as behind a server, reasoning and control tokens are taken out of the reply's text.
    """
    if own := getattr(model, "answer", None):
        return list(own(chats, sampling, seeds))
    replies = model.reply(chats, sampling, seeds)
    return [{"role": "assistant", "content": say_behind_server(reply)} for reply in replies]


def check_seeds(chats: Sequence[Sequence[ChatMessage]], seeds: Sequence[int]) -> None:
    """Refuses anything but one seed a chat, each at least 0.

    Raises:
        ConfigError: says which.
    """
    if len(chats) != len(seeds):
        raise ConfigError(f"reply: got {len(chats)} chats and {len(seeds)} seeds, expected one seed a chat")
    if any(seed < 0 for seed in seeds):
        raise ConfigError(f"reply: seed {min(seeds)} is negative, expected 0 or more")


def identity_of(source: str | Path, *, cache: Path | None = None) -> str:
    """What a model is, by its files and its base's; a hub id stays what it is. Nothing is loaded.

    Raises:
        ModelError: there is no such model.
    """
    place = resolve(source, cache=cache)
    base = adapter_base(Path(place)) if (Path(place) / "adapter_config.json").is_file() else ""
    return fingerprint(place) + (f" on {fingerprint(resolve(base, cache=cache))}" if base else "")


def count_tokens(
    model: ChatModel, chats: Sequence[Sequence[ChatMessage]], replies: Sequence[str]
) -> list[tuple[int, int]]:
    """Tokens read and written for each chat: by the model's own tokenizer where it has ``count_tokens``.

    Elsewhere, as behind a server, estimated: a token is about ``CHARS_PER_TOKEN`` characters of English, and a message
    has ``TEMPLATE_TOKENS`` more for its role.
    """
    if counter := getattr(model, "count_tokens", None):
        return list(counter(chats, replies))
    return [
        (sum(estimate_tokens(message["content"]) + TEMPLATE_TOKENS for message in chat), estimate_tokens(reply))
        for chat, reply in zip(chats, replies, strict=True)
    ]


def calls_at_once(asked: object, unsaid: int = 1) -> int:
    """How many calls from threads a model or patient takes at once: its ``at_once``; ``unsaid`` where it has none."""
    return max(1, int(getattr(asked, "at_once", unsaid)))


def interrupt(asked: object) -> None:
    """Breaks off what other threads have asked a model or patient, where that can be: see ``RemoteChat.interrupt``."""
    if stop := getattr(asked, "interrupt", None):
        stop()


def estimate_tokens(text: str) -> int:
    """About how many tokens a text of English has."""
    return -(-len(text) // CHARS_PER_TOKEN)
