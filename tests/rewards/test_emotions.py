"""The shipped sensor: shapes, any text, exactness in a batch, its cache, and corrupt weights."""

import itertools
import json
import multiprocessing
import os
import pickle
import shutil
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from tests.parts.patience import HANGS_S
from therapysim.errors import ConfigError, SensorError
from therapysim.rewards.matrix import LABELS
from therapysim.rewards.reading.emotions import WEIGHTS, EmotionSensor, SensorSettings, shipped_sensor
from therapysim.rewards.reading.memory import Memory, encodable

TEXTS = [
    "I am so sad that she is gone.",
    "This makes me furious, how dare they!",
    "Thank you so much, that helped.",
    "I'm terrified of what happens next.",
    "The bus leaves at nine.",
]
EXPECTED = ["sadness", "anger", "gratitude", "fear", "neutral"]


@pytest.fixture(scope="module")
def sensor() -> EmotionSensor:
    return shipped_sensor()


def test_reads_plain_emotions(sensor: EmotionSensor) -> None:
    p = sensor(TEXTS)
    assert p.shape == (5, 28) and p.dtype == np.float32
    assert p.min() >= 0 and p.max() <= 1
    assert [LABELS[i] for i in p.argmax(1)] == EXPECTED


def test_detect_uses_the_thresholds(sensor: EmotionSensor) -> None:
    found = sensor.detect(["I am so sad that she is gone."])[0]
    assert found[LABELS.index("sadness")] and not found[LABELS.index("joy")]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   \n",
        "😭😭😭",
        "a" * 10_000,
        "I feel lost. " * 800,
        "痛い، мне страшно ܫܠܡܐ",
        "\ud800 broken",
        "\x00\u200b\u202e",
        "\U0001f468\u200d\U0001f469",
    ],
    ids=["empty", "blank", "emoji", "long word", "long", "scripts", "surrogate", "invisible", "joined"],
)
def test_any_text_is_read(sensor: EmotionSensor, text: str) -> None:
    p = sensor([text])
    assert p.shape == (1, 28) and np.isfinite(p).all() and p.min() >= 0 and p.max() <= 1


def test_blank_reads_neutral_and_no_text_reads_nothing(sensor: EmotionSensor) -> None:
    assert sensor([" "])[0].argmax() == LABELS.index("neutral")
    assert sensor([]).shape == (0, 28)


def test_a_text_reads_alike_in_any_company() -> None:
    alone = np.concatenate([EmotionSensor(settings=SensorSettings(threads=1))([t]) for t in TEXTS])
    fresh = EmotionSensor(settings=SensorSettings(threads=2, cache_mb=0))
    crowd = fresh([*TEXTS, "word " * 300, *TEXTS])
    assert np.array_equal(crowd[:5], alone) and np.array_equal(crowd[6:], alone)


def test_the_end_of_a_long_text_is_read(sensor: EmotionSensor) -> None:
    calm = "We walked along the river and looked at the boats. " * 30
    rage = "I hate you, I am so angry, this is an outrage! " * 30
    anger = LABELS.index("anger")
    assert sensor([calm + rage])[0, anger] > sensor([calm])[0, anger] + 0.2


def test_cache_is_bounded_and_keeps_the_newest() -> None:
    small = EmotionSensor(settings=SensorSettings(cache_mb=0.005, threads=1))  # room for two rows of 412 floats
    small(["one", "two", "three"])
    memory = small._rows
    assert list(memory.rows) == ["two", "three"] and 0 < memory.size <= 5000
    small(["two"])
    small(["four"])
    assert list(memory.rows) == ["two", "four"] and all(row.base is None for row in memory.rows.values())
    small(["a text that is too long to be kept beside any other " * 100])
    assert not memory.rows and memory.size == 0
    memory.size += 5000  # as after an interruption between two statements; it must not be fatal
    assert small(["five"]).shape == (1, 28) and not memory.rows


def test_any_list_of_texts_will_do(sensor: EmotionSensor) -> None:
    expected = sensor(TEXTS)
    for texts in (tuple(TEXTS), np.array(TEXTS), dict.fromkeys(TEXTS)):
        assert np.array_equal(sensor(texts), expected)  # type: ignore[arg-type]
    assert np.array_equal(sensor([TEXTS[0]] * 3), expected[[0, 0, 0]])


def test_a_text_read_twice_at_once_counts_once() -> None:
    texts = ["one", "two"]
    memory: Memory

    def read(new: Sequence[str]) -> np.ndarray:  # type: ignore[type-arg]
        if not memory.rows:  # another thread reads the same texts before this one is done
            memory._remember({text: np.zeros(28, dtype=np.float32) for text in new})
        return np.zeros((len(new), 28), dtype=np.float32)

    memory = Memory(read, 28, 1.0)
    memory(texts)
    alone = Memory(lambda new: np.zeros((len(new), 28), dtype=np.float32), 28, 1.0)
    alone(texts)
    assert memory.size == alone.size > 0


def test_lone_surrogates_keep_their_place() -> None:
    assert encodable("a\ud800b") == "a?b"


def test_cached_rows_cannot_be_spoiled(sensor: EmotionSensor) -> None:
    sensor(["The bus leaves at ten."])[0][:] = 9.0
    assert sensor(["The bus leaves at ten."]).max() <= 1.0


def test_a_string_or_a_number_is_refused(sensor: EmotionSensor) -> None:
    with pytest.raises(SensorError, match="one string"):
        sensor("hello")
    with pytest.raises(SensorError, match=r"texts\[1\] is int"):
        sensor(["hello", 3])  # type: ignore[list-item]


def test_settings_are_checked() -> None:
    with pytest.raises(ConfigError, match="window_tokens is 4"):
        SensorSettings(window_tokens=4)
    with pytest.raises(ConfigError, match="threads is 0"):
        SensorSettings(threads=0)
    with pytest.raises(ConfigError, match="cache_mb is -1"):
        SensorSettings(cache_mb=-1)


def test_threads_share_one_sensor() -> None:
    shared = EmotionSensor(settings=SensorSettings(cache_mb=0.01))
    expected = {text: row for text, row in zip(TEXTS, EmotionSensor()(TEXTS), strict=True)}

    def work(shift: int) -> bool:
        texts = TEXTS[shift % 5 :] + TEXTS[: shift % 5]
        return all(np.array_equal(row, expected[text]) for text, row in zip(texts, shared(texts), strict=True))

    with ThreadPoolExecutor(6) as pool:
        assert all(pool.map(work, range(60)))
    assert shared._rows.size <= 10_000


def test_embeddings_tell_subjects_apart(sensor: EmotionSensor) -> None:
    a, b, c = sensor.embed(["My dog ran after the ball.", "The puppy chased a ball.", "The bank raised its rates."])
    assert a.shape == (384,) and a.dtype == np.float32
    assert np.linalg.norm(a - b) < np.linalg.norm(a - c)
    assert not sensor.embed([" "]).any() and sensor.embed([]).shape == (0, 384)
    with pytest.raises(SensorError, match="one string"):
        sensor.embed("hello")
    crowd = EmotionSensor().embed([*TEXTS, "My dog ran after the ball."])
    assert np.array_equal(crowd[-1], a)


def test_emoji_are_read(sensor: EmotionSensor) -> None:
    """Each emoji is a token; the mood of the usual faces and hearts is read from them alone."""
    v = sensor.affect(["😭", "😊", "😡", "😱", "❤️", "💔"]).sum(1)
    assert (v[[0, 2, 3, 5]] < -0.2).all() and (v[[1, 4]] > 0.2).all()


def test_pickles_by_folder(sensor: EmotionSensor) -> None:
    assert np.array_equal(pickle.loads(pickle.dumps(sensor))(TEXTS), sensor(TEXTS))


def read_in_child(answers: "multiprocessing.Queue[bytes]") -> None:
    answers.put(shipped_sensor()(["new in the child", "another one", "and a third"]).tobytes())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_process_can_read(sensor: EmotionSensor) -> None:
    sensor(["first", "second", "third"])  # the parent's threads are running
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    child = context.Process(target=read_in_child, args=(answers,))
    child.start()
    found = answers.get(timeout=HANGS_S)
    child.join(HANGS_S)
    assert found == sensor(["new in the child", "another one", "and a third"]).tobytes()


def fork_and_read(number: int) -> "tuple[multiprocessing.process.BaseProcess, multiprocessing.Queue[bytes]]":
    context = multiprocessing.get_context("fork")
    answers: multiprocessing.Queue[bytes] = context.Queue()
    child = context.Process(target=read_in_child, args=(answers,))
    child.start()
    return child, answers


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_process_forked_while_threads_read_can_read() -> None:
    """Locks that a thread holds at the fork, here and in onnxruntime, must not keep the child waiting."""
    expected = EmotionSensor()(["new in the child", "another one", "and a third"]).tobytes()
    shared, stop = shipped_sensor(), threading.Event()

    def keep_reading(name: int) -> None:
        for i in itertools.count():
            if stop.is_set():
                return
            shared([f"{name} {i} {j}" for j in range(4)])

    readers = [threading.Thread(target=keep_reading, args=(n,)) for n in range(3)]
    for reader in readers:
        reader.start()
    try:
        for number in range(40):
            child, answers = fork_and_read(number)
            assert answers.get(timeout=HANGS_S) == expected
            child.join(HANGS_S)
    finally:
        stop.set()
        for reader in readers:
            reader.join()


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    return Path(shutil.copytree(WEIGHTS, tmp_path / "weights"))


def test_a_flipped_byte_is_found(weights: Path) -> None:
    data = bytearray((weights / "emotions.onnx").read_bytes())
    data[len(data) // 2] ^= 0xFF
    (weights / "emotions.onnx").write_bytes(data)
    with pytest.raises(SensorError, match=r"emotions\.onnx is corrupt.*Reinstall"):
        EmotionSensor(weights)


def test_a_cut_description_is_found(weights: Path) -> None:
    (weights / "emotions.json").write_text('{"labels": [')
    with pytest.raises(SensorError, match=r"emotions\.json is missing or not a sensor description"):
        EmotionSensor(weights)


def test_labels_in_another_order_are_refused(weights: Path) -> None:
    meta = json.loads((weights / "emotions.json").read_text())
    meta["labels"].reverse()
    (weights / "emotions.json").write_text(json.dumps(meta))
    with pytest.raises(SensorError, match="in the order of LABELS"):
        EmotionSensor(weights)


def test_a_missing_file_is_named(weights: Path) -> None:
    (weights / "tokenizer.json").unlink()
    with pytest.raises(SensorError, match=r"tokenizer\.json cannot be read"):
        EmotionSensor(weights)


def test_a_file_that_is_no_model_is_refused(weights: Path) -> None:
    (weights / "emotions.onnx").write_bytes(b"not a model")
    meta = json.loads((weights / "emotions.json").read_text())
    meta["sha256"] = {}
    (weights / "emotions.json").write_text(json.dumps(meta))
    with pytest.raises(SensorError, match="cannot be read as an ONNX model"):
        EmotionSensor(weights)


def test_a_model_without_embeddings_is_refused(weights: Path) -> None:
    onnx = pytest.importorskip("onnx")
    model = onnx.load(weights / "emotions.onnx")
    del model.graph.output[1]
    onnx.save(model, weights / "emotions.onnx")
    meta = json.loads((weights / "emotions.json").read_text())
    meta["sha256"] = {}
    (weights / "emotions.json").write_text(json.dumps(meta))
    with pytest.raises(SensorError, match="it has no output pooled"):
        EmotionSensor(weights)


def test_the_shipped_file_is_small() -> None:
    assert (WEIGHTS / "emotions.onnx").stat().st_size <= 25_000_000
