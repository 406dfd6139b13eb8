"""Linear heads on the shipped encoder: what a turn is, by a reading that the sensor has made anyway.

    p = 1 / (1 + exp(-(W·dense + Σ V[g] + b)))    the sum over the word runs g that the head knows; see ``features``

No second model runs. What each head was trained on, and how well it does on texts kept apart, stands in
``weights/HEADS.md``; ``therapysim train heads`` makes the files.
"""

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from therapysim.errors import SensorError
from therapysim.files import whole
from therapysim.rewards.reading.emotions import WEIGHTS, EmotionSensor, shipped_sensor
from therapysim.rewards.reading.features import Features, dense_width, featurise
from therapysim.rewards.reading.open_sensor import Sensor

__all__ = ["Heads", "open_heads", "write_heads"]

Floats = NDArray[np.float32]

_META, _WEIGHTS = "heads.json", "heads.npz"


class Heads:
    """Probabilities of what a turn is, as an answer to what was heard.

    Args:
        sensor: the encoder that the heads were trained on.
        folder: holds ``heads.json`` and ``heads.npz``; the shipped ones by default.

    Raises:
        SensorError: a file is missing or broken, or the heads belong to another encoder.
    """

    def __init__(self, sensor: EmotionSensor, folder: str | Path | None = None) -> None:
        self.sensor = sensor
        folder = Path(folder) if folder is not None else WEIGHTS
        meta, arrays = _read(folder)
        if meta["encoder"] != sensor.digest:
            raise SensorError(
                f"{folder / _META} belongs to the encoder {meta['encoder'][:12]}…, found {sensor.digest[:12]}…: train "
                "the heads again, therapysim train heads"
            )
        #: What each column says, such as "complex_reflection".
        self.names: tuple[str, ...] = tuple(meta["names"])
        #: name -> the probability from which on it holds.
        self.thresholds: dict[str, float] = dict(meta["thresholds"])
        self._dense = arrays["dense"].astype(np.float32)
        self._grams, self._bias = arrays["grams"].astype(np.float32), arrays["bias"].astype(np.float32)
        vocabulary = str(arrays["vocabulary"])  # empty where no word run was frequent enough
        self._rows = {gram: i for i, gram in enumerate(vocabulary.split("\n") if vocabulary else ())}
        shapes = self._dense.shape, self._grams.shape, self._bias.shape
        k = len(self.names)
        if shapes != ((k, dense_width(sensor)), (len(self._rows), k), (k,)):
            raise SensorError(
                f"{folder / _WEIGHTS}: shapes {shapes} do not fit {k} heads on this encoder: train the heads again, "
                "therapysim train heads"
            )

    def __call__(self, heard: Sequence[str], texts: Sequence[str]) -> Floats:
        """Probability of each name, (n, len(names)) float32 in [0, 1].

        Args:
            heard: the words that each turn answers; "" where there are none.
            texts: the turns.
        """
        return self.judge(featurise(self.sensor, heard, texts))

    def judge(self, features: Features) -> Floats:
        """As a call, on features that were made already."""
        # Row by row: a product of whole matrices adds up in another order, and a turn must not hang on its batch.
        z = [self._dense @ row + self._known(found) for row, found in zip(features.dense, features.grams, strict=True)]
        logits = np.stack(z) + self._bias if z else np.zeros((0, len(self.names)), dtype=np.float32)
        return np.asarray(1.0 / (1.0 + np.exp(np.minimum(-logits, 80.0))), dtype=np.float32)  # no overflow

    def _known(self, found: frozenset[str]) -> Floats:
        rows = sorted(self._rows[gram] for gram in found if gram in self._rows)
        return np.asarray(self._grams[rows].sum(axis=0), dtype=np.float32)


def open_heads(sensor: Sensor | None = None) -> Heads:
    """The shipped heads: on this sensor where it is the shipped encoder, else on the shipped one beside it."""
    shipped = shipped_sensor()
    own = isinstance(sensor, EmotionSensor) and sensor.digest == shipped.digest
    return _open(sensor if own and isinstance(sensor, EmotionSensor) else shipped)


@lru_cache(maxsize=4)
def _open(sensor: EmotionSensor) -> Heads:
    return Heads(sensor)


def write_heads(folder: str | Path, meta: Mapping[str, Any], arrays: Mapping[str, Any]) -> None:
    """Writes both files, each whole or not at all; the hash of the second stands in the first.

    Args:
        meta: ``encoder``, ``names``, ``thresholds``, and whatever else is to be told.
        arrays: ``dense`` (k, d), ``grams`` (v, k), ``bias`` (k,), ``vocabulary``: v word runs joined by line ends.
    """
    packed = io.BytesIO()
    np.savez_compressed(packed, allow_pickle=False, **arrays)
    content = packed.getvalue()
    told = json.dumps({**meta, "sha256": hashlib.sha256(content).hexdigest()}, indent=1, ensure_ascii=False) + "\n"
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with whole(folder / _WEIGHTS) as part:
        part.write_bytes(content)
    with whole(folder / _META) as part:
        part.write_text(told, encoding="utf-8")


def _read(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    try:
        meta = json.loads((folder / _META).read_text(encoding="utf-8"))
        content = (folder / _WEIGHTS).read_bytes()
        found = hashlib.sha256(content).hexdigest()
        if found != meta["sha256"]:
            raise ValueError(f"{_WEIGHTS} is corrupt: its SHA-256 is {found[:12]}…, {_META} expects another")
        meta["encoder"], meta["thresholds"] = str(meta["encoder"]), {n: meta["thresholds"][n] for n in meta["names"]}
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            return meta, {name: arrays[name] for name in ("dense", "grams", "bias", "vocabulary")}
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise SensorError(
            f"the heads in {folder} cannot be read ({type(error).__name__}: {error}). Reinstall therapysim, or train "
            "the heads again, therapysim train heads"
        ) from error
