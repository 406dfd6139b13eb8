"""How long a GGUF file takes to become a folder, by transformers alone and with ``read_once``; whether both are alike.

python -m tests.measures.gguf FILE.gguf
"""

import sys
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path

from safetensors.torch import load_file

from therapysim.models import checkpoint


def main(path: Path) -> None:
    """Converts twice."""
    once, took, places = checkpoint.read_once, [], []
    with tempfile.TemporaryDirectory() as folder:
        for name, how in (("transformers", nullcontext), ("read once", once)):
            checkpoint.read_once = how  # type: ignore[assignment]
            began = time.perf_counter()
            places.append(Path(checkpoint.resolve(path, cache=Path(folder) / name)))
            took.append(time.perf_counter() - began)
            print(f"{name}: {took[-1]:.0f} s")
        a, b = (load_file(place / "model.safetensors") for place in places)
        same = a.keys() == b.keys() and all(bool((a[key] == b[key]).all()) for key in a)
    print(f"ratio {took[0] / took[1]:.1f}; the same weights: {same}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
