"""``therapysim serve``: sessions for other programs, over OpenEnv's wire."""

import argparse
import sys

from therapysim.agents.web.addresses import address_of, is_loopback, listening
from therapysim.cli.options import PATIENT, add_rubric
from therapysim.errors import require_count, require_number

__all__ = ["add_options", "run"]

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
    add_rubric(parser, "grpo")
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

    from therapysim.train.connect.serve.app import make_app, settings_of

    require_count("--turns", chosen.turns, 1)
    require_count("--most", chosen.most, 1)
    require_number("--idle", chosen.idle, 1.0, 86_400.0)
    with listening(chosen.host, chosen.port) as place:
        own = (chosen.patient_model, chosen.rubric, chosen.turns, chosen.most, chosen.idle)
        app = make_app(*own, local=is_loopback(chosen.host))
        print(f"{address_of(place)} at most {chosen.most} sessions; Ctrl-C ends", file=sys.stderr, flush=True)
        uvicorn.Server(settings_of(app)).run(sockets=[place])
