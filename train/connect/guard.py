"""Who may ask a server of sessions: no website's scripts, and by WebSocket alone."""

from typing import Any
from urllib.parse import urlsplit

from starlette.responses import PlainTextResponse
from starlette.websockets import WebSocketClose

from therapysim.agents.web.addresses import is_loopback

__all__ = ["Guarded"]


class Guarded:
    """The server for those who may ask: sessions by WebSocket alone, where limits hold; no website's scripts.

    Args:
        app: ``make_app``'s.
        local: refuse whoever calls this machine by another name than its own.
    """

    def __init__(self, app: Any, *, local: bool) -> None:
        self.app, self.local = app, local

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] in ("http", "websocket") and not self._may(scope):
            refusal = PlainTextResponse("refused: sessions are WebSockets, asked for by no website", 403)
            return await (refusal if scope["type"] == "http" else WebSocketClose(1008))(scope, receive, send)
        return await self.app(scope, receive, send)

    def _may(self, scope: Any) -> bool:
        headers = {name: value.decode("latin1") for name, value in scope["headers"]}
        asked = urlsplit(f"//{headers.get(b'host', '')}").hostname or ""
        origin = urlsplit(headers.get(b"origin", "")).netloc
        named = not self.local or is_loopback(asked)
        return named and origin in ("", headers.get(b"host")) and scope.get("method", "GET") in ("GET", "HEAD")
