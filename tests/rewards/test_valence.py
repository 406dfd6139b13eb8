"""The reading of valence: softening, the map onto people's ratings, and the recipe that fits it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from therapysim.cli.main import main
from therapysim.errors import CalibrationError, ConfigError
from therapysim.rewards.calibration import Calibration, load
from therapysim.rewards.matrix import LABELS
from therapysim.rewards.reading.emotions import WEIGHTS
from therapysim.rewards.reading.valence import VALENCE, ValenceReader, ValenceSettings, soft_polarity, soften
from therapysim.train.sensor import valence_map as valence
from therapysim.train.sensor.corpus import file_hash

TEXTS = [
    "My son died last week and I cannot stop crying.",
    "The meeting was put off again.",
    "The train leaves from platform two.",
    "We had a lovely evening, thank you so much!",
]


def test_softening_keeps_the_order_and_lifts_the_faint() -> None:
    p = np.array([0.0, 0.01, 0.2, 0.5, 0.99, 1.0])
    soft = soften(p, 2.0)
    assert (np.diff(soft) > 0).all() and soft[3] == 0.5 and soft[1] == pytest.approx(1 / (1 + np.sqrt(99)))
    assert soften(p, 1.0) == pytest.approx(p, abs=1e-6)


def test_soft_polarity_by_hand() -> None:
    p = np.full(28, 1e-7)
    p[LABELS.index("sadness")] = 0.2  # log-odds log(1/4), halved: log(1/2), so p' = 1/3
    faint = 1 / (1 + np.sqrt(1e7))  # what is left of each of the other 27
    rest = 1.2 * faint  # of joy, grief and the other rows that reach Introspection; small beside 1/3
    assert soft_polarity(p[None])[0] == pytest.approx(-1 / 3, abs=4 * rest + 1e-3)
    assert soft_polarity(p[None], ValenceSettings(temperature=1.0))[0] == pytest.approx(-0.2, abs=1e-3)


def test_the_count_is_smooth_and_has_the_given_width() -> None:
    p = np.full(28, 1e-7)
    p[LABELS.index("joy")] = p[LABELS.index("fear")] = 0.5  # d = [0.5, 0, 0, -0.5] at any temperature, nearly
    p[LABELS.index("fear")] = 0.2
    d = np.array([0.5, -0.2])
    for width in (0.1, 0.4):
        n = (d**2 / (d**2 + width**2)).sum()
        found = soft_polarity(p[None], ValenceSettings(temperature=1.0, width=width))[0]
        assert found == pytest.approx(d.sum() / max(1.0, n), abs=1e-3)


def test_the_reader_uses_its_settings() -> None:
    sharp = ValenceReader(settings=ValenceSettings(temperature=0.5)).ratings(TEXTS)
    assert not np.allclose(sharp, ValenceReader().ratings(TEXTS), atol=0.01)


def test_texts_are_rated_in_the_order_people_would() -> None:
    reader = ValenceReader()
    ratings = reader.ratings(TEXTS)
    assert (np.diff(ratings) > 0.05).all() and ratings.min() >= 1 and ratings.max() <= 5
    assert reader(TEXTS) == pytest.approx((ratings - 3) / 2)
    assert reader([]).shape == (0,)


def test_a_map_and_a_sensor_of_ones_own() -> None:
    class Joyful:
        def __call__(self, texts: list[str]) -> np.ndarray:  # type: ignore[type-arg]
            return np.tile(np.eye(28)[LABELS.index("joy")], (len(texts), 1))

    line = Calibration("isotonic", 30, 1.0, 5.0, knots=((-1.0, 1.0), (1.0, 5.0)))
    assert ValenceReader(Joyful(), line)(["x"])[0] == pytest.approx(1.0, abs=0.01)  # type: ignore[arg-type]


def test_the_shipped_map_says_where_it_comes_from() -> None:
    shipped = load(VALENCE)
    assert "EmoBank" in shipped.note and "CC BY-SA 4.0" in shipped.note and shipped.points == 8062
    # A sensor trained anew needs a map fitted anew: `therapysim train valence`.
    assert file_hash(WEIGHTS / "emotions.onnx")[:12] in shipped.note


def test_settings_are_checked() -> None:
    with pytest.raises(ConfigError, match="temperature is 0"):
        ValenceSettings(temperature=0)
    with pytest.raises(ConfigError, match="width is -1"):
        ValenceSettings(width=-1)


def test_the_recipe_reads_train_fits_and_tells_of_dev(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("scipy")
    data, out = tmp_path / "emobank.csv", tmp_path / "valence.json"
    # The dev rows rate every text one lower, and there are fewer of them: the map must be that of the train rows.
    rows = [f'{i},{s},{v - (s == "dev")},3,3,"{t} {i}"' for s in ("train", "dev") for i in range(15) for t, v in zip(TEXTS, (1, 2, 3, 5), strict=True)]  # fmt: skip # noqa: E501
    data.write_text("id,split,V,A,D,text\n" + "\n".join([*rows, 'x,test,9,3,3,"never read"']) + "\n")
    assert main(["train", "valence", "--data", str(data), "--out", str(out)]) == 0
    assert load(out).points == 60 and load(out).high == 5.0 and load(out).low == 1.0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("| and isotonic | 0.9")


def test_the_grid_is_cross_fitted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A map that knows by heart what it was fitted to, and gives 0 elsewhere, scores nothing."""

    def fake_fit(scores: np.ndarray, ratings: np.ndarray, method: str) -> Any:  # type: ignore[type-arg]
        known = dict(zip(scores.tolist(), ratings.tolist(), strict=True))
        return lambda q: np.array([known.get(v, 0.01 * i) for i, v in enumerate(q.tolist())])

    monkeypatch.setattr(valence, "fit", fake_fit)
    ratings = np.random.default_rng(0).uniform(1, 5, 60)
    rows = [f'{i},train,{v:.3f},3,3,"{TEXTS[i % 4]} {i}"' for i, v in enumerate(ratings)]
    data = tmp_path / "emobank.csv"
    data.write_text("id,split,V,A,D,text\n" + "\n".join(rows) + "\n")
    (row,) = valence.grid(str(data), (2.0,), (0.1,))
    assert abs(row["r"]) < 0.4


def test_a_file_that_is_not_emobank_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = tmp_path / "x.csv"
    data.write_text("a,b\n1,2\n")
    assert main(["train", "valence", "--data", str(data), "--out", str(tmp_path / "o.json")]) == 2
    assert "no EmoBank file" in capsys.readouterr().err and not (tmp_path / "o.json").exists()
    with pytest.raises(CalibrationError, match="no rows of the split 'dev'"):
        from therapysim.train.sensor.valence_map import read_emobank

        data.write_text("id,split,V,A,D,text\n1,train,3,3,3,hello\n")
        read_emobank(str(data), "dev")
