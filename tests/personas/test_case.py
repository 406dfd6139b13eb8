"""The case files: every patient has one, it agrees with itself, and what is wrong in one is named with its field."""

import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from therapysim.errors import PersonaError
from therapysim.personas.case import Case
from therapysim.personas.consistency import check
from therapysim.personas.items import COLUMNS, DANGER_KINDS, KINDS, NUMBERS, items_of
from therapysim.personas.load import LIBRARY, load_persona, personas
from therapysim.personas.numbers import in_words, number_of
from therapysim.personas.schema import Persona

ALL = personas()
Edit = Callable[[dict[str, Any]], None]


@pytest.mark.parametrize("persona", ALL, ids=lambda p: p.id)
def test_every_patient_has_lines_enough_and_says_none_twice(persona: Persona) -> None:
    count = Counter(line for _, line in persona.case.spoken())
    assert sum(count.values()) >= 150 and max(count.values()) == 1


def test_hardly_a_line_is_another_patients_too() -> None:
    said = Counter(line for p in ALL for line in {line for _, line in p.case.spoken()})
    shared = [line for line, n in said.items() if n > 1]
    assert all(len(line.split()) <= 5 for line in shared)  # "Yes.", "I do not know."
    assert len(shared) < 0.02 * len(said)


@pytest.mark.parametrize("persona", ALL, ids=lambda p: p.id)
def test_every_kind_of_question_leads_to_an_item(persona: Persona) -> None:
    items, first = items_of(persona), persona.case.situations[0].id
    for kind in KINDS:
        if kind in (*NUMBERS, "feeling_now", "week"):  # from the state, and from the mood
            continue
        if kind in DANGER_KINDS:
            assert (f"danger.{DANGER_KINDS[kind]}" in items) is bool(persona.risk)
            continue
        places = (f"life.{kind}", f"story.{kind}", f"beliefs.{kind}", kind, f"situations.{first}.{COLUMNS.get(kind)}")
        assert sum(place in items for place in places) == 1, kind


@pytest.mark.parametrize("persona", ALL, ids=lambda p: p.id)
def test_no_part_but_the_ladder_and_the_denial_tells_of_a_danger(persona: Persona) -> None:
    plain = [line for place, line in persona.case.spoken() if not place.startswith(("danger.", "denial"))]
    assert not [line for line in plain if re.search(r"\b(suicid\w*|kill myself|end my life|want to die)\b", line, re.I)]


@pytest.mark.parametrize(("number", "words"), [(0, "nought"), (19, "nineteen"), (40, "forty"), (45, "forty-five")])
def test_numbers_in_words(number: int, words: str) -> None:
    assert in_words(number) == words and number_of(words) == number_of(str(number)) == number


def test_what_is_no_number_says_none() -> None:
    assert [number_of(word) for word in ("", "forty-ten", "fort", "-", "forty-")] == [None] * 5


def test_nobody_needs_no_case() -> None:
    assert not list(Case.empty().spoken())


# What is wrong is named


def _without(*path: str) -> Edit:
    def edit(data: dict[str, Any]) -> None:
        for key in path[:-1]:
            data = data[key]
        del data[path[-1]]

    return edit


def _refuse_what_is_taken_up(data: dict[str, Any]) -> None:
    tasks = data["case"]["tasks"]
    would = next(task for task in tasks if task["would"])
    next(task for task in tasks if not task["would"])["topics"].append(would["topics"][0])


def _second_of_one_id(data: dict[str, Any]) -> None:
    data["case"]["situations"][1]["id"] = data["case"]["situations"][0]["id"]


def _too_sure(data: dict[str, Any]) -> None:
    data["case"]["situations"][0]["conviction"] = 130


def _curt(data: dict[str, Any]) -> None:
    data["case"]["denial"] = data["case"]["denial"][:4]


def _unasked(data: dict[str, Any]) -> None:
    data["case"]["life"]["shoe_size"] = ["Forty-one.", "A forty-one, wide."]


def _no_outcome(data: dict[str, Any]) -> None:
    next(task for task in data["case"]["tasks"] if task["would"])["outcome"] = []


@pytest.mark.parametrize(
    ("name", "edit", "parts"),
    [
        ("duncan", _without("case", "danger", "intent"), ("case.danger.intent", "missing")),
        ("duncan", _without("case", "danger"), ("case.danger", "risk 3")),
        ("marta", _without("case", "denial"), ("case.denial", "a no of 5 lines or more where risk is 0")),
        ("marta", _curt, ("case.denial", "4 lines")),
        ("marta", _unasked, ("case.life.shoe_size", "unknown field")),
        ("marta", _too_sure, ("case.situations[0].conviction", "130")),
        ("marta", _second_of_one_id, ("case.situations[1].id", "a second time")),
        ("marta", _refuse_what_is_taken_up, ("case.tasks", "one is taken up, and one refused")),
        ("marta", _no_outcome, ("case.tasks", "it would be tried")),
    ],
)
def test_what_is_wrong_is_named_with_file_and_field(
    tmp_path: Path, name: str, edit: Edit, parts: tuple[str, ...]
) -> None:
    data = yaml.safe_load((LIBRARY / f"{name}.yaml").read_text(encoding="utf-8"))
    edit(data)
    path = tmp_path / f"{name}.yaml"
    path.write_text(yaml.safe_dump(data, sort_keys=False), encoding="utf-8")
    with pytest.raises(PersonaError) as caught:
        load_persona(path)
    for part in (f"{name}.yaml", *parts):
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("place", "line", "told"),
    [
        ("money", "Some days I want to die.", "speaks of a danger"),
        ("money", "It goes out as it comes in", "does not end like a sentence"),
    ],
)
def test_the_linter_finds_what_no_field_forbids(tmp_path: Path, place: str, line: str, told: str) -> None:
    data = yaml.safe_load((LIBRARY / "marta.yaml").read_text(encoding="utf-8"))
    data["case"]["life"][place][0] = line
    path = tmp_path / "marta.yaml"
    path.write_text(yaml.safe_dump(data, sort_keys=False), encoding="utf-8")
    assert any(told in problem for problem in check(load_persona(path)))
