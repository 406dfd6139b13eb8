"""What reads the texts tells nobody of it."""

import os
import subprocess
import sys
from pathlib import Path

READS = "from therapysim.rewards.reading.open_sensor import open_sensor; open_sensor().affect(['I am tired.'])"


def test_reading_leaves_nothing_to_be_reported(tmp_path: Path) -> None:
    """ONNX Runtime's telemetry gathers its events in the home's cache before it sends them."""
    kept = {
        name: value for name, value in os.environ.items() if name not in ("ORT_DISABLE_TELEMETRY", "XDG_CACHE_HOME")
    }
    subprocess.run([sys.executable, "-c", READS], env={**kept, "HOME": str(tmp_path)}, check=True)
    assert not [path for path in tmp_path.rglob("*") if "onnxruntime" in path.name]
