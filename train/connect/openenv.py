"""OpenEnv: what goes over its public wire, a WebSocket a session, and a typed client; needs ``openenv``.

    therapysim serve --port 8000 --most 256

    with TherapyClient("http://localhost:8000").sync() as env:
        told = env.reset(seed=7, persona="owen")
        told = env.step(TherapyAction(text="What has this week been like for you?"))

The server is ``therapysim.train.connect.serve.app``.
"""

from typing import Any

from openenv.core.client_types import StepResult
from openenv.core.env_client import EnvClient
from openenv.core.env_server.types import Action, Observation, State
from pydantic import Field

__all__ = ["TherapyAction", "TherapyClient", "TherapyObservation", "TherapyState"]


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
