"""What a benchmark is set to: whom every policy meets, and who words the patients."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from therapysim.errors import ConfigError, require_count
from therapysim.models.server import refuse_secrets
from therapysim.personas.load import patients_named, personas
from therapysim.personas.own import id_of
from therapysim.personas.patient import Patient
from therapysim.rewards.rubric_by_name import open_rubric

__all__ = ["BenchSettings", "Simulator", "chosen", "whom"]


@dataclass(frozen=True, slots=True)
class Simulator:
    """Who words the patients.

    Attributes:
        name: as the results call it.
        open: loads it.
        about: what decides its lines; plain values.
    """

    name: str
    open: Callable[[], Patient]
    about: Mapping[str, Any]

    def __post_init__(self) -> None:
        refuse_secrets(self.name, "the patient's name")


@dataclass(frozen=True, slots=True)
class BenchSettings:
    """Whom every policy meets.

    Attributes:
        split: train, dev or test.
        patients: ids, and files or folders of one's own, kept as ``personas.load.patients_named`` has them; empty for
            all of the split.
        people: so many of the split's patients, the first in order; 0 for all.
        seeds: sessions with each patient, under seeds 0, 1, ….
        turns: therapist turns in a session at most.
        rubric: its name; see ``rewards.rubric_by_name``.
    """

    split: str = "test"
    patients: tuple[str, ...] = ()
    people: int = 0
    seeds: int = 4
    turns: int = 20
    rubric: str = "default"

    def __post_init__(self) -> None:
        require_count("seeds", self.seeds, 1)
        require_count("turns", self.turns, 1)
        require_count("people", self.people, 0)
        if self.patients and self.people:
            raise ConfigError("both ids and a number of patients are given: give one")
        object.__setattr__(self, "patients", patients_named(self.patients))
        whom(self)
        open_rubric(self.rubric)


def whom(settings: BenchSettings) -> tuple[str, ...]:
    """Ids of the patients that are met; raises as ``chosen``."""
    return tuple(map(id_of, chosen(settings)))


def chosen(settings: BenchSettings) -> tuple[str, ...]:
    """The patients that are met, as ``personas.load.open_persona`` reads them.

    Raises:
        PersonaError: an id or the split is unknown.
        ConfigError: an id is given twice, or the split has fewer patients.
    """
    if settings.patients:
        if len(set(map(id_of, settings.patients))) < len(settings.patients):
            raise ConfigError(f"patients {', '.join(settings.patients)}: one is given twice")
        return settings.patients
    there = [p.id for p in personas(settings.split)]
    if settings.people > len(there):
        raise ConfigError(
            f"people is {settings.people}, expected at most {len(there)}: split {settings.split} has no more"
        )
    return tuple(there[: settings.people or None])
