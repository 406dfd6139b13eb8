"""The page's server: a few requests, each answered in JSON, to the one who holds the session's id alone.

A session's id is 128 random bits, made here. Nothing is fetched from anywhere, and the page may not fetch either. What
a request may hold is limited; one that is wrong is answered by what was wrong, and changes nothing.
"""

import json
import secrets
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from therapysim.agents.sessions.session_file import load_session, save_session
from therapysim.agents.web.desk import Desk, Refused
from therapysim.agents.web.house import House, PageSettings, count_of
from therapysim.agents.web.names import is_loopback
from therapysim.agents.web.view import patient_view, session_view
from therapysim.errors import ConfigError, TherapySimError

__all__ = ["make_app"]

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
    rubric = settings.rubric.settings

    def start(_: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "patients": [patient_view(persona) for persona in settings.patients],
            "policies": [policy.name for policy in settings.policies],
            "turns": settings.turns,
        }

    def look(asked: Mapping[str, Any]) -> dict[str, Any]:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "session.json"
            file.write_text(json.dumps(asked), encoding="utf-8")
            try:
                return session_view(load_session(file), rubric.weights)
            except ConfigError as error:
                raise Refused(422, str(error).replace(str(file), "that you chose")) from error

    def undo(key: str, desk: Desk, _: Mapping[str, Any]) -> dict[str, Any]:
        desk.undo()
        return house.told(key, desk)

    def branch(key: str, desk: Desk, asked: Mapping[str, Any]) -> dict[str, Any]:
        desk.branch(count_of(asked, "turns", 10_000))
        return house.told(key, desk)

    def choose(key: str, desk: Desk, asked: Mapping[str, Any]) -> dict[str, Any]:
        desk.choose(count_of(asked, "branch", 10_000))
        return house.told(key, desk)

    def on_desk(do: Callable[[str, Desk, Mapping[str, Any]], dict[str, Any]]) -> Callable[..., dict[str, Any]]:
        def done(asked: Mapping[str, Any], key: str) -> dict[str, Any]:
            desk = house.desk(key)
            with desk.alone():
                desk.require_seen(asked.get("seen"))
                return do(key, desk, asked)

        return done

    def show(_: Mapping[str, Any], key: str) -> dict[str, Any]:
        desk = house.desk(key)
        with desk.alone(wait=True):
            return house.told(key, desk)

    def file(_: Mapping[str, Any], key: str) -> Response:
        desk = house.desk(key)
        with tempfile.TemporaryDirectory() as folder, desk.alone(wait=True):
            own = desk.record()
            path = save_session(Path(folder) / "s.json", desk.session, [step.turn for step in desk.steps], own.policy)
            name = f"{own.persona}-{own.seed}.json"
            disposition = {"Content-Disposition": f'attachment; filename="{name}"'}
            return Response(path.read_bytes(), media_type="application/json", headers={**_HEADERS, **disposition})

    one = "/api/sessions/{key}"
    routes = [
        *(Route(path, _page(name), methods=["GET"]) for path, name in _FILES.items()),
        _route("/api/start", start, settings.token, "GET"),
        _route("/api/look", look, settings.token, most=MOST_FILE),
        _route("/api/sessions", house.open, settings.token),
        _route(one, show, settings.token, "GET"),
        _route(f"{one}/file", file, settings.token, "GET"),
        _route(f"{one}/say", on_desk(house.say), settings.token),
        _route(f"{one}/suggest", on_desk(lambda _, desk, asked: house.suggest(desk, asked)), settings.token),
        _route(f"{one}/undo", on_desk(undo), settings.token),
        _route(f"{one}/branch", on_desk(branch), settings.token),
        _route(f"{one}/choose", on_desk(choose), settings.token),
        _route(f"{one}/rate", on_desk(house.rate), settings.token),
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
        found = json.loads(body.decode("utf-8") or "{}")
    except (ValueError, RecursionError) as error:
        raise Refused(400, f"the body is no JSON: {str(error)[:200]}") from error
    if not isinstance(found, dict):
        raise Refused(400, "the body is no JSON object")
    return found
