"""The sensor's recipe: its statistics on numbers worked out by hand, and the whole of it on a tiny encoder."""

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from therapysim.errors import ConfigError  # noqa: E402
from therapysim.rewards.calibration import platt  # noqa: E402
from therapysim.rewards.matrix import LABELS  # noqa: E402
from therapysim.train.sensor import scores as sensor_scores  # noqa: E402
from therapysim.train.sensor import teacher  # noqa: E402
from therapysim.train.sensor.corpus import (  # noqa: E402
    EMOJI,
    emoji_lines,
    length_batches,
    read_split,
    spell_emoji,
)
from therapysim.train.sensor.network import build_model, open_tokenizer, save_weights  # noqa: E402
from therapysim.train.sensor.recipe import train  # noqa: E402
from therapysim.train.sensor.scores import (  # noqa: E402
    calibration_error,
    cross_fit,
    interval,
    pick_thresholds,
    sigmoid,
)
from therapysim.train.sensor.sensor_settings import SensorTrainConfig  # noqa: E402

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
    "face",
    "crying",
    "loudly",
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


FAST = {"batch_size": 8, "lr": 3e-3, "head_lr": 1e-2}


def test_the_whole_recipe_gives_a_sensor_that_reads(folders: tuple[Path, Path], tmp_path: Path) -> None:
    """Teachers in folds, their labels, a student taught by them and cut to four layers, its export."""
    pytest.importorskip("onnxscript", reason='needs pip install "therapysim[sensor]"')
    from therapysim.rewards.reading.emotions import EmotionSensor

    data, base = map(str, folders)
    out, kept, fitted = tmp_path / "weights", tmp_path / "teachers", tmp_path / "student.pt"
    for fold in range(3):
        teacher.teach(
            SensorTrainConfig(data=data, base=base, out=str(kept), emoji_tokens=False, folds=3, epochs=6, **FAST), fold
        )
    (tmp_path / "texts.json").write_text(json.dumps(["i am so here", "the bus is sad"]))
    teacher.label(data, str(kept), str(tmp_path / "texts.json"), emoji=30)
    config = SensorTrainConfig(
        data=data, base=base, out=str(out), teachers=str(kept), layers=(0, 1, 3, 5), epochs=12, **FAST
    )
    report = train(config, fitted=str(fitted))
    assert {p.name for p in out.iterdir()} == {
        "emotions.onnx", "emotions.json", "tokenizer.json", "report.json", "MODEL_CARD.md"
    }  # fmt: skip
    assert b".py" not in (out / "emotions.onnx").read_bytes()  # the exporter's stack traces tell of this machine
    sensor = EmotionSensor(out)
    assert [LABELS[i] for i in sensor([text for text, _ in ROWS]).argmax(1)] == [label for _, label in ROWS]
    assert json.loads((out / "report.json").read_text())["scores"] == report["scores"]
    assert f"| shipped, int8 | {report['scores']['macro_f1']:.3f} " in (out / "MODEL_CARD.md").read_text()
    assert report["trained"] == 120 + 2 + 30
    assert sensor.embed(["i am sad"]).shape == (1, 16)


def teach_all(folders: tuple[Path, Path], out: Path, parts: int, **settings: Any) -> None:
    data, base = map(str, folders)
    configs = [
        SensorTrainConfig(data=data, base=base, out=str(out), emoji_tokens=False, folds=parts, **settings)
        for _ in range(parts)
    ]
    for fold, config in enumerate(configs):
        teacher.teach(config, fold)
    return configs


def test_teachers_learn_no_text_that_they_label(
    folders: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, _ = folders
    (data / "train.tsv").write_text("".join(f"text {i}\t{i % 28}\tid{i}\n" for i in range(60)))
    learnt: list[list[str]] = []
    asked: list[list[str]] = []
    monkeypatch.setattr(teacher, "fit", lambda model, tokenizer, texts, *rest: learnt.append(texts))

    def read(self: teacher.Teacher, texts: list[str]) -> np.ndarray:  # type: ignore[type-arg]
        asked.append(texts)
        return np.full((len(texts), 28), 0.25 * (1 + self.fold))

    monkeypatch.setattr(teacher.Teacher, "read", read)
    teach_all(folders, tmp_path / "t", 3)
    (tmp_path / "texts.json").write_text('["new"]')
    teacher.label(str(data), str(tmp_path / "t"), str(tmp_path / "texts.json"), emoji=0)
    for fold, known in enumerate(learnt):
        unseen, new = asked[2 * fold : 2 * fold + 2]
        assert (
            len(known) == 40
            and not set(known) & set(unseen)
            and set(known) | set(unseen) == {f"text {i}" for i in range(60)}
        )
        assert new[0] == "new"
    labels = np.load(tmp_path / "t" / "labels.npz")
    own = teacher.fold_of(60, 3)
    assert labels["train"] == pytest.approx(np.repeat(0.25 * (1 + own)[:, None], 28, axis=1), abs=1e-3)
    assert labels["new"] == pytest.approx(np.full((1, 28), 0.5), abs=1e-3)  # the mean of 0.25, 0.5, 0.75
    assert own.tolist() != sorted(own) and sorted(own) == sorted([0, 1, 2] * 20)


def test_two_teachers_of_a_fold_share_it(
    folders: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(teacher, "fit", lambda *rest: None)
    for seed in (0, 1):
        teach_all(folders, tmp_path / "t", 2, seed=seed)
    assert len(list((tmp_path / "t").glob("*.pt"))) == 4
    monkeypatch.setattr(
        teacher.Teacher, "read", lambda self, texts: np.full((len(texts), 28), 0.2 + 0.4 * self.config.seed)
    )
    (tmp_path / "texts.json").write_text('["new"]')
    moved = (tmp_path / "t").rename(tmp_path / "moved")
    teacher.label(str(folders[0]), str(moved), str(tmp_path / "texts.json"), emoji=0)
    labels = np.load(moved / "labels.npz")
    assert labels["train"] == pytest.approx(np.full((120, 28), 0.4), abs=1e-3)
    assert labels["new"] == pytest.approx(np.full((1, 28), 0.4), abs=1e-3)


def test_teachers_that_do_not_fit_together_are_refused(folders: tuple[Path, Path], tmp_path: Path) -> None:
    data, base = map(str, folders)
    kept, texts = tmp_path / "t", tmp_path / "texts.json"
    texts.write_text("[]")
    config = SensorTrainConfig(data=data, base=base, out=str(kept), emoji_tokens=False, folds=3, epochs=1)
    with pytest.raises(ConfigError, match="fold is 3, expected 0 to 2"):
        teacher.teach(config, 3)
    teacher.teach(config, 1)
    with pytest.raises(ConfigError, match=r"folds \[1\], fitted in \[3\] parts; expected every fold"):
        teacher.label(data, str(kept), str(texts))
    for fold in (0, 1):
        teacher.teach(config.changed(folds=2, seed=7), fold)
    teacher.teach(config, 0)
    teacher.teach(config, 2)
    with pytest.raises(ConfigError, match=r"fitted in \[2, 3\] parts"):
        teacher.label(data, str(kept), str(texts))


def test_trust_mixes_teachers_and_raters_and_other_texts_are_refused(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    data, base = map(str, folders)
    texts, targets = read_split(folders[0], "train")
    teacher._write(tmp_path / "labels.npz", texts, np.full(targets.shape, 0.5), ["new"], np.full((1, 28), 0.25))
    config = SensorTrainConfig(data=data, base=base, out="out", teachers=str(tmp_path), trust=0.8)
    new, mixed = teacher.soft_targets(config, texts, targets)
    assert new == ["new"] and mixed[-1] == pytest.approx(0.25)
    assert mixed[:-1] == pytest.approx(0.4 + 0.2 * targets)
    with pytest.raises(ConfigError, match="labels other training texts"):
        teacher.soft_targets(config, texts[1:], targets[1:])
    assert teacher.soft_targets(config.changed(teachers=""), texts, targets) == ([], targets)


def test_a_kept_network_tells_of_its_own_settings(folders: tuple[Path, Path], tmp_path: Path) -> None:
    pytest.importorskip("onnxscript", reason='needs pip install "therapysim[sensor]"')
    data, base = map(str, folders)
    kept = tmp_path / "new" / "student.pt"
    config = SensorTrainConfig(data=data, base=base, out=str(tmp_path / "w"), epochs=2, layers=(0, 3), **FAST)
    train(config, fitted=str(kept))
    again = train(config.changed(epochs=1, layers=(0, 3), out=str(tmp_path / "v")), fitted=str(kept))
    assert again["config"]["epochs"] == 2 and not list((tmp_path / "v").glob("*.part"))
    assert (tmp_path / "v" / "emotions.onnx").read_bytes() == (tmp_path / "w" / "emotions.onnx").read_bytes()


def test_emoji_are_tokens_that_begin_as_their_names(folders: tuple[Path, Path]) -> None:
    data, base = map(str, folders)
    config = SensorTrainConfig(data=data, base=base, out="out")
    tokenizer = open_tokenizer(config)
    assert tokenizer.tokenize("so sad😭😭") == ["so", "sad", "😭", "😭"]
    table = build_model(config, tokenizer).encoder.get_input_embeddings().weight
    names = tokenizer("loudly crying face", add_special_tokens=False)["input_ids"]
    assert torch.allclose(table[tokenizer.convert_tokens_to_ids("😭")], table[names].mean(0))


def test_emoji_are_spelled_for_those_who_know_none() -> None:
    assert spell_emoji("so sad😭").split() == ["so", "sad", "loudly", "crying", "face"]
    assert len(EMOJI) == len(set(EMOJI)) == 1777  # the shipped weights have a row for each
    lines = emoji_lines(["the bus is here"], 300, seed=0)
    assert lines == emoji_lines(["the bus is here"], 300, seed=0) != emoji_lines(["the bus is here"], 300, seed=1)
    assert all(any(e in line for e in EMOJI) for line in lines)
    assert 20 < sum("bus" not in line for line in lines) < 90


def test_a_broken_line_is_named(folders: tuple[Path, Path]) -> None:
    data, _ = folders
    (data / "train.tsv").write_text("fine\t3\tid\nbroken line\n")
    with pytest.raises(ConfigError, match=r"train\.tsv, line 2: expected text, label ids"):
        read_split(data, "train")


def test_missing_data_is_named(folders: tuple[Path, Path]) -> None:
    data, base = folders
    (data / "dev.tsv").unlink()
    with pytest.raises(ConfigError, match=r"data folder .* lacks dev\.tsv"):
        SensorTrainConfig(data=str(data), base=str(base), out="out")


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


def test_thresholds_are_where_expected_f1_is_greatest() -> None:
    """One in ten texts has the label at p = 0.9, the others at 0.05: any threshold between is as good."""
    probabilities = np.full((1_000, 28), 0.05)
    probabilities[:100] = 0.9
    config = SensorTrainConfig.model_construct()  # its defaults alone
    thresholds = pick_thresholds(probabilities, config)
    assert ((thresholds >= 0.05) & (thresholds < 0.9)).all()
    # A calibrated label's best threshold is half its best F1 (Lipton et al. 2014).
    p = np.random.default_rng(0).beta(0.3, 2.0, size=(20_000, 28))
    grid = np.linspace(0.03, 0.7, 68)
    best = max(2 * p[p > t].sum() / ((p > t).sum() + p.sum()) for t in grid)
    assert np.allclose(pick_thresholds(p, config), best / 2, atol=0.02)


def test_thresholds_are_moved_towards_their_median() -> None:
    rng = np.random.default_rng(1)
    p = np.concatenate([rng.beta(0.2, 2, (5_000, 27)), rng.beta(2, 2, (5_000, 1))], axis=1)
    config = SensorTrainConfig.model_construct()
    object.__setattr__(config, "shrinkage", 0.0)
    own = pick_thresholds(p, config)
    object.__setattr__(config, "shrinkage", 0.5)
    assert pick_thresholds(p, config) == pytest.approx((own + np.median(own)) / 2)


def test_the_interval_holds_the_score_and_narrows_with_more_texts() -> None:
    rng = np.random.default_rng(2)
    targets = (rng.random((4_000, 28)) < 0.2).astype(float)
    predicted = np.where(rng.random(targets.shape) < 0.9, targets > 0, targets == 0)
    wide, narrow = (interval(predicted[:n], targets[:n], seed=0)["macro_f1"] for n in (400, 4_000))
    score = sensor_scores.scores(predicted, targets)["macro_f1"]
    assert narrow[0] < score < narrow[1] and narrow[1] - narrow[0] < (wide[1] - wide[0]) / 2
    # 1.96 standard errors to either side: what other samples of 4,000 texts would score.
    others = []
    for _ in range(200):
        y = (rng.random(targets.shape) < 0.2).astype(float)
        p = np.where(rng.random(y.shape) < 0.9, y > 0, y == 0)
        others.append(sensor_scores.scores(p, y)["macro_f1"])
    assert narrow[1] - narrow[0] == pytest.approx(2 * 1.96 * np.std(others), rel=0.3)


def test_a_text_never_chooses_its_own_threshold(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each fold's calibration and thresholds are chosen without it: what they leave out covers every text once."""
    logits, targets = np.tile(np.arange(100.0)[:, None] / 100, 28), np.zeros((100, 28))
    unseen: dict[str, list[int]] = {"platt": [], "thresholds": []}

    def record(name: str, values: np.ndarray) -> None:  # type: ignore[type-arg]
        unseen[name] += sorted(set(range(100)) - {round(float(v) * 100) for v in values})

    def fake_platt(logits: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:  # type: ignore[type-arg]
        record("platt", logits[:, 0])
        return np.ones(28), np.zeros(28)

    def fake_thresholds(p: np.ndarray, config: object) -> np.ndarray:  # type: ignore[type-arg]
        record("thresholds", np.log(p[:, 0] / (1 - p[:, 0])))
        return np.full(28, 0.5)

    monkeypatch.setattr(sensor_scores, "platt", fake_platt)
    monkeypatch.setattr(sensor_scores, "pick_thresholds", fake_thresholds)
    cross_fit(logits, targets, SensorTrainConfig.model_construct())
    assert sorted(unseen["platt"]) == sorted(unseen["thresholds"]) == list(range(100))


def test_batches_hold_every_text_once_and_like_lengths() -> None:
    lengths = [random.Random(3).randint(3, 60) for _ in range(500)]
    batches = length_batches(lengths, 16, random.Random(0))
    assert sorted(i for b in batches for i in b) == list(range(500))
    spread = [max(lengths[i] for i in b) - min(lengths[i] for i in b) for b in batches]
    assert np.mean(spread) < 5


def test_a_layer_that_is_not_there_is_named_before_any_work(folders: tuple[Path, Path]) -> None:
    data, base = map(str, folders)
    for wrong in ({"layers": (0, 6)}, {"layers": (0, 1), "embed_layer": 3}, {"embed_layer": 7}):
        config = SensorTrainConfig(data=data, base=base, out="out", **wrong)  # type: ignore[arg-type]
        with pytest.raises(ConfigError, match="has 6 layers, numbered from 0"):
            build_model(config, open_tokenizer(config))


def test_a_file_that_is_no_network_or_no_list_is_named(folders: tuple[Path, Path], tmp_path: Path) -> None:
    data, base = map(str, folders)
    kept, texts = tmp_path / "student.pt", tmp_path / "texts.json"
    kept.write_bytes(b"not a network")
    with pytest.raises(ConfigError, match=r"student\.pt holds no network of this shape"):
        train(SensorTrainConfig(data=data, base=base, out=str(tmp_path / "w")), fitted=str(kept))
    save_weights(
        build_model(small := SensorTrainConfig(data=data, base=base, out="o", layers=(0,)), open_tokenizer(small)),
        kept,
        small,
    )
    with pytest.raises(ConfigError, match="give the base and layers that it was fitted with"):
        train(SensorTrainConfig(data=data, base=base, out=str(tmp_path / "w")), fitted=str(kept))
    for content, message in (("[", "cannot be read as JSON"), ('{"a": 1}', "expected a list of texts")):
        texts.write_text(content)
        with pytest.raises(ConfigError, match=message):
            teacher.label(data, str(tmp_path), str(texts))
