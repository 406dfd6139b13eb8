"""SkyRL's own generator plays our sessions; needs the package ``skyrl``, and so an environment of its own."""

import asyncio
from typing import Any

import numpy as np
import pytest

pytest.importorskip("skyrl.train", reason="SkyRL's trainer has an environment of its own: docs/scaling.md")

from skyrl.train.config import GeneratorConfig
from skyrl.train.config.config import SkyRLGymConfig

from tests.parts.connected import SAID, Faulty, played
from tests.parts.tiny import _tokenizer
from therapysim.agents.therapists.therapist import conversation
from therapysim.envs.batch import Start
from therapysim.errors import ConfigError
from therapysim.train.connect import skyrl, skyrl_trainer
from therapysim.train.connect.skyrl_credit import ESTIMATOR


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    import transformers

    return _tokenizer(transformers)


class Engine:
    """Says the next of ``SAID`` to whatever it is shown, with the template's end token."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer, self.seen = tokenizer, {}

    async def generate(self, batch: Any, model: str | None = None) -> dict[str, Any]:
        (ids,) = batch["prompt_token_ids"]
        text = SAID[self.tokenizer.decode(ids).count("<|im_start|>assistant") - 1]
        self.seen[batch["session_ids"][0], text] = ids
        own = [*self.tokenizer.encode(text, add_special_tokens=False), self.tokenizer.eos_token_id]
        return {"responses": [text], "response_ids": [own], "stop_reasons": ["stop"]}

    async def finish_session(self, session: str) -> None:
        pass


def generated(tokenizer: Any, count: int, **settings: Any) -> tuple[dict[str, Any], Engine]:
    skyrl.register(**settings)
    engine, own = Engine(tokenizer), GeneratorConfig(max_turns=len(SAID), max_input_length=4096)
    generator = skyrl_trainer.MaskingGenerator(own, SkyRLGymConfig(), engine, tokenizer)  # type: ignore[arg-type]
    rows = skyrl.rows(count)
    batch = {"prompts": [row["prompt"] for row in rows], "env_classes": [row["env_class"] for row in rows],
             "env_extras": [dict(row) for row in rows]}  # fmt: skip
    return asyncio.run(generator.generate(batch, disable_tqdm=True)), engine


def test_skyrls_generator_plays_the_batches_own_sessions(tokenizer: Any) -> None:
    found, _ = generated(tokenizer, 4)
    for i in range(4):
        own, turns = played(Start(i, None, "train", True), SAID)
        earned = [reward for reward in found["rewards"][i] if reward]
        assert earned == pytest.approx([turn.reward for turn in turns], abs=1e-6)
        ends = np.flatnonzero(found["rewards"][i])
        assert all(found["loss_masks"][i][end] for end in ends)  # on a token that was sampled
        whole = tokenizer.decode([*found["prompt_token_ids"][i], *found["response_ids"][i]])
        talk = conversation(own)
        shown = tokenizer.apply_chat_template(talk[: 2 * len(turns) + 1], tokenize=False)
        assert shown.startswith(whole.rstrip("\n")) and len(shown) - len(whole) < 2
    assert not any("failed" in str(reason) for reason in found["stop_reasons"])


def test_nothing_is_learned_from_a_session_that_failed(tokenizer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("therapysim.envs.batch.shared_patient", lambda name, feel: Faulty(*range(2, 99)))
    found, _ = generated(tokenizer, 1)
    assert len(found["loss_masks"][0]) == len(found["response_ids"][0]) and not any(found["loss_masks"][0])


def test_settings_of_both_are_read_and_the_estimator_is_known() -> None:
    from skyrl.backends.skyrl_train.utils.ppo_utils import AdvantageEstimatorRegistry

    told = [f"trainer.algorithm.advantage_estimator={ESTIMATOR}", "generator.max_turns=8", "therapysim.retries=5"]
    config = skyrl_trainer.Config.from_cli_overrides(told)
    assert (config.generator.max_turns, config.therapysim.retries, config.therapysim.patient) == (8, 5, "scripted")
    skyrl_trainer.register_advantages()
    assert ESTIMATOR in AdvantageEstimatorRegistry.list_available()
    with pytest.raises(ValueError, match="nonsense"):
        skyrl_trainer.Config.from_cli_overrides(["therapysim.nonsense=1"])


def test_settings_that_hide_where_a_turn_ends_are_refused() -> None:
    turn = f"trainer.algorithm.advantage_estimator={ESTIMATOR}"
    for wrong in ("trainer.algorithm.use_kl_in_reward=true", "generator.zero_reward_on_non_stop=true"):
        with pytest.raises(ConfigError, match=wrong.partition("=")[0]):
            skyrl_trainer.refuse(skyrl_trainer.Config.from_cli_overrides([turn, wrong]))
        skyrl_trainer.refuse(skyrl_trainer.Config.from_cli_overrides([wrong]))
    skyrl_trainer.refuse(skyrl_trainer.Config.from_cli_overrides([turn]))


def test_the_experiment_plays_by_the_generator_that_masks(tokenizer: Any) -> None:
    config = skyrl_trainer.Config.from_cli_overrides(["therapysim.retries=5"])
    made = skyrl_trainer.Experiment.get_generator(None, config, tokenizer, Engine(tokenizer))  # type: ignore[arg-type]
    assert type(made) is skyrl_trainer.MaskingGenerator
    assert skyrl.registry[skyrl.ENV].kwargs["retries"] == 5
