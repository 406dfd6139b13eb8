"""One training run a folder, by a lock that the system takes away from a process that dies."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from therapysim.errors import ConfigError

__all__ = ["locked"]


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keeps other runs out of the folder, which is made if need be, until the block ends or the process does.

    Raises:
        ConfigError: another process trains in it, or it cannot be written.
    """
    lock = FileLock(folder / "run.lock", blocking=False)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout as error:
        raise ConfigError(
            f"out folder {folder} is in use by another process that trains; wait for its end, or choose another"
        ) from error
    except OSError as error:
        raise ConfigError(
            f"run folder {folder} cannot be written: {error}; mend that, or name another by --out"
        ) from error
    try:
        yield
    finally:
        lock.release()
