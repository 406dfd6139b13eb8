"""What each of two processes trains; ``test_sft_processes.py`` starts it through accelerate."""

import json
import os
import sys
from pathlib import Path
from typing import Any

from tests.parts.copying import patients, settings
from tests.parts.patience import HANGS_S
from therapysim.cli import main as cli
from therapysim.errors import TherapySimError
from therapysim.train.sft.run import train

#: Two sessions an update over both processes, three updates an epoch.
SHAPE = {"batch_size": 1, "max_steps": 4, "threads": 1, "validate_every": 2}


def refusal(model: Path, out: Path, **changes: Any) -> str:
    """What a run that cannot be is refused with; empty if it was not."""
    try:
        train(settings(model, out, **{**SHAPE, **changes}), patients())
    except TherapySimError as error:
        return f"{type(error).__name__}: {error}"
    return ""


def command_line(model: Path, out: Path, therapist: str) -> list[str]:
    """A short training by the command line."""
    return [
        "train", "sft", "--model", str(model), "--out", str(out), "--steps", "2", "--therapists", therapist,
        "--draws", "4", "--best", "1", "--max-turns", "2", "--batch-size", "1", "--accumulation", "1",
        "--save-steps", "2", "--validate-every", "0", "--threads", "1",
    ]  # fmt: skip


def main(model: Path, out: Path) -> None:
    """Every run of the test, what this process saw of it, and at the end a mistake, which ends it."""
    command = cli.main(command_line(model, out / "command", "cbt"))
    train(settings(model, out / "whole", **SHAPE), patients())
    train(settings(model, out / "parts", **{**SHAPE, "max_steps": 2}), patients())
    train(settings(model, out / "parts", resume=True, **SHAPE), patients())
    seen = {
        "command": command,
        "taken": refusal(model, out / "whole"),
        "unknown": refusal(model, out / "unknown", therapists=("cpt",)),
        "nowhere": refusal(model, out / "unknown", sessions=(str(out / "no-such-file.json"),)),
    }
    (out / f"seen-{os.environ['RANK']}.json").write_text(json.dumps(seen))
    cli._TELLS_S = HANGS_S
    sys.exit(cli.main(command_line(model, out / "mistake", "cpt")))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
