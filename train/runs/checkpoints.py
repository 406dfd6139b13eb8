"""Which checkpoint a run can go on from: the newest that is whole and holds nothing but numbers."""

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

__all__ = ["checkpoint_step", "fault_of", "newest_sound"]


#: What a resume takes up; in one file or in shards.
_PARTS = {
    "weights": ("*.safetensors", "*.bin", "pytorch_model*", "global_step*"),
    "optimizer's moments": ("optimizer*", "global_step*"),
    "learning rates": ("scheduler.pt",),
    "random states": ("rng_state*.pth",),
}


def newest_sound(folder: Path) -> tuple[str | None, list[str]]:
    """The newest sound checkpoint of a folder, None where there is none; and what is wrong with each newer one."""
    found = (place for place in folder.glob("checkpoint-*") if place.name.rpartition("-")[2].isdigit())
    faults: list[str] = []
    for place in sorted(found, key=lambda place: checkpoint_step(str(place)), reverse=True):
        fault = fault_of(place)
        if not fault:
            return str(place), faults
        faults.append(f"{place} {fault}")
    return None, faults


def checkpoint_step(checkpoint: str | None) -> int:
    """How many updates a checkpoint has seen; 0 for none."""
    return int(checkpoint.rsplit("-", 1)[1]) if checkpoint else 0


def fault_of(checkpoint: Path) -> str:
    """What is wrong with a checkpoint, in words that follow its name; empty where it is sound.

    Its last file, the trainer's state, must be there, and all that a resume takes up; every file of tensors must be
    whole; no weight in safetensors, and no moment in ``optimizer.pt``, may be NaN or infinite.
    """
    try:
        json.loads((checkpoint / "trainer_state.json").read_bytes())
    except (FileNotFoundError, ValueError):
        return "was not written to its end"
    for part, patterns in _PARTS.items():
        if not any(any(checkpoint.glob(pattern)) for pattern in patterns):
            return f"is not whole: its {part} are missing"
    weights = sorted(checkpoint.rglob("*.safetensors"))
    packed = [path for path in sorted(checkpoint.rglob("*")) if path.suffix in (".pt", ".pth", ".bin")]
    for path in (*weights, *packed):
        if fault := _fault_of(path):
            return fault
    return ""


def _fault_of(path: Path) -> str:
    try:
        if path.suffix != ".safetensors":
            with zipfile.ZipFile(path) as packed:  # as PyTorch writes it, with a checksum of each tensor
                if packed.testzip():
                    return f"is damaged: {path.name}"
        tensors = _saved(path) if path.suffix == ".safetensors" or path.name == "optimizer.pt" else iter(())
        if not all(bool(torch.isfinite(tensor).all()) for tensor in tensors if tensor.is_floating_point()):
            return f"holds numbers that are none: {path.name}"
    except (OSError, RuntimeError, SafetensorError, ValueError, zipfile.BadZipFile) as error:
        return f"is damaged: {path.name}: {str(error).splitlines()[0][:200]}"
    return ""


def _saved(path: Path) -> Iterator[torch.Tensor]:
    if path.suffix == ".safetensors":
        with safe_open(path, "pt") as file:
            yield from (file.get_tensor(name) for name in file.keys())  # noqa: SIM118
    else:
        yield from _tensors(torch.load(path, map_location="cpu", weights_only=True, mmap=True))


def _tensors(value: Any) -> Iterator[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, dict | list | tuple):
        for own in value.values() if isinstance(value, dict) else value:
            yield from _tensors(own)
