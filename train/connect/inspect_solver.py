"""Inspect: a session, its patient driven turn by turn, the model under evaluation as the therapist."""

import json
from typing import Any

from anyio.to_thread import run_sync
from inspect_ai.log import transcript
from inspect_ai.model import (
    ChatMessage,
    ChatMessageAssistant,
    ChatMessageSystem,
    ChatMessageUser,
    GenerateConfig,
    get_model,
)
from inspect_ai.solver import Generate, Solver, TaskState, solver

from therapysim.agents.bench.results import as_line, result_of
from therapysim.agents.sessions.episode import Episode
from therapysim.agents.therapists.therapist import conversation, hash_seed
from therapysim.envs.batch import Session, SessionBatch, SessionConfig, Start, Turn
from therapysim.errors import PatientError
from therapysim.models.server import refuse_secrets
from therapysim.models.speech import say_behind_server
from therapysim.personas.opening import open_patient
from therapysim.rewards.reading.open_sensor import open_sensor
from therapysim.train.connect.inspect_scores import RESULT
from therapysim.train.connect.retrying import begin, take

__all__ = ["therapy"]

_ROLES = {"system": ChatMessageSystem, "user": ChatMessageUser, "assistant": ChatMessageAssistant}
_EPOCH = 10_000  # turns; no session is so long


@solver
def therapy(
    turns: int = 20,
    rubric: str = "default",
    patient: str = "scripted",
    patient_key_env: str | None = None,
    show_state: bool = True,
    retries: int = 2,
) -> Solver:
    """Plays a sample's session, the model as the therapist; arguments as of ``bench``."""
    refuse_secrets(patient, "the patient's name")
    sensor, config = open_sensor(), SessionConfig(max_turns=turns)
    shared = open_patient(patient, sensor.affect, api_key_env=patient_key_env)
    _warm(SessionBatch(config, sensor=sensor, rubric=rubric))

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        batch, taken = SessionBatch(config, patient=shared, sensor=sensor, rubric=rubric), list[Turn]()
        read = written = 0
        await run_sync(
            begin, batch, Start.meeting(int(state.metadata["seed"]), str(state.metadata["patient"])), retries
        )
        state.messages = _heard(batch.sessions[0], 0, show_state)
        while not (session := batch.sessions[0]).done:
            text, more_read, more_written = await _answer(state, session)
            read, written = read + more_read, written + more_written
            turn = await run_sync(take, batch, text, retries)
            if turn is not None and turn.score is not None:
                taken.append(turn)
                state.messages += _heard(batch.sessions[0], len(state.messages), show_state)
                transcript().info(_told(batch.sessions[0], turn), source="therapysim")
        if session.failed:
            where = f"{session.persona.id}, seed {session.seed}, turn {session.state.turn + 1}"
            raise PatientError(f"{where}: the patient, asked {retries + 1} times, gave no answer; see that it is there")
        row = result_of(str(state.model), patient, Episode(session, tuple(taken)), (read, written))
        state.store.set(RESULT, json.loads(as_line(row)))
        return state

    return solve


async def _answer(state: TaskState, session: Session) -> tuple[str, int, int]:
    """What the model says next, and the tokens that it read and wrote."""
    seed = hash_seed(session.seed, session.state.turn + (state.epoch - 1) * _EPOCH)
    state.output = await get_model().generate(state.messages, config=GenerateConfig(seed=seed))
    text, used = say_behind_server(state.output.completion), state.output.usage
    if used is None:
        return text, 0, 0
    cached = (used.input_tokens_cache_read or 0) + (used.input_tokens_cache_write or 0)
    return text, used.input_tokens + cached, used.output_tokens


def _warm(batch: SessionBatch) -> None:
    """Loads what a first turn loads, before sessions ask for it from many threads at once."""
    batch.reset([Start(0)])
    batch.step([""])


def _heard(session: Session, known: int, show_state: bool) -> list[ChatMessage]:
    """What the model reads next, behind the messages that it knows."""
    return [_ROLES[m["role"]](content=m["content"]) for m in conversation(session, show_state=show_state)[known:]]


def _told(session: Session, turn: Turn) -> dict[str, Any]:
    """What a turn brought, for the log."""
    return {
        "turn": session.state.turn,
        "reward": turn.reward,
        "move": str(turn.transition.move) if turn.transition else "",
        "alliance": session.latent.alliance,
        "affect": [float(value) for value in session.state.affect],
        "violations": list(turn.violations),
        "ending": session.ending,
        "terms": turn.terms,
    }
