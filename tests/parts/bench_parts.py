"""What the tests of the benchmark share: a small one, and a patient and a model that misbehave."""

from collections.abc import Sequence
from io import StringIO
from pathlib import Path

from therapysim.agents.bench.bench_settings import BenchSettings, Simulator
from therapysim.agents.bench.runner import run
from therapysim.agents.therapists.policies import Policy, find_policy
from therapysim.errors import PatientError
from therapysim.models.chat import Sampling
from therapysim.personas.opening import open_patient
from therapysim.personas.patient import Cue, Line
from therapysim.rewards.reading.emotions import shipped_sensor

SMALL = BenchSettings(split="dev", people=2, seeds=2, turns=3)
ROOT = Path(__file__).parents[2]


def found(*names: str) -> list[Policy]:
    return [find_policy(name) for name in names]


def scripted(name: str = "scripted") -> list[Simulator]:
    return [Simulator(name, lambda: open_patient("scripted", shipped_sensor().affect), {"kind": "scripted"})]


def play_small(out: Path, *names: str, settings: BenchSettings = SMALL):  # type: ignore[no-untyped-def]
    return run(settings, found(*names), scripted(), out, stream=StringIO())


class Mute:
    """A patient that never answers."""

    def speak(self, cues: Sequence[Cue]) -> list[Line]:
        raise PatientError("no answer")


class Model:
    """A chat model that says one thing, and counts how often it is asked."""

    def __init__(self, text: str) -> None:
        self.text, self.asked = text, 0

    def reply(self, chats: Sequence[object], sampling: Sampling, seeds: Sequence[int]) -> list[str]:
        self.asked += len(chats)
        return [self.text] * len(chats)
