"""What several test files share: a tiny random chat model, and the environment it trains in."""

import gc
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


@pytest.fixture(scope="session")
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


def pytest_collection_finish() -> None:
    """What is there before the first test stays: each training ends with a collection that would go through it all."""
    gc.collect()
    gc.freeze()


#: The files that take longest, the longest first: begun early, none of them is left to one process at the end.
LONG = (
    "train/grpo/test_disturbed_processes.py",
    "train/grpo/test_processes.py",
    "train/grpo/test_patient_processes.py",
    "envs/test_dynamics.py",
    "train/grpo/test_failsafe.py",
    "train/grpo/test_validate.py",
    "train/grpo/test_train.py",
    "train/sft/test_sft_run.py",
    "train/dpo/test_dpo_processes.py",
    "train/grpo/test_hung_patient.py",
    "envs/test_wrappers.py",
    "agents/probes/test_audit.py",
    "train/sft/test_sft_processes.py",
    "train/grpo/test_branching.py",
    "train/sft/test_sft_failsafe.py",
    "envs/test_envs.py",
    "personas/test_opening.py",
    "agents/probes/test_attack.py",
    "train/sensor/test_sensor_training.py",
    "train/reader/test_reader_training.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts long files first, and marks what is not yet settled, so that a run tells it apart from what breaks anew."""
    place = {Path(__file__).parent / name: i for i, name in enumerate(LONG)}
    items.sort(key=lambda item: place.get(item.path, len(place)))  # those of one rank stay as they are
    for item in items:
        if item.nodeid in UNSETTLED:
            item.add_marker(pytest.mark.xfail(strict=True, reason="not yet settled with the reading of now"))
