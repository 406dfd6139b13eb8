"""Tone and relevance of candidates: the embedded stand-ins, and tiny models in their place."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from therapysim.cli import main as cli
from therapysim.envs.batch import SessionBatch, SessionConfig
from therapysim.errors import ConfigError
from therapysim.rewards.reading.relevance import open_relevance
from therapysim.rewards.reading.tone_guard import open_tone_guard
from therapysim.train.pairs.pair_settings import PairSettings
from therapysim.train.pairs.run import draw_set
from therapysim.train.pairs.scoring import open_scorer

TEXTS = ["You sound worn out by all of this.", "Shut up, I am sick of you.", "The bus is late.", ""]

#: As small a draw as there is.
SMALL: dict[str, Any] = {
    "personas": ("duncan",), "sessions": 1, "states": 1, "max_turns": 1, "candidates": 4, "horizon": 0,
    "teachers": ("cbt",), "vary": False,
}  # fmt: skip


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Tiny checkpoints: a sentiment model, an encoder, and a classifier of something else."""
    pytest.importorskip("torch"), pytest.importorskip("transformers")
    from tests.parts.tiny_encoder import make_encoder

    folder = tmp_path_factory.mktemp("encoders")
    return {
        "sentiment": make_encoder(folder / "sentiment", ["negative", "neutral", "positive"]),
        "encoder": make_encoder(folder / "encoder"),
        "other": make_encoder(folder / "other", ["cat", "dog"]),
    }


def draw(out: Path, **changes: Any) -> dict[str, Any]:
    """The only row of a small draw."""
    batch = SessionBatch(SessionConfig(max_turns=1), rubric="grpo")
    draw_set("pairs", PairSettings(**{**SMALL, "out": str(out), **changes}), batch)
    row: dict[str, Any] = json.loads((out / "drawn.jsonl").read_text(encoding="utf-8"))
    return row


def test_the_stand_ins_are_the_shipped_judges() -> None:
    scores = np.array(open_scorer()(TEXTS))
    assert scores[:, 0] == pytest.approx(open_tone_guard().negativity(TEXTS), abs=1e-6)
    assert scores[:, 1] == pytest.approx(open_relevance()(TEXTS), abs=1e-6)
    assert scores[1, 0] > 0.99 > scores[0, 0] and scores[0, 1] > scores[2, 1] and scores[3].tolist() == [0, 0]
    assert open_scorer()([]) == [] and open_scorer().about == {"tone": "embedded", "relevance": "embedded"}


def test_models_stand_in_their_place(models: dict[str, Path]) -> None:
    scorer = open_scorer(str(models["sentiment"]), str(models["encoder"]))
    scores = np.array(scorer(TEXTS))
    assert scores[:, 0] == pytest.approx(open_tone_guard(models["sentiment"]).negativity(TEXTS), abs=1e-5)
    assert scores[:, 1] == pytest.approx(open_relevance(models["encoder"])(TEXTS), abs=1e-5)
    assert scores[3].tolist() == [0, 0] and not np.allclose(scores[:3], np.array(open_scorer()(TEXTS))[:3], atol=1e-2)
    assert len(scorer.about["tone"]) == len(scorer.about["relevance"]) == 16


def test_each_candidate_is_scored_at_the_draw(models: dict[str, Path], tmp_path: Path) -> None:
    names = {"tone_model": str(models["sentiment"]), "relevance_model": str(models["encoder"])}
    for number, changes in enumerate(({}, names)):
        row = draw(tmp_path / str(number), **changes)
        scores = open_scorer(*changes.values())([own["text"] for own in row["found"]])
        told = [(own["outcome"]["tone"], own["outcome"]["relevance"]) for own in row["found"]]
        assert np.array(told) == pytest.approx(np.array(scores), abs=1e-5) and len(told) == 4
        about = json.loads((tmp_path / str(number) / "settings.json").read_text())["speakers"]["judges"]
        assert about == dict(open_scorer(*changes.values()).about)


def test_a_set_scored_by_other_models_is_refused(models: dict[str, Path], tmp_path: Path) -> None:
    draw(tmp_path)
    with pytest.raises(ConfigError, match="drawn with drawn_by: tone_model ''"):
        draw(tmp_path, tone_model=str(models["sentiment"]))


def test_a_model_that_was_trained_on_is_refused(models: dict[str, Path], tmp_path: Path) -> None:
    """The same folder, other weights: its fingerprint tells."""
    import shutil

    import torch
    import transformers

    folder = shutil.copytree(models["sentiment"], tmp_path / "model")
    draw(tmp_path / "set", tone_model=str(folder))
    model = transformers.AutoModelForSequenceClassification.from_pretrained(folder)
    with torch.no_grad():
        model.classifier.bias += 1.0
    model.save_pretrained(folder)
    open_scorer.cache_clear()  # as in another process
    with pytest.raises(ConfigError, match="drawn with speakers: judges"):
        draw(tmp_path / "set", tone_model=str(folder))


@pytest.mark.parametrize(
    ("setting", "model", "told"),
    [
        ("tone_model", "nowhere", "expected folder or hub id of a sentiment model.*no such folder"),
        ("tone_model", "encoder", "expected folder or hub id of a sentiment model"),
        ("tone_model", "other", "expected folder or hub id of a sentiment model.*cat, dog"),
        ("relevance_model", "nowhere", "expected folder or hub id of an encoder.*no such folder"),
        ("relevance_model", "empty", "expected folder or hub id of an encoder.*no config.json"),
    ],
)
def test_a_model_that_cannot_be_loaded_is_named(
    models: dict[str, Path], tmp_path: Path, setting: str, model: str, told: str
) -> None:
    (tmp_path / "empty").mkdir()
    name = str(models.get(model, tmp_path / "empty" if model == "empty" else model))
    with pytest.raises(ConfigError, match=f"{setting} is '{name}', {told}"):
        draw(tmp_path / "set", **{setting: name})
    assert not (tmp_path / "set").exists()  # told before anything is played


def test_the_command_names_the_setting(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "set"
    for options, told in (
        (["--tone-model", "nowhere"], "tone_model is 'nowhere', expected folder or hub id"),
        (["--stages", "safety", "tonne"], "stages"),
        (["--stages"], "stages"),
        (["--least-relevance", "2"], "least_relevance"),
    ):
        assert cli.main(["data", "pairs", "--out", str(out), *options]) == 2
        assert told in capsys.readouterr().err and not out.exists()
