"""Nothing is trained on test patients: every training refuses them, and no training file has their words."""

import json
from pathlib import Path

import pytest

from therapysim.agents.bench.folder import overlaps
from therapysim.agents.therapists.policies import Policy, find_policy, read_run
from therapysim.errors import ConfigError, PersonaError
from therapysim.personas.load import personas, training_ids
from therapysim.personas.vary import vary
from therapysim.train.grpo.grpo_settings import GRPOSettings, load_settings
from therapysim.train.grpo.run import group_rows
from therapysim.train.patient.cue_lines import read_lines

TRAIN = Path(__file__).parents[3] / "train"
FILES = sorted(str(p.relative_to(TRAIN)) for f in ("sensor", "patient", "grpo") for p in (TRAIN / f).glob("*.[jy]*l"))
TEST = [p.id for p in personas("test")]
KEPT_APART = r"test patients \(.*kept apart"


def test_the_loader_of_training_patients_refuses_test_patients() -> None:
    assert set(training_ids()) == {p.id for p in personas("train")}
    assert set(training_ids("dev")) == {p.id for p in personas("dev")}
    for ask in (lambda: training_ids("test"), lambda: training_ids("train", ["marta", TEST[0]])):
        with pytest.raises(PersonaError, match=KEPT_APART):
            ask()


def test_grpo_takes_no_test_patient(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="split is 'test', expected one of train, dev"):
        GRPOSettings(split="test")
    with pytest.raises(PersonaError, match=KEPT_APART):
        GRPOSettings(personas=("marta", TEST[0]))
    file = tmp_path / "run.yaml"
    file.write_text(f"personas: [{TEST[1]}]\n")
    with pytest.raises(PersonaError, match=TEST[1]):
        load_settings(file)


@pytest.mark.parametrize("vary_on", [False, True])
def test_no_group_of_grpo_meets_one(vary_on: bool) -> None:
    rows = group_rows(GRPOSettings(max_steps=200, vary=vary_on))
    met = {row["persona"].partition("~")[0] for row in rows}
    assert met and not met & set(TEST) and met <= {p.id for p in personas("train")}


def test_test_patients_have_no_variants() -> None:
    with pytest.raises(PersonaError, match="belongs to test"):
        vary(personas("test")[0], 1)


def test_the_patients_adapter_learns_from_training_patients_alone(tmp_path: Path) -> None:
    file = tmp_path / "lines.jsonl"
    row = {"patient": TEST[0], "move": "express", "source": "written", "chat": [], "line": "Hello."}
    file.write_text(json.dumps(row) + "\n")
    with pytest.raises(ConfigError, match="expected the train split alone"):
        read_lines(file)


@pytest.mark.parametrize("file", FILES)
def test_no_shipped_training_file_has_a_test_patients_words(file: str) -> None:
    text = " ".join((TRAIN / file).read_text(encoding="utf-8").lower().split())
    for persona in personas("test"):
        voice = persona.voice
        lines = [*voice.opening, *voice.express, *voice.change, *voice.sustain, *voice.ask]
        lines += [line for fact in persona.facts for line in fact.lines]
        found = [line for line in lines if len(line.split()) >= 5 and line.lower() in text]
        assert not found, f"{file} has words of {persona.id}: {found}"


def test_a_benchmark_knows_whom_a_run_was_trained_with(tmp_path: Path) -> None:
    run = tmp_path / "run"
    (run / "policy").mkdir(parents=True)
    settings = {"show_state": True, "max_turn_tokens": 8, "split": "dev", "personas": []}
    (run / "settings.json").write_text(json.dumps(settings))
    assert read_run(run).max_turn_tokens == 8 and read_run(run).trained_on == {p.id for p in personas("dev")}
    policy = Policy("run", find_policy("cbt").open, {}, frozenset({"marta", "owen"}))
    assert overlaps(policy, ["marta~17", "claire"]) == ("marta",) and overlaps(policy, TEST) == ()
