"""Settings of the emotion sensor's training."""

from dataclasses import dataclass
from pathlib import Path

from therapysim.errors import ConfigError, require_number

__all__ = ["LABELS_FILE", "SensorTrainConfig"]

#: What ``train emotions-labels`` writes into the teachers' folder.
LABELS_FILE = "labels.npz"


@dataclass(frozen=True)
class SensorTrainConfig:
    """Settings of one training run; saved with the weights.

    Attributes:
        data: folder of GoEmotions: ``train.tsv``, ``dev.tsv``, ``emotions.txt``.
        base: folder of the pretrained encoder.
        out: folder that the result goes to.
        teachers: folder that ``train emotions-labels`` wrote, "" to learn from the raters' labels alone.
        trust: weight of the teachers' probabilities against the raters' labels, in [0, 1].
        seed: order of batches, dropout, first weights of the head, folds of dev.
        layers: which of the encoder's layers are kept; all where empty.
        emoji_tokens: each of ``sensor_data.EMOJI`` is a token of its own; otherwise its name is spelled out.
        epochs, batch_size, lr, head_lr, weight_decay, warmup, dropout: of AdamW with a linear schedule.
        max_tokens: longer training texts are cut.
        embed_layer: ``EmotionSensor.embed`` is the mean of this layer's output, 0 being the token embeddings.
        folds: dev is cross-fitted in this many parts, and teachers are fitted in as many.
        shrinkage: how far each label's threshold is moved towards the median of all, in [0, 1].
    """

    data: str
    base: str
    out: str
    teachers: str = ""
    trust: float = 0.7
    seed: int = 0
    layers: tuple[int, ...] = ()
    emoji_tokens: bool = True
    epochs: int = 8
    batch_size: int = 256
    lr: float = 4e-4
    head_lr: float = 1e-3
    weight_decay: float = 0.01
    warmup: float = 0.1
    dropout: float = 0.1
    max_tokens: int = 64
    embed_layer: int = 1
    folds: int = 5
    shrinkage: float = 0.15

    def __post_init__(self) -> None:
        needed = {"data": ("train.tsv", "dev.tsv", "emotions.txt"), "base": ("config.json",)}
        if self.teachers:
            needed["teachers"] = (LABELS_FILE,)
        for field, files in needed.items():
            missing = [f for f in files if not (Path(getattr(self, field)) / f).is_file()]
            if missing:
                raise ConfigError(f"{field} folder {getattr(self, field)!r} lacks {', '.join(missing)}")
        if self.epochs < 1 or self.folds < 2:
            raise ConfigError(f"epochs {self.epochs} and folds {self.folds}: expected at least 1 and 2")
        require_number("trust", self.trust, 0.0, 1.0)
        require_number("shrinkage", self.shrinkage, 0.0, 1.0)
