"""Acts in place of free text, many sessions at once: ``ActChoice`` over one batch of sessions."""

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector.utils import batch_space
from numpy.typing import ArrayLike

from therapysim.agents.therapists.act_choice import ACTIONS, FEATURES, speak_act, view
from therapysim.envs.session import Session, Turn
from therapysim.envs.vector import StepResult, TherapySimVectorEnv
from therapysim.errors import ActionError, ConfigError

__all__ = ["ActChoiceVectorEnv"]


class ActChoiceVectorEnv(TherapySimVectorEnv):
    """``num_envs`` sessions of ``ActChoice`` with one batched call of patient and sensor a turn.

    Actions: ``MultiDiscrete``, shape (num_envs,), indices into ``ACTIONS``. Observations: shape (num_envs, 69), float32
    in [-1, 1], ``view`` of each session. Arguments, seeds, resets and infos are those of ``TherapySimVectorEnv``, with
    ``said`` in the infos: what ``SyncVectorEnv`` returns of as many ``ActChoice``.

    Raises:
        ConfigError: ``observe_state`` is False, which would hide what it shows; or as ``TherapySimVectorEnv``.
    """

    def __init__(self, num_envs: int = 1, **kwargs: Any) -> None:
        if not kwargs.get("observe_state", True):
            raise ConfigError("observe_state is False, expected True: acts are chosen by e_t and h_t")
        super().__init__(num_envs, **kwargs)
        self.single_observation_space: Any = gym.spaces.Box(-1.0, 1.0, (len(FEATURES),), np.float32)
        self.single_action_space: Any = gym.spaces.Discrete(len(ACTIONS))
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.action_names = ACTIONS

    def step(self, actions: ArrayLike) -> StepResult:  # type: ignore[override]
        """Says the act of index ``actions[i]`` in session i; in one that is over, nothing.

        Raises:
            ActionError: not one index into ``ACTIONS`` a session.
            EpisodeError: step came before reset.
        """
        chosen = np.asarray(actions)
        fits = chosen.shape == (self.num_envs,) and np.issubdtype(chosen.dtype, np.integer)
        if not fits or chosen.min() < 0 or chosen.max() >= len(ACTIONS):
            raise ActionError(
                f"step got {actions!r:.80}, expected {self.num_envs} whole numbers from 0 to {len(ACTIONS) - 1}"
            )
        sessions = self.batch.sessions
        said = [
            "" if session.done else speak_act(session, int(i)) for session, i in zip(sessions, chosen, strict=False)
        ]
        return super().step(said if sessions else [""] * self.num_envs)

    def _seen(self, session: Session) -> Any:
        return view(session, self.batch.config.max_turns)

    def _told(self, session: Session, turn: Turn | None) -> dict[str, Any]:
        return super()._told(session, turn) | {"said": turn.screen.utterance if turn else ""}
