"""OpenEnv: sessions over its public wire, a WebSocket each; needs ``openenv``, in an environment of its own.

    therapysim serve --port 8000 --most 256

    with TherapyClient("http://localhost:8000").sync() as env:
        told = env.reset(seed=7, persona="owen")
        told = env.step(TherapyAction(text="What has this week been like for you?"))

All sessions of a server share a patient and a sensor. No NaN reaches the wire: where the patient failed for good,
``reward`` is null and ``failed`` true.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from fastapi import FastAPI
from openenv.core.client_types import StepResult
from openenv.core.env_client import EnvClient
from openenv.core.env_server.http_server import create_fastapi_app
from openenv.core.env_server.interfaces import Environment, EnvironmentMetadata
from openenv.core.env_server.types import Action, ConcurrencyConfig, Observation, State
from pydantic import Field

from therapysim import __version__
from therapysim.agents.therapists.therapist import SYSTEM_PROMPT, conversation
from therapysim.envs.batch import Session, SessionBatch, SessionConfig, Start, Turn
from therapysim.errors import EpisodeError
from therapysim.personas.opening import open_patient
from therapysim.rewards.reading.open_sensor import open_sensor
from therapysim.train.connect.retrying import begin, take

__all__ = ["TherapyAction", "TherapyClient", "TherapyEnvironment", "TherapyObservation", "TherapyState", "make_app"]


class TherapyAction(Action):
    """A therapist's turn."""

    text: str = Field(description="any text; the empty one is a silence")


class TherapyObservation(Observation):
    """What a policy may know: the patient's words and s_t; where the patient failed, no words and no reward."""

    utterance: str
    message: str = Field(description="the words as a policy is prompted with them, with the state header")
    affect: list[float] = Field(description="e_t = [introspection, temper, attitude, sensitivity], each in [-1, 1]")
    history: list[float] = Field(description="polarity of the last three patient turns, oldest first")
    attributes: dict[str, Any] = Field(description="diagnosis, severity, age")
    turn: int = Field(description="therapist turns taken")
    ending: str = Field(description="goal, crisis or rupture; empty while the session goes on, or was cut off")
    failed: bool
    terms: dict[str, float] = Field(default_factory=dict, description="each term of the reward before its weight")


class TherapyState(State):
    """What is known of a session from outside."""

    persona: str = ""
    seed: int = 0
    system: str = Field("", description="the system prompt that our policies are given")


class TherapyEnvironment(Environment[TherapyAction, TherapyObservation, TherapyState]):
    """One session, ``SessionBatch``'s own.

    Args:
        open_batch: a batch for this session, over the patient that all share.
        retries: how often a patient that failed is asked for the same turn again.
    """

    SUPPORTS_CONCURRENT_SESSIONS = True

    def __init__(self, open_batch: Callable[[int | None], SessionBatch], retries: int = 2) -> None:
        super().__init__()
        self._open, self._retries, self._name = open_batch, retries, ""
        self._batch: SessionBatch | None = None

    def reset(self, seed: int | None = None, episode_id: str | None = None, **own: Any) -> TherapyObservation:
        """Begins a session: ``persona``, ``split``, ``vary`` as of ``Start``; ``max_turns``; seed 0 by default."""
        start = Start(seed or 0, own.get("persona") or None, own.get("split") or "train", bool(own.get("vary", False)))
        batch = self._open(own.get("max_turns"))
        begin(batch, start, self._retries)
        self._batch, self._name = batch, episode_id or f"{batch.sessions[0].persona.id}-{start.seed}"
        return self._seen(batch.sessions[0], None)

    def step(self, action: TherapyAction, timeout_s: float | None = None, **_: Any) -> TherapyObservation:
        """A turn, and the patient's answer.

        Raises:
            EpisodeError: no session was begun, or it is over.
        """
        if self._batch is None:
            raise EpisodeError("no session was begun: call reset first")
        turn = take(self._batch, action.text, self._retries)
        return self._seen(self._batch.sessions[0], turn)

    @property
    def state(self) -> TherapyState:
        """Who the patient is, the seed, and how many turns were taken."""
        if self._batch is None:
            return TherapyState()
        own = self._batch.sessions[0]
        told = {"persona": own.persona.id, "seed": own.seed, "system": SYSTEM_PROMPT}
        return TherapyState(episode_id=self._name, step_count=own.state.turn, **told)

    def get_metadata(self) -> EnvironmentMetadata:
        about = "Multi-turn therapy with simulated patients: a research simulator, no clinical device."
        return EnvironmentMetadata(name="TherapySim", description=about, version=__version__)

    def _seen(self, session: Session, turn: Turn | None) -> TherapyObservation:
        scored = turn is not None and turn.score is not None and not session.failed
        u = session.state.attributes
        return TherapyObservation(
            utterance="" if session.failed else session.transcript.last("patient"),
            message="" if session.failed else conversation(session)[-1]["content"],
            affect=[float(value) for value in session.state.affect],
            history=[float(value) for value in session.state.history],
            attributes={"diagnosis": u.diagnosis, "severity": u.severity, "age": u.age},
            turn=session.state.turn, ending=session.ending, failed=session.failed, done=session.done,
            reward=float(turn.reward) if turn and scored else None, terms=dict(turn.terms) if turn and scored else {},
        )  # fmt: skip


class TherapyClient(EnvClient[TherapyAction, TherapyObservation, TherapyState]):
    """A typed client of a server of ours."""

    def _step_payload(self, action: TherapyAction) -> dict[str, Any]:
        return {"text": action.text}

    def _parse_result(self, payload: dict[str, Any]) -> StepResult[TherapyObservation]:
        reward, done = payload.get("reward"), bool(payload.get("done"))
        seen = TherapyObservation(**{**payload["observation"], "reward": reward, "done": done})
        return StepResult(observation=seen, reward=reward, done=done)

    def _parse_state(self, payload: dict[str, Any]) -> TherapyState:
        return TherapyState(**payload)


def make_app(
    patient: str = "scripted", rubric: str = "grpo", turns: int = 20, most: int = 256, idle_s: float = 600.0
) -> FastAPI:
    """The server.

    Args:
        patient, rubric: by name, as ``SessionBatch`` takes them.
        turns: of a session, at most, unless its reset says otherwise.
        most: sessions at once; whoever comes beyond them is refused.
        idle_s: a session that says nothing for so long is ended.
    """
    sensor = open_sensor()
    shared, config = open_patient(patient, sensor.affect), SessionConfig(max_turns=turns)

    def open_batch(limit: int | None) -> SessionBatch:
        own = config if limit is None else replace(config, max_turns=limit)
        return SessionBatch(own, patient=shared, sensor=sensor, rubric=rubric)

    open_batch(None)  # a rubric that there is not is told before anybody comes
    SessionBatch(sensor=sensor).reset([Start(0)])  # the patients' lines are read once, not by each thread
    limits = ConcurrencyConfig(max_concurrent_envs=most, session_timeout=idle_s)
    return create_fastapi_app(lambda: TherapyEnvironment(open_batch), TherapyAction, TherapyObservation,
                              concurrency_config=limits, env_name="therapysim", state_cls=TherapyState)  # fmt: skip
