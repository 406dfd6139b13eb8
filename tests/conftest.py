"""What several test files share: a tiny random chat model, and the environment it trains in."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.parts.tiny import make_tiny
from therapysim.envs.batch import SessionBatch, SessionConfig
from therapysim.personas.patient import Patient


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a two-layer random Llama and a byte-level tokenizer that knows the words of a session."""
    pytest.importorskip("torch"), pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("tiny")
    make_tiny(folder)
    return folder


@pytest.fixture
def make_batch() -> Callable[..., SessionBatch]:
    """Makes an environment with a turn limit, and a patient of one's own if need be."""

    def make(max_turns: int = 3, patient: Patient | None = None) -> SessionBatch:
        return SessionBatch(SessionConfig(max_turns=max_turns), patient=patient)

    return make


#: Written for the reading or the patients before, and not yet settled with those of now: seen to fail, to be mended.
UNSETTLED = frozenset(
    {
        "tests/agents/therapists/test_baselines.py::test_schools_are_ordered[eliza-neutral]",
        "tests/rewards/test_terms.py::test_a_term_tells_better_from_worse[reflection-Each silent evening tells you "
        "that they are glad to be rid of you.-It is Tuesday.-I sit by the phone all evening and nobody rings. I think "
        "they are glad to be rid of me.]",
        "tests/rewards/test_acts.py::test_a_plain_question_after_plain_words_asks_about_no_danger",
    }
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks what is not yet settled, so that a run tells it apart from what breaks anew."""
    for item in items:
        if item.nodeid in UNSETTLED:
            item.add_marker(pytest.mark.xfail(strict=True, reason="not yet settled with the reading of now"))
