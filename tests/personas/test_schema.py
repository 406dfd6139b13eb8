"""The published JSON schema of a persona file."""

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from therapysim.documents import read_document
from therapysim.personas import persona_schema as publish
from therapysim.personas.load import LIBRARY

PUBLISHED = Path(__file__).parents[2] / "docs" / "schemas" / "persona.schema.json"
FILES = sorted(LIBRARY.glob("*.yaml"))


@pytest.fixture(scope="module")
def checker() -> Draft202012Validator:
    schema = json.loads(PUBLISHED.read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def test_the_published_schema_is_up_to_date(tmp_path: Path) -> None:
    assert publish.main([str(tmp_path / "now.json")]) == 0
    told = "run `python -m therapysim.personas.persona_schema`"
    assert (tmp_path / "now.json").read_text("utf-8") == PUBLISHED.read_text("utf-8"), told


def test_every_shipped_file_fits_the_schema(checker: Draft202012Validator) -> None:
    assert len(FILES) == 48
    for path in FILES:
        found = [f"{path.name}: {e.message}" for e in checker.iter_errors(read_document(path))]
        assert found == []


SPOILT: dict[str, Any] = {
    "id": "..", "age": "old", "phq9": 31, "severity": "bad", "mood": [0, 0, 0, 0], "strengths": [], "name": "",
    "facts": [], "voice": {}, "zzz": 1, "trust": 1.5, "temperament": {"inertia": 0.5},
}  # fmt: skip


@pytest.mark.parametrize("field", SPOILT)
def test_a_spoilt_field_does_not_fit(checker: Draft202012Validator, field: str) -> None:
    data = read_document(FILES[0])
    assert not checker.is_valid(data | {field: SPOILT[field]})
