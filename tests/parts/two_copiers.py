"""What each of two processes trains; ``test_sft_processes.py`` starts it through accelerate."""

import json
import os
import sys
from pathlib import Path
from typing import Any

from tests.parts.copying import patients, settings
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


def main(model: Path, out: Path) -> None:
    """Every run of the test, and what this process saw of it."""
    train(settings(model, out / "whole", **SHAPE), patients())
    train(settings(model, out / "parts", **{**SHAPE, "max_steps": 2}), patients())
    train(settings(model, out / "parts", resume=True, **SHAPE), patients())
    seen = {
        "taken": refusal(model, out / "whole"),
        "unknown": refusal(model, out / "unknown", therapists=("cpt",)),
        "nowhere": refusal(model, out / "unknown", sessions=(str(out / "no-such-file.json"),)),
    }
    (out / f"seen-{os.environ['RANK']}.json").write_text(json.dumps(seen))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
