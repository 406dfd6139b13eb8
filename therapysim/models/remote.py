"""A chat model behind a server that speaks the OpenAI chat-completions protocol: vLLM, llama.cpp, a hosted one."""

import asyncio
import json
import logging
import os
import random
import threading
import time
import weakref
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

from pydantic import SecretStr

from therapysim.errors import ConfigError, ModelError, require_count, require_number
from therapysim.models.chat import ChatMessage, Sampling, check_seeds
from therapysim.models.completions import Connection, Failure, import_aiohttp
from therapysim.models.server import refuse_secrets, require_url, require_variable
from therapysim.visible import visible

__all__ = ["RemoteChat", "RemoteSettings"]

_log = logging.getLogger(__name__)

# A longer reply is cut: so many characters, or so many a token that was asked for, where that is more.
_MOST_CHARS, _TOKEN_CHARS = 20_000, 40
# A server that words each refusal anew is told of so often.
_MOST_TOLD = 8
# Fields that hold a secret, without signs and case.
_PRIVATE = frozenset("key apikey xapikey token accesstoken authtoken authorization password secret bearer".split())


def _count_of(variable: str, default: int, low: int) -> int:
    text = os.environ.get(variable) or str(default)
    return require_count(f"the environment variable {variable}", int(text) if text.isdecimal() else text, low)


def _seconds_of(variable: str, default: float) -> float:
    text = os.environ.get(variable) or str(default)
    try:
        found: Any = float(text)
    except ValueError:
        found = text
    require_number(f"the environment variable {variable}", found, 1e-3, 86_400.0)
    return float(found)


@dataclass(frozen=True, slots=True)
class RemoteSettings:
    """How a server is asked.

    The defaults of the first three can be set for every command, and for ``gym.make``, by the environment variables
    ``THERAPYSIM_CONCURRENCY``, ``THERAPYSIM_TIMEOUT_S`` and ``THERAPYSIM_RETRIES``; no reply hangs on them.

    Attributes:
        concurrency: requests under way at once, over all calls to one ``RemoteChat``.
        timeout_s: seconds until one request, from its first byte to its answer's last, is given up.
        retries: how often a request is sent again after it failed in a way that may pass.
        backoff_s: seconds before the first of these; each further wait is twice as long, and all are jittered.
        max_wait_s: the longest wait, in seconds; a server that asks for more by Retry-After fails the request.
        token_limit: the field in which the server takes ``Sampling.max_tokens``.
        extra: more fields for every request, such as ``{"chat_template_kwargs": {"enable_thinking": False}}``.
    """

    concurrency: int = field(default_factory=partial(_count_of, "THERAPYSIM_CONCURRENCY", 64, 1))
    timeout_s: float = field(default_factory=partial(_seconds_of, "THERAPYSIM_TIMEOUT_S", 120.0))
    retries: int = field(default_factory=partial(_count_of, "THERAPYSIM_RETRIES", 4, 0))
    backoff_s: float = 0.5
    max_wait_s: float = 60.0
    token_limit: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    extra: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        require_count("RemoteSettings: concurrency", self.concurrency, 1)
        require_count("RemoteSettings: retries", self.retries, 0)
        for name, low in (("timeout_s", 1e-3), ("backoff_s", 0.0), ("max_wait_s", 0.0)):
            require_number(f"RemoteSettings: {name}", getattr(self, name), low, 86_400.0)
        if self.token_limit not in ("max_tokens", "max_completion_tokens"):
            raise ConfigError(
                f"RemoteSettings: token_limit is {self.token_limit!r}, expected 'max_tokens' or 'max_completion_tokens'"
            )
        try:
            json.dumps(dict(self.extra))
        except (TypeError, ValueError, RecursionError) as error:
            raise ConfigError(f"RemoteSettings: extra is not a JSON object: {error}") from error
        if _names_secret(self.extra):  # it stands in reprs, and in every recorded reply
            raise ConfigError("RemoteSettings: extra holds a key, a token or a password (not shown), expected none; "
                              "give the key as api_key_env or api_key")  # fmt: skip


class RemoteChat:
    """A chat model behind an OpenAI-compatible server.

    Every chat is one request; up to ``concurrency`` of them run at once, on an event loop in a thread of its own, so
    that ``reply`` may be called from anywhere, a notebook's running loop included. A request that fails in a way that
    may pass (408, 409, 429, 5xx, a time-out, a cut connection, an answer that is no JSON, or has no choices or null
    as its content) is sent again after a jittered wait, which honours Retry-After; any other 4xx is final. The first of
    each such trouble is logged as a warning, so that nobody waits for a silent server without knowing.

    A server that minds no limit of tokens is not read to its end: a reply is cut at 20,000 characters, or at 40 a token
    of ``Sampling.max_tokens`` where that is more.

    The seed goes along; whether equal seeds give equal replies is the server's affair. For a run that repeats bit for
    bit, put a ``therapysim.models.replay.RecordedChat`` around it.
    """

    def __init__(
        self,
        url: str,
        model: str,
        *,
        api_key: str | SecretStr | None = None,
        api_key_env: str | None = None,
        settings: RemoteSettings | None = None,
    ) -> None:
        """A chat model; nothing is sent yet.

        Args:
            url: what comes before ``/chat/completions``, such as ``http://localhost:8000/v1``.
            model: the name under which the server knows the model.
            api_key: the key, where the server wants one. No error, no repr and no file shows it; it is held as a
                pydantic ``SecretStr``, and a chat cannot be pickled.
            api_key_env: instead of a key, the environment variable that holds it; no other one is read.
            settings: how the server is asked; None takes the defaults.

        Raises:
            ConfigError: the URL or the key is none.
            ModelError: the package ``aiohttp`` is not installed.
        """
        self.url = require_url(url, "RemoteChat")
        refuse_secrets(f"{url}#{model}", "RemoteChat: the model's name")
        self.model = model
        self.settings = settings or RemoteSettings()
        self._key = _checked_key(api_key, api_key_env)
        import_aiohttp()
        self._jitter = random.Random()  # of waits only: no reply hangs on it
        self._told: set[str] = set()
        self._lock = threading.Lock()
        self._connection: Connection | None = None

    def __repr__(self) -> str:
        return f"RemoteChat({self.url!r}, {self.model!r})"

    @property
    def identity(self) -> str:
        """What a recorded reply hangs on besides chat, sampling and seed."""
        extra = json.dumps(dict(self.settings.extra), sort_keys=True)
        return f"remote {self.model} at {self.url} with {extra}"

    @property
    def at_once(self) -> int:
        """How many calls from threads are worth while: as many as requests may be under way."""
        return self.settings.concurrency

    def reply(self, chats: Sequence[Sequence[ChatMessage]], sampling: Sampling, seeds: Sequence[int]) -> list[str]:
        """One reply a chat, in order, stripped.

        An empty text is a reply like any other: the server answered, and asking again with the same seed would
        bring the same. ``LLMPatient`` refuses it as it refuses any unfit line, and draws anew.

        Raises:
            ConfigError: the numbers of chats and seeds differ, or a seed is negative.
            ModelError: a chat got no answer after all retries; the others' replies are in the error's ``replies``, and
                in its ``reasons`` a status, the server's message or what else went wrong.
        """
        check_seeds(chats, seeds)
        if not chats:
            return []
        line = self._open()
        answers = line.run(self._reply_all(line, chats, sampling, seeds))
        failures = [(i, a) for i, a in enumerate(answers) if isinstance(a, Failure)]
        replies = [None if isinstance(a, Failure) else a for a in answers]
        if failures:
            # Not chained: the server's raw words, which may repeat the key, would be shown.
            reasons = [f"{a.first.rstrip('.')}. Next: {a.hint}" if isinstance(a, Failure) else "" for a in answers]
            raise ModelError(self._report(failures, len(chats)), replies, reasons) from None
        return [reply for reply in replies if reply is not None]

    def interrupt(self) -> None:
        """Breaks off the calls under way in other threads, or below a handler of signals; later ones go on as ever.

        Each of them raises ``asyncio.CancelledError``, which no handler of errors takes for one.
        """
        if self._connection:
            self._connection.interrupt()

    def close(self) -> None:
        """Ends the connections; a later call opens new ones."""
        with self._lock:
            if self._connection:
                self._connection.close()
            self._connection = None

    def _open(self) -> Connection:
        with self._lock:
            # Threads do not survive a fork, and sockets should not be shared over one.
            if self._connection is None or self._connection.pid != os.getpid():
                self._connection = Connection(self.url, self._key, self.settings.timeout_s, self.settings.concurrency)
                weakref.finalize(self, self._connection.close)
            return self._connection

    async def _reply_all(
        self, line: Connection, chats: Sequence[Sequence[ChatMessage]], sampling: Sampling, seeds: Sequence[int]
    ) -> list[str | Failure]:
        """A reply or a failure for each chat; once a failure is everyone's, what was not yet sent is not sent."""
        hopeless: list[Failure] = []
        most = max(_MOST_CHARS, _TOKEN_CHARS * sampling.max_tokens)

        async def one(chat: Sequence[ChatMessage], seed: int) -> str | Failure:
            async with line.slots:
                if hopeless:
                    return hopeless[0]
                try:
                    return await self._persist(line, self._request(chat, sampling, seed), most)
                except Failure as failure:
                    hopeless.extend([failure] if failure.for_all else [])
                    return failure

        return await asyncio.gather(*(one(chat, seed) for chat, seed in zip(chats, seeds, strict=True)))

    def _request(self, chat: Sequence[ChatMessage], sampling: Sampling, seed: int) -> dict[str, Any]:
        return {
            "model": self.model,
            "messages": [dict(message) for message in chat],
            "temperature": float(sampling.temperature),
            "top_p": float(sampling.top_p),
            "seed": int(seed),
            self.settings.token_limit: int(sampling.max_tokens),
            **self.settings.extra,
        }

    async def _persist(self, line: Connection, request: dict[str, Any], most: int) -> str:
        """Sends a request until it is answered, or fails for good."""
        began, met = time.monotonic(), Counter[str]()
        for attempt in range(self.settings.retries + 1):
            try:
                return await line.send(request, most)
            except Failure as failure:
                met[failure.what] += 1
                wait_s = self._wait(attempt, failure)
                if wait_s is None:
                    raise failure.after(met, time.monotonic() - began) from None
                self._tell(failure)
            await asyncio.sleep(wait_s)
        raise AssertionError("the last attempt either returns or raises")

    def _tell(self, failure: Failure) -> None:
        if failure.what not in self._told and len(self._told) < _MOST_TOLD:
            self._told.add(failure.what)
            _log.warning(
                "model '%s' at %s: %s; asked again, up to %d times", self.model, self.url, visible(failure.what),
                self.settings.retries,
            )  # fmt: skip

    def _wait(self, attempt: int, failure: Failure) -> float | None:
        """Seconds until the next attempt; None where there is none."""
        longest, asked = self.settings.max_wait_s, failure.retry_after_s
        if not failure.may_pass or attempt == self.settings.retries or (asked or 0.0) > longest:
            return None
        if asked is not None:
            return asked + self._jitter.uniform(0.0, self.settings.backoff_s)
        return min(longest, self.settings.backoff_s * 2.0**attempt) * self._jitter.uniform(0.5, 1.0)

    def _report(self, failures: Sequence[tuple[int, Failure]], chats: int) -> str:
        index, first = failures[0]
        return (
            f"model '{self.model}' at {self.url}: {len(failures)} of {chats} chats got no answer; "
            f"chat {index}: {first.what.rstrip('.')}. Next: {first.hint}"
        )


def _names_secret(extra: Any) -> bool:
    """Whether a field at any depth is called as keys are."""
    if isinstance(extra, list | tuple):
        return any(map(_names_secret, extra))
    if not isinstance(extra, Mapping):
        return False
    return any("".join(c for c in str(n).lower() if c.isalnum()) in _PRIVATE for n in extra) or any(
        map(_names_secret, extra.values())
    )


def _checked_key(key: str | SecretStr | None, variable: str | None) -> SecretStr:
    """The key, empty where none is given.

    Raises:
        ConfigError: both are given, the variable is not set, or no header can hold the key.
    """
    if key is not None and variable is not None:
        raise ConfigError("RemoteChat: both api_key and api_key_env are given, expected one of them")
    require_variable(variable)
    given = key.get_secret_value() if isinstance(key, SecretStr) else key
    found = (os.environ.get(variable, "") if variable is not None else given) or ""
    if variable is not None and not found:
        raise ConfigError(f"RemoteChat: the environment variable {variable} is not set; set it to the API key")
    if found and not (found.isascii() and found.isprintable() and " " not in found):
        raise ConfigError("RemoteChat: the API key holds a space, a line break, or a character outside ASCII")
    return SecretStr(found)
