"""Profiles of other simulators: what is carried over, noted, left out and missing; nothing made up."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from therapysim.cli.main import main
from therapysim.errors import PersonaError
from therapysim.personas.imports.carried import Carried, carry, read_profile
from therapysim.personas.imports.formats import FORMATS
from therapysim.personas.imports.gaps import gaps_in, report, write_gaps
from therapysim.personas.lint import check_file
from therapysim.personas.load import load_persona
from therapysim.personas.template import template_text

PROFILES = Path(__file__).parents[1] / "data" / "profiles"
FILES = {"patient-psi": "patient_psi.json", "patienthub": "patienthub.json", "annaagent": "annaagent.json"}


def profile(name: str) -> Any:
    return read_profile(PROFILES / FILES[name], 1)


def leaves(value: Any) -> list[str]:
    if isinstance(value, dict | list):
        return [leaf for one in (value.values() if isinstance(value, dict) else value) for leaf in leaves(one)]
    return [str(value)]


@pytest.mark.parametrize("name", FORMATS)
def test_every_field_is_accounted_for_and_nothing_is_made_up(name: str, tmp_path: Path) -> None:
    source, told = profile(name), carry(profile(name), name)
    noted = {field for own in told.notes.values() for field, _, _ in own}
    listed = {path.rpartition(".")[2] for path in (*told.mapped, *noted, *told.left_out)}
    assert {str(key) for key in keys(source)} <= listed
    write_gaps(told, tmp_path / "new.yaml", "a profile")
    written = yaml.safe_load((tmp_path / "new.yaml").read_text(encoding="utf-8"))
    said = " ".join(leaves(source))
    style = {"terse": "reserved", "plain": "plain", "talkative": "verbose"}
    for leaf in leaves(written):
        assert leaf in ("None", "new") or leaf in said or style.get(leaf, "?") in said, leaf


def keys(value: Any) -> list[str]:
    """Names of the fields that hold no further fields."""
    if not isinstance(value, dict):
        return []
    return [key for name, one in value.items() for key in (keys(one) if isinstance(one, dict) else [name])]


@pytest.mark.parametrize("name", FORMATS)
def test_the_check_names_every_gap(name: str, tmp_path: Path) -> None:
    told = carry(profile(name), name)
    gaps = write_gaps(told, tmp_path / "new.yaml", "a profile")
    (said,) = check_file(tmp_path / "new.yaml")
    assert len(gaps) > 80 and gaps == gaps_in(told, "new")
    assert [line.split(" is ")[0].strip() for line in said.splitlines()[1 : len(gaps) + 1]] == gaps


@pytest.mark.parametrize("name", FORMATS)
def test_the_page_has_the_figures(name: str) -> None:
    told = carry(profile(name), name)
    figures = (len(told.mapped), sum(map(len, told.notes.values())), len(told.left_out), len(gaps_in(told, "new")))
    page = (Path(__file__).parents[2] / "docs" / "own-patient.md").read_text(encoding="utf-8")
    assert f"| `{FILES[name]}` | {' | '.join(map(str, figures))} |" in page


def test_patient_psi() -> None:
    told = carry(profile("patient-psi"), "patient-psi")
    assert told.values["core_belief"] == "I am powerless. I am trapped. I am of no use to anyone."
    assert told.values["style"] == "terse" and told.values["case.situations[0].emotion"] == "ashamed"
    assert told.mapped["auto_thought"] == ["automatic_thoughts", "case.situations[0].thought"]
    assert [field for field, _, _ in told.notes["case.situations[0].did"]] == ["behavior"]
    assert told.left_out["unlovable_belief"] == "empty" and "unknown" in told.left_out["colour_of_the_folder"]


def test_patienthub_and_annaagent() -> None:
    hub, anna = (carry(profile(name), name) for name in ("patienthub", "annaagent"))
    assert (hub.values["age"], anna.values["age"]) == (52, 29)
    assert hub.notes["style"][0][1:] == ("upset", "no value that the field may have")
    assert anna.notes["risk"][0] == ("portrait.srisk", "1", "of another scale") and "risk" not in anna.values
    assert anna.notes["case.story.course"][0][1].endswith("Feels that she is in everybody's way.")
    assert anna.left_out["statement"] == "may be a real person's words"


def test_texts_that_end_no_sentence_are_parted() -> None:
    told = carry(
        {"intermediate_belief": ["If I rest, I fail", "I must not ask."], "history": ["Moved.", "Married"]},
        "patient-psi",
    )
    assert "If I rest, I fail" in str(told.values) and told.values["presenting_problem"] == "Moved. Married"
    assert carry({"history": ["Moved", "Married"]}, "patient-psi").values["presenting_problem"] == "Moved; Married"


def test_a_field_that_is_spelt_otherwise_is_hinted_at() -> None:
    told = carry({"Auto Thoughts": "I fail.", "hobby": "chess"}, "patient-psi")
    assert "did you mean 'auto_thought'?" in told.left_out["Auto Thoughts"]
    assert "did you mean" not in told.left_out["hobby"]


def test_what_names_a_method_is_not_carried_over() -> None:
    told = carry({"history": "Thinks of an overdose.", "name": "Ilka"}, "patient-psi")
    assert told.values == {"name": "Ilka"} and "names a method of harm" in told.left_out["history"]


def test_what_no_file_can_hold_is_left_out_of_a_text(tmp_path: Path) -> None:
    odd = "One\x7f\x90\ud800\u202e\ufffe word"
    (tmp_path / "p.json").write_text(json.dumps({"name": odd, "behavior": odd, odd: odd}), encoding="utf-8")
    told = carry(read_profile(tmp_path / "p.json"), "patient-psi")
    write_gaps(told, tmp_path / "ilka.yaml", f"a\n{odd}")
    assert yaml.safe_load((tmp_path / "ilka.yaml").read_text(encoding="utf-8"))["name"] == "One word"
    assert "One word" in report(told, [])


@pytest.mark.parametrize("name", ["my patient", "a.b", "-a", "a" * 65])
def test_a_file_whose_name_is_no_id_is_not_written(name: str, tmp_path: Path) -> None:
    with pytest.raises(PersonaError, match=r"its name is the id, expected at most 64 letters"):
        write_gaps(Carried({"name": "Ilka"}), tmp_path / f"{name}.yaml", "a profile")
    assert not list(tmp_path.iterdir())


def test_a_report_is_no_patient(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "ilka.yaml")
    asked = ["persona", "import", str(PROFILES / "patienthub.json"), "--format", "patienthub", "--number", "1"]
    assert main([*asked, "--out", out, "--report", out]) == 2
    assert "expected two files" in capsys.readouterr().err and not list(tmp_path.iterdir())


@pytest.mark.parametrize("number", [0, 3, -1])
def test_a_number_that_no_profile_has_is_refused(number: int) -> None:
    with pytest.raises(PersonaError, match=rf"--number is {number}, expected 1 to 2"):
        read_profile(PROFILES / FILES["patient-psi"], number)


def test_a_filled_in_import_is_a_patient(tmp_path: Path) -> None:
    told = Carried({"name": "Ilka"})
    write_gaps(told, tmp_path / "ilka.yaml", "a profile")
    held = yaml.safe_load((tmp_path / "ilka.yaml").read_text(encoding="utf-8"))
    filled = {**yaml.safe_load(template_text("ilka")), **{k: v for k, v in held.items() if k == "name"}}
    assert set(held) == set(filled) and set(held["case"]) == set(filled["case"])
    (tmp_path / "ilka.yaml").write_text(json.dumps(filled), encoding="utf-8")
    assert load_persona(tmp_path / "ilka.yaml").name == "Ilka"


@pytest.mark.parametrize("name", FORMATS)
def test_gaps_that_the_example_fills_are_marked_and_nothing_else_is_its(name: str, tmp_path: Path) -> None:
    told = carry(profile(name), name)
    gaps = write_gaps(told, tmp_path / "gaps.yaml", "a profile")
    assert write_gaps(told, tmp_path / "filled.yaml", "a profile", example=True) == gaps
    text = (tmp_path / "filled.yaml").read_text(encoding="utf-8")
    held, before = (yaml.safe_load((tmp_path / f"{n}.yaml").read_text(encoding="utf-8")) for n in ("filled", "gaps"))
    example = yaml.safe_load(template_text("filled"))
    carried = [place for place in leafs(before) if place not in gaps]
    assert [at(held, place) for place in carried if place != "id"] == [at(before, p) for p in carried if p != "id"]
    marked = [place for place in gaps if at(before, place) is None and at(held, place) is not None]
    assert len(marked) > 60 and all(at(held, place) == at(example, place) for place in marked)
    assert text.count("# the example's") >= len(marked)


def leafs(value: Any, place: str = "") -> list[str]:
    """The places of all that is no mapping."""
    if not isinstance(value, dict):
        return [place]
    return [one for name, own in value.items() for one in leafs(own, f"{place}.{name}" if place else name)]


def at(value: Any, place: str) -> Any:
    """What stands at a place, ``case.situations[0].did``; None where nothing does."""
    for step in place.replace("[", ".").replace("]", "").split("."):
        try:
            value = value[int(step)] if step.isdigit() else value[step]
        except (KeyError, IndexError, TypeError):
            return None
    return value


def test_an_import_that_the_example_fills_is_a_patient_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = PROFILES / "patient_psi.json", tmp_path / "ilka.yaml"
    asked = ["persona", "import", str(source), "--format", "patient-psi", "--number", "1", "--out", str(out)]
    assert main([*asked, "--example"]) == 0
    assert "write anew what is marked as the example's" in capsys.readouterr().out
    assert load_persona(out).name == carry(profile("patient-psi"), "patient-psi").values["name"]
    assert main(["persona", "check", str(out)]) == 0
    assert "still the example's" in capsys.readouterr().out


def test_a_profile_of_another_format_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x.json").write_text('{"nom": "x", "years": 3}', encoding="utf-8")
    asked = [
        "persona",
        "import",
        str(tmp_path / "x.json"),
        "--format",
        "patient-psi",
        "--out",
        str(tmp_path / "x.yaml"),
    ]
    assert main(asked) == 2 and not (tmp_path / "x.yaml").exists()
    assert "has no field of that format: it has nom, years" in capsys.readouterr().err


def test_the_command_writes_patient_and_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, out, kept = PROFILES / "patient_psi.json", tmp_path / "ilka.yaml", tmp_path / "report.json"
    asked = ["persona", "import", str(source), "--format", "patient-psi", "--out", str(out)]
    assert main(asked) == 2
    assert "it holds 2 profiles; say which by --number, from 1" in capsys.readouterr().err and not out.exists()
    assert main([*asked, "--number", "1", "--report", str(kept)]) == 0
    said, told = capsys.readouterr().out, json.loads(kept.read_text(encoding="utf-8"))
    assert "history -> presenting_problem" in said and told["carried"]["history"] == ["presenting_problem"]
    assert f"missing, to be filled in by a person: {len(told['missing'])} fields" in said
    assert main([*asked, "--number", "1"]) == 2
    assert "is there already" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "told"),
    [("[]", "holds 0 profiles"), ('"x"', "holds str, expected a mapping"), ("{", "cannot be read"), ("{}", "mapping")],
)
def test_what_is_no_profile_is_named(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "p.json").write_text(text, encoding="utf-8")
    with pytest.raises(PersonaError, match=rf"profile .*p\.json: .*{told}"):
        read_profile(tmp_path / "p.json")
