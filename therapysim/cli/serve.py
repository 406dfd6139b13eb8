"""``therapysim serve``: sessions for other programs, over OpenEnv's wire."""

import argparse
import sys
from typing import Any

from therapysim.agents.web.addresses import address_of, is_loopback, listening
from therapysim.cli.options import PATIENT
from therapysim.errors import require_count, require_number

__all__ = ["add_options", "run", "settings_of"]

#: Bytes of a message.
MOST_BYTES = 2**18
_ABOUT = (
    "Serves sessions by OpenEnv's protocol, a WebSocket each (extra openenv). Whoever reaches the port may use it: "
    "it asks for no password. therapysim.train.connect.openenv has a client."
)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Which patient, how many sessions, and where it listens."""
    parser.description = _ABOUT
    add = parser.add_argument
    add("--patient-model", default="scripted", metavar="NAME",
        help=f"who words the patients: {PATIENT}; default scripted")  # fmt: skip
    add("--rubric", default="grpo", metavar="PRESET", help="of the reward, default grpo")
    add("--turns", type=int, default=20, help="therapist turns at most, unless a reset says otherwise, default 20")
    add("--most", type=int, default=256, help="sessions at once; others are refused; default 256")
    add("--idle", type=float, default=600.0, metavar="SECONDS", help="a silent session is ended after, default 600")
    add("--host", default="127.0.0.1", help="where it listens, default 127.0.0.1")
    add("--port", type=int, default=8000, help="default 8000; 0 takes a free one")


def run(chosen: argparse.Namespace) -> None:
    """Opens the patient, listens, and serves until Ctrl-C.

    Raises:
        ConfigError: a name or number is wrong, the extra ``openenv`` is not installed, or the port is in use.
    """
    import uvicorn

    from therapysim.train.connect.serve.app import make_app

    require_count("--turns", chosen.turns, 1)
    require_count("--most", chosen.most, 1)
    require_number("--idle", chosen.idle, 1.0, 86_400.0)
    with listening(chosen.host, chosen.port) as place:
        own = (chosen.patient_model, chosen.rubric, chosen.turns, chosen.most, chosen.idle)
        app = make_app(*own, local=is_loopback(chosen.host))
        print(f"{address_of(place)} at most {chosen.most} sessions; Ctrl-C ends", file=sys.stderr, flush=True)
        uvicorn.Server(settings_of(app, chosen.idle)).run(sockets=[place])


def settings_of(app: Any, idle_s: float) -> Any:
    """How uvicorn serves the app: no message beyond the limit; a trainer whose loop stands still keeps its sessions.

    Args:
        app: ``make_app``'s.
        idle_s: how long a client may be without an answer to a ping.
    """
    import uvicorn

    return uvicorn.Config(app, log_level="warning", ws_max_size=MOST_BYTES, ws_ping_timeout=idle_s)
