"""Hugging Face encoders over texts: what runs an emotion model of another's making, an embedder, a sentiment model.

Torch and transformers come with the extra ``train`` and are imported only when a model is opened. Unlike the shipped
sensor, these models run on padded batches: a text's numbers agree alone and in company to float32 rounding (about
1e-6), not bit for bit. ``PretrainedSettings(batch_windows=1)`` makes them agree exactly, at a cost in speed.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from therapysim.errors import ConfigError, SensorError, require_count, require_number
from therapysim.models.checkpoint import DTYPES, HUB_ID, INSTALL
from therapysim.rewards.reading.memory import Memory, encodable

__all__ = ["PretrainedClassifier", "PretrainedEncoder", "PretrainedSettings", "TextModel", "spell"]

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class PretrainedSettings:
    """Settings of a Hugging Face encoder.

    Attributes:
        window_tokens: a longer text is read in windows of this many tokens, or as many as the model takes if fewer,
            and its numbers are the mean over them, weighted by their length.
        batch_windows: how many windows of like length are run at once.
        cache_mb: megabytes of results that are remembered, the least recently used forgotten first.
        device: as PyTorch names it: "cpu", "cuda", "cuda:1", "mps".
        dtype: one of ``models.checkpoint.DTYPES``; results are float32 in any case.
        threshold: a label is present where its probability lies above this. The shipped sensor has one a label,
            chosen on dev; of another's model we know none.
    """

    window_tokens: int = 128
    batch_windows: int = 32
    cache_mb: float = 16.0
    device: str = "cpu"
    dtype: str = "float32"
    threshold: float = 0.5

    def __post_init__(self) -> None:
        require_number("window_tokens", require_count("window_tokens", self.window_tokens, 8), 8, 8192)
        require_count("batch_windows", self.batch_windows, 1)
        require_number("cache_mb", self.cache_mb, 0.0, 1e6)
        require_number("threshold", self.threshold, 0.0, 1.0)
        if self.dtype not in DTYPES:
            raise ConfigError(f"dtype is {self.dtype!r}, expected one of {', '.join(DTYPES)}")
        if not isinstance(self.device, str) or not self.device:
            raise ConfigError(f"device is {self.device!r}, expected a PyTorch device such as 'cpu' or 'cuda'")


class PretrainedEncoder:
    """Texts -> embeddings, the mean of the last layer over a text's tokens.

    Source: Reimers & Gurevych 2019, "Sentence-BERT", section 3: of its pooling strategies, the mean did best. It needs
    no trained pooler, which a model trained on masked words alone, such as PsychBERT, does not have.

    Args:
        name: a hub id such as ``"mnaylor/psychbert-cased"``, or a folder with ``config.json``.
        settings: windows, batches, cache, device, precision.

    Raises:
        SensorError: the model cannot be had or read.
    """

    def __init__(self, name: str | Path, settings: PretrainedSettings | None = None) -> None:
        self.name, self.settings = str(name), settings or PretrainedSettings()
        self._model = TextModel(self.name, self.settings, classifier=False)
        self._embeddings = Memory(self._model.embed, self._model.width, self.settings.cache_mb)

    def __call__(self, texts: Sequence[str]) -> Floats:
        """Shape (n, width), float32, not normalised; blank text gives zeros."""
        return self._embeddings(texts)

    def __reduce__(self) -> tuple[Any, ...]:
        return PretrainedEncoder, (self.name, self.settings)


class PretrainedClassifier:
    """Texts -> the chance of each of a model's classes, of which one holds (softmax).

    Args:
        name: a hub id or a folder with ``config.json``.
        settings: windows, batches, cache, device, precision.
        labels: the classes in the model's order, for a model whose own names are LABEL_0, LABEL_1, …

    Raises:
        SensorError: the model cannot be had or read, is multi-label, or has not as many classes as ``labels``.
    """

    def __init__(
        self, name: str | Path, settings: PretrainedSettings | None = None, labels: Sequence[str] | None = None
    ) -> None:
        self.name, self.settings = str(name), settings or PretrainedSettings()
        self._model = TextModel(self.name, self.settings, classifier=True)
        self._model.require_kind("single_label_classification")
        #: The classes in the order of the columns, as the model or the caller spells them.
        self.labels: tuple[str, ...] = tuple(labels or self._model.labels)
        if len(self.labels) != len(self._model.labels):
            raise SensorError(
                f"model '{name}': {len(self.labels)} labels are given, it has {len(self._model.labels)} classes: "
                f"{', '.join(self._model.labels)}"
            )
        self._rows = Memory(self._read, len(self.labels), self.settings.cache_mb)

    def __call__(self, texts: Sequence[str]) -> Floats:
        """Shape (n, classes), float32 in [0, 1], each row adding up to 1; blank text gives zeros."""
        return self._rows(texts)

    def _read(self, texts: Sequence[str]) -> Floats:
        return self._model.classify(texts, "softmax")

    def __reduce__(self) -> tuple[Any, ...]:
        return PretrainedClassifier, (self.name, self.settings, self.labels)


def spell(label: str) -> str:
    """A label as it is compared: lower case, without spaces."""
    return "".join(str(label).split()).casefold()


class TextModel:
    """A model and its tokenizer: cuts texts into windows, runs those of like length together, averages a text's."""

    def __init__(self, name: str, settings: PretrainedSettings, *, classifier: bool) -> None:
        self.name, self._settings = name, settings
        self._tokenizer, self._model = _load(_locate(name), settings, classifier)
        config = self._model.config
        self.labels = tuple(str(config.id2label[i]) for i in sorted(config.id2label)) if classifier else ()
        self.width = int(config.hidden_size)
        # RoBERTa keeps two positions for itself.
        room = getattr(config, "max_position_embeddings", settings.window_tokens + 2) - 2
        self._window = min(settings.window_tokens, room, self._tokenizer.model_max_length)
        self._lock = threading.Lock()

    def require_kind(self, expected: str) -> None:
        """Refuses a classifier that says it is of another kind; one that says nothing passes."""
        found = self._model.config.problem_type
        if found not in (None, expected):
            raise SensorError(
                f"model '{self.name}': config.json has problem_type {found!r}, expected {expected!r} "
                f"({'sigmoid' if expected.startswith('multi') else 'softmax'} over its labels): name another model"
            )

    def classify(self, texts: Sequence[str], squash: str) -> Floats:
        """Shape (n, labels): "sigmoid" or "softmax" of the logits; blank text gives zeros."""

        def head(inputs: Mapping[str, Any]) -> Any:
            logits = self._model(**inputs).logits.float()
            return logits.sigmoid() if squash == "sigmoid" else logits.softmax(-1)

        return self._average(texts, head, len(self.labels))

    def embed(self, texts: Sequence[str]) -> Floats:
        """Shape (n, width): the mean of the last layer over tokens; blank text gives zeros."""

        def head(inputs: Mapping[str, Any]) -> Any:
            hidden = self._model.base_model(**inputs).last_hidden_state.float()
            mask = inputs["attention_mask"][..., None]
            return (hidden * mask).sum(1) / mask.sum(1)

        return self._average(texts, head, self.width)

    def _average(self, texts: Sequence[str], head: Callable[[Mapping[str, Any]], Any], width: int) -> Floats:
        owners, windows = self._cut(texts)
        rows = np.zeros((len(windows), width), dtype=np.float64)
        order = sorted(range(len(windows)), key=lambda k: len(windows[k]))
        for start in range(0, len(order), self._settings.batch_windows):
            chosen = order[start : start + self._settings.batch_windows]
            rows[chosen] = self._run([windows[k] for k in chosen], head)
        if not np.isfinite(rows).all():
            raise SensorError(f"model '{self.name}' gave nan or infinity in {self._settings.dtype}: try float32")
        weights = np.array([len(w) for w in windows], dtype=np.float64)
        sums, totals = np.zeros((len(texts), width)), np.zeros(len(texts))
        np.add.at(sums, owners, rows * weights[:, None])
        np.add.at(totals, owners, weights)
        return np.asarray(sums / np.maximum(totals, 1.0)[:, None], dtype=np.float32)

    def _cut(self, texts: Sequence[str]) -> tuple[list[int], list[list[int]]]:
        """The windows' token ids, and whose they are; blank texts have none."""
        full = [i for i, text in enumerate(texts) if text.strip()]
        if not full:
            return [], []
        words = [encodable(texts[i]) for i in full]
        with self._lock:  # a tokenizer keeps its truncation as state, and refuses a second thread
            cut = self._tokenizer(words, truncation=True, max_length=self._window, return_overflowing_tokens=True)
        return [full[k] for k in cut["overflow_to_sample_mapping"]], cut["input_ids"]

    def _run(self, windows: list[list[int]], head: Callable[[Mapping[str, Any]], Any]) -> Floats:
        import torch

        longest = max(map(len, windows))
        ids = torch.full((len(windows), longest), self._tokenizer.pad_token_id)
        mask = torch.zeros_like(ids)
        for k, window in enumerate(windows):
            ids[k, : len(window)], mask[k, : len(window)] = torch.tensor(window), 1
        with torch.inference_mode():
            inputs = {"input_ids": ids.to(self._model.device), "attention_mask": mask.to(self._model.device)}
            rows: Floats = head(inputs).cpu().numpy()
        return rows


def _locate(name: str) -> str:
    path = Path(name).expanduser()
    if (path / "config.json").is_file():
        return str(path)
    if path.exists():
        raise SensorError(
            f"model '{name}': found no config.json there, expected a Hugging Face model folder or a hub id"
        )
    if HUB_ID.fullmatch(name):
        return name
    raise SensorError(f"model '{name}': no such folder, and not a hub id of the form org/name")


def _load(place: str, settings: PretrainedSettings, classifier: bool) -> tuple[Any, Any]:
    """Tokenizer and model, in evaluation mode on their device."""
    try:
        import torch
        from transformers import AutoModel, AutoModelForSequenceClassification, AutoTokenizer

        kind: Any = AutoModelForSequenceClassification if classifier else AutoModel
        tokenizer = AutoTokenizer.from_pretrained(place)
        dtype = getattr(torch, settings.dtype)
        model, report = kind.from_pretrained(place, dtype=dtype, output_loading_info=True)
        model = model.to(settings.device).eval()
    except ImportError as error:
        raise SensorError(f"model '{place}': it needs torch and transformers; {INSTALL}: {error}") from error
    except Exception as error:  # OSError where it is unreachable; anything where a file is damaged
        raise SensorError(
            f"model '{place}': transformers cannot load it: {str(error).rstrip('. ')}.{_reach(place)}"
        ) from error
    missing = sorted(report["missing_keys"])
    # A bare encoder's pooler is never looked at, and masked-word models have none.
    _check(place, tokenizer, model, missing if classifier else [key for key in missing if "pooler" not in key])
    return tokenizer, model


def _reach(place: str) -> str:
    if Path(place).is_dir():
        return " Check that the folder is whole"
    return f" It is no folder here, so the hub was asked: download it first, `hf download {place}`, or give a folder"


def _check(place: str, tokenizer: Any, model: Any, missing: Sequence[str]) -> None:
    """Refuses what transformers would only warn of, or what would fail at some later text."""
    if missing:
        raise SensorError(
            f"model '{place}': its weights lack {', '.join(missing[:4])}, which would be random numbers: "
            "give a model trained for this task"
        )
    rows = model.get_input_embeddings().num_embeddings
    if not tokenizer.is_fast or tokenizer.pad_token_id is None or len(tokenizer) > rows:
        raise SensorError(
            f"model '{place}': its tokenizer is {type(tokenizer).__name__} with padding token "
            f"{tokenizer.pad_token!r} and {len(tokenizer)} entries; expected a fast one with a padding token and at "
            f"most the model's {rows}"
        )
