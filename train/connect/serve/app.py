"""The server of sessions, an ASGI app: OpenEnv's routes, ``/metrics``, and a guard before them."""

from functools import partial

import uvicorn
from fastapi import FastAPI
from openenv.core.env_server.http_server import HTTPEnvServer
from openenv.core.env_server.types import ConcurrencyConfig
from starlette.responses import PlainTextResponse

from therapysim.envs.batch import SessionBatch, SessionConfig
from therapysim.models.chat import calls_at_once
from therapysim.personas.opening import open_patient
from therapysim.rewards.reading.open_sensor import open_sensor
from therapysim.rewards.rubric_by_name import open_rubric
from therapysim.train.connect.openenv import TherapyAction, TherapyObservation, TherapyState
from therapysim.train.connect.serve.environment import TherapyEnvironment
from therapysim.train.connect.serve.gatherer import Gatherer
from therapysim.train.connect.serve.guard import MOST_BYTES, Guarded
from therapysim.train.connect.serve.metrics import CONTENT_TYPE, Metrics

__all__ = ["make_app", "settings_of"]

#: Of OpenEnv's routes: what its validator knows a server by.
PROTOCOL = "1.0.0"


def make_app(
    patient: str = "scripted",
    rubric: str = "grpo",
    turns: int = 20,
    most: int = 256,
    idle_s: float = 600.0,
    *,
    local: bool = True,
) -> Guarded:
    """The server.

    Args:
        patient, rubric: by name, as ``SessionBatch`` takes them.
        turns: of a session, at most, unless its reset says otherwise.
        most: sessions at once; whoever comes beyond them is refused.
        idle_s: a session that says nothing for so long is ended.
        local: let in only who calls this machine by its own name.

    Raises:
        ConfigError, ModelError: there is no such patient or rubric, or it cannot be had.
    """
    metrics, config = Metrics(), SessionConfig(max_turns=turns)
    gatherer = _gatherer(patient, rubric, metrics)
    server = HTTPEnvServer(
        partial(TherapyEnvironment, gatherer, config), TherapyAction, TherapyObservation,
        concurrency_config=ConcurrencyConfig(max_concurrent_envs=most, session_timeout=idle_s),
        env_name="therapysim", state_cls=TherapyState,
    )  # fmt: skip
    app = FastAPI(title="TherapySim", version=PROTOCOL)
    server.register_routes(app)
    app.router.on_shutdown.append(gatherer.close)

    @app.get("/metrics")
    async def told() -> PlainTextResponse:
        capacity = server.get_capacity_status()
        return PlainTextResponse(metrics.text(capacity.active_sessions, capacity.max_sessions), media_type=CONTENT_TYPE)

    return Guarded(app, metrics, local=local, idle_s=idle_s)


def settings_of(app: Guarded) -> uvicorn.Config:
    """How uvicorn serves it: no larger message, and a trainer whose event loop stands still keeps its sessions."""
    return uvicorn.Config(app, log_level="warning", ws_max_size=MOST_BYTES, ws_ping_timeout=app.idle_s)


def _gatherer(patient: str, rubric: str, metrics: Metrics) -> Gatherer:
    sensor, scored = open_sensor(), open_rubric(rubric)
    shared = open_patient(patient, sensor.affect)
    if patient == "scripted":
        shared.speak([])  # its written lines, which all sessions need, are read before anybody comes

    def open_batch(config: SessionConfig) -> SessionBatch:
        return SessionBatch(config, patient=shared, sensor=sensor, rubric=scored)

    threads = calls_at_once(shared)
    return Gatherer(open_batch, metrics, threads=threads, together=64 if threads == 1 else 1)
