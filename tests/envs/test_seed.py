"""One meaning of a seed: ``reset(seed=7)``, ``Start(7)`` and ``chat --seed 7`` are the same session, word for word."""

import io
import json
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest

from tests.parts.bench_parts import ROOT
from therapysim.cli.main import main
from therapysim.envs import SessionBatch, SessionConfig, Start, TherapySimEnv, TherapySimVectorEnv

SAID = ("What is the hardest part of the day?", "", "That sounds heavy to carry.", "What goes through your mind then?")


def by_env(persona: str | None, seed: int) -> tuple[str, ...]:
    env = TherapySimEnv(persona=persona, max_turns=len(SAID))
    heard = [env.reset(seed=seed)[0]["utterance"]]
    return *heard, *(env.step(text)[0]["utterance"] for text in SAID)


def by_batch(start: Start) -> tuple[str, ...]:
    batch = SessionBatch(SessionConfig(max_turns=len(SAID)))
    batch.reset([start])
    for text in SAID:
        batch.step([text])
    return tuple(batch.sessions[0].transcript.said_by("patient"))


def by_chat(persona: str | None, seed: int, folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    file = folder / f"{persona}-{seed}.json"
    monkeypatch.setattr("sys.stdin", io.StringIO("".join(f"{text}\n" for text in SAID)))
    whom = ["--patient", persona] if persona else []
    assert main(["chat", "--seed", str(seed), "--turns", str(len(SAID)), "--save", str(file), *whom]) == 0
    return tuple(m["text"] for m in json.loads(file.read_text())["messages"] if m["speaker"] == "patient")


@pytest.mark.parametrize(("persona", "seed"), [("marta", 7), (None, 7), ("owen", 0), (None, 2**31)])
def test_the_three_ways_give_the_same_session(
    persona: str | None, seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard = by_env(persona, seed)
    assert len(heard) == 1 + len(SAID) and all(heard)
    assert heard == by_batch(Start(seed, persona)) == by_chat(persona, seed, tmp_path, monkeypatch)


def test_info_names_the_session_so_that_any_can_be_played_again() -> None:
    """The next sessions, without a seed of their own, have seeds drawn from the first: they too are told."""
    env = TherapySimEnv(max_turns=len(SAID))
    seen = []
    for seed in (7, None, None):
        shown, info = env.reset(seed=seed)
        heard = (shown["utterance"], *(env.step(text)[0]["utterance"] for text in SAID))
        assert heard == by_batch(Start(info["seed"], info["persona"]))
        seen.append(info["seed"])
    assert seen[0] == 7 and len(set(seen)) == 3
    env.reset(seed=7)
    assert [env.reset()[1]["seed"] for _ in range(2)] == seen[1:]
    assert env.step("Hello there.")[4]["seed"] == seen[2]


def test_a_vector_environments_sessions_have_the_seeds_that_follow() -> None:
    many = TherapySimVectorEnv(num_envs=3, persona="marta")
    shown, infos = many.reset(seed=7)
    assert infos["seed"].tolist() == [7, 8, 9]
    begun = SessionBatch().reset([Start(seed, "marta") for seed in (7, 8, 9)])
    assert shown["utterance"] == tuple(session.transcript.last("patient") for session in begun)
    assert many.reset(seed=[5, None, 5])[1]["seed"].tolist()[::2] == [5, 5]


def test_a_variant_is_played_again_by_its_own_name() -> None:
    env: gym.Env[Any, Any] = gym.make("TherapySim-v0", vary=True, max_turns=2)
    shown, info = env.reset(seed=7)
    batch = SessionBatch()
    (session,) = batch.reset([Start(info["seed"], info["persona"])])
    assert "~" in info["persona"] and session.transcript.last("patient") == shown["utterance"]


def test_the_pages_say_so() -> None:
    for page in ("environment.md", "getting-started.md"):
        assert "`Start(7, " in (ROOT / "docs" / page).read_text(encoding="utf-8"), page
