"""The emotion sensor: text -> 28 GoEmotions probabilities, through onnxruntime, without torch.

The shipped weights are a MiniLM taught on GoEmotions by larger encoders; ``weights/MODEL_CARD.md`` says how.

Every text is run by itself, never padded into a batch with others. Dynamic int8 takes its scales from the whole tensor
it is given, so in a padded batch a text's reading would hang on its neighbours, and with it a session's transcript.
A batch is spread over threads instead, and no text waits for a longer one (``make bench`` has both).
"""

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from tokenizers import Encoding, Tokenizer

from therapysim.errors import ConfigError, SensorError, require_count, require_number
from therapysim.rewards.matrix import LABELS, affect, polarity
from therapysim.rewards.reading.memory import Memory, encodable
from therapysim.state import Reading

__all__ = [
    "NEUTRAL",
    "EmotionSensor",
    "SensorSettings",
    "check_hash",
    "open_session",
    "read_logits",
    "readings",
    "shipped_sensor",
]

Floats = NDArray[np.float32]

WEIGHTS = Path(__file__).parent / "weights"
_OUTPUTS = {"logits", "pooled"}

#: How blank text reads, shape (28,): neutral for certain.
NEUTRAL: Floats = np.eye(len(LABELS), dtype=np.float32)[LABELS.index("neutral")]
NEUTRAL.flags.writeable = False


@dataclass(frozen=True, slots=True)
class SensorSettings:
    """Settings of a sensor.

    Attributes:
        window_tokens: texts longer than this are read in windows of this many tokens.
        cache_mb: megabytes of readings that are remembered, the least recently used forgotten first; a text takes
            about 2 kB.
        threads: how many texts are read at once.
    """

    window_tokens: int = 128
    cache_mb: float = 64.0
    threads: int = 2

    def __post_init__(self) -> None:
        if not 8 <= self.window_tokens <= 512:
            raise ConfigError(f"window_tokens is {self.window_tokens}, expected 8 to 512")
        require_number("cache_mb", self.cache_mb, 0.0, 1e6)
        require_count("threads", self.threads, 1)


class EmotionSensor:
    """Reads emotions from text. Equal texts give equal probabilities, whatever else is in the batch.

    Threads may share one, and a forked process may go on with its parent's.

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
        #: SHA-256 of the network's file.
        self.digest: str = dict(meta["sha256"]).get("emotions.onnx", "")
        #: Shape (28,): a label is present where its probability lies above this.
        self.thresholds: Floats = np.array(meta["thresholds"], dtype=np.float32)
        self._open_files()
        self._pool, self._process = self._open_pool(), os.getpid()
        outputs = {output.name: output.shape for output in self._session.get_outputs()}
        # Probabilities and embedding of a text come from one pass through the encoder, so they are kept together.
        #: Numbers in a row of ``features``.
        self.width: int = len(LABELS) + outputs["pooled"][-1]
        self._rows = Memory(self._spread(self._read), self.width, self.settings.cache_mb)

    def __deepcopy__(self, memo: dict[int, Any]) -> "EmotionSensor":
        return self  # the copy of an environment's spec shares it, as threads may

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
        return self._rows(texts)[:, : len(LABELS)]

    def detect(self, texts: Sequence[str]) -> NDArray[np.bool_]:
        """Which emotions each text shows, (n, 28): probabilities above the thresholds chosen on dev."""
        return self(texts) > self.thresholds

    def affect(self, texts: Sequence[str]) -> Floats:
        """The Hourglass vector of each text, (n, 4) in [-1, 1]."""
        return affect(self(texts))

    def read(self, texts: Sequence[str]) -> list[Reading]:
        """The full reading of each text: probabilities, Hourglass vector, polarity."""
        return readings(texts, self(texts))

    def embed(self, texts: Sequence[str]) -> Floats:
        """What a text is about, (n, 384) float32: the mean over its tokens of an early layer; zeros for blank text.

        Early, since the last layers keep the mood of a text and lose its subject (``docs/reading.md``).
        """
        return self._rows(texts)[:, len(LABELS) :]

    def features(self, texts: Sequence[str]) -> Floats:
        """What a linear head reads, (n, 412) float32: the 28 probabilities and ``embed``, from one pass."""
        return self._rows(texts)

    def _spread(self, read: Callable[[str], Floats]) -> Callable[[Sequence[str]], Floats]:
        """Reads many texts, as many at once as there are threads."""

        def read_all(texts: Sequence[str]) -> Floats:
            self._after_fork()
            return np.stack(list(self._pool.map(read, texts) if self._pool and len(texts) > 1 else map(read, texts)))

        return read_all

    def _open_files(self) -> None:
        self._session = open_session(self.folder / "emotions.onnx", _OUTPUTS)
        self._tokenizer = _open_tokenizer(self.folder / "tokenizer.json", self.settings.window_tokens)

    def _open_pool(self) -> ThreadPoolExecutor | None:
        return ThreadPoolExecutor(self.settings.threads) if self.settings.threads > 1 else None

    def _after_fork(self) -> None:
        # A forked process inherits the pool without its threads, and whatever lock a thread held inside onnxruntime or
        # the tokenizer: it would wait for them for ever.
        if self._process != os.getpid():
            self._open_files()
            self._pool, self._process = self._open_pool(), os.getpid()

    def _read(self, text: str) -> Floats:
        if not text.strip():
            return np.concatenate([NEUTRAL, np.zeros(self.width - len(LABELS), dtype=np.float32)])
        encoding = self._tokenizer.encode(encodable(text))
        windows = [encoding, *encoding.overflowing]
        logits, pooled = (
            np.concatenate(rows) for rows in zip(*(_infer(self._session, w) for w in windows), strict=True)
        )
        p = 1.0 / (1.0 + np.exp(-(logits * self._slope + self._intercept)))
        if len(windows) == 1:
            return np.concatenate([p[0], pooled[0]]).astype(np.float32)
        weights = [len(window.ids) for window in windows]
        return np.average(np.hstack([p, pooled]), axis=0, weights=weights).astype(np.float32)

    def __reduce__(self) -> tuple[Any, ...]:
        # An onnxruntime session cannot be pickled; a worker process opens its own.
        return EmotionSensor, (self.folder, self.settings)


@lru_cache(maxsize=1)
def shipped_sensor() -> EmotionSensor:
    """The shipped weights, opened once a process, so that many environments share one reading cache."""
    return EmotionSensor()


def readings(texts: Sequence[str], probabilities: Floats) -> list[Reading]:
    """What the matrix makes of probabilities (n, 28), text by text."""
    vectors = affect(probabilities)
    return [
        Reading(text, p, (float(v[0]), float(v[1]), float(v[2]), float(v[3])), float(q))
        for text, p, v, q in zip(texts, probabilities, vectors, polarity(vectors), strict=True)
    ]


def read_logits(model: Path, tokenizer: Path, texts: Sequence[str]) -> Floats:
    """Raw logits (n, 28) of an exported model, before calibration; texts are cut to one window."""
    session, encoder = open_session(model, _OUTPUTS), _open_tokenizer(tokenizer, SensorSettings().window_tokens)
    return np.concatenate([_infer(session, encoder.encode(encodable(text)))[0] for text in texts])


def _infer(session: onnxruntime.InferenceSession, encoding: Encoding) -> tuple[Floats, Floats]:
    """Logits (1, 28) and pooled embedding (1, width) of one window."""
    ids = np.array([encoding.ids], dtype=np.int64)
    logits, pooled = session.run(["logits", "pooled"], {"input_ids": ids, "attention_mask": np.ones_like(ids)})
    return logits, pooled


def open_session(path: Path, outputs: set[str]) -> onnxruntime.InferenceSession:
    """A network, run on one thread; texts are spread over threads instead.

    Raises:
        SensorError: the file is missing, no network, or lacks one of the outputs.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        if missing := sorted(outputs - {output.name for output in session.get_outputs()}):
            raise ValueError(f"it has no output {missing[0]}")
        return session
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
        check_hash(folder / name, expected)
    return dict(meta)


def check_hash(path: Path, expected: str) -> None:
    """Compares a file with its SHA-256.

    Raises:
        SensorError: it is missing, or another one.
    """
    try:
        found = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise SensorError(f"the weights {path} cannot be read: {error}. Reinstall therapysim.") from error
    if found != expected:
        raise SensorError(
            f"{path} is corrupt: its SHA-256 is {found[:12]}…, {expected[:12]}… is expected. Reinstall "
            "therapysim, or train it again."
        )
