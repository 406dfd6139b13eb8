"""Therapist turns from a vLLM server, a request each: a session goes on as soon as its own patient has answered.

TRL sends the server the weights as they are trained, and would ask it for the turns of all sessions at once. What is
asked for here, and how it is sampled, is the same (https://huggingface.co/docs/trl, vLLM integration).
"""

import asyncio
import json
import math
import time
from collections.abc import Callable
from typing import Any

from therapysim.errors import ModelError
from therapysim.train.grpo.grpo_settings import GRPOSettings
from therapysim.train.grpo.sampler import Said

__all__ = ["Server", "ServerTurns"]

# Seconds that a turn may take; a server that is full lets turns wait.
_TURN_S = 600.0
# Seconds of one wait, after which it is looked whether the run is to end.
_WAIT_S = 0.1
# Times that a turn is asked for, and seconds before the second; twice as many before the third.
_TRIES, _PAUSE_S = 3, 1.0
_QUOTED_CHARS = 300
# Connections at once, and files that others may have open.
_MOST_CONNECTIONS, _OTHER_FILES = 1024, 256


class Server:
    """A vLLM server, and how turns are sampled there.

    Args:
        settings: the run's.
        ends: ids of the tokens that end a turn.
    """

    def __init__(self, settings: GRPOSettings, ends: list[int]) -> None:
        self.url, self.ends = settings.vllm_server_url.rstrip("/"), ends
        self._sampling = {
            "n": 1,
            "max_tokens": settings.max_turn_tokens,
            "temperature": settings.temperature,
            "top_p": settings.top_p,
            # What the checkpoint's own file of sampling would set otherwise.
            "top_k": 0,
            "min_p": 0.0,
            "repetition_penalty": 1.0,
            "stop_token_ids": ends,
            "logprobs": 0,  # of the sampled token alone
            "return_token_ids": True,
            "return_tokens_as_token_ids": True,
        }

    def request(self, model: str, prompt: list[int]) -> dict[str, Any]:
        """What is asked for one turn, given what it reads in tokens."""
        return {"model": model, "prompt": prompt, **self._sampling}

    def read(self, body: Any) -> Said:
        """The turn in an answer.

        Raises:
            ModelError: there is none, or it is without its tokens or their log-probabilities.
        """
        try:
            (choice,) = body["choices"]
            ids, drawn = [int(i) for i in choice["token_ids"]], choice["logprobs"]["token_logprobs"]
            known = [None if value is None or math.isnan(value) else float(value) for value in drawn]
            return Said("", ids, [value for value, _ in zip(known, ids, strict=True)])
        except (LookupError, TypeError, ValueError) as error:
            raise ModelError(
                f"vLLM server {self.url}: an answer without tokens or their log-probabilities ({error!r}): "
                f"{_quoted(body)}; it is to be one of the versions that docs/scaling.md names"
            ) from error


class ServerTurns:
    """Turns of one server, awaited, for one play.

    Args:
        server: samples.
        spent: is told what time went into, and since when: waiting for turns, or for patients where no turn is awaited.
        check: called several times a second; what it raises ends all turns.
    """

    def __init__(self, server: Server, spent: Callable[[str, float], None], check: Callable[[], None]) -> None:
        self._server, self._spent, self._check = server, spent, check
        self._under_way: set[asyncio.Task[Said]] = set()
        self._since = time.perf_counter()
        self._fault: Exception | None = None
        self._session: Any = None
        self._model = ""
        self._refused: ModelError | None = None
        self._opening = asyncio.Lock()

    async def say(self, prompt: list[int]) -> Said:
        """The turn that the server samples after these tokens.

        Raises:
            ModelError: it gives none, tried three times.
        """
        if self._fault:
            raise self._fault
        asked = asyncio.ensure_future(self._ask(prompt))
        self._counts(lambda: self._under_way.add(asked))
        try:
            return await asked
        except asyncio.CancelledError:
            if self._fault:
                raise self._fault from None
            raise
        finally:
            asked.cancel()
            self._counts(lambda: self._under_way.discard(asked))

    async def pump(self) -> None:
        """Looks whether the run is to end, until it is cancelled; then closes the connections."""
        try:
            while True:
                self._check()
                await asyncio.sleep(_WAIT_S)
        except Exception as error:
            self._fault = error
            for asked in self._under_way:
                asked.cancel()
        finally:
            self._spent("generation" if self._under_way else "environment", self._since)
            if self._session:
                await self._session.close()

    def _counts(self, change: Callable[[], None]) -> None:
        """Tells what the time went into since the last change from no turn under way to some, or back."""
        before = bool(self._under_way)
        change()
        if before != bool(self._under_way):
            self._spent("generation" if before else "environment", self._since)
            self._since = time.perf_counter()

    async def _ask(self, prompt: list[int]) -> Said:
        async with self._opening:  # the first asks for the model's name; what goes wrong there is told to all
            if self._refused:
                raise self._refused
            if not self._model:
                try:
                    self._model = await self._connect()
                except ModelError as error:
                    self._refused = error
                    raise
        return self._server.read(await self._sent("/v1/completions", self._server.request(self._model, prompt)))

    async def _connect(self) -> str:
        """The name of the model that the server has."""
        import aiohttp

        # A turn's time does not begin before it has a connection.
        self._session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=None, sock_read=_TURN_S),
            connector=aiohttp.TCPConnector(limit=_connections()),
        )
        models = await self._sent("/v1/models", None)
        try:
            return str(models["data"][0]["id"])
        except (LookupError, TypeError) as error:
            raise ModelError(f"vLLM server {self._server.url}: it names no model: {_quoted(models)}") from error

    async def _sent(self, path: str, request: Any) -> Any:
        """The answer's JSON; what another try may heal is tried again.

        Raises:
            ModelError: there is none.
        """
        import aiohttp

        where, why = f"{self._server.url}{path}", ""
        for tried in range(_TRIES):
            if tried:
                await asyncio.sleep(_PAUSE_S * 2 ** (tried - 1))
            try:
                way = self._session.get(where) if request is None else self._session.post(where, json=request)
                async with way as answer:
                    body = await answer.text()
                    if answer.status == 200:
                        return json.loads(body)
                    why = f"status {answer.status}: {_quoted(body)}"
                    if answer.status < 500:
                        break
            except (aiohttp.ClientError, OSError, ValueError) as error:  # TimeoutError is an OSError
                why = repr(error)
        raise ModelError(
            f"vLLM server {where}: {why}; see that it runs and has the model that is trained, and go on with --resume"
        )


def _connections() -> int:
    """As many as files may be open, some left for others; more turns wait here in place of at the server."""
    try:
        import resource
    except ImportError:  # Windows
        return _MOST_CONNECTIONS
    return max(1, min(_MOST_CONNECTIONS, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - _OTHER_FILES))


def _quoted(body: Any) -> str:
    return str(body)[:_QUOTED_CHARS]
