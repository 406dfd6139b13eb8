"""What is Ray's own of patients in actors; ``tests/train/test_patient_pool.py`` has what they share with processes."""

from collections.abc import Iterator
from typing import Any

import pytest

ray: Any = pytest.importorskip("ray", reason="the extra ray: docs/scaling.md")

from tests.parts.patience import HANGS_S  # noqa: E402
from therapysim.envs.batch import SessionConfig, Start  # noqa: E402
from therapysim.errors import PatientError  # noqa: E402
from therapysim.train.connect.ray_workers import Office, RayPatients, SpreadBatch  # noqa: E402

NOTEBOOK = """
from therapysim.personas.patient import Line

class Own:
    def speak(self, cues):
        return [Line("I am of a notebook.") for _ in cues]
"""


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "disabled")  # else it leaves a token in the home folder
        ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False)
        yield
        ray.shutdown()


def test_a_patient_of_a_notebook_needs_no_module() -> None:
    cell: dict[str, Any] = {"__name__": "__main__"}
    exec(NOTEBOOK, cell)
    with RayPatients(Office(SessionConfig(max_turns=2), patient=cell["Own"]()), 1, HANGS_S) as patients:
        (session,) = SpreadBatch(patients).reset([Start(1)])
    assert session.transcript.last("patient") == "I am of a notebook."


def test_a_cluster_without_room_is_told() -> None:
    wanted = r"did not start in 0.5 s: 1 actors .*'num_cpus': 1000.* has 1 CPUs"
    with (
        RayPatients(Office(), 1, start_s=0.5, num_cpus=1000) as patients,
        pytest.raises(PatientError, match=wanted),
    ):
        patients.begin([Start(1)])


def test_closed_actors_are_gone_and_give_their_place_back() -> None:
    for _ in range(3):  # one CPU: none may be left
        with RayPatients(Office(), 1, HANGS_S) as patients:
            assert len(patients.begin([Start(1)])) == 1
