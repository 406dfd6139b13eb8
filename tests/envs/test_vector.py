"""The vector environment: the same sessions as single ones, and Gymnasium's contract."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

from therapysim.envs.therapy import TherapySimEnv
from therapysim.envs.vector import TherapySimVectorEnv
from therapysim.errors import ActionError, ConfigError, EpisodeError

WARM = "That sounds heavy, and I can hear how tired you are. What is it like for you?"


def test_the_vector_environment_matches_single_ones() -> None:
    many = gym.make_vec("TherapySim-v0", num_envs=3)
    shown, _ = many.reset(seed=20)
    assert many.observation_space.contains(shown)
    singles = [gym.make("TherapySim-v0") for _ in range(3)]
    opened = [env.reset(seed=20 + i)[0]["utterance"] for i, env in enumerate(singles)]
    assert shown["utterance"] == tuple(opened)
    shown, rewards, *_ = many.step([WARM, "Why?", ""])
    for i, (env, say) in enumerate(zip(singles, [WARM, "Why?", ""], strict=True)):
        alone, reward, *_ = env.step(say)
        assert alone["utterance"] == shown["utterance"][i] and reward == rewards[i]
        assert np.array_equal(alone["affect"], shown["affect"][i])


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_autoreset(mode: AutoresetMode) -> None:
    many = TherapySimVectorEnv(2, max_turns=2, autoreset_mode=mode)
    opened, _ = many.reset(seed=0)
    many.step([WARM, WARM])
    shown, rewards, _, truncated, infos = many.step([WARM, WARM])
    assert truncated.all() and (rewards != 0).all()
    if mode is AutoresetMode.SAME_STEP:
        assert shown["turn"].tolist() == [0, 0] and [o["turn"] for o in infos["final_obs"]] == [2, 2]
        return
    assert shown["turn"].tolist() == [2, 2]
    shown, rewards, _, truncated, _ = many.step([WARM, WARM])
    assert (rewards == 0).all()
    if mode is AutoresetMode.NEXT_STEP:
        assert shown["turn"].tolist() == [0, 0] and not truncated.any()
        assert shown["utterance"] != opened["utterance"]
    else:
        assert shown["turn"].tolist() == [2, 2] and truncated.all()
        shown, _ = many.reset(options={"reset_mask": np.array([True, False])})
        assert shown["turn"].tolist() == [0, 2]


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
def test_the_vector_environment_keeps_gymnasiums_contract(mode: AutoresetMode) -> None:
    """The same seeds and actions through Gymnasium's own SyncVectorEnv, over two session ends."""
    ours = TherapySimVectorEnv(2, max_turns=2, autoreset_mode=mode)
    theirs = gym.vector.SyncVectorEnv([lambda: TherapySimEnv(max_turns=2)] * 2, autoreset_mode=mode)
    assert ours.reset(seed=3)[0]["utterance"] == theirs.reset(seed=3)[0]["utterance"]
    for _ in range(6):
        (a, r, t, u, i), (b, s, v, w, j) = (env.step([WARM, "Why?"]) for env in (ours, theirs))
        assert a["utterance"] == b["utterance"] and np.array_equal(a["affect"], b["affect"])
        assert np.array_equal(r, s) and np.array_equal(t, v) and np.array_equal(u, w)
        assert ("final_obs" in i) == ("final_obs" in j)
        if "final_obs" in i:
            assert [o["utterance"] for o in i["final_obs"]] == [o["utterance"] for o in j["final_obs"]]
            assert np.array_equal(i["final_info"]["alliance"], j["final_info"]["alliance"])


def test_the_vector_environment_refuses_bad_input() -> None:
    many = TherapySimVectorEnv(2)
    with pytest.raises(EpisodeError, match="reset"):
        many.step([WARM, WARM])
    many.reset(seed=[1, 2])
    for actions in ([WARM], [WARM] * 3, WARM):
        with pytest.raises(ActionError, match="expected 2 strings"):
            many.step(actions)
    with pytest.raises(ActionError, match="action 1 is int"):
        many.step([WARM, 2])  # type: ignore[list-item]
    with pytest.raises(ConfigError, match="seeds"):
        many.reset(seed=[1, 2, 3])
    with pytest.raises(ConfigError, match="reset_mask"):
        many.reset(options={"reset_mask": [1, 0]})
    with pytest.raises(ConfigError, match="num_envs"):
        TherapySimVectorEnv(0)
    with pytest.raises(ConfigError, match="autoreset_mode is 'foo'"):
        TherapySimVectorEnv(1, autoreset_mode="foo")
    assert many.reset(seed=np.int64(3))[0]["utterance"] == many.reset(seed=3)[0]["utterance"]  # type: ignore[arg-type]
