"""The sensor's recipe: its statistics on numbers worked out by hand, and the whole of it on a tiny encoder."""

import json
import random
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from therapysim.errors import ConfigError  # noqa: E402
from therapysim.rewards.matrix import LABELS  # noqa: E402
from therapysim.train import emotions  # noqa: E402
from therapysim.train.emotions import (  # noqa: E402
    SensorTrainConfig,
    calibration_error,
    cross_fit,
    length_batches,
    pick_thresholds,
    platt,
    sigmoid,
    train,
)

WORDS = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    "i",
    "am",
    "so",
    "sad",
    "happy",
    "angry",
    "the",
    "bus",
    "is",
    "here",
]
ROWS = [
    ("i am so sad", "sadness"),
    ("i am so happy", "joy"),
    ("i am so angry", "anger"),
    ("the bus is here", "neutral"),
]


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """A GoEmotions-like folder and a tiny random BERT with six layers."""
    from transformers import BertConfig, BertModel, BertTokenizerFast

    data, base = tmp_path / "data", tmp_path / "base"
    data.mkdir()
    lines = [f"{text}\t{LABELS.index(label)}\tid{i}" for i in range(30) for text, label in ROWS]
    (data / "emotions.txt").write_text("\n".join(LABELS))
    for split in ("train", "dev"):
        (data / f"{split}.tsv").write_text("\n".join(lines) + "\n")
    size = {"hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 32, "num_hidden_layers": 6}
    torch.manual_seed(0)
    BertModel(BertConfig(vocab_size=len(WORDS), max_position_embeddings=128, **size)).save_pretrained(base)
    (tmp_path / "vocab.txt").write_text("\n".join(WORDS))
    BertTokenizerFast(vocab={w: i for i, w in enumerate(WORDS)}).save_pretrained(base)
    return data, base


def test_the_whole_recipe_gives_a_sensor_that_reads(folders: tuple[Path, Path], tmp_path: Path) -> None:
    pytest.importorskip("onnxscript", reason='needs pip install "therapysim[sensor]"')
    from therapysim.rewards.emotions import EmotionSensor

    data, base = folders
    out = tmp_path / "weights"
    config = SensorTrainConfig(str(data), str(base), str(out), epochs=12, batch_size=8, lr=3e-3, head_lr=1e-2)
    report = train(config)
    assert {p.name for p in out.iterdir()} == {
        "emotions.onnx", "emotions.json", "tokenizer.json", "report.json", "MODEL_CARD.md"
    }  # fmt: skip
    assert b".py" not in (out / "emotions.onnx").read_bytes()  # the exporter's stack traces tell of this machine
    sensor = EmotionSensor(out)
    assert [LABELS[i] for i in sensor([text for text, _ in ROWS]).argmax(1)] == [label for _, label in ROWS]
    assert json.loads((out / "report.json").read_text())["scores"] == report["scores"]
    assert f"| shipped, int8 | {report['scores']['macro_f1']:.3f} |" in (out / "MODEL_CARD.md").read_text()


def test_missing_data_is_named(folders: tuple[Path, Path]) -> None:
    data, base = folders
    (data / "dev.tsv").unlink()
    with pytest.raises(ConfigError, match=r"data folder .* lacks dev\.tsv"):
        SensorTrainConfig(str(data), str(base), "out")


def test_platt_finds_the_true_slope() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(20_000, 28))
    targets = (rng.random(logits.shape) < sigmoid(0.5 * logits - 1.0)).astype(float)
    slope, intercept = platt(logits, targets)
    assert np.allclose(slope, 0.5, atol=0.07) and np.allclose(intercept, -1.0, atol=0.07)
    assert (
        calibration_error(sigmoid(slope * logits + intercept), targets)
        < 0.01
        < calibration_error(sigmoid(logits), targets)
    )


def test_thresholds_of_rare_labels_lean_on_the_global_one() -> None:
    rng = np.random.default_rng(1)
    probabilities, targets = rng.random((3_000, 28)), np.zeros((3_000, 28))
    targets[:, :27] = probabilities[:, :27] > 0.5
    targets[0, 27] = 1.0
    probabilities[0, 27] = 0.06  # one positive, whose own best threshold lies far below
    thresholds = pick_thresholds(probabilities, targets, SensorTrainConfig.__new__(SensorTrainConfig))
    assert np.allclose(thresholds[:27], 0.5, atol=0.02) and thresholds[27] > 0.45


def test_a_text_never_chooses_its_own_threshold(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each fold's calibration and thresholds are chosen without it: what they leave out covers every text once."""
    logits, targets = np.tile(np.arange(100.0)[:, None] / 100, 28), np.zeros((100, 28))
    unseen: dict[str, list[int]] = {"platt": [], "thresholds": []}

    def record(name: str, values: np.ndarray) -> None:  # type: ignore[type-arg]
        unseen[name] += sorted(set(range(100)) - {round(float(v) * 100) for v in values})

    def fake_platt(logits: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:  # type: ignore[type-arg]
        record("platt", logits[:, 0])
        return np.ones(28), np.zeros(28)

    def fake_thresholds(p: np.ndarray, targets: np.ndarray, config: object) -> np.ndarray:  # type: ignore[type-arg]
        record("thresholds", np.log(p[:, 0] / (1 - p[:, 0])))
        return np.full(28, 0.5)

    monkeypatch.setattr(emotions, "platt", fake_platt)
    monkeypatch.setattr(emotions, "pick_thresholds", fake_thresholds)
    cross_fit(logits, targets, SensorTrainConfig.__new__(SensorTrainConfig))
    assert sorted(unseen["platt"]) == sorted(unseen["thresholds"]) == list(range(100))


def test_batches_hold_every_text_once_and_like_lengths() -> None:
    lengths = [random.Random(3).randint(3, 60) for _ in range(500)]
    batches = length_batches(lengths, 16, random.Random(0))
    assert sorted(i for b in batches for i in b) == list(range(500))
    spread = [max(lengths[i] for i in b) - min(lengths[i] for i in b) for b in batches]
    assert np.mean(spread) < 5
