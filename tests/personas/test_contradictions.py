"""The contradiction checker: how often it is right on written lines, half of them kept from its making."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from therapysim.personas import Persona, find, personas
from therapysim.personas.bank import load_bank
from therapysim.personas.consistency import symptoms
from therapysim.personas.llm.contradictions import contradictions

ROWS: list[dict[str, Any]] = yaml.safe_load(
    (Path(__file__).parents[1] / "data" / "contradictions.yaml").read_text(encoding="utf-8")
)
DENIALS: dict[str, list[str]] = yaml.safe_load(
    (Path(__file__).parents[2] / "personas" / "llm" / "denials.yaml").read_text(encoding="utf-8")
)


def scores(rows: list[dict[str, Any]]) -> tuple[float, float]:
    """Precision and recall of "this line contradicts the file"."""
    found = [bool(contradictions(row["line"], find(row["patient"]))) for row in rows]
    wanted = [bool(row["against"]) for row in rows]
    right = sum(f and w for f, w in zip(found, wanted, strict=True))
    return right / sum(found), right / sum(wanted)


def test_there_are_enough_lines_of_every_kind() -> None:
    assert len(ROWS) >= 120 and len({row["line"] for row in ROWS}) == len(ROWS)
    for kept in (False, True):
        half = [row for row in ROWS if row["kept"] is kept]
        assert {row["against"] for row in half} == {"", "symptom", "age", "name", "trade", "kin"}
        assert 0.4 < sum(bool(row["against"]) for row in half) / len(half) < 0.6
        assert len(half) >= 60


@pytest.mark.parametrize(("kept", "precision", "recall"), [(False, 0.95, 0.95), (True, 0.85, 0.4)])
def test_it_is_mostly_right(kept: bool, precision: float, recall: float) -> None:
    # The patterns know the words they were written for: on words kept from their making they find four in ten, and
    # what they report is nearly always one. A rate of contradictions is a lower bound.
    measured = scores([row for row in ROWS if row["kept"] is kept])
    assert measured[0] >= precision and measured[1] >= recall


def test_it_names_the_kind() -> None:
    for row in ROWS:
        found = contradictions(row["line"], find(row["patient"]))
        if found and row["against"]:
            assert any(entry.startswith(row["against"]) for entry in found), row


@pytest.mark.parametrize("persona", personas(), ids=lambda p: p.id)
def test_no_written_line_contradicts_its_patient(persona: Persona) -> None:
    voice = persona.voice
    told = [line for fact in (*persona.facts, *persona.circumstances) for line in fact.lines]
    own = [*voice.opening, *voice.express, *voice.change, *voice.sustain, *voice.ask, *told]
    assert {line: found for line in (*own, *load_bank().texts) if (found := contradictions(line, persona))} == {}


def test_patterns_belong_to_known_symptoms() -> None:
    assert set(DENIALS) <= set(symptoms())


@pytest.mark.parametrize("line", ["", " ", "...", "é", "I am", "my name is", "MY NAME IS", "I am " * 2000])
def test_any_text_is_read(line: str) -> None:
    assert contradictions(line, find("marta")) == []


def test_a_curly_apostrophe_is_one() -> None:
    assert contradictions("I’m 45 years old.", find("marta")) == contradictions("I'm 45 years old.", find("marta"))
    assert contradictions("I’m 45 years old.", find("marta")) == ["age: 45"]
