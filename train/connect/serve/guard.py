"""Who may ask a server of sessions, and for how long in silence: no website's scripts, and by WebSocket alone."""

import asyncio
import json
from typing import Any
from urllib.parse import urlsplit

from starlette.responses import PlainTextResponse
from starlette.websockets import WebSocketClose

from therapysim.agents.web.addresses import is_loopback
from therapysim.train.connect.serve.metrics import Metrics

__all__ = ["MOST_BYTES", "Guarded"]

#: Bytes of a message, at most.
MOST_BYTES = 2**18
#: Status of a WebSocket that was closed for its silence: the server goes away (RFC 6455, 7.4.1).
GONE = 1001


class Guarded:
    """The server for those who may ask: sessions by WebSocket alone, where limits hold; no website's scripts.

    Args:
        app: the server.
        metrics: counts the errors that clients are told.
        local: refuse whoever calls this machine by another name than its own.
        idle_s: a WebSocket that says nothing for so long is closed, its session with it.
    """

    def __init__(self, app: Any, metrics: Metrics, *, local: bool, idle_s: float) -> None:
        self.app, self.metrics, self.local, self.idle_s = app, metrics, local, idle_s

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] in ("http", "websocket") and not self._may(scope):
            refusal = PlainTextResponse("refused: sessions are WebSockets, asked for by no website", 403)
            return await (refusal if scope["type"] == "http" else WebSocketClose(1008))(scope, receive, send)
        if scope["type"] == "websocket":
            return await self._talk(scope, receive, send)
        return await self.app(scope, receive, send)

    async def _talk(self, scope: Any, receive: Any, send: Any) -> None:
        silent = False

        async def hear() -> Any:
            nonlocal silent
            try:
                return await asyncio.wait_for(receive(), self.idle_s)
            except TimeoutError:
                silent = True
                return {"type": "websocket.disconnect", "code": GONE}

        async def tell(message: Any) -> None:
            self._count(message.get("text") or "")
            if silent and message["type"] == "websocket.close":
                message = {**message, "code": GONE, "reason": f"silent for {self.idle_s:g} s"}
            await send(message)

        await self.app(scope, hear, tell)

    def _count(self, text: str) -> None:
        if text.startswith('{"type":"error"'):
            self.metrics.erred(str(json.loads(text)["data"]["code"]))

    def _may(self, scope: Any) -> bool:
        headers = {name: value.decode("latin1") for name, value in scope["headers"]}
        asked = urlsplit(f"//{headers.get(b'host', '')}").hostname or ""
        origin = headers.get(b"origin")  # "null": a page that hides where it is from
        own = origin is None or urlsplit(origin).netloc == headers.get(b"host")
        named = not self.local or is_loopback(asked)
        return named and own and _harmless(scope, headers.get(b"content-length", ""))


def _harmless(scope: Any, length: str) -> bool:
    """Nothing is played by plain HTTP; MCP, which OpenEnv's validator asks for, is let in with a small body."""
    small = length.isdigit() and int(length) <= MOST_BYTES
    return scope.get("method", "GET") in ("GET", "HEAD") or (scope["path"] == "/mcp" and small)
