"""The registered forms of ``ActChoice``: one environment, and many over one batch, which are the same sessions."""

from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import data_equivalence
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from therapysim.agents import ActChoice, ActChoiceVectorEnv
from therapysim.errors import ActionError, ConfigError, EpisodeError

ID = "therapysim:TherapySimActs-v0"


def test_the_id_makes_one() -> None:
    env = gym.make(ID, persona="marta", max_turns=2)
    assert env.observation_space.shape == (69,) and env.action_space == gym.spaces.Discrete(14)
    view, info = env.reset(seed=7)
    assert view.shape == (69,) and info["seed"] == 7 and info["persona"] == "marta"
    assert isinstance(ActChoice(gym.make("TherapySim-v0", persona="marta")).reset(seed=7)[0], np.ndarray)
    assert env.spec is not None
    again = gym.make(gym.envs.registration.EnvSpec.from_json(env.spec.to_json()))
    assert np.array_equal(again.reset(seed=7)[0], view)
    assert again.step(np.int64(1))[4]["said"] == env.step(np.int64(1))[4]["said"] != ""


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
def test_many_at_once_are_as_many_single_ones(mode: AutoresetMode) -> None:
    ours = gym.make_vec(ID, num_envs=3, max_turns=2, autoreset_mode=mode)
    assert isinstance(ours.unwrapped, ActChoiceVectorEnv)
    theirs = SyncVectorEnv([partial(gym.make, ID, max_turns=2)] * 3, autoreset_mode=mode)
    assert ours.observation_space == theirs.observation_space and ours.action_space == theirs.action_space
    assert alike(ours.reset(seed=7), theirs.reset(seed=7))
    rng = np.random.default_rng(0)
    for _ in range(6):
        acts = rng.integers(14, size=3)
        one, other = ours.step(acts), theirs.step(acts)
        assert alike(one, other)
        assert ours.observation_space.contains(one[0])


def alike(one: Any, other: Any) -> bool:
    """All but the order of names in the infos."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(alike(one[name], other[name]) for name in one)
    if isinstance(one, tuple):
        return len(one) == len(other) and all(map(alike, one, other))
    if isinstance(one, np.ndarray) and one.dtype == object:
        return one.shape == other.shape and all(map(alike, one, other))
    return bool(data_equivalence(one, other))


@pytest.mark.parametrize("acts", [[0], [0, 14], [0.0, 1.0], [-1, 0], ["listen", "listen"], 3])
def test_what_is_no_act_is_refused(acts: Any) -> None:
    env = ActChoiceVectorEnv(2, persona="marta")
    with pytest.raises(EpisodeError, match="step came before reset"):
        env.step([0, 0])
    env.reset(seed=0)
    with pytest.raises(ActionError, match="expected 2 whole numbers from 0 to 13"):
        env.step(acts)


def test_a_hidden_state_is_refused() -> None:
    with pytest.raises(ConfigError, match="observe_state is False"):
        ActChoiceVectorEnv(2, observe_state=False)
    with pytest.raises(ConfigError, match="observe_state=False"):
        gym.make(ID, observe_state=False)
