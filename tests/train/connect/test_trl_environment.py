"""TRL's trainer plays sessions of a server by ``environment_factory``; needs ``openenv`` beside ``trl``."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import pytest

pytest.importorskip("openenv", reason="OpenEnv has an environment of its own: docs/connections.md")

from tests.parts.connected import SAID, Faulty, played
from tests.parts.serving import served
from tests.parts.tiny import make_tiny
from therapysim.agents.therapists.therapist import conversation
from therapysim.envs.batch import Start
from therapysim.train.connect.serve import app as serving
from therapysim.train.connect.trl_environment import SpokenSession

PROMPT = "Talk with this patient. "
#: What the tiny policy is taught to say, each half of the time.
TAUGHT = ("What has this week been like for you?", "Calm down.")


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    yield from served()


class Kept(SpokenSession):
    """Keeps what was said in each of its sessions, and what these were paid."""

    told: ClassVar[list[tuple[list[str], float | None]]] = []

    def reset(self, **row: Any) -> str:
        self._said: list[str] = []
        return super().reset(**row)

    def say(self, text: str) -> str:
        self._said.append(text)
        return super().say(text)

    say.__doc__ = SpokenSession.say.__doc__

    def get_reward(self) -> float | None:
        self.told.append((self._said, super().get_reward()))
        return self.told[-1][1]


def test_a_spoken_session_is_the_batches_own(address: str) -> None:
    session = SpokenSession(address)
    for seed in (2, 3):
        own, turns = played(Start(seed, vary=True), SAID)
        heard = [session.reset(seed=seed, vary=True, prompt=PROMPT), *map(session.say, SAID[: len(turns)])]
        assert heard == [message["content"] for message in conversation(own) if message["role"] == "user"]
        assert session.get_reward() == sum(turn.reward for turn in turns)
        assert session.say("More.") == "The session is over."
    session.reset(seed=2)
    assert session.get_reward() == 0.0
    assert session.say("More.") == "The session is over."


def test_a_session_whose_patient_failed_has_no_reward(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "open_patient", lambda name, feel: Faulty(*range(1, 9)))
    for address in served(patient="faulty"):
        session = SpokenSession(address)
        session.reset(seed=2)
        session.say("Hello.")
        assert session.get_reward() is None


def test_grpo_trains_on_sessions_of_a_server(address: str, tmp_path: Path) -> None:
    trl = pytest.importorskip("trl")
    datasets = pytest.importorskip("datasets")
    first = SpokenSession(address)
    model, tokenizer = _taught(tmp_path / "tiny", first.reset(seed=3))
    first.get_reward()
    before = [parameter.detach().clone() for parameter in model.parameters()]
    settings = trl.GRPOConfig(
        output_dir=str(tmp_path / "out"), max_steps=1, per_device_train_batch_size=8, num_generations=8,
        max_completion_length=256, max_tool_calling_iterations=2, learning_rate=1e-3, logging_steps=1, use_cpu=True,
        save_strategy="no", report_to=[], seed=0,
    )  # fmt: skip
    rows = datasets.Dataset.from_list([{"prompt": [{"role": "user", "content": PROMPT}], "seed": 3}] * 8)
    trainer = trl.GRPOTrainer(
        model=model, processing_class=tokenizer, args=settings, train_dataset=rows,
        environment_factory=partial(Kept, address),
    )  # fmt: skip
    trainer.train()
    returns = [
        sum(turn.reward for turn in played(Start(3), (*said, *SAID)[:4])[1][: len(said)]) for said, _ in Kept.told
    ]
    assert len(returns) == 8 and any(said for said, _ in Kept.told)
    assert [paid for _, paid in Kept.told] == returns
    log = trainer.state.log_history[0]
    assert log["reward"] == pytest.approx(sum(returns) / 8) and log["tools/failure_frequency"] == 0
    if len(set(returns)) > 1:
        assert any((a != b).any() for a, b in zip(before, model.parameters(), strict=True))


def _taught(folder: Path, first: str) -> tuple[Any, Any]:
    """A tiny model that mostly calls ``say``, with TRL's own template of Qwen3."""
    import torch
    import transformers
    import trl

    make_tiny(folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    tokenizer.chat_template = (Path(trl.__file__).parent / "chat_templates/qwen3_instruct_2507.jinja").read_text()
    model = transformers.AutoModelForCausalLM.from_pretrained(folder)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    asked, rows = _rows(transformers, tokenizer, first)
    labels = rows.clone()
    labels[:, :asked] = -100
    labels[rows == tokenizer.pad_token_id] = -100
    for _ in range(80):
        optimizer.zero_grad()
        model(rows, attention_mask=(rows != tokenizer.pad_token_id).long(), labels=labels).loss.backward()
        optimizer.step()
    return model, tokenizer


def _rows(transformers: Any, tokenizer: Any, first: str) -> tuple[int, Any]:
    tools = [transformers.utils.get_json_schema(SpokenSession("http://127.0.0.1").say)]
    asked = [{"role": "user", "content": PROMPT + first}]
    calls = [{"type": "function", "function": {"name": "say", "arguments": {"text": text}}} for text in TAUGHT]
    answers = [{"role": "assistant", "content": "", "tool_calls": [call]} for call in calls]
    texts = [tokenizer.apply_chat_template([*asked, answer], tools=tools, tokenize=False) for answer in answers]
    prompt = tokenizer.apply_chat_template(asked, tools=tools, tokenize=False, add_generation_prompt=True)
    padded = tokenizer(texts, add_special_tokens=False, padding=True, padding_side="right", return_tensors="pt")
    return len(tokenizer(prompt, add_special_tokens=False).input_ids), padded.input_ids
