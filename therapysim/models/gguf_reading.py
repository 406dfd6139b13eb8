"""A GGUF file parsed once, and its tensors unpacked by threads ahead of who asks for them.

transformers parses a file anew for tokenizer, configuration and weights, some 15 s each with a vocabulary of 150,000
words, and unpacks one tensor after the other. ``python -m tests.measures.gguf FILE.gguf`` measures both ways.
"""

import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from threading import Lock
from typing import Any

__all__ = ["read_once"]

#: More threads only wait for memory; so many tensors are unpacked and not yet taken.
_MOST_THREADS, _AHEAD = 6, 8
_ONE_AT_A_TIME = Lock()


@contextmanager
def read_once() -> Iterator[None]:
    """While it lasts, whoever opens the same GGUF file gets the same reader, and unpacked tensors from threads.

    It stands in for two names of the package ``gguf``: one thread at a time, others wait.

    Raises:
        ImportError: gguf is not installed.
    """
    import gguf

    readers: dict[str, Any] = {}
    order: list[Any] = []
    ahead: dict[int, Future[Any]] = {}
    begun: set[int] = set()

    def open_once(path: Any, *rest: Any, **named: Any) -> Any:
        if str(path) not in readers:
            readers[str(path)] = parse(path, *rest, **named)
            order.extend(readers[str(path)].tensors)
        return readers[str(path)]

    with _ONE_AT_A_TIME, ThreadPoolExecutor(min(_MOST_THREADS, os.cpu_count() or 1)) as threads:
        parse, unpack = gguf.GGUFReader, gguf.dequantize

        def taken(data: Any, kind: Any) -> Any:
            here = next((i for i, tensor in enumerate(order) if _place(tensor.data) == _place(data)), None)
            if here is None:
                return unpack(data, kind)
            for i in set(range(here, min(here + _AHEAD, len(order)))) - begun:
                begun.add(i)
                ahead[i] = threads.submit(unpack, order[i].data, order[i].tensor_type)
            future = ahead.pop(here, None)  # unpacked tensors are large: nothing keeps them here
            return future.result() if future else unpack(data, kind)

        gguf.GGUFReader, gguf.dequantize = open_once, taken
        try:
            yield
        finally:
            gguf.GGUFReader, gguf.dequantize = parse, unpack


def _place(data: Any) -> int:
    """Where an array lies in memory."""
    return int(data.__array_interface__["data"][0])
