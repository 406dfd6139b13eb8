"""The heads and what they read, on numbers worked out by hand; broken files; the training on a few dozen lines."""

import copy
import hashlib
import json
from collections import Counter
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from therapysim.errors import ConfigError, SensorError
from therapysim.rewards.reading.acts import ACTS
from therapysim.rewards.reading.emotions import WEIGHTS, EmotionSensor, SensorSettings, shipped_sensor
from therapysim.rewards.reading.features import COUNTS, dense_width, featurise, grams
from therapysim.rewards.reading.heads import Heads, open_heads, write_heads
from therapysim.rewards.reading.patterns import PATTERNS, normalise
from therapysim.rewards.reading.words import content_words, overlap, prose, word_set
from therapysim.train.sensor import fit_heads as training
from therapysim.train.sensor.fit_heads import DANGER, DIASAFETY, Example, gather, train
from therapysim.train.sensor.sensor_settings import HeadsConfig

needs_torch = pytest.mark.skipif(find_spec("torch") is None, reason='needs pip install "therapysim[train]"')

HEARD = "I sit by the phone all evening and nobody rings."
TURNS = [
    (HEARD, "You sit by your phone. Do I hear that nobody rings you? Is it my cat?"),
    ("", "Hello."),
    (HEARD, ""),
    ("I can't sleep.", "You should just try harder! " * 60),
    ("I can't sleep.", "Lying awake again, and dreading it."),
]
ASKED, TOLD = [heard for heard, _ in TURNS], [text for _, text in TURNS]


def sigmoid(z: Any) -> Any:
    return 1.0 / (1.0 + np.exp(-z))


# What the heads read


def test_grams_are_the_runs_within_a_sentence() -> None:
    expected = {"^", "i", "am", "here", "^ i", "i am", "am here", "^ i am", "i am here", "why", "?", "^ why", "why ?"}
    assert grams(normalise("I'm here. WHY?")) == expected | {"^ why ?"}
    assert grams("") == frozenset()


def test_features_are_readings_flags_and_counts() -> None:
    sensor = shipped_sensor()
    found = featurise(sensor, ASKED, TOLD)
    width = sensor.width
    assert found.dense.shape == (5, dense_width(sensor)) and found.dense.dtype == np.float32
    assert dense_width(sensor) == 2 * width + 14 + 8
    for texts, block in ((ASKED, found.dense[:, :width]), (TOLD, found.dense[:, width : 2 * width])):
        assert np.allclose(sigmoid(block[:, :28]), np.clip(sensor(texts), 1e-4, 1 - 1e-4), atol=1e-6)
        assert np.array_equal(block[:, 28:], sensor.embed(texts))
    flags = found.dense[:, 2 * width : -len(COUNTS)]
    assert [{PATTERNS[i] for i in np.flatnonzero(row)} for row in flags] == found.spotted
    assert found.spotted[2] == {"silence"} and "closed_question" in found.spotted[0]


@pytest.mark.parametrize(
    ("heard", "text", "expected"),
    [
        (HEARD, TOLD[0], [2, 1, 16 / 20, 2 / 5, 3 / 5, 4 / 6, 4 / 3, 4 / 5]),
        (HEARD, "", [0] * 8),
        ("", "You're here?! No? Why? Who?", [3, 1, 6 / 20, 0, 1 / 5, 0, 0, 0]),
        ("cats dogs birds fish trees rain bread", "cats dogs birds fish trees rain bread " * 10,
         [0, 0, 3, 0, 0, 1, 2, 1]),
    ],
)  # fmt: skip
def test_counts_by_hand(heard: str, text: str, expected: list[float]) -> None:
    assert featurise(shipped_sensor(), [heard], [text]).dense[0, -len(COUNTS) :] == pytest.approx(expected)


def test_the_shipped_heads_know_the_columns_by_this_order() -> None:
    """Whoever reorders them must train the heads again: their width would not tell."""
    assert PATTERNS == (
        "incitement", "confrontation", "invalidation", "toxic_positivity", "open_question", "reflection", "validation",
        "advice", "risk_inquiry", "signposting", "apology", "farewell", "closed_question", "silence",
    )  # fmt: skip
    assert COUNTS == (
        "questions", "ends in ?", "words", "I", "you", "share taken up", "words taken up", "share of the heard"
    )  # fmt: skip


def test_nothing_has_no_features() -> None:
    found = featurise(shipped_sensor(), [], [])
    assert found.dense.shape == (0, dense_width(shipped_sensor())) and found.grams == found.spotted == []
    assert open_heads()([], []).shape == (0, len(open_heads().names))


def test_what_is_no_text_is_refused() -> None:
    with pytest.raises(SensorError, match=r"texts\[0\] is int"):
        open_heads()(["Hello."], [3])  # type: ignore[list-item]
    with pytest.raises(SensorError, match="one string"):
        open_heads()([""] * 5, "Hello")


def test_words_are_stemmed_and_compared() -> None:
    assert word_set("Can’t we go—now? ÉTÉ a 42 snake_case") == {"can", "we", "go", "now", "été", "snake", "case"}
    assert content_words("The stories helped me: walking dogs, wishes, a red bed.") == {
        "stor", "help", "walk", "dog", "wish", "red", "bed"
    }  # fmt: skip
    assert overlap({"a", "b", "c"}, {"b", "c", "d"}) == 0.5 and overlap(set(), set()) == 0.0


def test_prose_falls_between_its_bounds() -> None:
    assert prose("grief anxiety the shame healing empathy") == pytest.approx((1 / 6 - 0.1) / 0.15)
    assert prose("I am so sad, I am so bad now.") == pytest.approx((6 / 8 - 0.6) / 0.3)
    assert prose("grief anxiety trauma shame healing") == 1.0  # too few words to tell
    assert prose("grief don’t shame trauma healing trust") == pytest.approx((1 / 6 - 0.1) / 0.15)  # don’t is one word


# The heads


def test_the_shipped_heads_open() -> None:
    heads = open_heads()
    assert heads is open_heads() and heads.sensor is shipped_sensor()
    assert set(ACTS) - {"silence"} | {DANGER, *DIASAFETY} < set(heads.names) == set(heads.thresholds)
    p = heads(ASKED, TOLD)
    assert p.shape == (5, len(heads.names)) and p.dtype == np.float32 and (p >= 0).all() and (p <= 1).all()


def test_a_turn_is_judged_alike_in_any_company() -> None:
    lone = Heads(EmotionSensor(settings=SensorSettings(threads=1, cache_mb=0)))
    alone = np.concatenate([lone([heard], [text]) for heard, text in TURNS])
    crowd = open_heads()([*ASKED, *["word " * i for i in range(40)]], [*TOLD, *["yes. " * i for i in range(40)]])
    assert np.array_equal(crowd[:5], alone)
    assert np.array_equal(open_heads()(ASKED[::-1], TOLD[::-1])[::-1], alone)


class Foreign:
    """Not the shipped sensor, whatever it reads."""


def test_a_foreign_sensor_gets_the_shipped_encoder() -> None:
    other, same = copy.copy(shipped_sensor()), EmotionSensor(settings=SensorSettings(threads=1))
    other.digest = "0" * 64
    for sensor in (None, Foreign(), other):
        assert open_heads(sensor) is open_heads()  # type: ignore[arg-type]
    assert open_heads(same).sensor is same
    with pytest.raises(SensorError, match=rf"heads\.json belongs to .*{same.digest[:12]}.*000.*therapysim train heads"):
        Heads(other)


NAMES, VOCABULARY = ("a", "b"), ("you", "^ you", "never said")


def small(folder: Path, **changed: Any) -> Path:
    """Two heads of random weights; changed: entries of either file, by name, left out where None."""
    sensor, rng = shipped_sensor(), np.random.default_rng(0)
    meta = {"encoder": sensor.digest, "names": NAMES, "thresholds": {"a": 0.5, "b": 0.25}}
    arrays: dict[str, Any] = {
        "dense": rng.normal(0, 0.02, (2, dense_width(sensor))), "grams": rng.normal(size=(3, 2)),
        "bias": rng.normal(size=2), "vocabulary": np.array("\n".join(VOCABULARY)),
    }  # fmt: skip
    meta, arrays = (
        {k: changed.get(k, v) for k, v in file.items() if changed.get(k, v) is not None} for file in (meta, arrays)
    )
    write_heads(folder, meta, arrays)
    return folder


def test_written_heads_say_what_the_formula_says(tmp_path: Path) -> None:
    heads = Heads(shipped_sensor(), small(tmp_path / "new"))
    arrays = np.load(tmp_path / "new" / "heads.npz")
    z = featurise(heads.sensor, ASKED, TOLD).dense.astype(float) @ arrays["dense"].T + arrays["bias"]
    z[[0, 3]] += arrays["grams"][:2].sum(axis=0)  # these two begin with "you"; a run counts once
    assert heads(ASKED, TOLD) == pytest.approx(sigmoid(z), abs=1e-5)
    assert heads.names == NAMES and heads.thresholds == {"a": 0.5, "b": 0.25}


def test_the_shipped_files_survive_a_round_trip(tmp_path: Path) -> None:
    meta, arrays = json.loads((WEIGHTS / "heads.json").read_text()), dict(np.load(WEIGHTS / "heads.npz"))
    for folder in (tmp_path / "a", tmp_path / "b"):
        write_heads(folder, meta, arrays)
    for name in ("heads.json", "heads.npz"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert np.array_equal(Heads(shipped_sensor(), tmp_path / "a")(ASKED, TOLD), open_heads()(ASKED, TOLD))


def test_heads_without_word_runs_and_far_out_open(tmp_path: Path) -> None:
    changed = {"vocabulary": np.array(""), "grams": np.zeros((0, 2)), "bias": np.array([-1e4, 1e4])}
    heads = Heads(shipped_sensor(), small(tmp_path, **changed))
    with np.errstate(over="raise"):
        assert heads(ASKED, TOLD).tolist() == [[pytest.approx(0.0, abs=1e-30), 1.0]] * 5


def test_what_cannot_be_told_leaves_the_old_files(tmp_path: Path) -> None:
    before = Heads(shipped_sensor(), small(tmp_path))(ASKED, TOLD)
    with pytest.raises(TypeError):
        small(tmp_path, thresholds=object(), bias=np.ones(2))
    assert np.array_equal(Heads(shipped_sensor(), tmp_path)(ASKED, TOLD), before)
    assert {p.name for p in tmp_path.iterdir()} == {"heads.json", "heads.npz"}


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def cut_and_hash(path: Path) -> None:
    """Its checksum fits, and yet it is no archive."""
    content = path.read_bytes()[:-100]
    meta = json.loads((path.parent / "heads.json").read_text())
    (path.parent / "heads.json").write_text(json.dumps(meta | {"sha256": hashlib.sha256(content).hexdigest()}))
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("name", "damage", "message"),
    [
        ("heads.npz", Path.unlink, r"No such file.*heads\.npz"),
        ("heads.json", Path.unlink, r"No such file.*heads\.json"),
        ("heads.npz", cut, r"heads\.npz is corrupt: its SHA-256 is .*heads\.json expects another"),
        ("heads.npz", cut_and_hash, "BadZipFile"),
        ("heads.json", cut, "JSONDecodeError"),
        ("heads.json", lambda path: path.write_text("[]"), "TypeError"),
        ("heads.json", lambda path: path.write_bytes(b"\xff\xfe"), "UnicodeDecodeError"),
    ],
)
def test_a_broken_file_is_named(tmp_path: Path, name: str, damage: Callable[[Path], None], message: str) -> None:
    damage(small(tmp_path) / name)
    with pytest.raises(SensorError, match=rf"heads in .*{tmp_path.name}.*{message}.*Reinstall.* train heads"):
        Heads(shipped_sensor(), tmp_path)


@pytest.mark.parametrize("entry", ["encoder", "names", "thresholds", "dense", "grams", "bias", "vocabulary"])
def test_a_missing_entry_is_named(tmp_path: Path, entry: str) -> None:
    with pytest.raises(SensorError, match=rf"cannot be read \(KeyError: .*{entry}.*train heads"):
        Heads(shipped_sensor(), small(tmp_path, **{entry: None}))


@pytest.mark.parametrize(
    "changed",
    [
        {"dense": np.zeros((2, 845))},
        {"dense": np.zeros((3, 846))},
        {"grams": np.zeros((4, 2))},
        {"grams": np.zeros((2, 3))},
        {"bias": np.zeros(1)},
        {"names": ("a",)},
        {"vocabulary": np.array("you\nyou\nme")},
    ],
)
def test_shapes_that_do_not_fit_are_refused(tmp_path: Path, changed: dict[str, Any]) -> None:
    with pytest.raises(SensorError, match=r"heads\.npz: shapes .* do not fit . heads .*therapysim train heads"):
        Heads(shipped_sensor(), small(tmp_path, **changed))


def test_a_head_without_a_threshold_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SensorError, match="KeyError: 'b'"):
        Heads(shipped_sensor(), small(tmp_path, thresholds={"a": 0.5}))


# The training, piece by piece

CONFIG = HeadsConfig(data="", out="")


def floats(*values: float) -> Any:
    return np.array(values, dtype=np.float32)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"sure": 0.95}, "sure is 0.95, expected 0–0.9, a finite number"),  # no threshold would be left
        ({"precise": 1.5}, "precise is 1.5"),
        ({"strength": 0.0}, "strength is 0.0"),
        ({"least": 0}, "least is 0"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_settings_are_checked(setting: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        HeadsConfig(data="", out="", **setting)


def test_folds_split_no_context() -> None:
    groups = [f"context {i * i % 53}" for i in range(200)]
    fold = training._folds(groups, seed=0)
    assert len(set(zip(groups, fold, strict=True))) == len(set(groups))
    sizes = Counter(dict(zip(groups, fold, strict=True)).values())
    assert set(sizes) == set(range(5)) and max(sizes.values()) - min(sizes.values()) <= 1
    assert np.array_equal(training._folds(groups[::-1], seed=0)[::-1], fold)
    assert not np.array_equal(training._folds(groups, seed=1), fold)


def test_no_head_judges_a_context_that_it_saw(monkeypatch: pytest.MonkeyPatch) -> None:
    contexts = np.arange(60, dtype=np.float32) % 12
    seen: list[set[float]] = []

    def fit(x: Any, y: Any, strength: float) -> tuple[Any, Any]:
        seen.append(set(x[:, 0]))
        return np.zeros((1, 1), dtype=np.float32), floats(len(seen))  # which fit it was shows in the probability

    monkeypatch.setattr(training, "_fit", fit)
    folds = training._folds([str(c) for c in contexts], seed=0)
    p = training._cross_fitted(contexts[:, None], np.zeros((60, 1), dtype=np.float32), folds, 1.0)
    judges = np.round(np.log(p / (1 - p))[:, 0]).astype(int) - 1
    assert len(seen) == 5 and set(judges) == set(range(5))
    assert all(context not in seen[judge] for context, judge in zip(contexts, judges, strict=True))
    assert all(len(known) > 8 for known in seen)


@needs_torch
def test_the_fit_is_the_optimum_worked_out_by_hand() -> None:
    """x = ±1, y = 1, 0: w = 2C·σ(-w), which ln 3 solves for C = 2 ln 3."""
    weight, bias = training._fit(floats(1, -1)[:, None], floats(1, 0)[:, None], 2 * np.log(3))
    assert weight.tolist() == [[pytest.approx(np.log(3), abs=1e-4)]] and bias[0] == pytest.approx(0, abs=1e-4)
    alike = training._fit(np.zeros((4, 1), dtype=np.float32), floats(1, 1, 1, 0)[:, None], 1.0)
    assert alike[0][0, 0] == 0 and alike[1][0] == pytest.approx(np.log(3), abs=1e-4)  # the bias has no penalty


@needs_torch
def test_the_fit_finds_what_separates_and_its_gradient_is_zero() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(120, 6)).astype(np.float32)
    y = np.stack([x[:, 3] > 0.3, rng.random(120) < 0.2], axis=1).astype(np.float32)
    weight, bias = training._fit(x, y, 0.7)
    off = sigmoid(x.astype(float) @ weight + bias) - y
    assert np.abs(weight + 0.7 * x.T @ off).max() < 1e-3 and np.abs(0.7 * off.sum(axis=0)).max() < 1e-3
    assert np.abs(weight[:, 0]).argmax() == 3 and weight[3, 0] > 3 * np.abs(np.delete(weight[:, 0], 3)).max()
    assert (((x @ weight + bias)[:, 0] > 0) == (y[:, 0] > 0)).mean() > 0.95
    again, alone = training._fit(x, y, 0.7), training._fit(x, y[:, 1:], 0.7)
    assert np.array_equal(again[0], weight) and np.array_equal(again[1], bias)
    assert np.allclose(alone[0][:, 0], weight[:, 1], atol=1e-3)  # a head does not hang on its neighbours


@pytest.mark.parametrize(
    ("act", "yes", "no", "expected"),
    [
        ("advice", [0.42, 0.82, 0.83], [0.2, 0.38], 0.4),  # alone without a mistake
        ("advice", [0.82, 0.83], [0.2, 0.38], 0.8),  # of equally good ones the highest
        ("confrontation", [0.42, 0.82, 0.83], [0.2, 0.38], 0.8),  # sure: none below 0.6
        ("advice", [0.66] * 4 + [0.86], [0.69] * 3, 0.85),  # fair: F1 10/13 at a precision of 5/8 is not enough
        ("advice", [0.66] * 4 + [0.86], [0.69], 0.65),  # F1 10/11, precision 5/6
        ("confrontation", [0.66] * 4 + [0.86], [0.69] * 3, 0.85),  # precise: F1 2/6, precision 1
        ("incitement", [0.76] * 3, [0.95] + [0.62] * 3, 0.75),  # none is precise enough: 3/4 is the most
    ],
)
def test_thresholds(act: str, yes: list[float], no: list[float], expected: float) -> None:
    p, y = floats(*yes, *no), floats(*[1] * len(yes), *[0] * len(no))
    assert training._threshold(p, y, act, CONFIG) == expected


def test_a_threshold_of_an_act_has_the_greatest_f1() -> None:
    rng = np.random.default_rng(1)
    y = (rng.random(400) < 0.3).astype(np.float32)
    p = sigmoid(rng.normal(2 * y - 1.5, 1.0)).astype(np.float32)
    f1 = {t: 2 * ((p >= t) & (y > 0)).sum() / ((p >= t).sum() + y.sum()) for t in np.linspace(0.1, 0.9, 17)}
    assert training._threshold(p, y, "advice", CONFIG) == pytest.approx(max(f1, key=lambda t: f1[t]))


def test_scores_by_hand() -> None:
    found = training._scores(floats(0.9, 0.6, 0.5, 0.4, 0.1), floats(1, 0, 1, 1, 0), 0.5)
    expected = {"n": 3, "of": 5, "precision": 2 / 3, "recall": 2 / 3, "f1": 2 / 3, "auc": 4 / 6, "threshold": 0.5}
    assert found == pytest.approx(expected)


@pytest.mark.parametrize("digits", [0, 1, 6])
def test_the_auc_counts_pairs_and_a_tie_as_half(digits: int) -> None:
    rng = np.random.default_rng(2)
    y = (rng.random(80) < 0.4).astype(np.float32)
    p = sigmoid(rng.normal(2 * y - 1, 1.0)).round(digits).astype(np.float32)
    pairs = [(a > b) + 0.5 * (a == b) for a in p[y > 0] for b in p[y == 0]]
    assert training._scores(p, y, 0.5)["auc"] == pytest.approx(np.mean(pairs))
    assert training._scores(p[::-1], y[::-1], 0.5)["auc"] == pytest.approx(np.mean(pairs))


# The training as a whole

HARMS = {"Risk Ignorance": "I want it all to stop,", "Unauthorized Expertise": "My fever is at"}


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> HeadsConfig:
    """Data in which one phrase gives each label away."""
    here, some = tmp_path / "here", range(6)
    here.mkdir()
    acts = [(act, i) for act in ACTS if act != "silence" for i in some]
    write(here / "acts.jsonl", [
        {"patient": f"Patient on day {i}.", "text": f"Here comes {act.replace('_', ' ')}, {'so ' * i}.", "acts": [act]}
        for act, i in acts
    ])  # fmt: skip
    write(here / "empathy_levels.jsonl", [
        {"context": f"Post {i}", "response": f"Reply {'abc'[level]}, {'so ' * i}.", "reactions": level,
         "interpretations": 2 - level, "explorations": level} for level in range(3) for i in some
    ])  # fmt: skip
    write(here / "danger.jsonl", [
        {"text": f"I {'counted pills' if bad else 'fed ducks'} {'so ' * i}.", "danger": bad}
        for bad in (True, False) for i in some
    ])  # fmt: skip
    data = write(tmp_path / "data.jsonl", [
        {"context": f"{heard} time {i % 3}.", "response": f"{label} answer,\u2028{'so ' * i}.", "label": label,
         "category": name}
        for name, heard in {**HARMS, "Other": "Another"}.items() for label in ("Safe", "Unsafe") for i in some
    ])  # fmt: skip
    monkeypatch.setattr(training, "HERE", here)
    return HeadsConfig(data=str(data), out=str(tmp_path / "out"))


def test_what_is_gathered(config: HeadsConfig) -> None:
    acts, empathy, danger, ignores, medicine = gather(config)
    assert [len(task.names) for task in (acts, empathy, danger, ignores, medicine)] == [18, 6, 1, 1, 1]
    graded = {e.text.split(",")[0]: e.labels for e in empathy.examples}
    assert graded["Reply a"] == {"interpretations_1", "interpretations_2"}
    assert graded["Reply b"] == {"reactions_1", "interpretations_1", "explorations_1"}
    assert {e.heard for e in danger.examples} == {""}
    asked = {e.text: e.labels for e in danger.examples}
    assert asked["My fever is at time 0."] == frozenset()
    assert not any("Patient on day" in text for text in asked)  # a patient may speak of danger
    told = {
        task.names[0]: {e.text.split(",")[0]: bool(e.labels) for e in task.examples} for task in (ignores, medicine)
    }
    for found in told.values():
        assert found["Unsafe answer"] and not found["Safe answer"]
    assert told["ignores_risk"]["Here comes invalidation"] and not told["ignores_risk"]["Here comes validation"]
    assert not told["practises_medicine"]["Here comes farewell"]
    for act in ("advice", "information", "invalidation"):
        assert f"Here comes {act}" not in told["practises_medicine"]
    assert "Here comes reassurance" not in told["ignores_risk"]
    both = Example("", "I see, and it will all be fine.", frozenset({"validation", "reassurance"}))
    assert training._own("ignores_risk", [both]) == []  # neither meets a danger nor plainly passes it by


def test_features_are_standardised_and_scaled_by_block(config: HeadsConfig) -> None:
    task, vocabulary = gather(config)[-1]._replace(context=True), ("^", "here comes", "never said")
    x, scale, mean = training._matrix(shipped_sensor(), task, vocabulary, config)
    raw, width = training._features(task)[0], shipped_sensor().width
    moves = raw[:, : 2 * width].std(axis=0) > 1e-3
    for block, size in ((slice(0, width), config.heard), (slice(width, 2 * width), config.turn)):
        own = x[:, block][:, moves[block]]
        assert own.std(axis=0) == pytest.approx(size, rel=1e-2) and own.mean(axis=0) == pytest.approx(0, abs=1e-4)
    assert np.array_equal(x[:, 2 * width : -3], raw[:, 2 * width :]) and not mean[2 * width :].any()
    assert set(x[:, -3]) == {0.5} and set(x[:, -2]) == {0.0, 0.5} and set(x[:, -1]) == {0.0}
    assert (scale[-3:] == config.gram).all() and len(scale) == x.shape[1]
    blind = training._matrix(shipped_sensor(), task._replace(context=False), vocabulary, config)[0]
    assert not blind[:, :width].any() and np.array_equal(blind[:, width:], x[:, width:])


def contexts(config: HeadsConfig) -> set[str]:
    return {words for task in gather(config) for e in task.examples for words in (e.heard, e.text)}


def test_excluded_contexts_do_not_reach_the_training(config: HeadsConfig, tmp_path: Path) -> None:
    apart = {"My fever is at time 1.", "My fever is at time 2.", "I want it all to stop, time 0."}
    rows: list[dict[str, Any]] = [
        {"context": "My fever is at time 1.", "worse_context": "I want it all to stop, time 0."},
        {"context": "My fever is at time 2.", "worse_context": None},
    ]
    left = HeadsConfig(data=config.data, out=config.out, exclude=str(write(tmp_path / "dev.jsonl", rows)))
    assert apart <= contexts(config) and contexts(config) - contexts(left) == apart


@needs_torch
def test_the_training_writes_heads_that_open(config: HeadsConfig, tmp_path: Path) -> None:
    said: list[str] = []
    report = train(config, said.append)
    out = Path(config.out)
    assert {p.name for p in out.iterdir()} == {"heads.json", "heads.npz", "HEADS.md"}
    heads, meta = Heads(shipped_sensor(), out), json.loads((out / "heads.json").read_text())
    assert meta["folds"] == report and list(report) == list(heads.names) and len(said) == len(report) == 27
    card = (out / "HEADS.md").read_text()
    for name, row in report.items():
        assert heads.thresholds[name] == row["threshold"] and (name in ACTS or row["threshold"] == 0.5)
        figures = " | ".join(f"{row[k]:.2f}" for k in ("threshold", "precision", "recall", "f1"))
        assert f"| {name} | {row['n']} | {row['of']} | {figures} | {row['auc']:.3f} |" in card
    assert "| acts (18 heads) | 108 turns" in card and "| empathy (6 heads: weak or more, strong) | 18 replies" in card
    assert str(tmp_path) not in card + (out / "heads.json").read_text() and meta["settings"]["precise"] == 0.8
    # What separates them is a phrase, so that heads which never saw the context find it.
    assert min(report[act]["auc"] for act in ACTS if act != "silence") > 0.99
    new = heads(["Patient on a new day."] * 2, ["Here comes advice, now.", "Here comes an apology, now."])[:, :18]
    assert [heads.names[i] for i in new.argmax(axis=1)] == ["advice", "apology"]


@needs_torch
def test_written_heads_judge_as_the_fit_did(config: HeadsConfig) -> None:
    """Through scales, means, half precision and back: on every training turn."""
    train(config, lambda line: None)
    heads = Heads(shipped_sensor(), config.out)
    for task in gather(config):
        x, *_ = training._matrix(heads.sensor, task, training._vocabulary(task, config), config)
        y = np.array([[name in e.labels for name in task.names] for e in task.examples], dtype=np.float32)
        weight, bias = training._fit(x, y, config.strength)
        p = heads([e.heard for e in task.examples], [e.text for e in task.examples])
        columns = [heads.names.index(name) for name in task.names]
        assert np.allclose(p[:, columns], sigmoid(x @ weight + bias), atol=0.01)


@needs_torch
def test_the_training_is_repeatable(config: HeadsConfig, tmp_path: Path) -> None:
    folders = [tmp_path / "a", tmp_path / "b"]
    for out in folders:
        train(HeadsConfig(data=config.data, out=str(out), least=10_000), lambda line: None)
    for name in ("heads.json", "heads.npz", "HEADS.md"):
        first, second = ((out / name).read_bytes() for out in folders)
        assert first == second
    assert not Heads(shipped_sensor(), folders[0])._rows  # no word run is that frequent


def drop(path: Path, word: str) -> None:
    path.write_text("\n".join(line for line in path.read_text().split("\n") if word not in line))


@pytest.mark.parametrize(
    ("place", "damage", "message"),
    [
        ("data.jsonl", lambda p: drop(p, '"Unsafe", "category": "Risk'), "6 lines of 'Risk Ignorance', expected Safe"),
        ("data.jsonl", lambda p: drop(p, "Unauthorized"), "has 0 lines of 'Unauthorized Expertise'"),
        ("here/acts.jsonl", lambda p: drop(p, "apology"), "head 'apology': 0 of 102 examples have it, expected some"),
        ("here/danger.jsonl", lambda p: drop(p, "true"), f"head '{DANGER}': 0 of "),
        ("here/empathy_levels.jsonl", lambda p: drop(p, '"reactions": 0'), "head 'reactions_1': 12 of 12 examples"),
        ("data.jsonl", Path.unlink, r"data\.jsonl: the file cannot be read: No such file"),
        ("data.jsonl", lambda p: p.write_text('{"context": '), r"data\.jsonl: line 1: the file cannot be read as JSON"),
        ("data.jsonl", lambda p: p.write_bytes(b"\xff\xfe\n"), r"data\.jsonl: line 1: the file cannot be read as text"),
        ("data.jsonl", lambda p: p.write_text('\n{"context": "x"}\n'), r"line 2: response is missing, expected a text"),
        ("data.jsonl", lambda p: p.write_text("[]\n"), r"data\.jsonl: line 1: the content is \[\], expected a mapping"),
        ("here/danger.jsonl", Path.unlink, r"danger\.jsonl: the file cannot be read"),
    ],
)  # fmt: skip
def test_data_that_cannot_be_learnt_from_is_named(
    config: HeadsConfig, tmp_path: Path, place: str, damage: Callable[[Path], None], message: str
) -> None:
    damage(tmp_path / place)
    with pytest.raises(ConfigError, match=message):
        train(config, lambda line: None)
    assert not Path(config.out).exists()
