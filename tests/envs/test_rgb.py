"""The session as a picture: ``render_mode="rgb_array"``, Gymnasium's video of it, and no matplotlib."""

import importlib.util
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from therapysim.envs import TherapySimEnv, mood_frame
from therapysim.errors import ConfigError

WARM = "That sounds frightening. What goes through your mind then?"


def opened(**more: Any) -> gym.Env[Any, Any]:
    return gym.make("therapysim:TherapySim-v0", persona="owen", max_turns=3, render_mode="rgb_array", **more)


def test_without_matplotlib_it_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mood_frame, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"'rgb_array' needs matplotlib, .* pip install \"therapysim\[report\]\""):
        TherapySimEnv(render_mode="rgb_array")


def test_a_frame_shows_the_session_so_far() -> None:
    pytest.importorskip("matplotlib")
    env = opened()
    assert TherapySimEnv(render_mode="rgb_array").render().shape == (480, 800, 3)  # type: ignore[union-attr]
    env.reset(seed=7)
    frames: list[Any] = [env.render()]
    for _ in range(2):
        env.step(WARM)
        frames.append(env.render())
    assert all(frame.shape == (480, 800, 3) and frame.dtype == np.uint8 for frame in frames)
    ink = [int((frame[40:310, 90:] < 128).any(axis=2).sum()) for frame in frames]
    assert ink[0] < ink[1] < ink[2]  # the curves grow
    again = opened()
    again.reset(seed=7)
    assert np.array_equal(again.render(), frames[0]) and not np.array_equal(frames[0], frames[1])  # type: ignore[arg-type]


def test_the_words_may_hold_what_a_formula_does() -> None:
    pytest.importorskip("matplotlib")
    env = opened()
    env.reset(seed=7)
    env.step("Is it $5 or $\\frac{? 😔 " + "long " * 300)
    assert np.asarray(env.render()).any()


@pytest.mark.skipif(not importlib.util.find_spec("moviepy"), reason="Gymnasium writes videos with moviepy")
def test_gymnasium_records_a_video(tmp_path: Path) -> None:
    env = gym.wrappers.RecordVideo(opened(), str(tmp_path))
    env.reset(seed=7)
    over = False
    while not over:
        _, _, terminated, truncated, _ = env.step(WARM)
        over = terminated or truncated
    env.close()
    from moviepy import VideoFileClip

    with VideoFileClip(str(tmp_path / "rl-video-episode-0.mp4")) as video:
        assert tuple(video.size) == (800, 480) and video.duration == 4.0  # a frame a second: the opening, three turns
