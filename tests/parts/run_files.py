"""What a training run left behind, as far as it says the same of two runs."""

import json
from pathlib import Path
from typing import Any

__all__ = ["TIMES", "rows"]

#: What a clock decides.
TIMES = ("step_time", "seconds/run", "seconds/generation", "seconds/environment", "seconds/environment_busy")


def rows(out: Path, *leave_out: str) -> list[dict[str, Any]]:
    """The metrics of the run in a folder, without what a clock decides; none where there are none yet."""
    path = out / "metrics.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return [{k: v for k, v in json.loads(line).items() if k not in (*TIMES, *leave_out)} for line in lines]
