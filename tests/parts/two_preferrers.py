"""What each of two processes trains; ``test_dpo_processes.py`` starts it through accelerate."""

import json
import os
import sys
from pathlib import Path
from typing import Any

from tests.parts.preferring import patients, settings
from therapysim.errors import TherapySimError
from therapysim.train.dpo.run import train

#: Two pairs an update over both processes, three updates an epoch; β by the first validation.
SHAPE: dict[str, Any] = {"batch_size": 1, "max_steps": 4, "threads": 1, "validate_every": 2, "beta": "auto"}


def refusal(model: Path, out: Path, made: Path, **changes: Any) -> str:
    """What a run that cannot be is refused with; empty if it was not."""
    try:
        train(settings(model, out, made, **{**SHAPE, **changes}), patients())
    except TherapySimError as error:
        return f"{type(error).__name__}: {error}"
    return ""


def main(model: Path, out: Path, made: Path) -> None:
    """Every run of the test, and what this process saw of it."""
    own = {**SHAPE, "dev_pairs": (str(made),)}
    train(settings(model, out / "whole", made, **own), patients())
    train(settings(model, out / "parts", made, **{**own, "max_steps": 2}), patients())
    train(settings(model, out / "parts", made, resume=True, **own), patients())
    seen = {
        "taken": refusal(model, out / "whole", made, **own),
        "nowhere": refusal(model, out / "unknown", out / "no-such-file.jsonl"),
    }
    (out / f"seen-{os.environ['RANK']}.json").write_text(json.dumps(seen))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
