"""A patient's server that never answers: whoever ends the run does not have to wait for it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("trl")
pytest.importorskip("aiohttp")

from tests.parts.chat_server import serving, stats
from tests.parts.patience import HANGS_S

ROOT = Path(__file__).parents[3]
# Requests that the server answers: one opening line takes three at most, so that it hangs in a turn.
ANSWERED = 4


@pytest.mark.slow
@pytest.mark.parametrize("sampled", ["off", "colocate"], ids=["in step", "beside an engine"])
@pytest.mark.parametrize(
    ("number", "code", "said"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 2, "was stopped by SIGTERM")]
)
def test_a_run_whose_patient_hangs_can_be_ended(
    tiny_model: Path, tmp_path: Path, sampled: str, number: signal.Signals, code: int, said: str
) -> None:
    """Else each call would be given up after 120 s and sent again, four times, before the process ends."""
    command = [sys.executable, "-m", "tests.parts.hung_patient", str(tiny_model), str(tmp_path)]
    with serving("--answers", str(ANSWERED)) as url:
        run = subprocess.Popen([*command, url, sampled], stderr=subprocess.PIPE, text=True, cwd=ROOT,
                               start_new_session=True)  # fmt: skip
        try:
            while stats(url)["requests"] <= ANSWERED:
                assert run.poll() is None
                time.sleep(0.05)
            os.killpg(run.pid, number)
            _, wrote = run.communicate(timeout=HANGS_S)
        finally:
            run.kill()
        assert stats(url)["requests"] <= ANSWERED + 2  # no more than two sessions had asked
    assert run.returncode == code and said in wrote and "Traceback" not in wrote
