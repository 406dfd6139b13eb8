"""Two processes on a CPU, as the recipe on two processors starts them: by accelerate, joined by gloo."""

import os
import socket
import subprocess
import sys
from pathlib import Path

from tests.parts.patience import HANGS_S

__all__ = ["ROOT", "launch"]

ROOT = Path(__file__).parents[2]


def launch(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Both run a module with these arguments."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    starter = [sys.executable, "-m", "accelerate.commands.launch"]
    recipe = ["--config_file", str(ROOT / "train/grpo/accelerate/cpu2.yaml"), "--main_process_port", port]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [*starter, *recipe, "-m", *arguments],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=HANGS_S,
    )  # fmt: skip
