"""One request to a chat-completions server: sent, its answer read, and what went wrong named; for ``RemoteChat``."""

import asyncio
import json
import os
import threading
import time
from collections import Counter
from collections.abc import Coroutine, Mapping
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

from therapysim.errors import ModelError

__all__ = ["Failure", "Line", "content", "import_aiohttp", "retry_after_s"]

T = TypeVar("T")

_INSTALL = "install it with `python -m pip install 'therapysim[remote]'`"
# Client errors that another try may heal: a time-out, a conflict, too many requests. All else in 4xx is final.
_TRY_AGAIN = (408, 409, 429)
# Client errors that every other request of the call would meet too: the key, the account, the address. Not 403, by
# which some servers refuse one chat for what it says.
_SAME_FOR_ALL = (401, 402, 404)
# So much of a server's own words is shown.
_QUOTED_CHARS = 300
_LOG = "see the server's log"
_START = "start the server (such as `vllm serve MODEL`), and check the URL, which mostly ends in /v1"
_SLOWER = "raise RemoteSettings.timeout_s or lower RemoteSettings.concurrency"
_HINTS = {
    **dict.fromkeys((301, 302, 303, 307, 308), "the server has moved: give the URL that it moved to"),
    401: "check the API key",
    403: "check what the API key may do, and what the server refuses to talk about",
    404: "check the model's name, and that the URL ends where /chat/completions begins, mostly in /v1",
    429: "lower RemoteSettings.concurrency, or raise retries and max_wait_s",
}


class Failure(Exception):
    """Why a request got no answer, what to do, and whether another try may help.

    Attributes:
        what, hint: what happened, and what the user can do.
        may_pass: another try may help.
        for_all: every other request would meet the same.
        retry_after_s: seconds that the server asks to wait; None where it does not.
    """

    def __init__(
        self, what: str, hint: str, *, may_pass: bool = False, for_all: bool = False, retry_after_s: float | None = None
    ) -> None:
        super().__init__(what)
        self.what, self.hint = what, hint
        self.may_pass, self.for_all, self.retry_after_s = may_pass, for_all, retry_after_s

    def after(self, met: Counter[str], seconds: float) -> "Failure":
        """The same as the end of several attempts, given how often each trouble was met."""
        tried = ", ".join(f"{count} x {what}" if count > 1 else what for what, count in met.items())
        asked = f"; the server asks to wait {self.retry_after_s:g} s" if self.retry_after_s else ""
        times = "once" if met.total() == 1 else f"{met.total()} times in {seconds:.1f} s"
        return Failure(f"tried {times}: {tried}{asked}", self.hint, for_all=self.for_all)


class Line:
    """An event loop in a thread of its own, and the pool of connections that lives on it."""

    def __init__(self, url: str, key: str, timeout_s: float, concurrency: int) -> None:
        self.pid = os.getpid()
        self.slots = asyncio.Semaphore(concurrency)
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, name="therapysim-remote", daemon=True)
        self.thread.start()
        self._address, self._key = f"{url}/chat/completions", key
        self._session = self.run(self._connect(timeout_s))

    async def _connect(self, timeout_s: float) -> Any:
        aiohttp = import_aiohttp()
        # No limit of its own: the slots are the limit.
        return aiohttp.ClientSession(
            headers={"Authorization": f"Bearer {self._key}"} if self._key else {},
            timeout=aiohttp.ClientTimeout(total=timeout_s),
            connector=aiohttp.TCPConnector(limit=0),
        )

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Waits for work done on the loop; what interrupts the wait ends the work."""
        future = asyncio.run_coroutine_threadsafe(work, self.loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    async def send(self, request: Mapping[str, Any]) -> str:
        """The reply to one request, sent once.

        Raises:
            Failure: there is none.
        """
        aiohttp = import_aiohttp()
        try:
            async with self._session.post(self._address, json=request, allow_redirects=False) as answer:
                status, headers, body = answer.status, answer.headers, (await answer.read()).decode("utf-8", "replace")
        except TimeoutError:
            limit = self._session.timeout.total
            raise Failure(f"no answer in {limit:g} s", _SLOWER, may_pass=True) from None
        except aiohttp.ClientConnectorError as error:
            raise Failure(f"no connection: {error}", _START, may_pass=True, for_all=True) from None
        except (aiohttp.ClientError, OSError) as error:
            raise Failure(f"the connection was cut: {error!r}", _LOG, may_pass=True) from None
        safe = body.replace(self._key, "[the API key]") if self._key else body
        if status != 200:
            raise _refusal(status, safe, retry_after_s(headers.get("Retry-After")))
        return content(body, safe)

    def close(self) -> None:
        """Closes the connections and ends the thread; a second call, or one after a fork, does nothing."""
        if threading.current_thread() is self.thread:  # the chat's last user was a request that was given up
            self.loop.stop()
        elif self.pid == os.getpid() and self.thread.is_alive():
            self.run(self._session.close())
            self.loop.call_soon_threadsafe(self.loop.stop)
            self.thread.join()
            self.loop.close()


def content(body: str, shown: str | None = None) -> str:
    """The reply in an answer's body, stripped.

    Args:
        body: what the server sent.
        shown: the same as an error may show it.

    Raises:
        Failure: it holds none.
    """
    quoted = _cut(body if shown is None else shown)
    try:
        choice = json.loads(body)["choices"][0]
        reply = choice["message"]["content"]
    except ValueError:
        raise Failure(f"malformed JSON: {quoted}", _LOG, may_pass=True) from None
    except (LookupError, TypeError):
        raise Failure(f"an answer without choices: {quoted}", _LOG, may_pass=True) from None
    if not isinstance(reply, str):
        why = f"{reply!r} as content, finish_reason {choice.get('finish_reason')!r}"
        hint = "raise Sampling.max_tokens, or switch a model's thinking off by RemoteSettings.extra"
        raise Failure(_cut(why), hint, may_pass=True)
    return reply.strip()


def _refusal(status: int, body: str, wait_s: float | None) -> Failure:
    """A status other than 200, with the server's own words."""
    return Failure(
        f"status {status}: {_cut(_message(body)) or 'no message'}",
        _HINTS.get(status, _LOG if status >= 500 else "mend what the server's message names"),
        may_pass=status in _TRY_AGAIN or status >= 500,
        for_all=status in _SAME_FOR_ALL,
        retry_after_s=wait_s,
    )


def _message(body: str) -> str:
    """The server's message where the body is laid out as OpenAI's or FastAPI's are; else all of it."""
    try:
        data = json.loads(body)
        error = data.get("error") or data
        return str(error if isinstance(error, str) else error.get("message") or error.get("detail") or body)
    except (ValueError, AttributeError):
        return body


def _cut(text: str) -> str:
    return " ".join(text.split())[:_QUOTED_CHARS]


def retry_after_s(header: str | None) -> float | None:
    """Seconds to wait by a Retry-After header, which gives seconds or a date; None where it gives neither."""
    try:
        return max(0.0, float(header or ""))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(header or "").timestamp() - time.time())
    except (TypeError, ValueError):
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
