"""Settings of the sensor's recipes: the encoder and its teachers, new texts."""

from functools import partial
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from therapysim.errors import ConfigError
from therapysim.settings import Count, Name, Positive, Settings, Share

__all__ = ["LABELS_FILE", "SensorTrainConfig", "TextSettings"]

#: What ``train emotions-labels`` writes into the teachers' folder.
LABELS_FILE = "labels.npz"


def _place(metavar: str, help: str, default: Any = ...) -> Any:
    return Field(default, description=help, json_schema_extra={"metavar": metavar})


def _setting(default: Any, help: str, **limits: Any) -> Any:
    return Field(default, description=help, **limits)


_corpus = partial(_place, "FOLDER", "GoEmotions: train.tsv, dev.tsv, emotions.txt")
_rate = partial(_setting, gt=0, le=1e6)


class SensorTrainConfig(Settings):
    """Settings of one training run; saved with the weights.

    Raises:
        ConfigError: a value is not allowed, or a folder lacks a file that is read from it.
    """

    data: str = _corpus()
    base: str = _place("FOLDER", "the pretrained encoder")
    out: str = _place("FOLDER", "where the result goes")
    teachers: str = _place("FOLDER", "what emotions-labels wrote; with none, the raters' labels alone are learnt", "")
    trust: Share = _setting(0.7, "weight of the teachers against the raters, 0 to 1")
    seed: Count = _setting(0, "of batches, dropout, first weights and folds")
    layers: Annotated[tuple[int, ...], Field(strict=False)] = _place(
        "LAYER", "layers of the encoder kept; none: all", ()
    )
    emoji_tokens: bool = _setting(True, "each emoji is a token of its own; otherwise its name is spelled out")
    epochs: Positive = _setting(8, "times through the data")
    batch_size: Positive = _setting(256, "texts in a batch")
    lr: float = _rate(4e-4, "learning rate of the encoder")
    head_lr: float = _rate(1e-3, "learning rate of the last layer")
    weight_decay: float = _setting(0.01, "of AdamW", ge=0)
    warmup: Share = _setting(0.1, "share of the steps in which the learning rate rises; after them it falls to 0")
    dropout: float = _setting(0.1, "of the last layer", ge=0, lt=1)
    max_tokens: Positive = _setting(64, "longer training texts are cut")
    embed_layer: Count = _setting(1, "whose mean output embeds a text; 0 is the token embeddings")
    folds: int = _setting(5, "of the teachers and of dev", ge=2)
    shrinkage: Share = _setting(0.15, "how far each label's threshold moves to the median of all, 0 to 1")

    @model_validator(mode="after")
    def _check_folders(self) -> Self:
        needed = {"data": ("train.tsv", "dev.tsv", "emotions.txt"), "base": ("config.json",)}
        needed |= {"teachers": (LABELS_FILE,)} if self.teachers else {}
        for name, files in needed.items():
            missing = [f for f in files if not (Path(getattr(self, name)) / f).is_file()]
            if missing:
                raise ConfigError(f"{name} folder {getattr(self, name)!r} lacks {', '.join(missing)}")
        return self


class TextSettings(Settings):
    """Settings of the writer of new texts."""

    data: str = _corpus()
    model: Name = _setting("smollm2", "what writes: model folder, .gguf file, hub id, or smollm2")
    out: str = _place("FILE", "a JSON list of texts")
    n: Positive = _setting(100_000, "how many are drawn; repeats and texts of the data are dropped afterwards")
    rare: Share = _setting(0.5, "share drawn for one emotion, each as often; the others as in the data")
    seed: Count = _setting(0, "of the tuning and the drawing")
    epochs: Positive = _setting(2, "of the tuning: times through the data")
    batch_size: Positive = _setting(64, "of the tuning: texts in a batch")
    lr: float = _rate(1e-4, "of the tuning: learning rate")
    max_tokens: Positive = _setting(56, "longer comments are cut, and no longer ones drawn")
    draw_at_once: Positive = _setting(1024, "texts drawn together")
    temperature: float = _setting(1.0, "of the drawing", ge=1e-3, le=100)
    top_p: float = _setting(0.95, "of the drawing", ge=1e-3, le=1)
