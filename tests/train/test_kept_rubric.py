"""A rubric of one's own in a run: kept with it, carried into processes of patients, never changed in silence."""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("trl")

from tests.parts.own_rubric import MINE, working, write_mine
from therapysim.envs.batch import SessionBatch, SessionConfig, Start
from therapysim.errors import ConfigError
from therapysim.rewards import RubricSettings, open_rubric
from therapysim.rewards.rubric import Rubric
from therapysim.rewards.rubric_settings import PRESETS
from therapysim.train.grpo.grpo_settings import GRPOSettings
from therapysim.train.grpo.run import train
from therapysim.train.patient_processes import Office, Patients
from therapysim.train.runs.kept_rubric import keep_rubric, kept_settings, rubric_name
from therapysim.train.runs.policy_card import card

FILE = 'preset: grpo\nterms:\n  thanks: {class: "trained:Thanks", weight: 0.25, range: [0, 1]}\n'
TEXT = "Thank you for telling me. What is it like?"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return working(monkeypatch, tmp_path, "trained", FILE)


def change(folder: Path) -> None:
    """Another source of the same module."""
    write_mine(folder, "trained", MINE + "\n# another\n")
    sys.modules.pop("trained", None)


def test_a_run_keeps_its_rubric_and_goes_on_by_no_other_source(tiny_model: Path, folder: Path) -> None:
    def run(steps: int, **more: Any) -> None:
        train(GRPOSettings(
            model=str(tiny_model), out="run", max_steps=steps, save_steps=1, generations=2, batch_size=1,
            accumulation=2, max_turns=2, max_turn_tokens=6, validate_every=0, mask_cut_turns=False, rubric="mine.yaml",
            **more,
        ))  # fmt: skip

    run(1)
    told = json.loads((folder / "run" / "rubric.json").read_text())
    assert told["preset"] == "mine.yaml" and told["own"]["thanks"]["class"] == "trained:Thanks"
    assert told["own"]["thanks"]["weight"] == 0.25 and len(told["own"]["thanks"]["source"]) == 64
    row = json.loads((folder / "run" / "metrics.jsonl").read_text().splitlines()[0])
    assert "term/thanks" in row
    assert "the reward `mine.yaml`" in (folder / "run" / "policy" / "README.md").read_text().replace("The", "the")
    change(folder)
    with pytest.raises(ConfigError, match=r"learned by another rubric: own.thanks.source was .* and is "):
        run(2, resume=True)


def test_a_rubric_of_a_run_that_goes_on_is_the_same(tmp_path: Path) -> None:
    keep_rubric(tmp_path, Rubric("grpo"), resumed=False)
    keep_rubric(tmp_path, Rubric(RubricSettings(affect=0.0, tone=0.0, length=0.0, one_question=0.0)), resumed=True)
    with pytest.raises(ConfigError, match=r"another rubric: affect was 0.0 and is 1.0; "):
        keep_rubric(tmp_path, Rubric("default"), resumed=True)
    keep_rubric(tmp_path, Rubric("default"), resumed=False)  # nothing was learned
    assert kept_settings(tmp_path / "rubric.json") == PRESETS["default"]


def test_files_of_before_are_read(tmp_path: Path) -> None:
    told = {name: value for name, value in asdict(PRESETS["user"]).items() if name != "own"}
    (tmp_path / "rubric.json").write_text(json.dumps(told), encoding="utf-8")
    assert kept_settings(tmp_path / "rubric.json") == PRESETS["user"] and rubric_name(tmp_path, "user") == "user"
    keep_rubric(tmp_path, Rubric("user"), resumed=True)
    (tmp_path / "rubric.json").write_text('{"mood": 1}', encoding="utf-8")
    with pytest.raises(ConfigError, match="is none of a training"):
        kept_settings(tmp_path / "rubric.json")


def test_another_source_has_another_name_on_pages(folder: Path) -> None:
    names = []
    for _ in range(2):
        keep_rubric(folder, open_rubric("trained:Halved"), resumed=False)
        names.append(rubric_name(folder, "trained:Halved"))
        change(folder)
    assert names[0] != names[1] and all(name.startswith("trained:Halved (source ") for name in names)
    assert kept_settings(folder / "rubric.json") is None


def test_a_card_tells_whose_reward_it_was() -> None:
    text = card(GRPOSettings(rubric="/home/somebody/mine.yaml"), [], 1)
    assert "The reward `mine.yaml` of its maker" in text and "somebody" not in text


@pytest.mark.parametrize("rubric", ["mine", "judged", ""])
def test_what_is_no_name_of_a_rubric_is_refused(rubric: str) -> None:
    with pytest.raises(ConfigError, match="rubric"):
        GRPOSettings(rubric=rubric)


@pytest.mark.parametrize("name", ["mine.yaml", "trained:Halved"])
def test_processes_of_patients_score_by_the_same_rubric(folder: Path, name: str) -> None:
    batch = SessionBatch(SessionConfig(max_turns=3), rubric=name)
    begun = batch.reset([Start(1, "marta")])
    patients = Patients(Office(batch.config, batch.rubric), 1)
    try:
        (there,) = patients.step(begun, [TEXT])[1]
    finally:
        patients.close()
    (here,) = batch.step([TEXT])
    assert there is not None and here is not None and there.score == here.score != None  # noqa: E711


def test_processes_of_patients_refuse_another_source(folder: Path) -> None:
    batch = SessionBatch(SessionConfig(max_turns=3), rubric="mine.yaml")
    begun = batch.reset([Start(1, "marta")])
    write_mine(folder, "trained", MINE + "\n# another\n")
    patients = Patients(Office(batch.config, batch.rubric), 1)
    try:
        with pytest.raises(ConfigError, match=r"term 'thanks' .* its file has changed"):
            patients.step(begun, [TEXT])
    finally:
        patients.close()


def test_what_no_process_can_import_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Here(Rubric):
        pass

    with pytest.raises(ConfigError, match=r"cannot be carried to workers of patients: .*at the top of a module"):
        Patients(Office(SessionConfig(), Here()), 1)
    monkeypatch.setattr(Here, "__module__", "__main__")
    with pytest.raises(ConfigError, match="stands in the script itself"):
        Patients(Office(SessionConfig(), Here()), 1)
