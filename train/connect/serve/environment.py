"""A session as an environment of OpenEnv; its turns are played by the server's ``Gatherer``, beside others'.

No NaN reaches the wire: where the patient failed for good, ``reward`` is null and ``failed`` true.
"""

from asyncio import wrap_future
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from threading import Lock
from typing import Any

from openenv.core.env_server.interfaces import Environment, EnvironmentMetadata

from therapysim import __version__
from therapysim.agents.therapists.therapist import SYSTEM_PROMPT, conversation
from therapysim.envs.batch import SessionConfig, Start
from therapysim.errors import ConfigError, EpisodeError
from therapysim.train.connect.openenv import TherapyAction, TherapyObservation, TherapyState
from therapysim.train.connect.serve.gatherer import Asked, Gatherer, Played

__all__ = ["TherapyEnvironment"]

_OPTIONS = {"persona": str, "split": str, "vary": bool, "max_turns": int}


class TherapyEnvironment(Environment[TherapyAction, TherapyObservation, TherapyState]):
    """One session, ``SessionBatch``'s own.

    Args:
        gatherer: plays it.
        config: settings of the session; ``reset`` may set another limit of turns.
    """

    SUPPORTS_CONCURRENT_SESSIONS = True
    # Made and closed in one thread for all, instead of one each: turns are played elsewhere.
    REQUIRES_SINGLE_THREAD_EXECUTOR = True

    def __init__(self, gatherer: Gatherer, config: SessionConfig) -> None:
        super().__init__()
        self._gatherer, self._config, self._name = gatherer, config, ""
        self._played: Played | None = None
        self._lock, self._closed = Lock(), False

    def reset(self, seed: int | None = None, episode_id: str | None = None, **own: Any) -> TherapyObservation:
        """Begins a session: ``persona``, ``split``, ``vary`` as of ``Start``; ``max_turns``; seed 0 by default.

        Raises:
            EpisodeError: a turn is being played, or the session was closed.
            ConfigError, PersonaError: there is no such setting, or nobody of that name.
        """
        with self._alone():
            return self._begun(self._gatherer.ask(self._start(seed, own)).result(), episode_id)

    async def reset_async(
        self, seed: int | None = None, episode_id: str | None = None, **own: Any
    ) -> TherapyObservation:
        """As ``reset``, beside others."""
        with self._alone():
            return self._begun(await wrap_future(self._gatherer.ask(self._start(seed, own))), episode_id)

    def step(self, action: TherapyAction, timeout_s: float | None = None, **_: Any) -> TherapyObservation:
        """A turn, and the patient's answer.

        Raises:
            EpisodeError: no session was begun, it is over or was closed, or a turn of it is being played.
        """
        with self._alone():
            return self._seen(self._gatherer.ask(self._turn(action)).result())

    async def step_async(self, action: TherapyAction, timeout_s: float | None = None, **_: Any) -> TherapyObservation:
        """As ``step``, beside others."""
        with self._alone():
            return self._seen(await wrap_future(self._gatherer.ask(self._turn(action))))

    @property
    def state(self) -> TherapyState:
        """Who the patient is, the seed, and how many turns were taken."""
        if self._played is None:
            return TherapyState()
        own = self._played.session
        told = {"persona": own.persona.id, "seed": own.seed, "system": SYSTEM_PROMPT}
        return TherapyState(episode_id=self._name, step_count=own.state.turn, **told)

    def get_metadata(self) -> EnvironmentMetadata:
        about = "Multi-turn therapy with simulated patients: a research simulator, no clinical device."
        return EnvironmentMetadata(name="TherapySim", description=about, version=__version__)

    def close(self) -> None:
        """Ends it: whoever is still there, beside a client that left, can play no further turn."""
        self._closed = True

    @contextmanager
    def _alone(self) -> Iterator[None]:
        if not self._lock.acquire(blocking=False):
            raise EpisodeError("a turn of this session is being played: wait for its answer, then send the next")
        try:
            if self._closed:
                raise EpisodeError("the session was closed: connect anew")
            yield
        finally:
            self._lock.release()

    def _start(self, seed: int | None, own: dict[str, Any]) -> Asked:
        given = {name: value for name, value in own.items() if value is not None}
        for name, value in given.items():
            if name not in _OPTIONS or type(value) is not _OPTIONS[name]:
                known = ", ".join(f"{option} ({kind.__name__})" for option, kind in _OPTIONS.items())
                raise ConfigError(f"reset got {name} {value!r}, expected seed, episode_id, {known}")
        limit = given.pop("max_turns", self._config.max_turns)
        given["persona"] = given.get("persona") or None  # the empty name is nobody's
        return Asked(replace(self._config, max_turns=limit), Start(0 if seed is None else seed, **given))

    def _turn(self, action: TherapyAction) -> Asked:
        if self._played is None:
            raise EpisodeError("no session was begun: call reset first")
        own = self._played.session
        if own.done:
            why = "the patient failed" if own.failed else own.ending or "the turn limit"
            raise EpisodeError(f"the session is over ({why}): reset begins another")
        return Asked(self._played.config, own, action.text)

    def _begun(self, played: Played, name: str | None) -> TherapyObservation:
        self._name = name or f"{played.session.persona.id}-{played.session.seed}"
        return self._seen(played)

    def _seen(self, played: Played) -> TherapyObservation:
        self._played, session, turn = played, played.session, played.turn
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
