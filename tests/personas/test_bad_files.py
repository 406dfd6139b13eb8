"""Persona files that are wrong, odd or hostile: our own error that names the file, and never a wrong patient."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from therapysim.errors import PersonaError
from therapysim.personas import Persona, find, library, lint, load_persona, personas
from therapysim.personas.load import LIBRARY
from therapysim.personas.manifest import MANIFEST, changes, write
from therapysim.personas.vary import vary

MARTA = (LIBRARY / "marta.yaml").read_text(encoding="utf-8").replace("id: marta", "id: anna", 1)


def written(folder: Path, text: str, name: str = "anna.yaml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def with_field(field: str, value: str) -> str:
    """Marta's file as anna, one of its first-level fields written anew."""
    lines = MARTA.splitlines()
    place = next(i for i, line in enumerate(lines) if line.startswith(f"{field}:"))
    return "\n".join([*lines[:place], f"{field}: {value}", *lines[place + 1 :], ""])


# --- what YAML 1.1 reads as something else ---------------------------------------------------------


def test_a_leading_zero_makes_no_octal_number(tmp_path: Path) -> None:
    assert load_persona(written(tmp_path, with_field("age", "030"))).age == 30


@pytest.mark.parametrize("word", ["No", "on", "yes", "2024-01-31", "1:30"])
def test_a_word_is_a_text(tmp_path: Path, word: str) -> None:
    assert load_persona(written(tmp_path, with_field("name", word))).name == word


@pytest.mark.parametrize("number", ["0x1F", "0b100000", "0o36", "1:00", "1_000", "3_0", "30.0", "3e1", "'30'"])
def test_only_plain_decimal_numbers_are_an_age(tmp_path: Path, number: str) -> None:
    with pytest.raises(PersonaError, match=r"age is .*, expected 16–110, a whole number"):
        load_persona(written(tmp_path, with_field("age", number)))


@pytest.mark.parametrize("word", ["yes", "on", "1", "~", "'true'"])
def test_only_true_and_false_say_whether_a_fact_is_a_risk(tmp_path: Path, word: str) -> None:
    text = MARTA.replace("    depth: 1\n", f"    depth: 1\n    risk: {word}\n", 1)
    with pytest.raises(PersonaError, match=r"facts\[0\]\.risk is .*, expected true or false"):
        load_persona(written(tmp_path, text))


# --- ids -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "persona_id", ["..", "owen~3", "a\x07b", "a b", "a/b", "-a", "ann\u202ea", "a.b", "x" * 65, ""]
)
def test_an_id_that_is_no_file_name_or_a_variants_is_refused(tmp_path: Path, persona_id: str) -> None:
    text = MARTA.replace("id: anna", f'id: "{persona_id.encode("unicode_escape").decode()}"', 1)
    name = persona_id if "/" not in persona_id else "anna"
    with pytest.raises(PersonaError, match=r"(: id|\.id) is .*expected at most 64 letters, digits, - and _") as error:
        load_persona(written(tmp_path, text, f"{name}.yaml"))
    assert str(error.value).isprintable()


def test_an_id_of_a_fact_is_held_to_the_same(tmp_path: Path) -> None:
    with pytest.raises(PersonaError, match=r"facts\[0\]\.id is '\.\.', expected at most 64 letters"):
        load_persona(written(tmp_path, MARTA.replace("  - id: sleep", '  - id: ".."', 1)))


@pytest.mark.parametrize("seed", ["007", "٣", "9" * 19, "9" * 5_000, "+1", "1_0", "3~4", "\x1b"])
def test_a_variant_has_one_name(seed: str) -> None:
    with pytest.raises(PersonaError, match="is no seed") as error:
        find(f"owen~{seed}")
    assert len(str(error.value)) < 300 and "\x1b" not in str(error.value)


# --- what acts on a reader or a terminal -----------------------------------------------------------


@pytest.mark.parametrize("character", ["\\e", "\\0", "\\x7f", "\\u202e", "\\u2066", "\\x9b"])
def test_control_and_direction_characters_are_refused(tmp_path: Path, character: str) -> None:
    with pytest.raises(PersonaError, match=r"name is .*no control characters") as error:
        load_persona(written(tmp_path, with_field("name", f'"An{character}na"')))
    assert str(error.value).isprintable()


def test_an_unknown_field_cannot_act_on_a_terminal(tmp_path: Path) -> None:
    with pytest.raises(PersonaError, match="is an unknown field") as error:
        load_persona(written(tmp_path, MARTA + '"\\e[2J": 1\n'))
    assert str(error.value).isprintable()


HOSTILE = {
    "a number as a name": ("7: 1\n", "a name is 7, expected a text"),
    "nothing as a name": ("~: 1\n", "a name is None, expected a text"),
    "a list as a name": ("? [a, b]\n: 1\n", r"a name is \['a', 'b'\], expected a text"),
    "a mapping as a name": ("? {a: b}\n: 1\n", "a name is .*, expected a text"),
    "a number of 5,000 digits": (f"zzz: {'9' * 5_000}\n", "is no number that can be used"),
    "a number beyond all floats": ("zzz: 1.0e+999\n", r"1\.0e\+999 is no number that can be used"),
    "a tag": ("zzz: !!python/object/apply:os.getcwd []\n", "the tag .* is not read here"),
    "an alias of nothing": ("zzz: *b\n", r"\*b stands for nothing above it"),
    "an alias of itself": ("zzz: &b [*b]\n", r"\*b stands for nothing above it"),
    "lists in lists": (f"zzz: {'[' * 900}{']' * 900}\n", "more than 100 lists and mappings"),
    "a second document": ("---\nid: bella\n", "a second document begins"),
    "a merge of what is not there": ("<<: 1\n", "<< is an unknown field"),
}


@pytest.mark.parametrize("how", HOSTILE)
def test_what_no_patient_needs_is_refused_and_named(tmp_path: Path, how: str) -> None:
    added, expected = HOSTILE[how]
    with pytest.raises(PersonaError, match=rf"persona 'anna' \(.*/anna\.yaml\): .*{expected}") as error:
        load_persona(written(tmp_path, MARTA + added))
    assert len(str(error.value)) < 500


def test_aliases_cannot_grow_a_file(tmp_path: Path) -> None:
    bomb = ["a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]"]
    bomb += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12)]
    with pytest.raises(PersonaError, match="grows too large through its aliases"):
        load_persona(written(tmp_path, MARTA + "\n".join(bomb) + "\n"))


def test_an_alias_says_the_same_again(tmp_path: Path) -> None:
    text = with_field("strengths", '&s ["kind"]').replace("triggers: [", "triggers: *s\n#", 1)
    assert load_persona(written(tmp_path, text)).triggers == ("kind",)


@pytest.mark.parametrize("data", [b"id: \xff\n", b"\xff\xfei\x00d\x00", MARTA.encode("utf-16"), b"id: \x00\n"])
def test_what_is_no_text_is_named(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "anna.yaml").write_bytes(data)
    with pytest.raises(PersonaError, match=r"persona 'anna' \(.*/anna\.yaml\): the file cannot be read"):
        load_persona(tmp_path / "anna.yaml")


def test_a_byte_order_mark_is_no_part_of_a_name(tmp_path: Path) -> None:
    (tmp_path / "anna.yaml").write_bytes(b"\xef\xbb\xbf" + MARTA.encode())
    assert load_persona(tmp_path / "anna.yaml").id == "anna"


def test_a_file_that_is_too_large_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PersonaError, match="too large, expected at most 1,048,576 bytes"):
        load_persona(written(tmp_path, MARTA + "#" * 2**20))


@pytest.mark.parametrize("place", ["an\0na.yaml", ".", "nobody.yaml"])
def test_a_path_that_is_no_file_is_named(place: str) -> None:
    with pytest.raises(PersonaError, match="the file cannot be read"):
        load_persona(place)


def test_every_mistake_of_a_file_is_told_at_once(tmp_path: Path) -> None:
    text = with_field("age", "x").replace("phq9: 14", "phq9: 99").replace("occupation:", "ocupation:")
    with pytest.raises(PersonaError, match="4 mistakes") as error:
        load_persona(written(tmp_path, text))
    for told in (
        "ocupation is an unknown field; did you mean 'occupation'?",
        "age is 'x', expected 16–110, a whole number, without quotes",
        "occupation is missing, expected a text",
        "phq9 is 99, expected 0–27, a whole number",
    ):
        assert f"\n  {told}" in str(error.value)


# --- folders ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("folder", ["a\0b", 5, ["a"]])
def test_a_folder_that_is_no_path_is_named(folder: Any) -> None:
    with pytest.raises(PersonaError, match="persona folder is "):
        library(folder)


def test_a_patient_in_a_yml_file_can_be_frozen(tmp_path: Path) -> None:
    written(tmp_path, MARTA, "anna.yml")
    write(tmp_path, {"anna": "train"})
    assert list(library(tmp_path)) == ["anna"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[" * 100_000, "the file cannot be read as JSON"),
        ('{"version": 1e999}', "1e999 is no number that can be used"),
        ('{"version": 1, "version": 1}', "'version' is given twice"),
        (f'{{"version": {"9" * 5_000}}}', "the file cannot be read as JSON"),
        ('{"format": "therapysim-library", "version": 1, "sha256": "", "patients": {}, "more": 1}', "unknown field"),
    ],
)  # fmt: skip
def test_a_hostile_manifest_is_named(tmp_path: Path, text: str, expected: str) -> None:
    shutil.copy(LIBRARY / "marta.yaml", tmp_path)
    (tmp_path / MANIFEST).write_text(text, encoding="utf-8")
    with pytest.raises(PersonaError, match=rf"manifest .*{MANIFEST}: .*{expected}"):
        changes(tmp_path, {"marta": "train"})


def test_the_command_names_what_it_cannot_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert lint.main([str(written(tmp_path, MARTA + "7: 1\n"))]) == 1
    assert "persona 'anna'" in capsys.readouterr().out


def test_a_variant_of_an_unknown_diagnosis_is_refused() -> None:
    marta: Persona = replace(personas("train")[0], diagnosis="Sadness")
    with pytest.raises(PersonaError, match="diagnosis is 'Sadness', expected one of diagnoses"):
        vary(marta, 1)
