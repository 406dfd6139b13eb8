"""The writer of new texts: it learns what it is tuned on, and gives nothing that the data has."""

import json
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from therapysim.errors import ConfigError  # noqa: E402
from therapysim.models.checkpoint import load  # noqa: E402
from therapysim.rewards.matrix import LABELS  # noqa: E402
from therapysim.train.sensor import new_texts as sensor_texts  # noqa: E402
from therapysim.train.sensor.new_texts import draw, tune, write_texts  # noqa: E402
from therapysim.train.sensor.sensor_settings import TextSettings  # noqa: E402

FAST = {"batch_size": 8, "max_tokens": 12, "draw_at_once": 4}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "emotions.txt").write_text("\n".join(LABELS))
    rows = [f"so glad\t{LABELS.index('joy')}\ta", f"so low\t{LABELS.index('sadness')},{LABELS.index('grief')}\tb"]
    (folder / "train.tsv").write_text("\n".join(rows) + "\n")
    (folder / "dev.tsv").write_text(f"held out\t{LABELS.index('neutral')}\tc\n")
    return folder


def test_it_writes_what_it_was_tuned_on_and_stops(data: Path, tiny_model: Path) -> None:
    settings = TextSettings(
        data=str(data), model=str(tiny_model), out="out.json", epochs=60, lr=1e-2, temperature=0.01, **FAST
    )
    torch.manual_seed(0)
    model, tokenizer = load(tiny_model)
    tune(model, tokenizer, ["joy: so glad"] * 8 + ["sadness, grief: so low"] * 8, settings)
    found = draw(model.eval(), tokenizer, ["sadness, grief:", "joy:", "joy:"], settings)
    assert sorted(found) == ["so glad", "so glad", "so low"]


def test_texts_of_the_data_repeats_and_blanks_are_dropped(
    data: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def fake_draw(model: object, tokenizer: object, prompts: list[str], settings: TextSettings) -> list[str]:
        asked.extend(prompts)
        return ["new one", "so glad", "held out", "", "new one", "another"]

    monkeypatch.setattr(sensor_texts, "draw", fake_draw)
    out = tmp_path / "made" / "texts.json"
    kept = write_texts(TextSettings(data=str(data), model=str(tiny_model), out=str(out), n=200, epochs=1, **FAST))
    assert kept == 2 and json.loads(out.read_text()) == ["new one", "another"]
    assert len(asked) == 200 and {"joy:", "grief, sadness:", "pride:"} <= set(asked)
    # Half are asked for one emotion of the 28, half for labels as the data has them.
    assert 60 < sum(a in ("joy:", "grief, sadness:") for a in asked) < 145


def test_equal_seeds_draw_equal_texts(data: Path, tiny_model: Path, tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("a.json", "b.json", "c.json")]
    for file, seed in zip(files, (0, 0, 1), strict=True):
        write_texts(
            TextSettings(data=str(data), model=str(tiny_model), out=str(file), n=6, epochs=1, seed=seed, **FAST)
        )
    a, b, c = (file.read_text() for file in files)
    assert a == b != c


def test_settings_are_checked() -> None:
    with pytest.raises(ConfigError, match="rare is 2"):
        TextSettings(data="d", model="m", out="o", rare=2)
    with pytest.raises(ConfigError, match="n is 0"):
        TextSettings(data="d", model="m", out="o", n=0)
