"""The reader of turns: a small encoder that reads a therapist's turn as an answer to the patient's words.

    p = sigmoid(W·[mean of the words before, mean of the turn] + b)    one number for each name in ``Reader.names``

One pass a turn, through onnxruntime, without torch. What it was trained on and how well it does stands in
``weights/READER.md``; ``therapysim train reader`` makes the files. Like the sensor, it runs every turn by itself, so
that a turn's reading does not hang on its batch.
"""

import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from tokenizers import Tokenizer

from therapysim.errors import SensorError
from therapysim.rewards.reading.acts import ACTS, ANY_HARM, ANY_REFLECTION
from therapysim.rewards.reading.emotions import WEIGHTS, check_hash, open_session
from therapysim.rewards.reading.memory import Memory, check_texts, encodable

__all__ = ["Reader", "Window", "cut_windows", "open_reader", "open_vocabulary"]

Floats = NDArray[np.float32]

_META, _NETWORK, _VOCABULARY = "reader.json", "reader.onnx", "tokenizer.json"
#: Tokens of the words before that are read, the last ones, and of the turn in one window.
CONTEXT_TOKENS, TURN_TOKENS = 72, 96
#: Between the two texts in the key of what is remembered.
_MARK = "\x1e"
#: What a reader must tell.
_NEEDED = (*(act for act in ACTS if act != "silence"), ANY_REFLECTION, ANY_HARM)


class Window(NamedTuple):
    """Token ids of one pass, and for each whether it belongs to the turn (1) or to what stands before it (0)."""

    ids: list[int]
    types: list[int]


def cut_windows(vocabulary: Tokenizer, heard: str, text: str) -> list[Window]:
    """The passes that read a turn: [CLS] the last words heard [SEP] the turn [SEP].

    A turn of more than ``TURN_TOKENS`` tokens takes several, each beside the same words heard.
    """
    before = vocabulary.encode(encodable(heard), add_special_tokens=False).ids[-CONTEXT_TOKENS:] if heard else []
    turn = vocabulary.encode(encodable(text), add_special_tokens=False).ids
    begin, end = (int(vocabulary.token_to_id(name) or 0) for name in ("[CLS]", "[SEP]"))
    head = [begin, *before, end]
    parts = [turn[i : i + TURN_TOKENS] for i in range(0, max(1, len(turn)), TURN_TOKENS)]
    return [Window([*head, *part, end], [0] * len(head) + [1] * (len(part) + 1)) for part in parts]


class Reader:
    """Probabilities of what a turn does, as an answer to what was heard.

    Threads may share one, and a forked process may go on with its parent's.

    Args:
        folder: holds ``reader.onnx``, ``reader.json`` and ``tokenizer.json``; the shipped ones by default.
        threads: how many turns are read at once.
        cache_mb: megabytes of readings that are remembered.

    Raises:
        SensorError: a file is missing, corrupt, or not of the kind its name says.
    """

    def __init__(self, folder: str | Path | None = None, *, threads: int = 2, cache_mb: float = 32.0) -> None:
        self.folder = Path(folder) if folder is not None else WEIGHTS
        self._threads, self._cache_mb = threads, cache_mb
        meta = _read_meta(self.folder)
        #: What each column says, such as "complex_reflection".
        self.names: tuple[str, ...] = tuple(meta["names"])
        #: name -> the probability from which on it holds.
        self.thresholds: dict[str, float] = dict(meta["thresholds"])
        self._open_files()
        self._rows = Memory(self._spread, len(self.names), cache_mb)

    def __call__(self, heard: Sequence[str], texts: Sequence[str]) -> Floats:
        """Probability of each name, (n, len(names)) float32 in [0, 1]; of a long turn the greatest over its windows.

        Args:
            heard: the words that each turn answers; "" where there are none.
            texts: the turns.

        Raises:
            SensorError: one of the two is a single string, they differ in length, or something in them is not text.
        """
        heard, texts = check_texts(heard), check_texts(texts)
        if len(heard) != len(texts):
            raise SensorError(f"the reader got {len(heard)} contexts for {len(texts)} turns, expected one a turn")
        return self._rows([f"{a.replace(_MARK, ' ')}{_MARK}{b}" for a, b in zip(heard, texts, strict=True)])

    def __deepcopy__(self, memo: dict[int, Any]) -> "Reader":
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopen, (self.folder, self._threads, self._cache_mb)

    def _open_files(self) -> None:
        self._session = open_session(self.folder / _NETWORK, {"logits"})
        self._vocabulary = open_vocabulary(self.folder / _VOCABULARY)
        outputs = self._session.get_outputs()[0].shape[-1]
        if outputs != len(self.names):
            raise SensorError(
                f"{self.folder / _NETWORK} tells {outputs} things, {_META} names {len(self.names)}: train the reader "
                "again, therapysim train reader"
            )
        self._pool = ThreadPoolExecutor(self._threads) if self._threads > 1 else None
        self._process = os.getpid()

    def _spread(self, keys: Sequence[str]) -> Floats:
        if self._process != os.getpid():  # a forked process inherits neither threads nor the locks they held
            self._open_files()
        return np.stack(
            list(self._pool.map(self._read, keys) if self._pool and len(keys) > 1 else map(self._read, keys))
        )

    def _read(self, key: str) -> Floats:
        heard, _, text = key.partition(_MARK)
        logits = np.concatenate([infer(self._session, window) for window in cut_windows(self._vocabulary, heard, text)])
        highest = logits.max(axis=0)
        return np.asarray(1.0 / (1.0 + np.exp(np.minimum(-highest, 80.0))), dtype=np.float32)


def infer(session: onnxruntime.InferenceSession, window: Window) -> Floats:
    """Logits (1, k) of one window."""
    feed = {"input_ids": np.array([window.ids], dtype=np.int64), "types": np.array([window.types], dtype=np.int64)}
    return np.asarray(session.run(["logits"], feed)[0], dtype=np.float32)


@lru_cache(maxsize=1)
def open_reader() -> Reader:
    """The shipped reader, opened once a process, so that many environments share what it remembers."""
    return Reader()


def _reopen(folder: Path, threads: int, cache_mb: float) -> Reader:
    return Reader(folder, threads=threads, cache_mb=cache_mb)


def open_vocabulary(path: Path) -> Tokenizer:
    """The tokenizer, without padding or cutting.

    Raises:
        SensorError: the file is missing or no tokenizer.
    """
    try:
        vocabulary = Tokenizer.from_file(str(path))
    except Exception as error:  # tokenizers raises plain Exception
        raise SensorError(f"{path} cannot be read as a tokenizer: {error}. Reinstall therapysim.") from error
    vocabulary.no_padding()
    vocabulary.no_truncation()
    return vocabulary


def _read_meta(folder: Path) -> dict[str, Any]:
    path = folder / _META
    try:
        meta = json.loads(path.read_text(encoding="utf-8"))
        names = [str(name) for name in meta["names"]]
        thresholds = {name: float(meta["thresholds"][name]) for name in names}
        hashes = {str(name): str(value) for name, value in meta["sha256"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise SensorError(
            f"{path} is missing or does not describe a reader ({error!r}). Reinstall therapysim, or train the reader "
            "again, therapysim train reader"
        ) from error
    if missing := [name for name in _NEEDED if name not in names]:
        raise SensorError(
            f"{path} has no {missing[0]!r} among its {len(names)} names: its labels are another edition's"
        )
    if missing := [name for name in (_NETWORK, _VOCABULARY) if name not in hashes]:
        raise SensorError(f"{path} has no SHA-256 of {missing[0]}: train the reader again, therapysim train reader")
    for name, expected in hashes.items():
        check_hash(folder / name, expected)
    return {"names": names, "thresholds": thresholds}
