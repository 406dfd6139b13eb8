"""The published JSON schema of a session file."""

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from therapysim.agents.sessions import session_schema as publish
from therapysim.agents.sessions.episode import play
from therapysim.agents.sessions.session_file import save_session
from therapysim.agents.therapists.baselines import baseline
from therapysim.envs.batch import SessionBatch, SessionConfig, Start

PUBLISHED = Path(__file__).parents[2] / "docs" / "schemas" / "session.schema.json"


@pytest.fixture(scope="module")
def checker() -> Draft202012Validator:
    schema = json.loads(PUBLISHED.read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


@pytest.fixture
def content(tmp_path: Path) -> dict[str, Any]:
    (episode,) = play(SessionBatch(SessionConfig(max_turns=2)), baseline("injector"), [Start(0, "owen")])
    file = save_session(tmp_path / "a.json", episode.session, episode.turns, "injector")
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return found


def test_the_published_schema_is_up_to_date(tmp_path: Path) -> None:
    assert publish.main([str(tmp_path / "now.json")]) == 0
    told = "run `python -m therapysim.agents.sessions.session_schema`"
    assert (tmp_path / "now.json").read_text("utf-8") == PUBLISHED.read_text("utf-8"), told


def test_a_session_fits_the_schema_and_says_all_that_it_names(
    checker: Draft202012Validator, content: dict[str, Any]
) -> None:
    assert not list(checker.iter_errors(content))
    assert set(content) == set(checker.schema["properties"]) == {*checker.schema["required"], "own_sources"}
    content["turns"][0]["reward"] = None  # a turn whose patient failed
    content["note"] = "a good one"
    assert not list(checker.iter_errors(content))


@pytest.mark.parametrize(
    "change",
    [{"version": 1}, {"format": "other"}, {"seed": -1}, {"alliance": 1.5}, {"states": []}, {"ending": "bored"},
     {"turns": [{}]}, {"messages": [{"speaker": "nurse", "text": ""}]}],
)  # fmt: skip
def test_what_is_no_session_does_not_fit(
    checker: Draft202012Validator, content: dict[str, Any], change: dict[str, Any]
) -> None:
    assert list(checker.iter_errors(content | change))
