"""The example that a new patient begins as, what is said of a file, and a folder of one's own that is frozen."""

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import yaml

from therapysim.cli.main import main
from therapysim.personas import library, lint
from therapysim.personas.answerable import answers_to, describe_answers
from therapysim.personas.consistency import check as contradictions
from therapysim.personas.consistency import diagnoses, symptoms
from therapysim.personas.items import KINDS
from therapysim.personas.load import find, load_persona
from therapysim.personas.schema import SPLITS
from therapysim.personas.template import spoken, still_example, template_text, write_template


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("risk", [0, 1])
def test_the_example_is_a_whole_patient(risk: Any) -> None:
    persona = write_template(Path("anna.yaml"), risk=risk)
    assert contradictions(persona) == [] and persona.risk == risk
    assert not [line for line in spoken(persona) if any(line in spoken(p) for p in library().values())]


def test_the_example_shows_every_field_and_every_word_that_is_allowed() -> None:
    text = template_text("anna", risk=1) + template_text("anna")
    for word in (*SPLITS, "mild", "moderate", "severe", "terse", "plain", "talkative", *symptoms()):
        assert word in text
    flat = " ".join(text.replace("#", " ").split())
    assert all(f"{one.name}: {one.code}" in flat for one in diagnoses().values())
    for name in ("0-27", "0-21", "16-110", "-1 to 1", "at least 10", "At least 6 facts", "An example of care"):
        assert name in text
    whole = yaml.safe_load(template_text("anna"))
    assert set(whole) == {field.name for field in fields(find("marta"))}


@pytest.mark.parametrize(("name", "told"), [("a b", "persona id 'a b'"), ("a.b", "persona id 'a.b'"), ("ü", "id 'ü'")])
def test_a_file_whose_name_is_no_id_is_not_written(name: str, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["persona", "new", f"{name}.yaml"]) == 2
    assert told in capsys.readouterr().err and not list(Path().iterdir())


@pytest.mark.parametrize("name", ["012", "1e3", "null", "7", "no", "2026-01-02"])
def test_an_id_that_yaml_reads_as_something_else_is_an_id(name: str) -> None:
    assert write_template(Path(f"{name}.yaml")).id == name == load_persona(f"{name}.yaml").id


def test_a_new_patient_is_checked_shown_and_met(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["persona", "new", "mine/anna.yaml", "--name", "Anna Wolff"]) == 0
    assert main(["persona", "new", "mine/anna.yaml"]) == 2
    assert "is there already" in capsys.readouterr().err
    assert main(["persona", "check", "mine/anna.yaml"]) == 0
    lines = len(spoken(load_persona("mine/anna.yaml")))
    assert f"{lines} lines of speech" in (Path(__file__).parents[2] / "docs/own-patient.md").read_text(encoding="utf-8")
    assert f"{lines} lines, of which {lines} are still the example's" in capsys.readouterr().out
    assert main(["persona", "show", "mine"]) == 0
    assert "Anna Wolff (anna@" in (said := capsys.readouterr().out) and f"answers {len(KINDS)} of {len(KINDS)}" in said


def test_what_is_still_the_examples_is_counted() -> None:
    path = Path("anna.yaml")
    write_template(path)
    path.write_text(path.read_text(encoding="utf-8").replace("I walk round the school", "I walk round it"), "utf-8")
    persona = load_persona(path)
    assert len(spoken(persona)) - len(still_example(persona)) == 1
    assert still_example(find("marta")) == []


def test_the_check_says_every_mistake_and_every_contradiction(capsys: pytest.CaptureFixture[str]) -> None:
    path = Path("anna.yaml")
    text = template_text("anna").replace("gad7: 13", "gad7: 99").replace("code: F41.1", "code: F1")
    path.write_text(text.replace("symptoms: [worry,", "symptoms: [woory,"), encoding="utf-8")
    with pytest.raises(SystemExit, match="1"):
        main(["persona", "check", "anna.yaml"])
    said = capsys.readouterr().out
    for told in (
        "persona 'anna' (anna.yaml): 4 mistakes",
        "gad7 is 99, expected 0–21, a whole number",
        "code is F1, expected F41.1 for Generalized anxiety disorder",
        "symptom 'woory' is unknown, expected some of diagnoses.yaml: low_mood, ",
        "; did you mean 'worry'?",
        "Generalized anxiety disorder needs 1 of worry",
    ):
        assert told in said


def test_an_unknown_diagnosis_hides_no_other_mistake(capsys: pytest.CaptureFixture[str]) -> None:
    text = template_text("anna").replace('diagnosis: "Generalized anxiety disorder"', "diagnosis: Generalised anxiety")
    Path("anna.yaml").write_text(text.replace("I am forty-one.", "Older than I look."), encoding="utf-8")
    Path("anna.yaml").write_text(
        Path("anna.yaml").read_text("utf-8").replace("Forty-one, since the spring.", "Not young."), encoding="utf-8"
    )
    with pytest.raises(SystemExit):
        main(["persona", "check", "anna.yaml"])
    said = capsys.readouterr().out
    assert "did you mean 'Generalized anxiety disorder'?" in said and "case.life.age: no line says 41" in said


def test_a_folder_of_ones_own_freezes_with_a_warning(capsys: pytest.CaptureFixture[str]) -> None:
    write_template(Path("mine/anna.yaml"))
    assert main(["persona", "check", "mine", "--freeze"]) == 0
    said = capsys.readouterr().out
    assert "warning: balance of the splits: risk 0: train 1, dev 0, test 0" in said and "mine: frozen, " in said
    write_template(Path("mine/bela.yaml"))
    assert main(["bench", "neutral", "--patients", "mine"]) == 2
    assert "bela is not in the manifest" in capsys.readouterr().err
    assert main(["persona", "check", "mine", "--freeze"]) == 0
    assert list(library("mine")) == ["anna", "bela"]


def test_the_shipped_library_freezes_with_one_patient_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_template(tmp_path / "lib/anna.yaml")
    monkeypatch.setattr(lint, "LIBRARY", tmp_path / "lib")
    assert lint.main([]) == 1  # unbalanced
    assert lint.main(["--freeze"]) == 0
    assert list(library(tmp_path / "lib")) == ["anna"]


def test_what_is_shown_is_what_is_answered() -> None:
    marta, tegan = find("marta"), find("tegan")
    assert [item.id for item in answers_to(marta, "sleep")] == ["life.sleep"]
    assert [item.id for item in answers_to(tegan, "d_intent")] == ["danger.intent"]
    assert len(answers_to(marta, "thinking")) == len(marta.case.situations)
    assert all(answers_to(tegan, kind) for kind in ("age", "began", "core", "change", "strengths", "d_plan"))
    assert "a ladder of 20 rungs" in describe_answers(tegan) and "a true no" in describe_answers(find("deniz"))
