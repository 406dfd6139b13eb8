"""One request to a chat-completions server: sent, its answer read, and what went wrong named; for ``RemoteChat``."""

import asyncio
import json
import os
import threading
import time
from collections import Counter
from collections.abc import Coroutine, Mapping
from concurrent.futures import CancelledError, Future
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

from pydantic import SecretStr

from therapysim.errors import ModelError
from therapysim.models.redaction import in_brief, redact, redact_reply

__all__ = ["Connection", "Failure", "content", "import_aiohttp", "retry_after_s"]

T = TypeVar("T")

_INSTALL = "install it with `python -m pip install 'therapysim[remote]'`"
# Client errors that another try may heal: a time-out, a conflict, too many requests. All else in 4xx is final.
_TRY_AGAIN = (408, 409, 429)
# Client errors that every other request of the call would meet too: the key, the account, the address. Not 403, by
# which some servers refuse one chat for what it says.
_SAME_FOR_ALL = (401, 402, 404)
# A longer answer is given up: a reply of a thousand tokens has some 10 kB.
_MOST_BYTES = 8 * 2**20
_LONGEST_KEY = 1_000
_LOG = "see the server's log"
_START = "start the server (such as `vllm serve MODEL`), and check the URL, which mostly ends in /v1"
_ALIVE = "see that the server answers at all, then "
_SLOWER = "raise THERAPYSIM_TIMEOUT_S or lower THERAPYSIM_CONCURRENCY (in Python, timeout_s and concurrency)"
_HINTS = {
    **dict.fromkeys((301, 302, 303, 307, 308), "the server has moved: give the URL that it moved to"),
    401: "check the API key",
    403: "check what the API key may do, and what the server refuses to talk about",
    404: "check the model's name, and that the URL ends where /chat/completions begins, mostly in /v1",
    429: "lower THERAPYSIM_CONCURRENCY or raise THERAPYSIM_RETRIES (in Python, concurrency, retries and max_wait_s)",
}


class Failure(Exception):
    """Why a request got no answer, what to do, and whether another try may help.

    Attributes:
        what, hint: what happened, and what the user can do.
        may_pass: another try may help.
        for_all: every other request would meet the same.
        retry_after_s: seconds that the server asks to wait; None where it does not.
        first: what happened at the first attempt.
    """

    def __init__(
        self, what: str, hint: str, *, may_pass: bool = False, for_all: bool = False, retry_after_s: float | None = None
    ) -> None:
        super().__init__(what)
        self.what, self.hint = what, hint
        self.may_pass, self.for_all, self.retry_after_s = may_pass, for_all, retry_after_s
        self.first = what

    def after(self, met: Counter[str], seconds: float) -> "Failure":
        """The same as the end of several attempts, given how often each trouble was met."""
        tried = ", ".join(f"{count} x {what}" if count > 1 else what for what, count in met.items())
        asked = f"; the server asks to wait {self.retry_after_s:g} s" if self.retry_after_s else ""
        times = "once" if met.total() == 1 else f"{met.total()} times in {seconds:.1f} s"
        ended = Failure(f"tried {times}: {tried}{asked}", self.hint, for_all=self.for_all)
        ended.first = next(iter(met))
        return ended


class Connection:
    """An event loop in a thread of its own, and the pool of connections that lives on it."""

    def __init__(self, url: str, key: SecretStr, timeout_s: float, concurrency: int) -> None:
        self.pid = os.getpid()
        self.slots = asyncio.Semaphore(concurrency)
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, name="therapysim-remote", daemon=True)
        self.thread.start()
        self._address, self._key = f"{url}/chat/completions", key
        self._answered = False
        self._under_way: set[Future[Any]] = set()
        self._session = self.run(self._connect(timeout_s))

    async def _connect(self, timeout_s: float) -> Any:
        aiohttp = import_aiohttp()
        # No limit of its own: the slots are the limit.
        return aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=timeout_s),
            connector=aiohttp.TCPConnector(limit=0),
        )

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Waits for work done on the loop; what interrupts the wait ends the work.

        Raises:
            asyncio.CancelledError: ``interrupt`` ended it.
        """
        future = asyncio.run_coroutine_threadsafe(work, self.loop)
        self._under_way.add(future)
        try:
            return future.result()
        except CancelledError:  # an error like any other, unlike asyncio's
            raise asyncio.CancelledError("the call to the server was broken off") from None
        except BaseException:
            future.cancel()
            raise
        finally:
            self._under_way.discard(future)

    def interrupt(self) -> None:
        """Ends all work that some thread waits for."""
        for future in tuple(self._under_way):
            future.cancel()

    async def send(self, request: Mapping[str, Any], most: int) -> str:
        """The reply to one request, sent once; its first ``most`` characters.

        Raises:
            Failure: there is none.
        """
        aiohttp = import_aiohttp()
        try:
            async with self._session.post(
                self._address, json=request, headers=self._headers(), allow_redirects=False
            ) as answer:
                self._answered = True
                status, headers, body = answer.status, answer.headers, await _read(answer)
        except TimeoutError:
            limit = self._session.timeout.total
            hint = _SLOWER if self._answered else _ALIVE + _SLOWER
            raise Failure(f"no answer in {limit:g} s", hint, may_pass=True) from None
        except aiohttp.ClientConnectorError as error:
            raise Failure(
                f"no connection: {_quoted(str(error), self._key)}", _START, may_pass=True, for_all=True
            ) from None
        except (aiohttp.ClientError, OSError) as error:
            # Not its repr, which holds the request's headers, nor its words, which may be the server's, cut off midway.
            what = f"the connection was cut: {type(error).__name__}"
            reason = f", {error.strerror}" if isinstance(error, OSError) and error.strerror else ""
            raise Failure(what + reason, _LOG, may_pass=True) from None
        if status != 200:
            raise _refusal(status, body, self._key, retry_after_s(headers.get("Retry-After")))
        return content(body, self._key, most)

    def _headers(self) -> dict[str, str]:
        key = self._key.get_secret_value()
        return {"Authorization": f"Bearer {key}"} if key else {}

    def close(self) -> None:
        """Closes the connections and ends the thread; a second call, or one after a fork, does nothing."""
        if threading.current_thread() is self.thread:  # the chat's last user was a request that was given up
            self.loop.stop()
        elif self.pid == os.getpid() and self.thread.is_alive():
            self.run(self._session.close())
            self.loop.call_soon_threadsafe(self.loop.stop)
            self.thread.join()
            self.loop.close()


async def _read(answer: Any) -> str:
    """The answer's body; bytes that are no UTF-8 are replaced.

    Raises:
        Failure: it is too long, or has no end.
    """
    body = bytearray()
    async for part in answer.content.iter_any():
        body += part
        if len(body) > _MOST_BYTES:
            what = f"an answer of more than {_MOST_BYTES // 2**20} MiB"
            raise Failure(what, f"lower the limit of tokens (--max-tokens), or {_LOG}")
    return body.decode("utf-8", "replace")


def content(body: str, key: SecretStr, most: int) -> str:
    """The reply in an answer's body, stripped, without the key; its first ``most`` characters.

    Raises:
        Failure: it holds none.
    """
    try:
        choice = _decoded(body)["choices"][0]
        reply = choice["message"]["content"]
    except ValueError:
        raise Failure(f"malformed JSON: {_quoted(body, key)}", _LOG, may_pass=True) from None
    except (LookupError, TypeError):
        raise Failure(f"an answer without choices: {_quoted(body, key)}", _LOG, may_pass=True) from None
    if not isinstance(reply, str):
        why = f"{_spelt(reply)} as content, finish_reason {_spelt(choice.get('finish_reason'))}"
        hint = (
            "raise the limit of tokens (--max-tokens), or switch the model's thinking off (for a policy "
            "--chat-template-kwargs enable_thinking=false, in Python extra)"
        )
        raise Failure(_quoted(why, key), hint, may_pass=True)
    # Cut before it is looked through, and again: what the first cut leaves of a key at its end goes with the second.
    return redact_reply(reply.strip()[: most + _LONGEST_KEY], key)[:most].strip()


def _refusal(status: int, body: str, key: SecretStr, wait_s: float | None) -> Failure:
    """A status other than 200, with the server's own words."""
    return Failure(
        f"status {status}: {_quoted(_message(body), key) or 'no message'}",
        _HINTS.get(status, _LOG if status >= 500 else "mend what the server's message names"),
        may_pass=status in _TRY_AGAIN or status >= 500,
        for_all=status in _SAME_FOR_ALL,
        retry_after_s=wait_s,
    )


def _message(body: str) -> str:
    """The server's message where the body is laid out as OpenAI's or FastAPI's are; else all of it."""
    try:
        data = _decoded(body)
        error = data.get("error") or data
        said = error if isinstance(error, str) else error.get("message") or error.get("detail") or body
        return said if isinstance(said, str) else _spelt(said)
    except (ValueError, AttributeError):
        return body


def _decoded(body: str) -> Any:
    """What JSON says.

    Raises:
        ValueError: it is none, or nested so deep that it cannot be read.
    """
    try:
        return json.loads(body)
    except RecursionError:
        raise ValueError("nested too deep") from None


def _spelt(value: Any) -> str:
    """A value from JSON as it is shown."""
    try:
        return repr(value)
    except RecursionError:
        return f"{type(value).__name__} nested too deep"


def _quoted(text: str, key: SecretStr) -> str:
    """A server's own words in one line, without the key, cut only then: half of it would be no less a secret."""
    return in_brief(redact(text, key))


def retry_after_s(header: str | None) -> float | None:
    """Seconds to wait by a Retry-After header, which gives seconds or a date; None where it gives neither."""
    try:
        return max(0.0, float(header or ""))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(header or "").timestamp() - time.time())
    except (TypeError, ValueError, OverflowError):
        return None


def import_aiohttp() -> Any:
    """The package, imported only where a server is asked.

    Raises:
        ModelError: it is not installed.
    """
    try:
        import aiohttp
    except ImportError as error:
        raise ModelError(f"RemoteChat needs the package aiohttp; {_INSTALL}: {error}") from error
    return aiohttp
