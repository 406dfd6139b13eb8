"""A server that says what the teachers of a draw said, so that the recipe can be tried without a model.

    python train/pairs/distilabel/repeat.py runs/states --port 8765

It speaks the OpenAI chat-completions protocol, and knows the states of that draw alone.
"""

import argparse
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from therapysim.train.pairs.candidates import STYLES
from therapysim.train.pairs.given import read_draw, styled


def known_turns(folder: str) -> dict[str, list[str]]:
    """What a model is asked, as JSON -> the good turns of that state and style."""
    return {
        json.dumps(styled(row.prompt, style)): [o.text for o in row.found if (o.kind, o.style) == ("good", style)]
        for row in read_draw(folder).rows
        for style in STYLES
    }


def reply(turns: dict[str, list[str]], asked: dict[str, Any]) -> dict[str, Any]:
    """The answer to a request, with so many choices as it asks for; from the first again where there are no more.

    Raises:
        KeyError: the state is none of the draw.
    """
    own = turns[json.dumps(asked["messages"])] or [""]
    said = [own[i % len(own)] for i in range(asked.get("n") or 1)]
    counts = {"prompt_tokens": 0, "completion_tokens": sum(len(text.split()) for text in said)}
    return {
        "id": "repeated",
        "object": "chat.completion",
        "created": 0,
        "model": asked["model"],
        "choices": [
            {"index": i, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
            for i, text in enumerate(said)
        ],
        "usage": {**counts, "total_tokens": sum(counts.values())},
    }


class Handler(BaseHTTPRequestHandler):
    """Answers ``POST …/chat/completions``."""

    turns: dict[str, list[str]]

    def do_POST(self) -> None:
        """One request."""
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        try:
            status, told = 200, reply(self.turns, asked)
        except KeyError:
            status, told = 404, {"error": {"message": "this conversation is no state of the draw"}}
        body = json.dumps(told).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        """Says nothing."""


def main() -> None:
    """Serves until it is interrupted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("states", help="folder of `therapysim data pairs`")
    parser.add_argument("--port", type=int, default=8765, help="0 takes a free one")
    chosen = parser.parse_args()
    Handler.turns = known_turns(chosen.states)
    with ThreadingHTTPServer(("127.0.0.1", chosen.port), Handler) as server:
        print(f"http://127.0.0.1:{server.server_port}/v1", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
