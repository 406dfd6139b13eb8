"""Sessions as episodes of verifiers, offline: a policy's server in this process, and the library's own runner."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import verifiers.v1 as vf
from aiohttp import web
from aiohttp.test_utils import TestServer

__all__ = ["Policy", "settings", "through"]

Talk = list[dict[str, str]]


class Policy:
    """A chat-completions server whose therapist says given words.

    Args:
        said: its turns in order, or what it says to a conversation.
        refusals: the statuses with which it refuses its first requests.
    """

    path = "/v1/chat/completions"

    def __init__(self, said: Sequence[str | None] | Callable[[Talk], str | None], refusals: Sequence[int] = ()) -> None:
        self.said, self.refusals, self.asked = said, list(refusals), list[Talk]()

    async def answer(self, request: web.Request) -> web.Response:
        if self.refusals:
            return web.json_response({"error": {"message": "told to refuse"}}, status=self.refusals.pop(0))
        talk = (await request.json())["messages"]
        self.asked.append(talk)
        turn = sum(message["role"] == "assistant" for message in talk)
        message = {"role": "assistant", "content": self.said(talk) if callable(self.said) else self.said[turn]}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        usage = {"prompt_tokens": 2, "completion_tokens": 1, "total_tokens": 3}
        whole = {"id": "1", "object": "chat.completion", "created": 0, "model": "m"}
        return web.json_response({**whole, "choices": [choice], "usage": usage})

    def client(self, url: str) -> Any:
        return vf.EvalClientConfig(base_url=url, api_key_var="NO_SUCH_KEY")

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[Any]:
        """The settings of a client, while the block lasts."""
        app = web.Application()
        app.router.add_post(self.path, self.answer)
        async with TestServer(app) as server:
            yield self.client(str(server.make_url("/v1")))


def settings(turns: int, taskset: dict[str, Any] | None = None, **own: Any) -> Any:
    """The environment's: one session with seed 3, unless the taskset says otherwise."""
    wanted = {"id": "therapysim-verifiers", "sessions": 1, "seed": 3, **(taskset or {})}
    return vf.resolve_env_config({"taskset": wanted, "turns": turns, **own})


def through(
    policy: Policy, taskset: dict[str, Any] | None = None, group: int = 1, turns: int | None = None, **own: Any
) -> list[Any]:
    """Every session of the taskset at once, as the library's runner plays them: an episode each.

    Args:
        group: episodes of one task.
        turns: by default as many as the policy has.
    """

    async def play() -> list[Any]:
        env = vf.load_environment(settings(turns or len(policy.said), taskset, **own))  # type: ignore[arg-type]
        async with policy.serving() as client, env.serving():
            slots = [slot for task in env.taskset for slot in env.slots(task, group)]
            return await asyncio.gather(*(env.run_slot(slot, vf.ModelContext("m", client)) for slot in slots))

    return asyncio.run(play())
