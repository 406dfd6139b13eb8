"""The page's server: a few requests, each answered in JSON, to the one who holds the session's id alone.

A session's id is 128 random bits, made here. Nothing is fetched from anywhere, and the page may not fetch either. What
a request may hold is limited; one that is wrong is answered by what was wrong, and changes nothing.
"""

import json
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from therapysim.agents.sessions.session_file import read_session, session_text
from therapysim.agents.web.addresses import is_loopback
from therapysim.agents.web.asked import Asked, Begin, Branch, Choose, Rate, Say, Suggest, read
from therapysim.agents.web.desk import Desk, Refused
from therapysim.agents.web.house import House, PageSettings
from therapysim.agents.web.view import patient_view, session_view
from therapysim.documents import Unreadable, json_value, text_of
from therapysim.errors import ConfigError, TherapySimError

__all__ = ["make_app"]

A = TypeVar("A", bound=Asked)

STATIC = Path(__file__).parent / "static"
#: Bytes of a request, and of a session file that is sent to be looked at.
MOST_BYTES, MOST_FILE = 2**16, 2**23
#: The page fetches nothing from elsewhere, runs no script of anybody's, and stands in no other page.
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
_FILES = {"/": "play.html", "/play.css": "play.css", "/play.js": "play.js"}


def make_app(settings: PageSettings) -> Starlette:
    """The application; any ASGI server runs it.

    Raises:
        ConfigError: the folder of ratings holds files that cannot be read.
    """
    house = House(settings)

    def start(_: Any) -> dict[str, Any]:
        return {
            "patients": [patient_view(persona) for persona in settings.patients],
            "policies": [policy.name for policy in settings.policies],
        }

    def look(body: Any) -> dict[str, Any]:
        try:
            record = read_session(body, "session file")
        except ConfigError as error:
            raise Refused(422, str(error)) from error
        return session_view(record, [settings.rubric.settings.weights] * len(record.turns), settings.patients)

    def begin(body: Any) -> dict[str, Any]:
        return house.told(*house.open(read(body, Begin)))

    def show(_: Any, key: str) -> dict[str, Any]:
        desk = house.desk(key)
        with desk.alone(wait=True):
            return house.told(key, desk)

    def file(_: Any, key: str) -> Response:
        desk = house.desk(key)
        with desk.alone(wait=True):
            own = desk.record()
        told = {**_HEADERS, "Content-Disposition": f'attachment; filename="{own.persona}-{own.seed}.json"'}
        return Response(session_text(own), media_type="application/json", headers=told)

    def change(kind: type[A], do: Callable[[str, Desk, A], object]) -> Callable[..., dict[str, Any]]:
        """A request that changes a desk, answered by what it shows then, or by what ``do`` answers."""

        def done(body: Any, key: str) -> dict[str, Any]:
            desk, asked = house.desk(key), read(body, kind)
            with desk.alone():
                desk.require_seen(asked.seen)
                answer = do(key, desk, asked)
                return answer if isinstance(answer, dict) else house.told(key, desk)

        return done

    one, token = "/api/sessions/{key}", settings.token
    changes = {
        "say": change(Say, lambda _, desk, asked: house.say(desk, asked)),
        "suggest": change(Suggest, lambda _, desk, asked: {"text": house.suggest(desk, asked.policy)}),
        "undo": change(Asked, lambda _, desk, asked: desk.undo()),
        "branch": change(Branch, lambda _, desk, asked: desk.branch(asked.turns)),
        "choose": change(Choose, lambda _, desk, asked: desk.choose(asked.branch)),
        "rate": change(Rate, house.rate),
    }
    routes = [
        *(Route(path, _page(name), methods=["GET"]) for path, name in _FILES.items()),
        _route("/api/start", start, token, "GET"),
        _route("/api/look", look, token, most=MOST_FILE),
        _route("/api/sessions", begin, token),
        _route(one, show, token, "GET"),
        _route(f"{one}/file", file, token, "GET"),
        *(_route(f"{one}/{name}", do, token) for name, do in changes.items()),
    ]
    return Starlette(routes=routes)


def _page(name: str) -> Callable[[Request], Any]:
    async def send(_: Request) -> Response:
        return FileResponse(STATIC / name, headers=_HEADERS)

    return send


def _route(path: str, do: Callable[..., Any], token: str, method: str = "POST", most: int = MOST_BYTES) -> Route:
    async def answer(request: Request) -> Response:
        try:
            _require_token(request, token)
            asked = await _read(request, most) if method == "POST" else {}
            found = await run_in_threadpool(do, asked, **request.path_params)
            return found if isinstance(found, Response) else JSONResponse(found, headers=_HEADERS)
        except Refused as error:
            return JSONResponse({"error": str(error)}, error.status, headers=_HEADERS)
        except TherapySimError as error:  # a model or a disk that fails
            return JSONResponse({"error": str(error)}, 503, headers=_HEADERS)
        except ClientDisconnect:
            return Response(status_code=400)

    return Route(path, answer, methods=[method])


def _require_token(request: Request, token: str) -> None:
    """Without a token the page is this machine's alone, and so must be the name by which it is asked."""
    name = request.url.hostname or ""
    if not token and not is_loopback(name):
        raise Refused(403, f"asked by the name {name[:80]!r}, expected localhost or an address of this machine alone")
    given = request.headers.get("authorization", "").removeprefix("Bearer ")
    if token and not secrets.compare_digest(given.encode(), token.encode()):
        raise Refused(401, "this page asks for a token: open it by the address that `therapysim play` printed")


async def _read(request: Request, most: int) -> dict[str, Any]:
    """The body, a JSON object; nothing else, so that no other site's form can send one."""
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise Refused(415, "expected a body of application/json")
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > most:
            raise Refused(413, f"the body is longer than {most:,} bytes; say it in fewer words")
    try:
        # A lone surrogate is no character: no answer could carry it.
        found = json_value(
            json.dumps(json_value(text_of(body)), ensure_ascii=False).encode("utf-8", "replace").decode()
        )
    except (Unreadable, RecursionError) as error:
        raise Refused(400, str(error).replace("the file", "the body")[:300]) from error
    if not isinstance(found, dict):
        raise Refused(400, "the body is no JSON object")
    return found
