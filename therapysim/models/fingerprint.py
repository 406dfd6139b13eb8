"""What a model is, told by its files and not by where they lie: part of the name under which replies are recorded."""

import hashlib
from pathlib import Path

from therapysim.errors import ModelError

__all__ = ["fingerprint"]

_WEIGHTS = (".safetensors", ".bin", ".pt")
_SETTINGS = (".json", ".jinja", ".model", ".txt")
# Training moves nearly every weight, so blocks spread over a file tell two models apart; all of it would take minutes.
_BLOCKS, _BLOCK_BYTES = 16, 1 << 20


def fingerprint(place: str | Path) -> str:
    """Sixteen hexadecimal digits of a model or adapter folder; a hub id stays what it is.

    Every settings and tokenizer file counts in full; of a weights file its name, its size and sixteen blocks spread
    over it.

    Args:
        place: what ``therapysim.models.checkpoint.resolve`` gave.

    Raises:
        ModelError: a file cannot be read.
    """
    folder = Path(place)
    if not folder.is_dir():
        return str(place)
    digest = hashlib.sha256()
    for file in sorted(folder.iterdir()):
        if file.suffix in _WEIGHTS + _SETTINGS and file.is_file():
            digest.update(f"\0{file.name}\0".encode())
            _add(file, digest)
    return digest.hexdigest()[:16]


def _add(path: Path, digest: "hashlib._Hash") -> None:
    try:
        size = path.stat().st_size
        digest.update(f"{size}\0".encode())
        spread = path.suffix in _WEIGHTS and size > _BLOCKS * _BLOCK_BYTES
        with path.open("rb") as file:
            if not spread:
                digest.update(file.read())
            for block in range(_BLOCKS if spread else 0):
                file.seek(block * (size - _BLOCK_BYTES) // (_BLOCKS - 1))
                digest.update(file.read(_BLOCK_BYTES))
    except OSError as error:
        raise ModelError(f"model file {path} cannot be read: {error}") from error
