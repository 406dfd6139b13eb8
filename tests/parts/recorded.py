"""What the tests of recordings share: a model that never says the same twice, recorded in a small benchmark."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.parts.bench_parts import SMALL, scripted
from therapysim.agents.bench.bench_settings import BenchSettings
from therapysim.agents.bench.recording import recording
from therapysim.agents.bench.runner import run
from therapysim.agents.therapists.policies import Policy
from therapysim.agents.therapists.therapist import ChatTherapist
from therapysim.errors import ModelError
from therapysim.models.chat import ChatMessage, Sampling


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


class Thinking:
    """A chat model that reasons before it speaks, counts tokens its own way, and never says the same twice."""

    def __init__(self, fail_at: int = 0) -> None:
        self.asked, self.fail_at = 0, fail_at

    def answer(self, chats: Sequence[Any], sampling: Sampling, seeds: Sequence[int]) -> list[ChatMessage]:
        return [self._one(seed) for seed in seeds]

    def reply(self, chats: Sequence[Any], sampling: Sampling, seeds: Sequence[int]) -> list[str]:
        return [message["content"] for message in self.answer(chats, sampling, seeds)]

    def count_tokens(self, chats: Sequence[Any], replies: Sequence[str]) -> list[tuple[int, int]]:
        return [(7 * len(chat), len(reply)) for chat, reply in zip(chats, replies, strict=True)]

    def _one(self, seed: int) -> ChatMessage:
        self.asked += 1
        if self.asked == self.fail_at:
            raise ModelError("the machine is off")
        said = f"What is number {self.asked} like for you?"
        return {"role": "assistant", "content": said, "sampled": f"<think>{seed}</think>\n{said}"}


def policy(model: Any, name: str = "mine", **about: Any) -> Policy:
    told = {"kind": "server", "model": "m", "show_state": True, "max_tokens": 64, "temperature": 0.8, "top_p": 0.95}
    return Policy(name, lambda: ChatTherapist(model), {**told, **about}, frozenset({"owen"}))


def record(
    model: Any,
    place: Path,
    out: str = "out",
    settings: BenchSettings = SMALL,
    beside: Sequence[Policy] = (),
    **about: Any,
) -> bytes:
    """A small benchmark recorded in ``place/record``, the policies ``beside`` first; its results."""
    with recording(place / "record", settings, [*beside, policy(model, **about)], scripted()) as policies:
        run(settings, policies, scripted(), place / out)
    return (place / out / "results.jsonl").read_bytes()
