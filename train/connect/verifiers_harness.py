"""verifiers: the policy as a chat in this process; the library's own harnesses start a program for each turn."""

import ssl
from functools import cache
from typing import Any

import verifiers.v1 as vf
from httpx import AsyncClient
from openai import AsyncOpenAI
from verifiers.v1.dialects.chat import message_to_wire

__all__ = ["ChatHarness"]


class ChatHarness(vf.Harness[vf.HarnessConfig]):
    """One call a turn; the client asks again twice where the server is busy or gone. Needs no runtime but this host."""

    APPENDS_SYSTEM_PROMPT = SUPPORTS_RESUME = True
    EXECUTES_CODE = NEEDS_CONTAINER = False

    async def launch(
        self, ctx: Any, trace: Any, runtime: Any, endpoint: str, secret: str, mcp_urls: Any, data: Any
    ) -> vf.ProgramResult:
        """Asks for the next turn of ``data``'s conversation; the interception server keeps it on the trace."""
        system, talk = self.resolve_prompt(data)
        messages = [{"role": "system", "content": system}, *map(message_to_wire, talk)]
        http = AsyncClient(verify=_tls(), trust_env=False, timeout=None)
        async with AsyncOpenAI(base_url=endpoint, api_key=secret, http_client=http) as model:
            await model.chat.completions.create(model=ctx.model, messages=messages)
        return vf.ProgramResult(0, "", "")


@cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()  # read once: it takes longer than all else that a client needs
