"""On a GPU, each way of loading a model in a process of its own: unsloth changes TRL and transformers for good.

python -m pytest -m gpu tests/train/grpo/test_gpu.py
"""

import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("trl")
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"),
]

CASES = Path(__file__).with_name("gpu_ways.py")
EACH = (
    "test_vllm_samples_from_the_policy_in_training",
    "test_only_the_therapists_tokens_are_learned_from",
    "test_the_log_probabilities_are_the_models",
)
#: way -> its tests; what is not asked of each way is asked of one.
WAYS = {
    "bf16": (*(f"{name}[bf16]" for name in EACH), "test_left_padding_does_no_harm"),
    **{way: tuple(f"{name}[{way}]" for name in EACH) for way in ("nf4", "unsloth", "unsloth_nf4")},
}


@pytest.mark.parametrize("way", WAYS)
def test_a_way_passes_whole(way: str, tmp_path: Path) -> None:
    """None of its tests fails, and none is skipped for want of a package."""
    report = tmp_path / "report.xml"
    named = [f"{CASES}::{name}" for name in WAYS[way]]
    command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", f"--junitxml={report}", *named]
    done = subprocess.run(command, capture_output=True, text=True, cwd=CASES.parents[3], timeout=1800)
    assert report.exists(), done.stdout[-3000:] + done.stderr[-3000:]
    (suite,) = ElementTree.parse(report).getroot().iter("testsuite")
    told = {name: int(suite.attrib[name]) for name in ("tests", "failures", "errors", "skipped")}
    assert told == {"tests": len(named), "failures": 0, "errors": 0, "skipped": 0}, done.stdout[-6000:]


def test_every_case_is_run() -> None:
    """Those that the file of cases holds are those that are named here."""
    held = {
        line.split("(")[0].removeprefix("def ") for line in CASES.read_text().splitlines() if line[:9] == "def test_"
    }
    assert held == {name.partition("[")[0] for names in WAYS.values() for name in names}
