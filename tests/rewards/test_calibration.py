"""Calibration: the maps it fits, the files it keeps, the input it refuses, and the command."""

import csv
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from therapysim.agents.figures import figure, save
from therapysim.agents.probes.ratings import read_ratings
from therapysim.agents.probes.reliability import cross_validate, draw_reliability, reliability
from therapysim.cli import main as cli
from therapysim.errors import CalibrationError, ConfigError
from therapysim.rewards import shipped_sensor
from therapysim.rewards.calibration import MIN_POINTS, Calibration, fit, load, platt
from therapysim.rewards.judge import score as judge

ROOT = Path(__file__).parents[2]

optimize = pytest.importorskip("scipy.optimize")
pytest.importorskip("matplotlib")


def rated(n: int = 400, seed: int = 0, noise: float = 0.3) -> tuple[np.ndarray, np.ndarray]:
    """Scores in [-1, 1], and ratings from 1 to 5 along a curve."""
    chance = np.random.default_rng(seed)
    scores = chance.uniform(-1, 1, n)
    return scores, np.clip(3 + 2 * np.tanh(3 * scores) + noise * chance.standard_normal(n), 1, 5)


def judged(n: int = 400, seed: int = 0, slope: float = 3.0, intercept: float = -1.0) -> tuple[np.ndarray, np.ndarray]:
    """Scores, and ratings of 0 and 1 drawn from a logistic curve."""
    chance = np.random.default_rng(seed)
    scores = chance.normal(0, 1, n)
    return scores, (chance.random(n) < 1 / (1 + np.exp(-(slope * scores + intercept)))).astype(float)


MAKERS = {"isotonic": rated, "platt": judged}
UP = list(range(40))
METHODS = pytest.mark.parametrize("method", ["isotonic", "platt"])


def test_isotonic_recovers_a_curve() -> None:
    scores, ratings = rated(5000, noise=0.1)
    grid = np.linspace(-0.95, 0.95, 100)
    off = np.abs(fit(scores, ratings)(grid) - (3 + 2 * np.tanh(3 * grid)))
    assert off.max() < 0.06 and off.mean() < 0.02


def test_platt_recovers_a_curve() -> None:
    fitted = fit(*judged(20_000), method="platt")
    assert (fitted.slope, fitted.intercept) == pytest.approx((3.0, -1.0), abs=0.12)


@METHODS
@pytest.mark.parametrize("seed", range(25))
def test_the_map_never_falls_nor_leaves_the_range(method: str, seed: int) -> None:
    chance = np.random.default_rng(seed)
    n = int(chance.integers(MIN_POINTS, 300))
    scores, ratings = MAKERS[method](n, seed)
    if method == "isotonic":  # ties in both, on scales of any size
        digits, scale = int(chance.integers(1, 4)), 10.0 ** chance.integers(-4, 5)
        scores, ratings = scores.round(digits) * scale, ratings.round(digits)
    fitted = fit(scores, ratings, method, min_block=int(chance.integers(1, 8)))
    knots = np.array([x for x, _ in fitted.knots] or [0.0])
    near = np.concatenate([knots, np.nextafter(knots, -np.inf), np.nextafter(knots, np.inf)])
    values = fitted(np.sort(np.concatenate([near, chance.uniform(-2, 2, 5000) * np.ptp(scores)])))
    assert (np.diff(values) >= 0).all()
    assert fitted.low <= values.min() and values.max() <= fitted.high


def test_the_end_of_a_line_is_not_rounded_above_its_knot() -> None:
    for x0, x, y0, y in np.random.default_rng(0).uniform([-1, 0, 0, 0.5], [0, 1, 0.5, 1], (2000, 4)).tolist():
        rising = Calibration("isotonic", 30, 0.0, 1.0, ((x0, y0), (x, y), (2.0, y)))
        assert rising(np.nextafter(x, -1)) <= y


def test_any_shape_comes_back() -> None:
    fitted = fit(*rated())
    for shape in [(), (3,), (2, 3), (0,), (2, 0, 4)]:
        values = fitted(np.full(shape, 0.5, dtype=np.float32))
        assert values.shape == shape and values.dtype == np.float64
    assert fitted([0, 1])[1] > fitted(0)


def test_equal_scores_are_pooled_and_order_does_not_matter() -> None:
    scores, ratings = np.repeat([0.0, 1.0, 2.0], 20), np.tile([1.0, 3.0], 30) + np.repeat([0.0, 1.0, 1.0], 20)
    assert fit(scores, ratings).knots == ((0.0, 2.0), (1.5, 3.0))  # the level step over 1 and 2 is one knot
    weighted = fit(np.repeat(UP[:4], [30, 10, 10, 10]), np.repeat([4, 1, 3, 5], [30, 10, 10, 10]))
    assert weighted.knots == ((0.6, 3.2), (3.0, 5.0))  # thirty ratings of 4 outweigh ten of 1
    shuffle = np.random.default_rng(0).permutation(60)
    assert fit(scores[shuffle], ratings[shuffle]) == fit(scores, ratings)


def test_every_knot_stands_on_enough_points() -> None:
    scores, ratings = rated(200, noise=1.5)
    few, many = fit(scores, ratings, min_block=30), fit(scores, ratings, min_block=1)
    assert 2 <= len(few.knots) <= 200 // 30 < len(many.knots)
    # The lone top point of the fine map pulls its end up; the merged map's end is a mean of thirty.
    assert few(2.0) < many(2.0) and few(-2.0) > many(-2.0)
    assert len(fit(scores, ratings).knots) <= 200 // round(200**0.5)


def test_platt_finds_what_another_optimiser_finds() -> None:
    scores, ratings = judged(150, seed=4)
    high, low = (ratings.sum() + 1) / (ratings.sum() + 2), 1 / ((1 - ratings).sum() + 2)
    soft = np.where(ratings > 0, high, low)

    def loss(line: np.ndarray) -> float:
        logit = line[0] * scores + line[1]
        return float((np.logaddexp(0, logit) - soft * logit).sum())

    best = optimize.minimize(loss, [0.0, 0.0], method="BFGS", options={"gtol": 1e-9}).x
    slope, intercept = platt(scores, ratings)
    assert (slope, intercept) == pytest.approx(tuple(best), rel=1e-5)


def test_platt_of_many_columns_is_platt_of_each() -> None:
    logits = np.random.default_rng(0).normal([0, -3, 2, 1000], [1, 5, 0.01, 300], (500, 4))
    targets = np.random.default_rng(1).random((500, 4)) < [0.5, 0.02, 0.3, 0.9]
    targets[:, 0] = logits[:, 0] > 0  # parted without overlap: the smoothed targets keep the slope finite
    slope, intercept = platt(logits, targets)
    assert slope.shape == intercept.shape == (4,) and np.isfinite([slope, intercept]).all()
    for k in range(4):
        alone = platt(logits[:, k], targets[:, k])
        assert (slope[k], intercept[k]) == pytest.approx((float(alone[0]), float(alone[1])), rel=1e-6)
    # At the optimum the mean probability equals the mean smoothed target.
    p = 1 / (1 + np.exp(-(logits * slope + intercept)))
    positive = targets.sum(0)
    assert p.mean(0) * 500 == pytest.approx(
        positive * (positive + 1) / (positive + 2) + (500 - positive) / (502 - positive), rel=1e-6
    )


@pytest.mark.parametrize(
    ("logits", "targets", "message"),
    [
        (np.zeros((5, 2)), np.zeros(5), r"logits has shape \(5, 2\), targets \(5,\)"),
        ([], [], r"expected both \(n,\) or both \(n, k\)"),
        ([0.0, np.nan], [0, 1], "logits holds 1 NaN"),
        ([0.0, 1.0], ["no", "yes"], "targets holds <U3 values"),
    ],
)
def test_platt_refuses_what_it_cannot_scale(logits: object, targets: object, message: str) -> None:
    with pytest.raises(CalibrationError, match=message):
        platt(logits, targets)  # type: ignore[arg-type]


def test_platt_of_a_constant_column_is_the_rate() -> None:
    slope, intercept = platt(np.full((100, 1), 7.0), np.arange(100)[:, None] < 25)
    assert slope[0] == 0 and 1 / (1 + np.exp(-intercept[0])) == pytest.approx(0.25, abs=0.01)


@METHODS
def test_a_file_gives_back_the_same_map_bit_for_bit(tmp_path: Path, method: str) -> None:
    scores, ratings = MAKERS[method](300)
    fitted = fit(scores, ratings, method, note="two raters, CC BY 4.0 – „ja“")
    fitted.save(tmp_path / "new" / "map.json")
    again = load(tmp_path / "new" / "map.json")
    assert again == fitted and again.points == 300
    assert again(scores).tobytes() == fitted(scores).tobytes()
    again.save(tmp_path / "new" / "map.json")  # replaces
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["map.json"]


def test_a_file_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    fit(*rated()).save(tmp_path / "map.json")
    before = (tmp_path / "map.json").read_bytes()
    with pytest.raises(CalibrationError, match="cannot be written"):
        replace(fit(*rated(seed=1)), note="\ud800").save(tmp_path / "map.json")
    assert (tmp_path / "map.json").read_bytes() == before and len(list(tmp_path.iterdir())) == 1
    with pytest.raises(CalibrationError, match="cannot be written"):
        fit(*rated()).save(tmp_path / "map.json" / "below.json")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d | {"version": 99}, "version are .*99"),
        (lambda d: d | {"format": "other"}, "no calibration"),
        (lambda d: d | {"method": "beta"}, "damaged: .*method is 'beta'"),
        (lambda d: d | {"points": "many"}, "points is 'many'"),
        (lambda d: d | {"knots": []}, "knots must rise"),
        (lambda d: d | {"knots": d["knots"][::-1]}, "knots must rise"),
        (lambda d: d | {"knots": [[0.0, 1.0, 2.0]]}, "damaged"),
        (lambda d: d | {"knots": [[0.0, 2.0], [1.0, float("nan")]]}, "not a finite number"),
        (lambda d: d | {"knots": [[0.0, 2.0], [1.0, 99.0]]}, "keep to the ratings' range"),
        (lambda d: d | {"knots": [["0", 2.0]]}, "not a finite number"),
        (lambda d: d | {"low": None}, "not a finite number"),
        (lambda d: d | {"low": 10**400}, "not a finite number"),
        (lambda d: d | {"colour": "blue"}, "unexpected keyword argument 'colour'"),
        (lambda d: {k: v for k, v in d.items() if k != "points"}, "missing .* 'points'"),
        (lambda d: d | {"method": "platt", "slope": -1.0}, "expected slope"),
        (lambda d: [d], "no calibration"),
    ],
)
def test_a_damaged_or_foreign_file_is_refused(tmp_path: Path, change: Callable[..., object], message: str) -> None:
    file = tmp_path / "map.json"
    fit(*rated()).save(file)
    file.write_text(json.dumps(change(json.loads(file.read_text()))))
    with pytest.raises(CalibrationError, match=message) as error:
        load(file)
    assert str(file) in str(error.value)


def test_a_file_that_is_no_json_is_refused(tmp_path: Path) -> None:
    fit(*rated()).save(tmp_path / "map.json")
    whole = (tmp_path / "map.json").read_bytes()
    for name, content in {"half": whole[: len(whole) // 2], "bytes": b"\xff\xfe\x00", "deep": b"[" * 100_000}.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(CalibrationError, match="cannot be read as JSON"):
            load(tmp_path / name)
    with pytest.raises(CalibrationError, match="No such file"):
        load(tmp_path / "none.json")


@pytest.mark.parametrize(
    ("scores", "ratings", "method", "message"),
    [
        (UP, UP[:-1], "isotonic", "scores has 40 entries and human_ratings 39"),
        ([], [], "isotonic", "0 entries"),
        ([*UP[:-1], float("nan")], UP, "isotonic", "scores holds 1 NaN or infinite .* index 39"),
        (UP, [float("inf"), *UP[1:]], "isotonic", "human_ratings holds 1 NaN or infinite .* index 0"),
        (UP[:29], UP[:29], "isotonic", "29 ratings, expected at least 30"),
        ([UP], [UP], "isotonic", r"scores has shape \(1, 40\)"),
        (3.0, UP, "isotonic", r"scores has shape \(\)"),
        ([[1, 2], [3]], UP, "isotonic", "cannot be made an array"),
        ([str(v) for v in UP], UP, "isotonic", "scores holds <U2 values"),
        ([None, *UP[1:]], UP, "isotonic", "scores holds object values"),
        (UP, [complex(v) for v in UP], "isotonic", "complex128"),
        ([0.3] * 40, UP, "isotonic", "scores are all 0.3"),
        (UP, [4] * 40, "isotonic", "human_ratings are all 4"),
        (UP, [1] * 40, "platt", "human_ratings are all 1, .*two classes"),
        (UP, [0, 1, 2, *[1] * 37], "platt", "human_ratings holds 2, platt expects 0 and 1"),
        (UP, UP[::-1], "isotonic", r"do not rise with scores: Pearson r is -1\.000"),
        (UP, [1] * 20 + [0] * 20, "platt", "do not rise with scores"),
        (UP, UP, "spline", "method is 'spline', expected one of isotonic, platt"),
    ],
)
def test_bad_input_is_refused(scores: object, ratings: object, method: str, message: str) -> None:
    for attempt in (fit, cross_validate) if "rise" not in message else (fit,):
        with pytest.raises(CalibrationError, match=message):
            attempt(scores, ratings, method)  # type: ignore[arg-type]


def test_a_level_map_is_refused() -> None:
    with pytest.raises(CalibrationError, match=r"is level: scores say too little .* smaller min_block than 25"):
        fit(UP, [1, 2] * 20, min_block=25)


def test_bad_settings_are_refused() -> None:
    with pytest.raises(ConfigError, match="min_block is 0"):
        fit(*rated(), min_block=0)
    with pytest.raises(ConfigError, match="folds is 1"):
        cross_validate(*rated(), folds=1)
    with pytest.raises(ConfigError, match="seed is -1"):
        cross_validate(*rated(), seed=-1)
    with pytest.raises(CalibrationError, match="41 folds"):
        cross_validate(UP, UP, folds=41)
    with pytest.raises(CalibrationError, match="3 points of the rarer class cannot fill 5 folds"):
        cross_validate(UP, [0] * 37 + [1] * 3, "platt")
    for value in (float("nan"), float("inf")):
        with pytest.raises(CalibrationError, match="NaN or infinite"):
            fit(*rated())([0.0, value])


@METHODS
def test_no_point_is_scored_by_a_fit_that_saw_it(method: str) -> None:
    scores, ratings = MAKERS[method](100)
    seen = cross_validate(scores, ratings, method, seed=3)
    assert np.bincount(seen.fold).tolist() == [20] * 5
    if method == "platt":
        assert np.ptp(np.bincount(seen.fold[ratings == 1])) <= 1  # each class is dealt out evenly
    for k in range(5):  # the fit to the other folds, and nothing else
        own = seen.fold == k
        assert np.array_equal(seen.predicted[own], fit(scores[~own], ratings[~own], method)(scores[own]))


def test_a_rating_does_not_reach_its_own_prediction() -> None:
    scores, ratings = rated(100)
    before = cross_validate(scores, ratings)
    ratings[17] = 5.0 if ratings[17] < 3 else 1.0
    after = cross_validate(scores, ratings)
    own = before.fold == before.fold[17]
    assert np.array_equal(before.fold, after.fold)
    assert np.array_equal(before.predicted[own], after.predicted[own])
    assert not np.array_equal(before.predicted[~own], after.predicted[~own])


def test_cross_validation_tells_gain_from_noise() -> None:
    curve = cross_validate(*rated(1000)).quality
    raw, line, after = curve.values()
    assert after["r"] > line["r"] + 0.005 and after["RMSE"] < 0.7 * line["RMSE"] < raw["RMSE"]
    chance = np.random.default_rng(1)
    noise = cross_validate(chance.random(300), chance.random(300)).quality
    assert abs(noise["isotonic, cross-fitted"]["r"]) < 0.15  # a fit scored on its own points would show a gain
    again = cross_validate(*rated(1000))
    assert again.quality == curve and cross_validate(*rated(1000), seed=1).quality != curve


@METHODS
def test_a_fold_that_falls_is_levelled(method: str) -> None:
    scores, ratings = MAKERS[method](200)
    seen = cross_validate(-scores, ratings, method)
    level = [ratings[seen.fold != k].mean() for k in range(5)]
    assert seen.predicted == pytest.approx(np.array(level)[seen.fold], abs=0.01)


def test_binary_measures() -> None:
    scores, ratings = judged(2000)
    raw, rate, after = cross_validate(scores, ratings, "platt").quality.values()
    assert np.isnan(list(raw.values())).all()  # not probabilities
    assert after["Brier"] < 0.6 * rate["Brier"] and after["log loss"] < 0.6 * rate["log loss"] and after["ECE"] < 0.03
    wrong = 1 / (1 + np.exp(-0.5 * scores))  # probabilities, badly calibrated
    raw, _, after = cross_validate(wrong, ratings, "isotonic").quality.values()
    assert raw["ECE"] > 0.15 and after["ECE"] < 0.04
    assert raw["Brier"] == pytest.approx(np.mean((wrong - ratings) ** 2))
    assert raw["log loss"] == pytest.approx(-np.log(np.where(ratings > 0, wrong, 1 - wrong)).mean())


def test_reliability_bins() -> None:
    bins = reliability(np.repeat([0.1, 0.9], 20), [*[0] * 18, *[1] * 2, *[1] * 20], bins=2)
    assert [(b.count, b.observed) for b in bins] == [(20, 0.1), (20, 1.0)]
    assert (bins[0].low, bins[0].high) == pytest.approx((0.0279, 0.3010), abs=1e-4)  # Wilson, by hand
    assert bins[1].low == pytest.approx(0.8389, abs=1e-4) and bins[1].high == pytest.approx(1.0)
    (one,) = reliability(np.zeros(10), np.arange(10.0))
    stats = pytest.importorskip("scipy.stats")
    low, high = stats.t.interval(0.95, 9, 4.5, stats.sem(np.arange(10.0)))
    assert (one.low, one.high) == pytest.approx((low, high), rel=0.003)
    assert len(reliability(*rated(45))) == 4 and len(reliability(*rated(4000), bins=12)) == 12
    with pytest.raises(CalibrationError, match="predicted has 2 entries"):
        reliability([0.1, 0.2], [1.0])


@pytest.mark.parametrize("n", [20, 21, 25, 39, 40, 45, 99, 100, 101, 1000])
def test_unlike_predictions_of_two_values_share_no_bin(n: int) -> None:
    for ones in {1, n // 3, n // 2, n // 2 + 1, n - 1, *range(2, n, 1 + n // 50)}:
        p = np.repeat([0.0, 1.0], [n - ones, ones])
        assert [(b.predicted, b.observed, b.count) for b in reliability(p, 1 - p)] == [(0, 1, n - ones), (1, 0, ones)]


def test_probabilities_that_are_always_wrong_are_wholly_off() -> None:
    wrong = np.repeat([0.0, 1.0], [19, 21])
    row = cross_validate(wrong, 1 - wrong).quality["scores as they are"]
    assert row["ECE"] == 1.0 == row["Brier"]


@pytest.mark.parametrize("n", [20, 21, 45, 99, 100, 101, 997, 1000, 4000])
def test_bins_of_unequal_predictions_hold_equally_many(n: int) -> None:
    chance = np.random.default_rng(n)
    found = reliability(chance.normal(0, 1, n), chance.random(n))
    counts = [b.count for b in found]
    assert len(counts) == min(10, n // 10) and sum(counts) == n and max(counts) - min(counts) <= 1
    assert [b.predicted for b in found] == sorted(b.predicted for b in found)


@pytest.mark.parametrize("seed", range(20))
def test_equal_predictions_share_a_bin(seed: int) -> None:
    chance = np.random.default_rng(seed)
    x = chance.beta(0.3, 0.3, 300).round(1 + seed % 2)
    bins, ordered = reliability(x, x), np.sort(x)
    edges = np.cumsum([b.count for b in bins])
    assert edges[-1] == 300 and len(bins) > 2
    assert (ordered[edges[:-1] - 1] < ordered[edges[:-1]]).all()  # where a bin ends, so does a run of equal ones
    assert [b.predicted for b in bins] == pytest.approx([part.mean() for part in np.split(ordered, edges[:-1])])


def test_intervals_cover_what_they_promise() -> None:
    hit = [b.low <= b.predicted <= b.high for seed in range(100) for b in reliability(*_fair(seed))]
    assert 0.92 < np.mean(hit) < 0.985


def _fair(seed: int) -> tuple[np.ndarray, np.ndarray]:
    chance = np.random.default_rng(seed)
    p = chance.uniform(0.1, 0.9, 400)
    return p, (chance.random(400) < p).astype(float)


@METHODS
@pytest.mark.parametrize("ending", ["png", "svg"])
def test_the_plot_is_the_same_file_each_time(tmp_path: Path, method: str, ending: str) -> None:
    scores, ratings = MAKERS[method]()
    files = [
        save(
            draw_reliability(fit(scores, ratings, method), cross_validate(scores, ratings, method)),
            tmp_path / f"{i}.{ending}",
        )
        for i in range(2)
    ]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_the_plot_shows_curve_diagonal_bins_and_histograms() -> None:
    scores, ratings = rated()
    fitted, seen = fit(scores, ratings), cross_validate(scores, ratings)
    the_map, agreement, counts, held_out = draw_reliability(fitted, seen).axes
    x, y = the_map.lines[0].get_data()
    assert np.array_equal(y, fitted(x))
    assert agreement.lines[0].get_label() == "prediction = rating"
    bins = agreement.containers[0].lines[0]
    assert list(bins.get_ydata()) == [b.observed for b in reliability(seen.predicted, ratings)]
    for axes in (counts, held_out):
        assert sum(bar.get_height() for bar in axes.patches) == len(scores)


@pytest.mark.parametrize("target", ["folder.png", "file/plot.png", "file/deep/plot.svg"])
def test_a_figure_that_cannot_be_written_is_named(tmp_path: Path, target: str) -> None:
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ConfigError, match=r"figure '.*(png|svg)' cannot be written: .*; choose another path"):
        save(figure(), tmp_path / target)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "folder.png"]


def test_a_figure_that_cannot_be_drawn_leaves_what_was_there(tmp_path: Path) -> None:
    save(figure(), tmp_path / "a.png")
    before, broken = (tmp_path / "a.png").read_bytes(), figure()
    broken.suptitle("$x^{$")
    with pytest.raises(ValueError, match="x"):
        save(broken, tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes() == before and [p.name for p in tmp_path.iterdir()] == ["a.png"]


def table(path: Path, rows: list[list[object]], encoding: str = "utf-8") -> str:
    with path.open("w", encoding=encoding, newline="") as file:
        csv.writer(file).writerows(rows)
    return str(path)


def scored(path: Path, encoding: str = "utf-8") -> str:
    rows = [[s, f'line one,\n"two" {i}', r] for i, (s, r) in enumerate(zip(*rated(120), strict=True))]
    return table(path, [["score", "text", "rating"], *rows], encoding)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, out, plot = scored(tmp_path / "ratings.csv", "utf-8-sig"), tmp_path / "map.json", tmp_path / "plot.png"
    command = ["calibrate", file, "--out", str(out), "--plot", str(plot), "--note", "ours"]
    assert cli.main(command) == 0
    shown = capsys.readouterr().out
    assert cross_validate(*rated(120)).table() in shown and "n = 120" in shown
    assert load(out) == fit(*rated(120), note="ours")
    first = plot.read_bytes()
    assert first.startswith(b"\x89PNG")
    assert cli.main(command) == 2
    assert "map.json is there already" in capsys.readouterr().err
    assert cli.main([*command, "--force"]) == 0 and plot.read_bytes() == first


def test_the_command_reads_texts_with_the_sensor(tmp_path: Path) -> None:
    lines = ["I am so happy", "thank you, this is lovely", "I hate this", "I am so sad", "the bus leaves at nine"]
    texts = [f"{line} {i}" for i in range(8) for line in lines]
    ratings = [5, 5, 1, 2, 3] * 8
    file = table(tmp_path / "r.csv", [["V", "text"], *zip(ratings, texts, strict=True)])
    assert cli.main(["calibrate", file, "--rating", "V", "--out", str(tmp_path / "map.json")]) == 0
    polarity = [reading.polarity for reading in shipped_sensor().read(texts)]
    assert load(tmp_path / "map.json") == fit(polarity, ratings)


def test_the_command_takes_platt(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = table(tmp_path / "r.csv", [["p", "said"], *zip(*judged(100), strict=True)])
    out = tmp_path / "map.json"
    options = ["--score", "p", "--rating", "said", "--folds", "4", "--seed", "2", "--out", str(out)]
    assert cli.main(["calibrate", file, "--method", "platt", *options]) == 0
    assert load(out) == fit(*judged(100), method="platt")
    assert cross_validate(*judged(100), "platt", folds=4, seed=2).table() in capsys.readouterr().out


HEAD = "text,score,rating\n"
ROWS = "".join(f"t,{i},{i % 7 + i}\n" for i in range(40))


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        (HEAD + ROWS + '"two\nlines",x,1\n\nt,1\nt,1,nan\n', [],
         "line 42 has score 'x', expected a number; line 45 has 2 cells, expected 3; line 46 has rating 'nan'"),
        (HEAD + ROWS + "t,,\n" * 14, [], "line 51 has score '', expected a number; and 4 more"),
        (HEAD + ROWS + "t,,\n" * 14, [], "14 of them lack a value: --drop-missing leaves those out\n"),
        (HEAD + "t,1,2\n" * 17 + "t,,2\n", [],
         "leaves those out; all 18 rows are fewer than the 30 ratings that are needed: collect more too"),
        (HEAD + "t,1,2\n" * 29 + "t,x,2\n" * 2, [],
         "mend them or collect more: without them 29 rows are left, and at least 30 ratings are needed"),
        (HEAD + "t,1,2\n" * 29 + "t,,2\n" * 2, ["--drop-missing"],
         "29 ratings, expected at least 30; 2 rows that lack a value were left out: mend them or collect more"),
        (HEAD + ROWS, ["--rating", "V"], "0 columns are named 'V', expected one; the first line has 'text', 'score'"),
        (HEAD + ROWS, ["--score", "pol"], "0 columns are named 'pol'"),
        (HEAD + ROWS, ["--score", "scores"], "with --text or --score, and --rating; did you mean 'score'?"),
        (HEAD + ROWS, ["--text", "text", "--score", "score"], "--text is 'text' and --score 'score', expected one"),
        ("Äußerung;rating\n" + "So.;1\n" * 40, [], "0 columns are named 'text', expected one; the first line has 'Äuß"),
        ("Äußerung;Wertung\nSo.;1\n", [], "0 columns are named 'text' and 0 columns are named 'rating', expected one"),
        ("score;rating\n1;2\n", [], "1 ratings, expected at least 30"),
        ("score;rating\n1;2\n", ["--delimiter", "comma"],
         "parted by comma the first line has 'score;rating', expected 'rating' in it; give --delimiter semicolon"),
        ("text;rating\n" + 'So,"he said";1\n' * 40, ["--delimiter", "comma"], "give --delimiter semicolon"),
        ("score:rating\n1:2\n", [], "has 'score:rating'"),
        ("score;rating\n0,5;2\n", [], "line 2 has score '0,5', expected a number with a decimal point"),
        (HEAD + ROWS + "t,NA,1\nt,1,\n", [], "2 of them lack a value: --drop-missing leaves those out"),
        (HEAD + ROWS + "t,NA,1\nt,1\n", ["--drop-missing"], "these rows: line 43 has 2 cells, expected 3\n"),
        (HEAD + ROWS + "t,x,1\n", ["--drop-missing"], "line 42 has score 'x', expected a number\n"),
        (HEAD + "t,,1\n" * 40, ["--drop-missing"], "0 ratings, expected at least 30; 40 rows that lack a value were"),
        ("text,rating\n" + "t,1\n" * 40 + "  ,2\n", [], "line 42 has an empty text, expected words; 1 of them lack"),
        ("score,rating,rating\n1,2,3\n", [], "2 columns are named 'rating'"),
        ("", [], "the first line has nothing"),
        (HEAD, [], "ratings 'ratings.csv': a header and no rows, expected one a rated text; add some"),
        ("\n" + HEAD + "\n\n", [], "ratings 'ratings.csv': a header and no rows"),
        (HEAD + "t,1,2\n", [], "1 ratings, expected at least 30"),
        (HEAD + '"open,1,2\n', [], "from line 2: not readable as CSV: unexpected end of data; check its double quotes"),
        (b"text;rating\nSo.;1\n\xc4u\xdferung;1\n", [], "line 3: not UTF-8 (byte 0xc4); save it as UTF-8"),
        (HEAD + ROWS, ["--method", "platt"], "platt expects 0 and 1 only"),
        (HEAD + ROWS, ["--folds", "1"], "folds is 1"),
        (HEAD + ROWS, ["--plot", "plot.pdf"], "--plot is 'plot.pdf', expected a name ending in .png or .svg"),
        (HEAD + ROWS, ["--plot", "map.json"], "name one file twice"),
        (HEAD + ROWS, ["--out", "ratings.csv", "--force"], "name one file twice"),
        (HEAD + ROWS, ["--out", ".", "--force"], "is there already; name another\n"),
        (HEAD + ROWS, ["--out", "ratings.csv/map.json"], "calibration 'ratings.csv/map.json' cannot be written"),
    ],
)  # fmt: skip
def test_the_command_explains_mistakes(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    content: str | bytes,
    options: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    file = Path("ratings.csv")
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    before = file.read_bytes()
    assert cli.main(["calibrate", "ratings.csv", "--out", "map.json", *options]) == 2
    error = capsys.readouterr().err
    assert message in error and error.startswith("therapysim: ") and "Traceback" not in error
    assert file.read_bytes() == before and list(tmp_path.iterdir()) == [tmp_path / "ratings.csv"]


@pytest.mark.parametrize("sign", [";", "\t", "|"])
def test_the_delimiter_is_found_and_rows_without_a_value_are_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], sign: str
) -> None:
    scores, ratings = rated(120)
    rows = [[str(s), f'one, "two"{sign}\nthree', str(r)] for s, r in zip(scores, ratings, strict=True)]
    lacking = [["NA", "t", "3"], ["0.5", "t", " "], ["nan", "t", "1"], ["0.5", "t", "null"]]
    file = tmp_path / "r.csv"
    with file.open("w", encoding="utf-8", newline="") as out:
        csv.writer(out, delimiter=sign).writerows([["score", "text", "rating"], *rows[:50], *lacking, *rows[50:]])
    assert cli.main(["calibrate", str(file), "--drop-missing", "--out", str(tmp_path / "map.json")]) == 0
    assert "seed 0, 4 rows without a value left out" in capsys.readouterr().out
    assert load(tmp_path / "map.json") == fit(*rated(120))


def test_texts_that_say_none_are_texts(tmp_path: Path) -> None:
    texts = ["I am so happy", "none", "I hate this", "-", ""] * 8
    file = table(tmp_path / "r.csv", [["text", "rating"], *zip(texts, [5, 3, 1, 2, 3] * 8, strict=True)])
    assert len(read_ratings(file, None, "rating", drop_missing=True).scores) == 32


SPOKEN = ("I am so happy", "thank you, this is lovely", "I hate this", "I am so sad", "the bus leaves at nine")


def spoken(path: Path, column: str, ratings: Sequence[int]) -> str:
    return table(path, [[column, "rating"], *zip(SPOKEN * 8, list(ratings) * 8, strict=True)])


def test_what_was_scored_is_on_the_screen_and_a_text_may_have_any_column(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = spoken(tmp_path / "r.csv", "Äußerung", (5, 5, 1, 2, 3))
    assert cli.main(["calibrate", file, "--text", "Äußerung", "--out", str(tmp_path / "a.json")]) == 0
    assert "\nscores: polarity of column Äußerung\nn = 40 " in capsys.readouterr().out
    assert load(tmp_path / "a.json") == fit(
        [r.polarity for r in shipped_sensor().read(SPOKEN * 8)], [5, 5, 1, 2, 3] * 8
    )
    assert cli.main(["calibrate", scored(tmp_path / "s.csv"), "--out", str(tmp_path / "s.json")]) == 0
    assert "\nscores: column score\nn = 120 " in capsys.readouterr().out


def test_a_named_text_is_read_even_beside_a_score(tmp_path: Path) -> None:
    rows = [[0.5, line, rating] for line, rating in zip(SPOKEN * 6, [5, 5, 1, 2, 3] * 6, strict=True)]
    found = read_ratings(table(tmp_path / "r.csv", [["score", "text", "rating"], *rows]), None, "rating", text="text")
    assert found.by_sensor and found.scores == [r.polarity for r in shipped_sensor().read(SPOKEN * 6)]


def test_scores_that_do_not_rise_are_named_and_a_score_is_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, out = spoken(tmp_path / "r.csv", "text", (1, 1, 5, 4, 3)), tmp_path / "map.json"
    assert cli.main(["calibrate", file, "--out", str(out)]) == 2 and not out.exists()
    error = capsys.readouterr().err
    assert "do not rise with scores: Pearson r is -" in error
    assert "; scores: polarity of column text, how pleasant its words are: for rated therapist turns" in error
    assert error.endswith("give --score COLUMN\n")
    falling = [["score", "rating"], *zip(UP, UP[::-1], strict=True)]
    assert cli.main(["calibrate", table(tmp_path / "f.csv", falling), "--out", str(out)]) == 2
    assert capsys.readouterr().err.endswith("belong together; scores: column score\n")


def test_a_rated_silence_with_a_score_counts_and_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [[s, "  " if i == 3 else "t", r] for i, (s, r) in enumerate(zip(*rated(120), strict=True))]
    file = table(tmp_path / "r.csv", [["score", "text", "rating"], *rows])
    assert cli.main(["calibrate", file, "--out", str(tmp_path / "map.json")]) == 0
    assert "\nscores: column score (empty texts: 1, counted)\n" in capsys.readouterr().out
    assert load(tmp_path / "map.json") == fit(*rated(120))


def test_turns_of_ones_own_are_scored_as_the_page_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
    block = next(b.removeprefix("python\n") for b in page.split("```") if b.startswith("python\nimport csv"))
    lines = (ROOT / "tests" / "data" / "pairs.jsonl").read_text(encoding="utf-8").splitlines()
    pairs = [json.loads(line) for line in lines[:15]]
    turns = [[pair["context"], pair[side], side == "better"] for pair in pairs for side in ("better", "worse")]
    table(tmp_path / "turns.csv", [["context", "turn", "rating"], *([c, t, int(r)] for c, t, r in turns)])
    monkeypatch.chdir(tmp_path)
    exec(compile(block, "extending.md", "exec"), {})
    assert cli.main(["calibrate", "ratings.csv", "--method", "platt"]) == 0
    wanted = judge([c for c, _, _ in turns], [t for _, t, _ in turns]).scores
    assert load("calibration.json") == fit(wanted, [r for _, _, r in turns], method="platt")


def test_a_map_that_is_no_better_than_none_is_warned_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    chance = np.random.default_rng(4)
    noise = [["score", "rating"], *zip(chance.random(300), chance.integers(1, 6, 300), strict=True)]
    before = fit(*np.array(noise[1:], dtype=float).T)  # it passes as a map that rises
    assert cli.main(["calibrate", table(tmp_path / "n.csv", noise), "--out", str(tmp_path / "n.json")]) == 0
    shown = capsys.readouterr()
    assert "therapysim: warning: the map is no better than none" in shown.err and load(tmp_path / "n.json") == before
    assert cli.main(["calibrate", scored(tmp_path / "r.csv"), "--out", str(tmp_path / "r.json")]) == 0
    shown = capsys.readouterr()
    assert shown.err == "" and "on ratings held out, 95 %: r 0." in shown.out


def test_the_gain_over_no_map_is_that_of_held_out_ratings() -> None:
    scores, ratings = rated(200)
    seen = cross_validate(scores, ratings)
    for k in range(5):
        assert seen.level[seen.fold == k] == pytest.approx(ratings[seen.fold != k].mean())
    gap = (seen.level - ratings) ** 2 - (seen.predicted - ratings) ** 2
    held = seen.held_out
    assert held.gain.mean == pytest.approx(gap.mean()) and held.gain.low < gap.mean() < held.gain.high
    half = 1.96 * gap.std(ddof=1) / np.sqrt(len(gap))
    assert held.gain.high - held.gain.low == pytest.approx(2 * half, rel=0.15)
    assert held.error.mean == pytest.approx(seen.quality["isotonic, cross-fitted"]["RMSE"] ** 2)
    assert held.r is not None and held.r.mean == seen.quality["isotonic, cross-fitted"]["r"]
    assert np.arctanh(held.r.high) - np.arctanh(held.r.low) == pytest.approx(2 * 1.96 / np.sqrt(197), rel=1e-3)
    binary = cross_validate(*judged(400), "platt").held_out
    assert binary.r is None and binary.gain.low > 0 and binary.warning == ""


def test_noise_is_warned_of_nearly_always_and_a_curve_never() -> None:
    noise = [cross_validate(*np.random.default_rng(seed).random((2, 200))).held_out for seed in range(40)]
    assert sum(bool(held.warning) for held in noise) >= 38
    assert not any(cross_validate(*rated(100, seed)).held_out.warning for seed in range(20))


def test_a_plot_that_cannot_be_written_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, out = scored(tmp_path / "r.csv"), str(tmp_path / "map.json")
    assert cli.main(["calibrate", file, "--out", out, "--plot", f"{file}/plot.png"]) == 2
    assert "plot.png' cannot be written" in capsys.readouterr().err


def test_the_command_names_a_missing_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path, why in (("nowhere.csv", "no such file"), (str(tmp_path), "Is a directory")):
        assert cli.main(["calibrate", path]) == 2
        assert f"ratings {path!r}: {why}, expected a CSV file; check the path" in capsys.readouterr().err
