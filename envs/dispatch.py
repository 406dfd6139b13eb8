"""What Gymnasium's wrappers and vector environments do with an ``Utterance``: registered with their functions.

``batch_space`` and ``concatenate`` do right by any space: a batch of texts is a ``Tuple``. ``iterate`` is left out, as
for ``Text``: with it, the items of that ``Tuple`` would be taken apart into their characters.
"""

import multiprocessing
from collections.abc import Callable, Iterable, Sequence
from copy import deepcopy
from typing import Any, TypeVar

import numpy as np
from gymnasium.error import DependencyNotInstalled
from gymnasium.spaces import Box, Space, Tuple, flatdim, flatten, flatten_space, unflatten
from gymnasium.spaces import utils as spaces
from gymnasium.vector import utils as vectors
from gymnasium.wrappers.utils import create_zero_array
from numpy.typing import NDArray

from therapysim.envs.spaces import Utterance

__all__ = ["SharedTexts"]

Register = TypeVar("Register", bound=Callable[..., Any])

#: A character's number in the flat form is its code point + 1, at most this.
_MOST = 0x10FFFF + 1


def _register(function: Any) -> Callable[[Register], Register]:
    """Registers what follows as one of Gymnasium's functions for an ``Utterance``."""
    return lambda ours: function.register(Utterance)(ours)  # type: ignore[no-any-return]


# --- The flat form --------------------------------------------------------------------------------------------------
@_register(flatdim)
def _flatdim(space: Utterance) -> int:
    return space.max_chars


@_register(flatten_space)
def _flatten_space(space: Utterance) -> Box:
    return Box(0, _MOST, (space.max_chars,), np.int32)


@_register(flatten)
def _flatten(space: Utterance, x: str) -> NDArray[np.int32]:
    flat = np.zeros(space.max_chars, dtype=np.int32)
    flat[: len(x)] = [ord(character) + 1 for character in _fitting(space, x)]
    return flat


@_register(unflatten)
def _unflatten(space: Utterance, x: NDArray[Any]) -> str:
    return "".join(chr(int(number) - 1) for number in x if 1 <= number <= _MOST)


def _flat_dtype(space: Utterance) -> np.dtype[np.int32]:
    return np.dtype(np.int32)


if hasattr(spaces, "_flat_dtype"):  # from Gymnasium 1.4 on, where a OneOf is flattened
    _register(spaces._flat_dtype)(_flat_dtype)


@_register(spaces.is_space_dtype_shape_equiv)
def _is_equivalent(space: Utterance, other: Any) -> bool:
    return bool(space == other)


# --- Batches: tuples of texts ---------------------------------------------------------------------------------------
@_register(vectors.batch_differing_spaces)
def _batch_differing_spaces(given: Sequence[Utterance]) -> Space[Any]:
    return Tuple([deepcopy(space) for space in given], seed=deepcopy(given[0].np_random))


@_register(vectors.create_empty_array)
def _create_empty_array(space: Utterance, n: int = 1, fn: Any = np.zeros) -> tuple[str, ...]:
    return ("",) * n


@_register(create_zero_array)
def _create_zero_array(space: Utterance) -> str:
    return ""


# --- Memory shared by processes -------------------------------------------------------------------------------------
class SharedTexts(np.ndarray[Any, np.dtype[np.str_]]):
    """Texts in shared memory, shape (n,): what is written there shows here at once.

    ``AsyncVectorEnv`` reads its memory a single time and hands out deep copies, so a copy is what every other form
    gives: a tuple of texts. NUL characters at a text's end are lost.
    """

    def __deepcopy__(self, memo: dict[int, Any] | None) -> tuple[str, ...]:  # type: ignore[override]
        return tuple(self.tolist())


@_register(vectors.create_shared_memory)
def _create_shared_memory(space: Utterance, n: int = 1, ctx: Any = multiprocessing) -> Any:
    return ctx.Array("i", n * space.max_chars)


@_register(vectors.read_from_shared_memory)
def _read_from_shared_memory(space: Utterance, shared_memory: Any, n: int = 1) -> SharedTexts:
    return np.frombuffer(shared_memory.get_obj(), dtype=f"U{space.max_chars}").view(SharedTexts)


@_register(vectors.write_to_shared_memory)
def _write_to_shared_memory(space: Utterance, index: int, value: str, shared_memory: Any) -> None:
    _read_from_shared_memory(space, shared_memory)[index] = _fitting(space, value)


def _fitting(space: Utterance, text: str) -> str:
    """The text, where the space holds it; a longer one would be cut in silence."""
    if not space.contains(text):
        found = f"{len(text)} characters" if isinstance(text, str) else type(text).__name__
        raise ValueError(f"{found} for {space}, expected a str of at most {space.max_chars} characters")
    return text


# --- Arrays of other frameworks -------------------------------------------------------------------------------------
def _keep(value: Any, xp: Any, device: Any = None) -> Any:
    """Text has no form in PyTorch or JAX, and stays what it is. Gymnasium would make of it "<generator object …>"."""
    return value


def _convert(value: NDArray[Any], xp: Any, device: Any = None) -> Any:
    """The arrays of texts and other objects in a vector environment's infos stay; numbers are converted."""
    return value if value.dtype.kind in "OUS" else array_conversion.dispatch(Iterable)(value, xp, device)


try:
    from gymnasium.wrappers.array_conversion import array_conversion
except (ImportError, DependencyNotInstalled):  # the extra "array-api", without which there are no such wrappers
    pass
else:
    array_conversion.register(str, _keep)
    array_conversion.register(np.ndarray, _convert)
