"""Many sessions as one Gymnasium vector environment: one batched patient call a turn, in this process."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space, concatenate, create_empty_array
from numpy.typing import NDArray

from therapysim.envs.batch import Session, SessionBatch, SessionConfig, Start, Turn
from therapysim.envs.spec_settings import choose_config, choose_rubric, choose_thresholds
from therapysim.envs.therapy import (
    checked_options,
    describe,
    observe,
    opened,
    reward_of,
    session_seed,
    session_spaces,
    start_of,
    warn,
)
from therapysim.errors import ActionError, ConfigError, EpisodeError, require_count
from therapysim.personas.patient import Patient
from therapysim.personas.schema import Persona
from therapysim.rewards.reading.open_sensor import Sensor
from therapysim.rewards.risk import RiskThresholds
from therapysim.rewards.rubric import Rubric
from therapysim.rewards.rubric_settings import RubricSettings

__all__ = ["TherapySimVectorEnv"]

Observations = dict[str, Any]
StepResult = tuple[Observations, NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]


class TherapySimVectorEnv(gym.vector.VectorEnv[Observations, Sequence[str], NDArray[np.float64]]):
    """``num_envs`` sessions over one SessionBatch; see ``TherapySimEnv`` for what a session is.

    Text stays Python text: actions are a sequence of ``num_envs`` strings, the observation's ``utterance`` a tuple of
    them. What it returns is what ``SyncVectorEnv`` does of as many ``TherapySimEnv``. ``AsyncVectorEnv`` works too, and
    loses the batching of calls to the patient and the sensor.

    Args:
        num_envs: at least 1.
        autoreset_mode: NEXT_STEP (default): the step after a session's end begins its next one, ignoring the action.
            SAME_STEP: the ending step returns the next session's opening; ``final_obs`` (an object array, None where
            a session goes on) and ``final_info`` hold the last of the ended one. DISABLED: ended sessions stand still
            until ``reset(options={"reset_mask": mask})``; their actions are ignored, their rewards 0.
        Others: as for TherapySimEnv. Automatic resets follow these, not the options of an earlier ``reset``.

    A session whose patient could not even open it shows ``failed`` in its info; the next step ends it, with reward 0.

    A seed given to ``reset`` gives session i the seed + i, as ``TherapySimEnv.reset(seed + i)`` does;
    ``np_random_seed`` and ``np_random`` are tuples, one entry a session.
    """

    metadata = {"render_modes": ["ansi"], "autoreset_mode": AutoresetMode.NEXT_STEP}  # noqa: RUF012 - as gymnasium declares it

    def __init__(
        self,
        num_envs: int = 1,
        persona: Persona | str | Path | None = None,
        split: str = "train",
        config: SessionConfig | Mapping[str, Any] | None = None,
        max_turns: int | None = None,
        patient: Patient | str | None = None,
        sensor: Sensor | None = None,
        rubric: Rubric | RubricSettings | Mapping[str, Any] | str | None = None,
        observe_state: bool = True,
        render_mode: str | None = None,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        risk_thresholds: RiskThresholds | Mapping[str, Any] | None = None,
        emotions: str | Path | None = None,
        vary: bool = False,
    ) -> None:
        num_envs = require_count("num_envs", num_envs, 1)
        if render_mode not in (None, "ansi"):
            raise ConfigError(f"render_mode is {render_mode!r}, expected 'ansi' or None")
        self.persona, self.split, self.vary = opened(persona), split, vary
        start_of(0, self.persona, split, None, vary)
        self.num_envs = num_envs
        self.render_mode = render_mode
        self.observe_state = observe_state
        self.risk_thresholds = choose_thresholds(risk_thresholds)
        self.autoreset_mode = _autoreset(autoreset_mode)
        self.metadata = {**type(self).metadata, "autoreset_mode": self.autoreset_mode}
        self.batch = SessionBatch(
            choose_config(config, max_turns),
            patient=patient,
            sensor=sensor,
            rubric=choose_rubric(rubric),
            emotions=emotions,
        )
        self.single_observation_space, self.single_action_space = session_spaces(self.batch.config, observe_state)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._over = np.zeros(num_envs, dtype=bool)
        self._rngs = [gym.utils.seeding.np_random() for _ in range(num_envs)]

    @property  # type: ignore[misc]
    def np_random(self) -> tuple[np.random.Generator, ...]:  # type: ignore[override]
        """What draws each session's seed, as ``SyncVectorEnv`` has it."""
        return tuple(rng for rng, _ in self._rngs)

    @property
    def np_random_seed(self) -> tuple[int, ...]:  # type: ignore[override]
        """What each of ``np_random`` was last seeded with, by ``reset(seed=…)`` or by chance."""
        return tuple(seed for _, seed in self._rngs)

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observations, dict[str, Any]]:
        """Begins every session, or those in ``options["reset_mask"]``.

        Args:
            seed: one for all (session i gets seed + i), or one each.
            options: ``persona``, ``split``, ``reset_mask`` (num_envs booleans).
        """
        given = checked_options(options)
        mask = self._mask(given.pop("reset_mask", None))
        self._begin(np.flatnonzero(mask), given, self._seed_all(seed))
        return self._observe(), self._infos([None] * self.num_envs, mask)

    def step(self, actions: Sequence[str]) -> StepResult:  # type: ignore[override]
        """Says ``actions[i]`` in session i.

        Raises:
            ActionError: the wrong number of actions, or one that is not a str.
            EpisodeError: step came before reset.
        """
        self._check(actions)
        resetting = self._over & (self.autoreset_mode is AutoresetMode.NEXT_STEP)
        # A session that could not be opened is done, and has yet to be reported so.
        done = [session.done for session in self.batch.sessions]
        turns = self.batch.step([None if d else str(a) for a, d in zip(actions, done, strict=True)])
        self._begin(np.flatnonzero(resetting), {})
        sessions = self.batch.sessions
        rewards = np.array([reward_of(turn) for turn in turns], dtype=np.float64)
        terminated = np.array([bool(s.ending) for s in sessions])
        truncated = np.array([s.done and not s.ending for s in sessions]) & ~resetting
        ended = terminated | truncated
        self._over = ended.copy()
        if self.autoreset_mode is AutoresetMode.SAME_STEP and ended.any():
            infos = self._restart(turns, ended)
        else:
            infos = self._infos(turns, np.ones(self.num_envs, dtype=bool))
        return self._observe(), rewards, terminated, truncated, infos

    def render(self) -> tuple[str, ...] | None:  # type: ignore[override]
        """One transcript a session, in "ansi" mode."""
        return tuple(str(s.transcript) for s in self.batch.sessions) if self.render_mode == "ansi" else None

    def _check(self, actions: Sequence[str]) -> None:
        if len(self.batch.sessions) != self.num_envs:
            raise EpisodeError("step came before reset: call reset first")
        if isinstance(actions, str) or len(actions) != self.num_envs:
            found = "one string" if isinstance(actions, str) else f"{len(actions)} actions"
            raise ActionError(f"step got {found}, expected {self.num_envs} strings, one a session")
        for i, action in enumerate(actions):
            if not isinstance(action, str):
                raise ActionError(f"action {i} is {type(action).__name__}, expected str")

    def _mask(self, given: Any) -> NDArray[np.bool_]:
        if given is None:
            return np.ones(self.num_envs, dtype=bool)
        mask = np.asarray(given)
        if mask.shape != (self.num_envs,) or mask.dtype != bool:
            raise ConfigError(
                f"reset_mask has shape {mask.shape} and type {mask.dtype}, expected {self.num_envs} booleans"
            )
        if not mask.all() and len(self.batch.sessions) != self.num_envs:
            raise EpisodeError("reset_mask leaves sessions out before any was begun: reset all of them first")
        return mask

    def _seed_all(self, seed: int | Sequence[int | None] | None) -> list[int | None]:
        """Seeds what draws the seeds of later sessions; gives each session's own, None where it is drawn."""
        seeds: list[int | None]
        if seed is None:
            seeds = [None] * self.num_envs
        elif isinstance(seed, Sequence | np.ndarray):
            seeds = [None if s is None else require_count("seed", s, 0) for s in seed]
        else:
            seeds = [require_count("seed", seed, 0) + i for i in range(self.num_envs)]
        if len(seeds) != self.num_envs:
            raise ConfigError(f"{len(seeds)} seeds for {self.num_envs} sessions, expected one int or one seed each")
        for i, one in enumerate(seeds):
            if one is not None:
                self._rngs[i] = gym.utils.seeding.np_random(one)
        return seeds

    def _begin(
        self, which: NDArray[np.intp], options: dict[str, Any], seeds: Sequence[int | None] | None = None
    ) -> None:
        """Puts a new session at each index; the patient is called once for all of them."""
        if not len(which):
            return
        own = seeds or [None] * self.num_envs
        starts: list[Start] = [
            start_of(session_seed(own[i], self.np_random[i]), self.persona, self.split, options, self.vary)
            for i in which
        ]
        self._over[which] = False
        kept: list[Session | None] = list(self.batch.snapshot()) or [None] * self.num_envs
        for i, session in zip(which, self.batch.reset(starts), strict=True):
            kept[i] = session
            warn(session)
        self.batch.restore([session for session in kept if session is not None])

    def _restart(self, turns: Sequence[Turn | None], ended: NDArray[np.bool_]) -> dict[str, Any]:
        """Begins the next session where one ended; the infos of all, and the last of what ended."""
        final = np.full(self.num_envs, None, dtype=object)
        for i in map(int, np.flatnonzero(ended)):
            final[i] = self._seen(self.batch.sessions[i])
        last = {"final_obs": final, "_final_obs": ended.copy(), "final_info": self._infos(turns, ended)}
        self._begin(np.flatnonzero(ended), {})
        going = [None if over else turn for turn, over in zip(turns, ended, strict=True)]
        return self._infos(going, np.ones(self.num_envs, dtype=bool)) | last | {"_final_info": ended.copy()}

    def _observe(self) -> Observations:
        rows = [self._seen(session) for session in self.batch.sessions]
        empty = create_empty_array(self.single_observation_space, self.num_envs, fn=np.zeros)
        return concatenate(self.single_observation_space, rows, empty)  # type: ignore[arg-type, return-value]

    def _seen(self, session: Session) -> Any:
        """What a policy is shown of a session."""
        return observe(session, self.observe_state)

    def _told(self, session: Session, turn: Turn | None) -> dict[str, Any]:
        """The info of a session."""
        return describe(session, turn, self.risk_thresholds)

    def _infos(self, turns: Sequence[Turn | None], which: NDArray[np.bool_]) -> dict[str, Any]:
        infos: dict[str, Any] = {}
        for i in map(int, np.flatnonzero(which)):
            infos = self._add_info(infos, self._told(self.batch.sessions[i], turns[i]), i)
        return infos


def _autoreset(mode: AutoresetMode | str) -> AutoresetMode:
    try:
        return AutoresetMode(mode)
    except ValueError as error:
        known = ", ".join(repr(m.value) for m in AutoresetMode)
        raise ConfigError(f"autoreset_mode is {mode!r}, expected an AutoresetMode: {known}") from error
