"""Settings at the ends of their ranges and beyond, and what is wrong with a calibration, fault by fault."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest

from therapysim.errors import CalibrationError, ConfigError, SensorError
from therapysim.rewards.calibration import MIN_POINTS, Calibration, fit, platt
from therapysim.rewards.matrix import LABELS
from therapysim.rewards.reading.emotions import WEIGHTS, SensorSettings, read_logits, readings, shipped_sensor
from therapysim.rewards.reading.memory import check_texts
from therapysim.rewards.reading.pretrained import PretrainedSettings
from therapysim.rewards.reading.relevance import STAND_IN, Gold, RelevanceSettings, open_relevance
from therapysim.rewards.reading.tone_guard import (
    EmotionNegativity,
    SentimentNegativity,
    ToneGuard,
    ToneGuardSettings,
    open_tone_guard,
)
from therapysim.rewards.reading.valence import ValenceSettings, soft_polarity, soften
from therapysim.rewards.risk import RiskThresholds

#: Class, field, the ends of its range, and what lies beyond them.
RANGES: list[tuple[type, str, Sequence[float], Sequence[Any]]] = [
    (SensorSettings, "window_tokens", (8, 512), (7, 513)),
    (SensorSettings, "cache_mb", (0.0, 1e6), (-0.1, 1_000_000.5)),
    (SensorSettings, "threads", (1,), (0, 1.5)),
    (PretrainedSettings, "window_tokens", (8, 8192), (7, 8193)),
    (PretrainedSettings, "batch_windows", (1,), (0,)),
    (PretrainedSettings, "cache_mb", (0.0, 1e6), (-0.1, 1_000_000.5)),
    (PretrainedSettings, "threshold", (0.0, 1.0), (-0.01, 1.01)),
    (PretrainedSettings, "device", (), ("", 3)),
    (PretrainedSettings, "dtype", (), ("float8",)),
    (ValenceSettings, "temperature", (0.1, 100.0), (0.09, 100.1)),
    (ValenceSettings, "width", (1e-6, 2.0), (0.0, 2.1)),
    (RelevanceSettings, "nearest", (1,), (0,)),
    (RelevanceSettings, "contrast", (0.0, 1.0), (-0.1, 1.1)),
    (ToneGuardSettings, "reject_at", (0.0, 1.0), (-0.1, 1.1)),
    *((RiskThresholds, name, (-1.0, 1.0), (-1.1, 1.1)) for name in asdict(RiskThresholds()) if name != "count"),
]


@pytest.mark.parametrize(("kind", "name", "ends", "beyond"), RANGES, ids=lambda x: getattr(x, "__name__", str(x)))
def test_a_setting_goes_to_its_ends_and_no_further(
    kind: type, name: str, ends: Sequence[float], beyond: Sequence[Any]
) -> None:
    assert [getattr(kind(**{name: value}), name) for value in ends] == list(ends)
    for value in beyond:
        with pytest.raises(ConfigError, match=rf"{name} is {value!r}"):
            kind(**{name: value})


# --- Calibration ---------------------------------------------------------------------------------------------------


def isotonic(**changes: Any) -> Calibration:
    whole = {"points": 40, "low": 1.0, "high": 5.0, "knots": ((0.0, 1.0), (1.0, 5.0))}
    return Calibration("isotonic", **whole | changes)


def logistic(**changes: Any) -> Calibration:
    return Calibration("platt", **{"points": 40, "low": 0.0, "high": 1.0, "slope": 2.0, "intercept": 0.5} | changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"points": 0}, "points is 0 and note ''"),
        ({"points": True}, "points is True"),
        ({"points": 40.0}, "points is 40.0"),
        ({"note": 3}, "note 3"),
        ({"low": float("nan")}, "not a finite number"),
        ({"high": 1e300}, "not a finite number"),
        ({"slope": "x"}, "not a finite number"),
        ({"intercept": float("inf")}, "not a finite number"),
        ({"knots": ((0.0, "x"),)}, "not a finite number"),
        ({"knots": ()}, "knots must rise"),
        ({"knots": ((0.0, 1.0), (0.0, 2.0))}, "knots must rise"),
        ({"knots": ((1.0, 1.0), (0.0, 2.0))}, "knots must rise"),
        ({"knots": ((0.0, 2.0), (1.0, 1.0))}, "knots must rise"),
        ({"knots": ((0.0, 0.9), (1.0, 5.0))}, "the ratings' range"),
        ({"knots": ((0.0, 1.0), (1.0, 5.1))}, "the ratings' range"),
    ],
)
def test_a_calibration_with_a_fault_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(CalibrationError, match=message):
        isotonic(**changes)


def test_what_a_calibration_may_be() -> None:
    assert isotonic(points=1, knots=((0.0, 2.0), (1.0, 2.0))).points == 1  # level is not falling
    assert logistic(slope=0.0).slope == 0.0 and isotonic()([0.0, 0.25, 1.0]).tolist() == [1.0, 2.0, 5.0]
    assert isotonic()([-9.0, 9.0]).tolist() == [1.0, 5.0] and isotonic()(0.5).shape == ()
    assert logistic()([0.0, 1.0]) == pytest.approx(1 / (1 + np.exp([-0.5, -2.5])))
    for wrong in ({"slope": -0.1}, {"low": 0.1}, {"high": 2.0}):
        with pytest.raises(CalibrationError, match="expected slope ≥ 0 and ratings of 0 and 1"):
            logistic(**wrong)
    with pytest.raises(CalibrationError, match="method is 'x', expected one of isotonic, platt"):
        Calibration("x", 40, 0.0, 1.0)  # type: ignore[arg-type]


def test_thirty_ratings_are_enough_and_fewer_are_not() -> None:
    x = np.arange(MIN_POINTS, dtype=float)
    assert MIN_POINTS == 30 and fit(x, x).points == 30 and (fit(x, x).low, fit(x, x).high) == (0.0, 29.0)
    with pytest.raises(CalibrationError, match="29 ratings, expected at least 30"):
        fit(x[1:], x[1:])
    with pytest.raises(CalibrationError, match=r"do not rise with scores: Pearson r is -1\.000 over 30 points"):
        fit(x, -x)
    assert fit(x, x, note="two raters").note == fit(x, x > 14, "platt", note="two raters").note == "two raters"


@pytest.mark.parametrize(("points", "block"), [(30, 5), (64, 8), (100, 10), (1_000, 32)])
def test_a_knot_stands_on_the_root_of_the_points_or_five(points: int, block: int) -> None:
    x = np.arange(points, dtype=float)
    knots = np.array(fit(x, x).knots)
    assert len(knots) == points // block
    assert knots[0].tolist() == [(block - 1) / 2] * 2  # the mean score and rating of its points
    assert len(fit(x, x, min_block=15).knots) == points // 15


def test_platt_smooths_its_targets() -> None:
    """Of a constant column the slope is 0 and the rate that of the smoothed targets: 3 / 4 twice, 1 / 5 three times."""
    slope, intercept = platt(np.ones(5), np.array([1, 1, 0, 0, 0]))
    rate = (2 * 3 / 4 + 3 * 1 / 5) / 5
    assert slope == 0.0 and intercept == pytest.approx(np.log(rate / (1 - rate)))
    for logits, targets in ((np.zeros(3), np.zeros(2)), (np.zeros(0), np.zeros(0)), (1.0, 1.0)):
        with pytest.raises(CalibrationError, match="expected both"):
            platt(logits, targets)


# --- Tone and valence ----------------------------------------------------------------------------------------------


class Angry:
    """A sensor that hears only anger and disgust, as likely as the text says."""

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        p = np.zeros((len(texts), 28), dtype=np.float32)
        p[:, LABELS.index("anger")] = p[:, LABELS.index("disgust")] = [float(text or 0) for text in texts]
        p[:, LABELS.index("sadness")] = 0.9
        return p


def logit(p: float) -> float:
    return float(np.log(p / (1 - p)))


def test_negativity_is_set_by_the_gold_corpus() -> None:
    gold = Gold({"a": ("0.1", "0.1")}, (".2",), ("0.5", "0.5"))
    judge = EmotionNegativity(Angry(), gold)  # type: ignore[arg-type]
    low, high = logit(0.19), logit(0.75)  # 1 - 0.9 * 0.9 and 1 - 0.5 * 0.5
    slope = np.log(99) / (high - (low + high) / 2)
    expected = [1 / (1 + np.exp(-slope * (logit(1 - (1 - p) ** 2) - (low + high) / 2))) for p in (0.1, 0.3, 0.5)]
    assert judge(["0.1", "0.3", "0.5"]) == pytest.approx(expected) and judge(["0.5"]) == pytest.approx([0.99])
    assert judge([""]).tolist() == [0.0] and judge(["0.5"]).dtype == np.float32
    with pytest.raises(SensorError, match="no more hostile than clinical"):
        EmotionNegativity(Angry(), Gold({"a": ("0.5",)}, ("0.2",), ("0.5",)))  # type: ignore[arg-type]


def test_a_loud_clinical_phrase_moves_the_scale_up() -> None:
    gold = Gold({"a": ("0.1", "0.1", "0.8")}, ("0.2",), ("0.5",))
    judge = EmotionNegativity(Angry(), gold)  # type: ignore[arg-type]
    assert judge(["0.5"])[0] < 0.99 and judge(["0.8"])[0] > 0.99 > judge(["0.78"])[0]


def test_a_line_is_rejected_from_the_bar_on() -> None:
    guard = ToneGuard(lambda texts: np.array([float(t) for t in texts], dtype=np.float32), ToneGuardSettings(0.5))
    assert guard.rejects(["0.49", "0.5", "0.51"]).tolist() == [False, True, True]
    assert ToneGuard(guard._negativity).settings.reject_at == 0.99
    assert guard.negativity([]).shape == (0,)
    with pytest.raises(SensorError, match="one string"):
        guard.rejects("0.5")


def test_softened_odds_are_divided_by_the_temperature() -> None:
    assert soften([0.2, 0.5], 2.0) == pytest.approx([1 / (1 + 2), 0.5])  # odds of 1 to 4 become 1 to 2
    assert soften([0.2], 1.0) == pytest.approx([0.2]) and 0 < soften([0.0], 1.0)[0] < soften([1.0], 1.0)[0] < 1
    joy = np.zeros((1, 28))
    joy[0, LABELS.index("joy")] = 0.2
    faint = soft_polarity(joy, ValenceSettings(1.0, 0.1))
    assert faint == pytest.approx([0.2], abs=1e-5) and soft_polarity(joy)[0] > faint[0] + 0.1


def test_texts_are_a_list_of_strings() -> None:
    assert check_texts(text for text in ("a", "b")) == ["a", "b"]
    for wrong, message in (("ab", "one string"), (["a", 3], r"texts\[1\] is int, expected str")):
        with pytest.raises(SensorError, match=message):
            check_texts(wrong)  # type: ignore[arg-type]


def test_a_reading_is_what_the_matrix_makes_of_a_text() -> None:
    p = np.zeros((2, 28), dtype=np.float32)
    p[0, LABELS.index("love")], p[1, LABELS.index("fear")] = 0.8, 0.6
    first, second = readings(["a", "b"], p)
    assert (first.text, first.affect, first.polarity) == ("a", pytest.approx((0.4, 0, 0.4, 0)), pytest.approx(0.4))
    assert (second.text, second.affect) == ("b", pytest.approx((0, 0, 0, -0.6))) and second.probabilities[14] > 0.5


def test_judges_are_opened_over_what_is_given() -> None:
    gold = Gold({"a": ("0.1", "0.1")}, ("0.2",), ("0.5", "0.5"))
    guard = open_tone_guard(sensor=Angry(), gold=gold, settings=ToneGuardSettings(0.98))  # type: ignore[arg-type]
    assert guard.negativity(["0.5"]) == pytest.approx([0.99]) and guard.rejects(["0.5", "0.3"]).tolist() == [
        True,
        False,
    ]
    with pytest.raises(ConfigError, match="sensor and gold are the stand-in's"):
        open_tone_guard("a/b", gold=gold)
    for wrong in ({"labels": ("negative", "positive")}, {"pretrained": PretrainedSettings()}):
        with pytest.raises(ConfigError, match="labels and pretrained are a model's"):
            open_tone_guard(**wrong)  # type: ignore[arg-type]


def test_relevance_is_opened_over_what_is_given() -> None:
    class Letters:
        def embed(self, texts: Sequence[str]) -> np.ndarray:
            return np.array([[text.count(c) for c in "abc"] for text in texts], dtype=np.float32)

    gold = Gold({"x": ("a",)}, ("c",), ("b",))
    found = open_relevance(sensor=Letters(), gold=gold, settings=RelevanceSettings(1, centred=False))  # type: ignore[arg-type]
    assert found(["aa", "b", "ab"]) == pytest.approx([1.0, 0.0, np.sqrt(0.5)])
    assert open_relevance().settings == STAND_IN == RelevanceSettings(5, True, 1.0)
    with pytest.raises(ConfigError, match="sensor is the stand-in's"):
        open_relevance("a/b", sensor=Letters())  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="pretrained is a model's"):
        open_relevance(pretrained=PretrainedSettings())


def test_probabilities_are_the_networks_logits_calibrated() -> None:
    texts, sensor = ["I am so sad.", "How dare they!", "the bus"], shipped_sensor()
    meta = json.loads((WEIGHTS / "emotions.json").read_text(encoding="utf-8"))
    logits = read_logits(WEIGHTS / "emotions.onnx", WEIGHTS / "tokenizer.json", texts)
    calibrated = logits * np.array(meta["slope"]) + np.array(meta["intercept"])
    assert logits.shape == (3, 28) and sensor(texts) == pytest.approx(1 / (1 + np.exp(-calibrated)), abs=1e-5)
    assert sensor.thresholds == pytest.approx(meta["thresholds"]) and sensor.digest == meta["sha256"]["emotions.onnx"]


class Classes:
    """A sentiment model of these classes, sure of the first one."""

    name = "toy"

    def __init__(self, *labels: str) -> None:
        self.labels = labels

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        return np.array([[0.7] + [0.1] * (len(self.labels) - 1)] * len(texts), dtype=np.float32)


@pytest.mark.parametrize(
    ("labels", "found"),
    [(("Negative", "neutral", "positive"), 0.7), (("POS", "neg"), 0.1), (("pos ", " NEG", "x"), 0.1)],
)
def test_a_sentiment_model_has_one_negative_and_one_positive_class(labels: tuple[str, ...], found: float) -> None:
    assert SentimentNegativity(Classes(*labels))(["a", "b"]) == pytest.approx([found] * 2)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "labels", [("negative", "x"), ("positive", "x"), ("neg", "negative", "pos"), ("neg", "pos", "positive")]
)
def test_a_sentiment_model_of_other_classes_is_refused(labels: tuple[str, ...]) -> None:
    with pytest.raises(SensorError, match=f"'toy': its classes are {', '.join(labels)}, expected one called negative"):
        SentimentNegativity(Classes(*labels))  # type: ignore[arg-type]
