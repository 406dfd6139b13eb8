"""Settings of the reader's recipe."""

from functools import partial
from typing import Any

from pydantic import Field

from therapysim.settings import Count, Positive, Settings, Share

__all__ = ["PLACES", "ReaderConfig"]

#: Settings that say where something lies.
PLACES = ("base", "out", "diasafety", "pair", "epitome", "exclude", "start")


def _place(help: str, default: Any = ..., metavar: str = "FILE") -> Any:
    return Field(default, description=help, json_schema_extra={"metavar": metavar})


def _setting(default: Any, help: str, **limits: Any) -> Any:
    return Field(default, description=help, **limits)


_rate = partial(_setting, gt=0, le=1e6)


class ReaderConfig(Settings):
    """Settings of one training of the reader; saved in its card.

    Raises:
        ConfigError: a value is not allowed.
    """

    base: str = _place("the pretrained encoder", metavar="FOLDER")
    out: str = _place("where reader.onnx, reader.json and READER.md go", metavar="FOLDER")
    diasafety: str = _place("DiaSafety, JSON lines: context, response, category, label")
    pair: str = _place("PAIR, JSON lines: context, responses of kind and text")
    epitome: str = _place("EPITOME, JSON lines: context, response, three levels 0 to 2")
    exclude: str = _place("pairs whose contexts (context and worse_context) are left out of DiaSafety", "")
    start: str = _place("a kept network to go on from; its report gives thresholds and figures", "")
    seed: Count = _setting(0, "of batches, dropout, first weights, made turns and folds")
    epochs: Positive = _setting(6, "times through the data")
    max_steps: Count = _setting(0, "updates after which a fit ends; 0: the epochs decide")
    batch_size: Positive = _setting(64, "turns in a batch")
    lr: float = _rate(2e-4, "learning rate of the encoder")
    head_lr: float = _rate(1e-3, "learning rate of the last layer")
    weight_decay: float = _setting(0.05, "of AdamW", ge=0)
    warmup: Share = _setting(0.1, "share of the steps in which the learning rate rises; after them it falls to 0")
    dropout: float = _setting(0.2, "of the last layer", ge=0, lt=1)
    spoken: Share = _setting(0.3, "share of the own turns of a batch that are roughened into spoken form")
    both: Share = _setting(0.4, "further turns, as a share of the own ones, that say two of them in one breath")
    apart: Share = _setting(0.25, "further examples, as a share, that stand beside another's words")
    led: Count = _setting(1, "times that each question by kind stands behind another turn, in an epoch")
    people: Positive = _setting(3, "times that what people labelled, and what misses a meaning, is seen in an epoch")
    alone: Share = _setting(0.15, "share of the own turns of a batch that are read without the patient's words")
    half: bool = _setting(False, "products in bfloat16 on a CPU too; on a GPU they always are")
    smoothing: float = _setting(0.02, "by which labels are less than sure", ge=0, lt=0.5)
    folds: int = _setting(3, "parts of the examples, each kept apart once for the thresholds", ge=2)
    false_alarms: Share = _setting(
        0.1, "share of the harmless turns in which any harm may seem likely, in the folds; a harm must then hold itself"
    )
