"""Inspect: the benchmark as a task, with any model that Inspect reaches as the therapist; needs ``inspect-ai``.

    inspect eval therapysim/bench --model openai/gpt-4o-mini -T patients=4 -T seeds=2

A sample is a patient under a seed, the sessions of ``therapysim bench``. What the model reads is ``ChatTherapist``'s
conversation, message for message, and its turns are drawn by the same settings and seeds. An epoch plays the same
sessions again, the patients' chance and all, with other seeds for the model: what differs is the policy's own spread.
"""

from inspect_ai import Task, task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import GenerateConfig
from inspect_ai.viewer import TaskSamplesColumn, TaskSamplesView, ViewerConfig

from therapysim import __version__
from therapysim.agents.bench.bench_settings import BenchSettings, chosen
from therapysim.agents.bench.benchmark import USUAL
from therapysim.agents.bench.measures import MEASURES
from therapysim.agents.bench.provenance import provenance
from therapysim.errors import ConfigError
from therapysim.models.chat import Sampling
from therapysim.personas.load import open_persona
from therapysim.train.connect.inspect_scores import measures, terms
from therapysim.train.connect.inspect_solver import therapy

__all__ = ["bench"]


@task
def bench(
    split: str = "test",
    patients: int | str | list[str] = 0,
    seeds: int = 4,
    turns: int = 20,
    rubric: str = "default",
    patient: str = "scripted",
    patient_key_env: str | None = None,
    show_state: bool = True,
    retries: int = 2,
) -> Task:
    """The benchmark. A session whose patient failed is its sample's error: the others go on, and are scored.

    Args:
        split, seeds, turns, rubric: as of ``BenchSettings``.
        patients: how many of the split, 0 for all; or ids, and files of your own patients.
        patient, patient_key_env: who words the patients, by name, and the variable with its server's key.
        show_state: whether the model reads the state header.
        retries: how often a patient that failed is asked for the same turn again.

    Raises:
        ConfigError, PersonaError, ModelError: a name or number is wrong, or the patient's model cannot be had.
    """
    settings = BenchSettings(split, *_whom(patients), seeds, turns, rubric)
    drawn = Sampling()
    return Task(
        dataset=MemoryDataset([_sample(who, seed) for who in chosen(settings) for seed in range(seeds)], split),
        solver=therapy(turns, rubric, patient, patient_key_env, show_state, retries),
        scorer=[measures(), terms()],
        config=GenerateConfig(max_tokens=drawn.max_tokens, temperature=drawn.temperature, top_p=drawn.top_p),
        continue_on_fail=True,
        version=__version__,
        metadata={"provenance": provenance(settings).model_dump(mode="json")},
        viewer=_viewer(),
    )


def _viewer() -> ViewerConfig:
    """The list of sessions: how each ended, and the measures, those first that a benchmark's table has."""
    order = [*USUAL, *(name for name in MEASURES if name not in USUAL)]
    columns = [TaskSamplesColumn(id=name) for name in ("sampleStatus", "sampleId", "epoch", "answer", "error")]
    columns += [TaskSamplesColumn.score("measures", name) for name in order]
    labels = {name: measure.label for name, measure in MEASURES.items()}
    view = TaskSamplesView(name="sessions", columns=columns, multiline=False, score_labels=labels)
    return ViewerConfig(task_samples_view=view)


def _whom(patients: int | str | list[str]) -> tuple[tuple[str, ...], int]:
    """Ids, or how many."""
    if isinstance(patients, int):
        return (), patients
    if isinstance(patients, str | list | tuple):
        return ((patients,) if isinstance(patients, str) else tuple(map(str, patients))), 0
    raise ConfigError(f"patients is {patients!r}, expected a whole number, an id, or ids parted by commas")


def _sample(named: str, seed: int) -> Sample:
    who = open_persona(named)
    about = {"patient": named, "seed": seed, "diagnosis": who.diagnosis, "severity": who.severity, "risk": who.risk}
    told = f"{who.id}: {who.diagnosis}, {who.severity}; seed {seed}. The patient speaks first."
    return Sample(input=told, id=f"{who.id}-{seed}", metadata=about)
