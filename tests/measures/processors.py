"""What the int8 sensor reads on a processor without VNNI, beside what it reads here: needs qemu-user on x86-64 Linux.

python tests/measures/processors.py [--model FILE.onnx] [--cpu Haswell-noTSX] [--texts FILE]

Without VNNI, two products of 8-bit numbers are added in 16 bits and saturate. The shipped weights use 7 bits, so that
they cannot. Another export of the same network may be given with --model, texts one a line with --texts.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from therapysim.rewards.reading.emotions import WEIGHTS, read_logits

CHALLENGE = Path(__file__).parents[1] / "data" / "challenge.jsonl"
_CHILD = "import sys; sys.path[:0] = {path}; sys.argv = ['', *{arguments}]; import runpy; runpy.run_path({file!r}, run_name='__main__')"  # fmt: skip # noqa: E501


def main() -> None:
    """Reads the texts twice, and prints how far the readings differ."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=str(WEIGHTS / "emotions.onnx"))
    parser.add_argument("--cpu", default="Haswell-noTSX", help="as qemu-x86_64 -cpu help lists them")
    parser.add_argument("--texts", help="default: the challenge set")
    parser.add_argument("--write", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.write:
        np.save(chosen.write, read_logits(Path(chosen.model), WEIGHTS / "tokenizer.json", texts(chosen.texts)))
        return
    here = read_logits(Path(chosen.model), WEIGHTS / "tokenizer.json", texts(chosen.texts))
    there = emulated(chosen)
    same = (here.argmax(1) == there.argmax(1)).mean()
    apart = np.abs(here - there)
    print(f"{len(here)} texts, {chosen.cpu} emulated against this processor: logits differ by {apart.mean():.5f} "
          f"on average, {apart.max():.3f} at most; the same first label in {same:.1%}")  # fmt: skip


def texts(file: str | None) -> list[str]:
    """The lines of a file, or the challenge set."""
    if file:
        return [line for line in Path(file).read_text(encoding="utf-8").splitlines() if line.strip()]
    return [json.loads(line)["text"] for line in CHALLENGE.read_text(encoding="utf-8").splitlines()]


def emulated(chosen: argparse.Namespace) -> np.ndarray:  # type: ignore[type-arg]
    """The logits as this script reads them under emulation, (n, 28)."""
    qemu = shutil.which("qemu-x86_64")
    if qemu is None:
        sys.exit("qemu-x86_64 is not installed; on Debian: apt-get install qemu-user")
    with tempfile.TemporaryDirectory() as folder:
        arguments = ["--model", chosen.model, "--write", f"{folder}/logits.npy"]
        arguments += ["--texts", chosen.texts] if chosen.texts else []
        child = _CHILD.format(path=[p for p in sys.path if p], arguments=arguments, file=str(Path(__file__).resolve()))
        python = str(Path(sys.executable).resolve())
        subprocess.run([qemu, "-cpu", chosen.cpu, python, "-c", child], check=True, stderr=subprocess.DEVNULL)
        return np.asarray(np.load(f"{folder}/logits.npy"))


if __name__ == "__main__":
    main()
