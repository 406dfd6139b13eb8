"""The emotion sensor: text -> 28 GoEmotions probabilities, through onnxruntime, without torch.

The shipped weights are a four-layer MiniLM fine-tuned on GoEmotions; ``weights/MODEL_CARD.md`` says how.

Every text is run by itself, never padded into a batch with others. Dynamic int8 takes its scales from the whole tensor
it is given, so in a padded batch a text's reading would hang on its neighbours, and with it a session's transcript.
A batch is spread over threads instead, which is no slower (``make bench``).
"""

import hashlib
import json
import os
import threading
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from tokenizers import Encoding, Tokenizer

from therapysim.errors import ConfigError, SensorError
from therapysim.rewards.matrix import LABELS, affect, polarity
from therapysim.state import Reading

__all__ = ["EmotionSensor", "SensorSettings", "read_logits", "shipped_sensor"]

Floats = NDArray[np.float32]

WEIGHTS = Path(__file__).parent / "weights"


@dataclass(frozen=True, slots=True)
class SensorSettings:
    """Settings of a sensor.

    Attributes:
        window_tokens: texts longer than this are read in windows of this many tokens.
        cache_texts: how many readings are remembered, the least recently used forgotten first.
        threads: how many texts are read at once.
    """

    window_tokens: int = 128
    cache_texts: int = 16_384
    threads: int = 2

    def __post_init__(self) -> None:
        if not 8 <= self.window_tokens <= 512:
            raise ConfigError(f"window_tokens is {self.window_tokens}, expected 8 to 512")
        if self.cache_texts < 0 or self.threads < 1:
            raise ConfigError(f"cache_texts {self.cache_texts}, threads {self.threads}: expected at least 0 and 1")


class EmotionSensor:
    """Reads emotions from text. Equal texts give equal probabilities, whatever else is in the batch.

    Args:
        folder: holds ``emotions.onnx``, ``tokenizer.json`` and ``emotions.json``; the shipped weights by default.
        settings: windows, cache and threads.

    Raises:
        SensorError: a file is missing, corrupt, or not of the kind its name says.
    """

    def __init__(self, folder: str | Path | None = None, settings: SensorSettings | None = None) -> None:
        self.folder = Path(folder) if folder is not None else WEIGHTS
        self.settings = settings or SensorSettings()
        meta = _read_meta(self.folder)
        self._slope = np.array(meta["slope"], dtype=np.float32)
        self._intercept = np.array(meta["intercept"], dtype=np.float32)
        #: Shape (28,): a label is present where its probability lies above this.
        self.thresholds: Floats = np.array(meta["thresholds"], dtype=np.float32)
        self._session = _open_session(self.folder / "emotions.onnx")
        self._tokenizer = _open_tokenizer(self.folder / "tokenizer.json", self.settings.window_tokens)
        self._pool, self._process = self._open_pool(), os.getpid()
        self._cache: OrderedDict[str, Floats] = OrderedDict()
        self._lock = threading.Lock()

    def __call__(self, texts: Sequence[str]) -> Floats:
        """Calibrated probability of each emotion in each text.

        Args:
            texts: any Unicode of any length. Blank text reads as neutral.

        Returns:
            Shape (n, 28), float32 in [0, 1], columns in the order of ``LABELS``. The labels are not exclusive, so a
            row need not add up to one. A long text's row is the mean over its windows, weighted by their length.

        Raises:
            SensorError: ``texts`` is one string, or holds something other than strings.
        """
        _check_texts(texts)
        self._after_fork()
        rows = {text: row for text in dict.fromkeys(texts) if (row := self._recall(text)) is not None}
        new = [text for text in dict.fromkeys(texts) if text not in rows]
        pool = self._pool if len(new) > 1 else None
        results = pool.map(self._read, new) if pool else map(self._read, new)
        for text, row in zip(new, results, strict=True):
            rows[text] = row
            self._remember(text, row)
        return np.stack([rows[t] for t in texts]) if texts else np.zeros((0, len(LABELS)), dtype=np.float32)

    def detect(self, texts: Sequence[str]) -> NDArray[np.bool_]:
        """Which emotions each text shows, (n, 28): probabilities above the thresholds chosen on dev."""
        return self(texts) > self.thresholds

    def affect(self, texts: Sequence[str]) -> Floats:
        """The Hourglass vector of each text, (n, 4) in [-1, 1]."""
        return affect(self(texts))

    def read(self, texts: Sequence[str]) -> list[Reading]:
        """The full reading of each text: probabilities, Hourglass vector, polarity."""
        probabilities = self(texts)
        vectors = affect(probabilities)
        polarities = polarity(vectors)
        return [
            Reading(text, p, (float(v[0]), float(v[1]), float(v[2]), float(v[3])), float(q))
            for text, p, v, q in zip(texts, probabilities, vectors, polarities, strict=True)
        ]

    def _open_pool(self) -> ThreadPoolExecutor | None:
        return ThreadPoolExecutor(self.settings.threads) if self.settings.threads > 1 else None

    def _after_fork(self) -> None:
        # A forked process inherits the pool without its threads, and would wait for them for ever.
        if self._process != os.getpid():
            self._pool, self._process, self._lock = self._open_pool(), os.getpid(), threading.Lock()

    def _recall(self, text: str) -> Floats | None:
        with self._lock:
            if text in self._cache:
                self._cache.move_to_end(text)
            return self._cache.get(text)

    def _remember(self, text: str, row: Floats) -> None:
        with self._lock:
            self._cache[text] = row
            while len(self._cache) > self.settings.cache_texts:
                self._cache.popitem(last=False)

    def _read(self, text: str) -> Floats:
        if not text.strip():
            return _neutral()
        encoding = self._tokenizer.encode(_encodable(text))
        windows = [encoding, *encoding.overflowing]
        logits = np.concatenate([_run(self._session, w) for w in windows])
        p = 1.0 / (1.0 + np.exp(-(logits * self._slope + self._intercept)))
        row = np.average(p, axis=0, weights=[len(w.ids) for w in windows]).astype(np.float32)
        row.flags.writeable = False
        return row

    def __reduce__(self) -> tuple[Any, ...]:
        # An onnxruntime session cannot be pickled; a worker process opens its own.
        return EmotionSensor, (self.folder, self.settings)


@lru_cache(maxsize=1)
def shipped_sensor() -> EmotionSensor:
    """The shipped weights, opened once a process, so that many environments share one reading cache."""
    return EmotionSensor()


def read_logits(model: Path, tokenizer: Path, texts: Sequence[str]) -> Floats:
    """Raw logits (n, 28) of an exported model, before calibration; texts are cut to one window."""
    session, encoder = _open_session(model), _open_tokenizer(tokenizer, SensorSettings().window_tokens)
    return np.concatenate([_run(session, encoder.encode(_encodable(text))) for text in texts])


def _run(session: onnxruntime.InferenceSession, encoding: Encoding) -> Floats:
    ids = np.array([encoding.ids], dtype=np.int64)
    logits: Floats = session.run(None, {"input_ids": ids, "attention_mask": np.ones_like(ids)})[0]
    return logits


def _neutral() -> Floats:
    row = np.zeros(len(LABELS), dtype=np.float32)
    row[LABELS.index("neutral")] = 1.0
    row.flags.writeable = False
    return row


def _encodable(text: str) -> str:
    # A lone surrogate is legal in a Python string and has no UTF-8 form.
    return text.encode("utf-8", "replace").decode("utf-8")


def _check_texts(texts: Sequence[str]) -> None:
    if isinstance(texts, str):
        raise SensorError("texts is one string, expected a list of strings: wrap it, sensor([text])")
    for i, text in enumerate(texts):
        if not isinstance(text, str):
            raise SensorError(f"texts[{i}] is {type(text).__name__}, expected str")


def _open_session(path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises many classes of its own
        raise SensorError(f"{path} cannot be read as an ONNX model: {error}. Reinstall therapysim.") from error


def _open_tokenizer(path: Path, window: int) -> Tokenizer:
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # tokenizers raises plain Exception
        raise SensorError(f"{path} cannot be read as a tokenizer: {error}. Reinstall therapysim.") from error
    tokenizer.no_padding()
    tokenizer.enable_truncation(window)
    return tokenizer


def _read_meta(folder: Path) -> dict[str, Any]:
    path = folder / "emotions.json"
    try:
        meta = json.loads(path.read_text(encoding="utf-8"))
        sizes = {key: len(meta[key]) for key in ("labels", "slope", "intercept", "thresholds")}
        hashes = dict(meta["sha256"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SensorError(
            f"{path} is missing or not a sensor description ({error!r}). Reinstall therapysim."
        ) from error
    if tuple(meta["labels"]) != LABELS or set(sizes.values()) != {len(LABELS)}:
        raise SensorError(f"{path}: found {sizes} entries, expected {len(LABELS)} each, in the order of LABELS")
    for name, expected in hashes.items():
        _check_hash(folder / name, expected)
    return dict(meta)


def _check_hash(path: Path, expected: str) -> None:
    try:
        found = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise SensorError(f"the sensor's file {path} cannot be read: {error}. Reinstall therapysim.") from error
    if found != expected:
        raise SensorError(
            f"{path} is corrupt: its SHA-256 is {found[:12]}…, emotions.json expects {expected[:12]}…. "
            "Reinstall therapysim, or train the sensor again."
        )
