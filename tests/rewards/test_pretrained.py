"""Hugging Face models in the sensor's and the judges' place: tiny random ones that the tests make."""

import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch
import transformers

from tests.parts.tiny_encoder import MULTI, SINGLE, TEXTS, make_encoder, tokenizer
from therapysim.envs.batch import SessionBatch
from therapysim.errors import ConfigError, SensorError
from therapysim.rewards.matrix import LABELS, affect, polarity
from therapysim.rewards.reading.emotions import WEIGHTS, EmotionSensor, shipped_sensor
from therapysim.rewards.reading.open_sensor import PretrainedSensor, Sensor, open_sensor
from therapysim.rewards.reading.pretrained import PretrainedClassifier, PretrainedEncoder, PretrainedSettings
from therapysim.rewards.reading.relevance import RelevanceSettings, load_gold, open_relevance
from therapysim.rewards.reading.tone_guard import open_tone_guard

SHUFFLED = [LABELS[i] for i in np.random.default_rng(5).permutation(len(LABELS))]

Make = Callable[..., Path]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Writes a tiny encoder with these labels; without labels, one of masked words, as PsychBERT is."""

    def build(
        labels: list[str] | None = None, problem: str | None = MULTI, family: str = "Bert", name: str = "model"
    ) -> Path:
        return make_encoder(tmp_path / name, labels, problem, family)

    return build


def raw(folder: Path, text: str) -> tuple[dict[str, float], Any]:
    """Logits by label and the last layer, of one short text, by transformers alone."""
    words = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(folder).eval()
    with torch.no_grad():
        out = model(**words(text, return_tensors="pt", return_token_type_ids=False), output_hidden_states=True)
    named = {model.config.id2label[i].strip().lower(): float(x) for i, x in enumerate(out.logits[0])}
    return named, out.hidden_states[-1][0].numpy()


@pytest.mark.parametrize("family", ["Bert", "Roberta"])
def test_columns_are_found_by_name(make: Make, family: str) -> None:
    folder = make(SHUFFLED, family=family)
    for text, row in zip(TEXTS[:3], PretrainedSensor(folder)(TEXTS[:3]), strict=True):
        named, _ = raw(folder, text)
        assert row == pytest.approx([1 / (1 + np.exp(-named[label])) for label in LABELS], abs=1e-5)
        assert np.ptp(row) > 0.3  # else any order would do


def test_case_and_spaces_do_not_matter_and_further_labels_are_left_out(make: Make) -> None:
    plain = PretrainedSensor(make(SHUFFLED, name="plain"))(TEXTS)
    assert np.array_equal(PretrainedSensor(make([f" {x.upper()} " for x in SHUFFLED], name="loud"))(TEXTS), plain)
    folder = make([*SHUFFLED[:9], "boredom", *SHUFFLED[9:]], name="more")
    assert PretrainedSensor(folder)(TEXTS).shape == (6, 28)
    named, _ = raw(folder, TEXTS[2])
    assert PretrainedSensor(folder)([TEXTS[2]])[0, 5] == pytest.approx(1 / (1 + np.exp(-named[LABELS[5]])), abs=1e-5)


def test_missing_and_unknown_labels_are_listed(make: Make) -> None:
    labels = ["sorrow" if x == "grief" else x for x in SHUFFLED if x != "pride"]
    with pytest.raises(SensorError, match=r"lacks, or has twice, grief, pride; unknown here: sorrow\. Give a model of"):
        PretrainedSensor(make(labels))


def test_a_label_twice_is_refused(make: Make) -> None:
    with pytest.raises(SensorError, match=r"has twice, joy; unknown here: none"):
        PretrainedSensor(make([*SHUFFLED, "Joy"]))


def test_names_that_say_nothing_are_refused(make: Make) -> None:
    with pytest.raises(SensorError, match=r"28 labels are called LABEL_0, … .*write their names from its card"):
        PretrainedSensor(make([f"LABEL_{i}" for i in range(28)]))


def test_a_softmax_model_is_refused_and_an_unsaid_one_is_read_by_sigmoid(make: Make) -> None:
    with pytest.raises(SensorError, match=r"problem_type 'single_label_classification', expected 'multi_label"):
        PretrainedSensor(make(SHUFFLED, SINGLE, name="single"))
    said, unsaid = make(SHUFFLED, name="said"), make(SHUFFLED, None, name="unsaid")
    assert np.array_equal(PretrainedSensor(said)(TEXTS), PretrainedSensor(unsaid)(TEXTS))


def test_it_behaves_as_the_shipped_sensor_does(make: Make) -> None:
    ours, theirs = PretrainedSensor(make(SHUFFLED)), shipped_sensor()
    for sensor in (ours, theirs):
        p = sensor(TEXTS)
        assert p.shape == (6, 28) and p.dtype == np.float32 and p.min() >= 0 and p.max() <= 1
        assert np.array_equal(p[0], p[4]) and p[3].tolist() == [float(x == "neutral") for x in LABELS]
        assert np.array_equal(sensor.detect(TEXTS), p > sensor.thresholds) and sensor.thresholds.shape == (28,)
        assert np.array_equal(sensor.affect(TEXTS), affect(p)) and sensor([]).shape == (0, 28)
        reading = sensor.read(TEXTS)[1]
        assert reading.text == TEXTS[1] and np.array_equal(reading.probabilities, p[1])
        assert reading.affect == tuple(affect(p[1]).tolist()) and reading.polarity == float(polarity(affect(p[1])))
        assert sensor.embed(TEXTS).shape[0] == 6 and sensor.embed([]).shape == (0, sensor.embed(TEXTS).shape[1])
        with pytest.raises(SensorError, match="one string"):
            sensor("hello")
        with pytest.raises(SensorError, match=r"texts\[1\] is int"):
            sensor(["hello", 3])
        assert np.isfinite(sensor(["\ud800 broken", "\x00\u200b", "a" * 3000, "😭"])).all()


def test_a_text_reads_alike_in_any_company(make: Make) -> None:
    folder, crowd = make(SHUFFLED), [*TEXTS, "word " * 90, "a b c d e f g h"]
    alone = np.concatenate([PretrainedSensor(folder)([text]) for text in crowd])
    assert PretrainedSensor(folder)(crowd) == pytest.approx(alone, abs=1e-5)
    assert PretrainedSensor(folder, PretrainedSettings(batch_windows=3))(crowd[::-1]) == pytest.approx(
        alone[::-1], abs=1e-5
    )
    exact = PretrainedSensor(folder, PretrainedSettings(batch_windows=1, cache_mb=0))
    assert np.array_equal(exact(crowd), np.concatenate([exact([text]) for text in crowd]))


def test_a_long_text_is_the_mean_of_its_windows(make: Make) -> None:
    sensor = PretrainedSensor(make(SHUFFLED), PretrainedSettings(window_tokens=10))
    first, rest = sensor(["a b c d e f g h", "i j"])  # windows of 10 and 4 tokens, [CLS] and [SEP] included
    assert sensor(["a b c d e f g h i j"])[0] == pytest.approx((10 * first + 4 * rest) / 14, abs=1e-5)
    assert np.abs(first - rest).max() > 0.1


def test_a_window_is_never_longer_than_the_model(make: Make) -> None:
    # 66 positions: RoBERTa would fail beyond 64 tokens.
    folder = make(SHUFFLED, family="Roberta")
    assert np.isfinite(PretrainedSensor(folder, PretrainedSettings(window_tokens=512))(["word " * 500])).all()


def test_embeddings_are_the_mean_over_tokens(make: Make) -> None:
    folder = make(SHUFFLED)
    sensor = PretrainedSensor(folder)
    for text, row in zip(TEXTS[:3], sensor.embed(TEXTS[:3]), strict=True):
        assert row == pytest.approx(raw(folder, text)[1].mean(axis=0), abs=1e-5)
    assert sensor.embed([" "]).any() is np.False_ and sensor.embed([]).shape == (0, 16)
    # The same encoder without its classifier.
    assert PretrainedEncoder(folder)(TEXTS) == pytest.approx(sensor.embed(TEXTS), abs=1e-6)


def test_the_cache_is_bounded_and_cannot_be_spoiled(make: Make) -> None:
    sensor = PretrainedSensor(make(SHUFFLED), PretrainedSettings(cache_mb=0.001))
    before = sensor(["one", "two", "three"])
    assert list(sensor._probabilities.rows) == ["two", "three"]
    sensor(["two"])[:] = 9.0
    assert np.array_equal(sensor(["two"])[0], before[1])
    sensor(["four"])
    assert list(sensor._probabilities.rows) == ["two", "four"]
    assert all(row.base is None for row in sensor._probabilities.rows.values())


def test_threads_share_a_sensor(make: Make) -> None:
    sensor = PretrainedSensor(make(SHUFFLED), PretrainedSettings(cache_mb=0))
    p, e = sensor(TEXTS), sensor.embed(TEXTS)
    with ThreadPoolExecutor(4) as pool:
        jobs = [pool.submit(sensor if i % 2 else sensor.embed, TEXTS) for i in range(40)]
    assert all(np.allclose(job.result(), p if i % 2 else e, atol=1e-5) for i, job in enumerate(jobs))


def test_models_pickle_by_name(make: Make) -> None:
    sensor = PretrainedSensor(make(SHUFFLED), PretrainedSettings(batch_windows=1))
    assert np.array_equal(pickle.loads(pickle.dumps(sensor))(TEXTS), sensor(TEXTS))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"window_tokens": 4}, "window_tokens is 4"),
        ({"batch_windows": 0}, "batch_windows is 0"),
        ({"cache_mb": -1}, "cache_mb is -1"),
        ({"dtype": "int8"}, "dtype is 'int8', expected one of float32"),
        ({"device": ""}, "device is ''"),
        ({"threshold": 1.5}, "threshold is 1.5"),
    ],
)
def test_settings_are_checked(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        PretrainedSettings(**change)


def test_half_precision_and_a_device_that_is_not_there(make: Make) -> None:
    folder = make(SHUFFLED)
    half = PretrainedSensor(folder, PretrainedSettings(dtype="bfloat16"))(TEXTS)
    whole = PretrainedSensor(folder)(TEXTS)
    assert half.dtype == np.float32 and half == pytest.approx(whole, abs=0.1) and not np.array_equal(half, whole)
    with pytest.raises(SensorError, match="transformers cannot load it"):
        PretrainedSensor(folder, PretrainedSettings(device="cuda:77"))


def test_what_cannot_be_read_is_named(make: Make, tmp_path: Path) -> None:
    with pytest.raises(SensorError, match=r"model 'nothing': no such folder, and not a hub id of the form org/name"):
        PretrainedSensor("nothing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(SensorError, match=r"found no config\.json there"):
        PretrainedSensor(tmp_path / "empty")
    folder = make(SHUFFLED)
    (folder / "model.safetensors").write_bytes(b"no weights")
    with pytest.raises(SensorError, match=r"cannot load it: .* Check that the folder is whole"):
        PretrainedSensor(folder)


def test_weights_that_would_be_random_are_refused(make: Make) -> None:
    folder = make()
    config = json.loads((folder / "config.json").read_text())
    config |= {"id2label": dict(enumerate(SHUFFLED)), "label2id": {x: i for i, x in enumerate(SHUFFLED)}}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(SensorError, match=r"lack .*classifier\.bias.*random numbers"):
        PretrainedSensor(folder)


def test_a_tokenizer_of_another_model_is_refused(make: Make) -> None:
    folder = make(SHUFFLED)
    larger = tokenizer()
    larger.add_tokens(["grumble"])
    larger.save_pretrained(folder)
    with pytest.raises(SensorError, match=r"its tokenizer is .* at most the model's"):
        PretrainedSensor(folder)


def test_numbers_that_are_none_are_refused(make: Make) -> None:
    folder = make(SHUFFLED)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(folder)
    model.classifier.bias.data[0] = float("nan")
    model.save_pretrained(folder)
    with pytest.raises(SensorError, match="nan or infinity in float32"):
        PretrainedSensor(folder)(["hello"])


def test_a_hub_id_that_cannot_be_had_is_named(tmp_path: Path) -> None:
    code = (
        "import gymnasium as gym, therapysim\n"
        "from therapysim.errors import SensorError\n"
        "try: gym.make('TherapySim-v0', emotions='nobody/no-such-model')\n"
        "except SensorError as error: print(error)"
    )
    env = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert "model 'nobody/no-such-model'" in done.stdout
    assert "download it first, `hf download nobody/no-such-model`, or give a folder" in done.stdout


@pytest.mark.parametrize("package", ["torch", "transformers"])
def test_a_missing_package_is_named_with_its_extra(make: Make, monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    folder = make(SHUFFLED)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(SensorError, match=r"therapysim\[train\]"):
        PretrainedSensor(folder)


def test_a_sensor_is_opened_by_name_and_once(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    assert open_sensor() is shipped_sensor()
    ours = open_sensor(WEIGHTS)
    assert isinstance(ours, EmotionSensor) and np.array_equal(ours(TEXTS), shipped_sensor()(TEXTS))
    folder = make(SHUFFLED)
    theirs = open_sensor(str(folder))
    assert isinstance(theirs, PretrainedSensor) and open_sensor(folder) is theirs
    monkeypatch.chdir(folder.parent)
    assert open_sensor("model") is theirs
    assert open_sensor(folder, PretrainedSettings(threshold=0.3)) is not theirs


def test_sessions_run_on_another_model(make: Make) -> None:
    """One environment and a vector of them; e_t is what the named model reads, mixed in by κ."""
    folder = make(SHUFFLED)
    env = gym.make("TherapySim-v0", emotions=str(folder), max_turns=3)
    many = gym.make_vec("TherapySim-v0", num_envs=2, emotions=str(folder), max_turns=3)
    alone, _ = env.reset(seed=4)
    shown, _ = many.reset(seed=[4, 5])
    assert shown["utterance"][0] == alone["utterance"]
    default, _ = gym.make("TherapySim-v0").reset(seed=4)
    assert not np.allclose(alone["affect"], default["affect"], atol=0.05)
    sensor: Sensor = env.unwrapped.batch.sensor  # type: ignore[attr-defined]
    assert isinstance(sensor, PretrainedSensor)
    assert alone["history"][-1] == pytest.approx(sensor.read([alone["utterance"]])[0].polarity, abs=1e-5)
    for say in ("That sounds heavy.", "", "What is it like for you?"):
        alone, reward, *_, info = env.step(say)
        shown, rewards, *_ = many.step([say, say])
        assert np.isfinite(reward) and reward == pytest.approx(rewards[0], abs=1e-3) and info["terms"]
        assert shown["affect"][0] == pytest.approx(alone["affect"], abs=1e-4)


def test_a_sensor_and_a_name_together_are_refused() -> None:
    with pytest.raises(ConfigError, match="both sensor and emotions"):
        SessionBatch(sensor=shipped_sensor(), emotions=WEIGHTS)


def test_a_masked_word_model_gives_relevance(make: Make) -> None:
    """The way of PsychBERT: no classifier and no pooler in its weights."""
    relevance = open_relevance(make())
    scores = relevance(["How are you feeling?", "Buy bread.", " "])
    assert scores.shape == (3,) and scores.dtype == np.float32 and scores[2] == 0
    assert (np.abs(scores) <= 1).all() and scores[0] != scores[1]
    nearest = open_relevance(make(), settings=RelevanceSettings(nearest=1))
    assert nearest([load_gold().phrases[3]])[0] == pytest.approx(1.0, abs=1e-5)
    with pytest.raises(ConfigError, match="give one or the other"):
        open_relevance(make(), sensor=shipped_sensor())


@pytest.mark.parametrize(
    "names", [["positive", "neutral", "negative"], ["Negative ", "POSITIVE", "mixed"], ["POS", "NEG"]]
)
def test_the_sentiment_models_negative_is_found_by_name(make: Make, names: list[str]) -> None:
    folder = make(names, SINGLE)
    guard = open_tone_guard(folder)
    for text, found in zip(TEXTS[:3], guard.negativity(TEXTS[:3]), strict=True):
        named, _ = raw(folder, text)
        expected = {k: np.exp(v) / sum(np.exp(x) for x in named.values()) for k, v in named.items()}
        assert found == pytest.approx(expected["negative" if "negative" in expected else "neg"], abs=1e-5)
    assert guard.negativity(["", " "]).tolist() == [0, 0]


def test_sentiment_classes_without_meaning_are_refused_unless_given(make: Make) -> None:
    folder = make(["LABEL_0", "LABEL_1", "LABEL_2"], None)
    with pytest.raises(SensorError, match=r"classes are LABEL_0, LABEL_1, LABEL_2, expected one called negative"):
        open_tone_guard(folder)
    given = open_tone_guard(folder, labels=["neutral", "positive", "negative"])
    assert given.negativity(TEXTS) == pytest.approx(PretrainedClassifier(folder)(TEXTS)[:, 2])
    with pytest.raises(SensorError, match="2 labels are given, it has 3 classes"):
        open_tone_guard(folder, labels=["negative", "positive"])
    with pytest.raises(SensorError, match="expected 'single_label_classification'"):
        open_tone_guard(make(["negative", "positive"], MULTI, name="multi"))
    with pytest.raises(ConfigError, match="name a model"):
        open_tone_guard(labels=["negative", "positive"])


@pytest.mark.parametrize("name", [123, "", "  "])
def test_a_name_that_is_none_is_refused(name: object) -> None:
    with pytest.raises(SensorError, match="expected a folder, or a hub id"):
        open_sensor(name)  # type: ignore[arg-type]


def test_a_folder_written_anew_is_opened_anew(make: Make) -> None:
    folder = make(SHUFFLED)
    first = open_sensor(folder)
    assert open_sensor(folder) is first
    config = folder / "config.json"
    later = config.stat().st_mtime_ns + 10**9
    os.utime(config, ns=(later, later))
    assert open_sensor(folder) is not first


def test_the_threshold_is_the_given_one(make: Make) -> None:
    folder = make(SHUFFLED)
    p = PretrainedSensor(folder)(TEXTS)
    middle = float(np.median(p))
    sensor = PretrainedSensor(folder, PretrainedSettings(threshold=middle))
    assert np.array_equal(sensor.detect(TEXTS), p > np.float32(middle)) and sensor.detect(TEXTS).any()
