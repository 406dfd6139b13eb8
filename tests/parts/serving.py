"""A server of sessions in a thread of the test's own; needs ``openenv``."""

import threading
from collections.abc import Iterator
from typing import Any

import uvicorn

from tests.parts.connected import SAID
from therapysim.agents.web.addresses import listening
from therapysim.train.connect.serve.app import make_app, settings_of

__all__ = ["MOST", "served"]

MOST = 8


def served(**own: Any) -> Iterator[str]:
    """Its address; it ends with the iteration."""
    app = make_app(**{"turns": len(SAID), "most": MOST, **own})
    with listening("127.0.0.1", 0) as place:
        server = uvicorn.Server(settings_of(app))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [place]}, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{place.getsockname()[1]}"
        server.should_exit = True
        thread.join(20)
