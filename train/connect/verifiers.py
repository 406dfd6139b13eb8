"""verifiers, and prime-rl by it: sessions as episodes; needs ``verifiers``, in an environment of its own.

    vf-eval therapysim-verifiers --env.taskset.sessions 32 --env.patient scripted -m MODEL --client.base-url URL

The policy is the one agent; its user is our patient, who speaks first. ``trace.reward`` is the session's return, and
``trace.rewards`` what it is made of: each term before its weight, and ``gate``, what unsafe turns forfeited. A session
whose patient failed for good is a trace with an error and no rewards.
"""

import asyncio
import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import verifiers.v1 as vf
from pydantic import Field

from therapysim.agents.sessions.session_file import record_session, session_text
from therapysim.agents.therapists.therapist import SYSTEM_PROMPT, conversation
from therapysim.envs.batch import SessionBatch, SessionConfig, Start, Turn
from therapysim.errors import PatientError
from therapysim.models.speech import say
from therapysim.personas.load import find, personas
from therapysim.personas.opening import open_patient
from therapysim.rewards.reading.open_sensor import open_sensor
from therapysim.train.connect.retrying import begin, take

__all__ = ["TherapyData", "TherapyEnv", "TherapyEnvConfig", "TherapyTask", "TherapyTaskset", "TherapyTasksetConfig"]


class TherapyData(vf.TaskData):
    """A session to be played: ``Start``'s own fields. There is no prompt, as the patient opens."""

    seed: int = Field(ge=0)
    persona: str | None = None
    split: str = "train"
    vary: bool = False


class TherapyTask(vf.Task[TherapyData]):
    """One session."""


class TherapyTasksetConfig(vf.TasksetConfig):
    """Which sessions: ``sessions`` of them, with seeds from ``seed`` on; the rest as of ``Start``."""

    sessions: int = Field(2000, ge=1)
    seed: int = Field(0, ge=0)
    persona: str | None = None
    split: str = "train"
    vary: bool = True


class TherapyTaskset(vf.Taskset[TherapyTask, TherapyTasksetConfig]):
    """Sessions to be played.

    Raises:
        PersonaError: there is no such patient or split.
    """

    def load(self) -> Iterator[TherapyTask]:
        own = self.config
        find(own.persona) if own.persona else personas(own.split)
        told = {"persona": own.persona or None, "split": own.split, "vary": own.vary, "system_prompt": SYSTEM_PROMPT}
        for seed in range(own.seed, own.seed + own.sessions):
            yield TherapyTask(TherapyData(seed=seed, name=f"session {seed}", **told), own.task)


class TherapyEnvConfig(vf.EnvConfig):
    """Settings of the sessions, and the policy's seat.

    Attributes:
        patient, rubric: by name, as ``SessionBatch`` takes them.
        turns: of a session, at most.
        show_state: whether the policy reads the state header.
        patient_retries: how often a patient that failed is asked for the same turn again.
        at_once: patients that speak at the same time, a thread each.
    """

    agent: vf.AgentConfig = vf.AgentConfig(runtime=vf.SubprocessConfig())
    patient: str = "scripted"
    rubric: str = "grpo"
    turns: int = Field(20, ge=1)
    show_state: bool = True
    patient_retries: int = Field(2, ge=0)
    at_once: int = Field(64, ge=1)


class TherapyEnv(vf.Env[TherapyEnvConfig]):
    """Plays sessions, each ``SessionBatch``'s own; all share a patient and a sensor."""

    def __init__(self, config: TherapyEnvConfig) -> None:
        super().__init__(config)
        self._sensor = open_sensor()
        self._patient = open_patient(config.patient, self._sensor.affect)
        self._batch()  # a rubric that there is not is told before anybody comes
        SessionBatch(sensor=self._sensor).reset([Start(0)])  # the patients' lines are read once, not by each thread

    async def start(self) -> None:
        self._threads = ThreadPoolExecutor(self.config.at_once)

    async def stop(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def run(self, task: vf.Task, agents: vf.Agents) -> None:
        """One session, until it or the policy's run ends; raises ``PatientError`` where its patient failed for good."""
        batch = self._batch()
        async with agents.agent.interaction(task) as talk:
            turns = await self._play(batch, task.data, talk)
            session, trace = batch.sessions[0], talk.trace
            record = record_session(session, turns, trace.agent.config.model or "")
            trace.info["session"] = json.loads(session_text(record))
            if session.failed:
                where = f"session {session.seed}, turn {len(turns)}: {session.persona.id}"
                raise PatientError(f"{where} gave no answer in {1 + self.config.patient_retries} tries; play it again")
            if not trace.errors:  # of the policy's own
                _score(trace, batch, turns)

    async def _play(self, batch: SessionBatch, own: TherapyData, talk: vf.Interaction) -> list[Turn]:
        loop, retries, turns = asyncio.get_running_loop(), self.config.patient_retries, list[Turn]()
        start = Start(own.seed, own.persona, own.split, own.vary)
        await loop.run_in_executor(self._threads, begin, batch, start, retries)
        while not batch.sessions[0].done:
            said = await talk.turn(conversation(batch.sessions[0], show_state=self.config.show_state)[-1]["content"])
            if said.terminated:
                break
            if turn := await loop.run_in_executor(self._threads, take, batch, _words(said), retries):
                turns.append(turn)
        return turns

    def _batch(self) -> SessionBatch:
        own = SessionConfig(max_turns=self.config.turns)
        return SessionBatch(own, patient=self._patient, sensor=self._sensor, rubric=self.config.rubric)


def _words(said: vf.Segment) -> str:
    """What was said aloud in a segment of the policy's run: its last reply, without reasoning left in it."""
    replies = [message.content for message in said.messages if isinstance(message, vf.AssistantMessage)]
    return say((replies[-1] if said.root_reply is None else said.root_reply) or "")


def _score(trace: vf.Trace, batch: SessionBatch, turns: Sequence[Turn]) -> None:
    session, scores = batch.sessions[0], [turn.score for turn in turns if turn.score]
    weights = {name: weight for score in scores for name, weight in score.weights.items()}
    for name, weight in (weights or batch.rubric.settings.weights).items():
        trace.record_reward(name, sum(score.terms.get(name, 0.0) for score in scores), weight)
    trace.record_reward("gate", sum(score.reward for score in scores) - trace.reward)
    ended = {f"ending/{name}": float(session.ending == name) for name in ("goal", "crisis", "rupture")}
    trace.record_metrics({"session_turns": len(turns), "alliance": session.latent.alliance, **ended})
