"""Sessions through SkyRL's environment are ``SessionBatch``'s own, and its credit by the turn is GRPO's."""

import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from therapysim.agents.therapists.therapist import conversation
from therapysim.envs.batch import Start
from therapysim.errors import ConfigError, PersonaError

skyrl_gym = pytest.importorskip("skyrl_gym")

from tests.parts.connected import SAID, Faulty, played  # noqa: E402
from therapysim.train.connect import skyrl  # noqa: E402
from therapysim.train.connect.skyrl_credit import turn_advantages  # noqa: E402
from therapysim.train.grpo.advantages import by_turn  # noqa: E402


@pytest.fixture(autouse=True)
def registered() -> Any:
    skyrl.register(rubric="grpo")
    yield
    skyrl_gym.envs.registration.registry.pop(skyrl.ENV, None)


def through(row: dict[str, Any], said: Sequence[str]) -> tuple[list[dict[str, str]], list[Any], Any]:
    env = skyrl_gym.make(skyrl.ENV, env_config={}, extras={**row, "max_turns": len(said)})
    talk, _ = env.init(row["prompt"])
    steps = []
    for text in said:
        steps.append(env.step(text))
        talk += [{"role": "assistant", "content": text}, *steps[-1]["observations"]]
        if steps[-1]["done"]:
            break
    return talk, steps, env


def test_a_session_is_the_batches_own_turn_for_turn() -> None:
    for row in skyrl.rows(6, seed=3):
        own, turns = played(Start(row["seed"], None, "train", True), SAID)
        talk, steps, env = through(json.loads(json.dumps(row)), SAID)
        assert [s["reward"] for s in steps] == pytest.approx([t.reward for t in turns], abs=1e-6)
        assert [s["metadata"]["terms"] for s in steps] == [t.terms for t in turns]
        assert talk == conversation(own)[: len(talk)] and len(conversation(own)) - len(talk) <= 1  # its last words
        assert [s["done"] for s in steps] == [False] * (len(turns) - 1) + [True]
        metrics = env.get_metrics()
        assert metrics["return"] == pytest.approx(sum(t.reward for t in turns), abs=1e-6)
        assert metrics["alliance"] == own.latent.alliance and metrics["failed"] == 0


def test_environments_in_threads_are_no_others_than_one_by_one() -> None:
    own = skyrl.rows(16, seed=40)
    alone = [through(row, SAID)[:2] for row in own]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda row: through(row, SAID)[:2], own)) == alone


def test_the_header_is_shown_as_asked() -> None:
    skyrl.register(show_state=False)
    (row,) = skyrl.rows(1)
    bare = through(row, SAID[:1])[0]
    skyrl.register()
    headed = through(row, SAID[:1])[0]
    assert bare[1]["content"].startswith("Patient: ") and headed[1]["content"].endswith(bare[1]["content"])
    assert len(headed[1]["content"]) > len(bare[1]["content"])


@pytest.fixture
def faulty(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Faulty]:
    def make(*fails: int) -> Faulty:
        patient = Faulty(*fails)
        monkeypatch.setattr("therapysim.envs.batch.shared_patient", lambda name, feel: patient)
        return patient

    return make


def test_a_patient_that_fails_once_is_asked_again(faulty: Callable[..., Faulty]) -> None:
    patient = faulty(0, 2)
    talk, steps, env = through(skyrl.rows(1)[0], SAID[:2])
    assert patient.calls == 5 and not any(s["metadata"]["failed"] for s in steps)
    assert [m["content"].rpartition("Patient: ")[2] for m in talk if m["role"] == "user"] == ["Hello 2.", "Hello 4."]
    assert env.get_metrics()["turns"] == 2


def test_a_patient_that_fails_for_good_ends_its_session_and_nothing_else(faulty: Callable[..., Faulty]) -> None:
    faulty(*range(1, 99))
    talk, steps, env = through(skyrl.rows(1)[0], SAID)
    assert len(steps) == 1 and steps[0]["done"] and steps[0]["reward"] == 0 and steps[0]["metadata"]["failed"]
    assert steps[0]["observations"] == [] and env.get_metrics()["failed"] == 1 and env.get_metrics()["return"] == 0
    faulty(*range(99))
    talk, steps, env = through(skyrl.rows(1)[0], SAID)
    assert [m["role"] for m in talk] == ["system", "user", "assistant"] and steps[0]["metadata"]["failed"]


def test_rows_that_name_no_session_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"row has seed None, expected a whole number"):
        skyrl_gym.make(skyrl.ENV, extras={"max_turns": 2})
    with pytest.raises(PersonaError, match="'nobody'"):
        skyrl_gym.make(skyrl.ENV, extras={"seed": 1, "persona": "nobody"}).init([])


# Credit


def test_credit_by_the_turn_is_grpos() -> None:
    torch = pytest.importorskip("torch")
    earned = [[1.0, -0.5, 2.0], [0.5, skyrl.TINY], [0.0 + 3.0, 1.0, -1.0], [2.0]]
    lengths = [[2, 3, 1], [1, 4], [3, 2, 2], [5]]
    table, mask = torch.zeros(4, 10), torch.zeros(4, 10)
    for i, (rewards, widths) in enumerate(zip(earned, lengths, strict=True)):
        table[i, np.cumsum(widths) - 1] = torch.tensor(rewards)
        mask[i, : sum(widths)] = 1
    found, to_go = turn_advantages(table, mask, ["a", "a", "a", "b"])
    told = by_turn(earned[:3], [False] * 3, 3)
    for i, widths in enumerate(lengths[:3]):
        want = np.repeat(told[i, : len(widths)], widths)
        assert found[i, : len(want)].numpy() == pytest.approx(want, abs=1e-5)
        assert not found[i, len(want) :].any()
    assert not found[3].any()  # alone in its group
    assert to_go[0].numpy() == pytest.approx([2.5] * 2 + [1.5] * 3 + [2.0] + [0] * 4)
    plain, _ = turn_advantages(table, mask, ["a", "a", "a", "b"], grpo_norm_by_std=False)
    assert plain[:3, 0].sum().item() == pytest.approx(0, abs=1e-5) and not torch.equal(plain, found)


def test_groups_need_not_stand_together() -> None:
    torch = pytest.importorskip("torch")
    table = torch.tensor([[1.0], [5.0], [3.0], [9.0]])
    found, _ = turn_advantages(table, torch.ones(4, 1), ["a", "b", "a", "b"])
    assert found[:, 0].sign().tolist() == [-1, -1, 1, 1]
