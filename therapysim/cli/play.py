"""``therapysim play``: a page in the browser on which you are the therapist."""

import argparse
import os
import secrets
import sys
import webbrowser
from pathlib import Path
from urllib.parse import quote

from therapysim.agents.therapists.policies import find_policy
from therapysim.agents.web.addresses import address_of, is_loopback, listening
from therapysim.cli.options import PATIENT, add_rubric
from therapysim.errors import ConfigError, require_count
from therapysim.models.chat import Sampling
from therapysim.personas.load import open_persona, patients_named, personas
from therapysim.personas.opening import open_patient
from therapysim.rewards.reading.emotions import shipped_sensor
from therapysim.rewards.rubric_by_name import open_rubric

__all__ = ["add_options", "run"]

TOKEN = "THERAPYSIM_PLAY_TOKEN"
_ABOUT = (
    "A page on which you are the therapist of a simulated patient: talk, see what moves, take turns back, try other "
    "words, rate turns. A research simulator, no clinical device. It listens on this machine alone unless --host says "
    "otherwise, and then asks for a token."
)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Whom one meets, who may suggest, and where it listens."""
    parser.description = _ABOUT
    add = parser.add_argument
    add("--patients", nargs="+", metavar="ID|FILE|FOLDER",
        help="to choose from: ids, or files and folders of your own; default all of splits train and dev")  # fmt: skip
    add("--patient-model", default="scripted", metavar="NAME",
        help=f"who words the patients: {PATIENT}; default scripted")  # fmt: skip
    add("--policies", nargs="*", default=["cbt", "mi", "attuned"], metavar="NAME",
        help="who may suggest or speak: whatever `bench` takes; default cbt mi attuned")  # fmt: skip
    add("--turns", type=int, default=20, help="therapist turns at most, default 20")
    add_rubric(parser, "default", "the reward shown")
    add("--max-tokens", type=int, default=64, help="of one turn of a language model, default 64; a run knows its own")
    add("--out", type=Path, default=Path("runs/play"), metavar="FOLDER", help="for ratings, default runs/play")
    add("--host", default="127.0.0.1", help="where it listens, default 127.0.0.1")
    add("--port", type=int, default=8321, help="default 8321; 0 takes a free one")
    add("--no-open", action="store_true", help="do not open a browser")


def run(chosen: argparse.Namespace) -> None:
    """Opens the patients' words, listens, and serves until Ctrl-C.

    Raises:
        ConfigError: a name is unknown, the extra ``play`` is not installed, or the port is in use.
    """
    import uvicorn

    from therapysim.agents.web.house import PageSettings
    from therapysim.agents.web.server import make_app

    require_count("--turns", chosen.turns, 1)
    named = [open_persona(name) for name in patients_named(chosen.patients or ())]
    people = named or [*personas("train"), *personas("dev")]
    sampling = Sampling(max_tokens=chosen.max_tokens)
    token = "" if is_loopback(chosen.host) else _token()
    settings = PageSettings(
        patients=people, policies=[find_policy(name, sampling) for name in chosen.policies],
        patient=open_patient(chosen.patient_model, shipped_sensor().affect), rubric=open_rubric(chosen.rubric),
        turns=chosen.turns, out=chosen.out, token=token,
    )  # fmt: skip
    app = make_app(settings)
    with listening(chosen.host, chosen.port) as place:
        address = address_of(place) + (f"#token={quote(token, safe='')}" if token else "")
        print(f"{address}\nratings in {chosen.out}; Ctrl-C ends", file=sys.stderr, flush=True)
        if not chosen.no_open:
            webbrowser.open(address)
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_keep_alive=30, limit_concurrency=256))
        server.run(sockets=[place])


def _token() -> str:
    given = os.environ.get(TOKEN) or secrets.token_urlsafe(16)
    if not given.isascii() or not given.isprintable() or " " in given:
        raise ConfigError(f"{TOKEN} has a character that no header can carry, expected ASCII without blanks")
    return given
