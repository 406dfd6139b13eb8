"""Who sits in the chair: the fields of a patient, and what each may hold."""

from dataclasses import dataclass
from typing import Literal

from therapysim.state import Attributes, Vector

__all__ = ["MOODS", "SPLITS", "Fact", "Persona", "Severity", "Split", "Style", "Temperament", "Voice"]

Split = Literal["train", "dev", "test"]
Severity = Literal["mild", "moderate", "severe"]
Style = Literal["terse", "plain", "talkative"]

SPLITS: tuple[Split, ...] = ("train", "dev", "test")

#: The four dimensions a mood is given in, each in [-1, 1].
MOODS = ("introspection", "temper", "attitude", "sensitivity")


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing the patient may tell, in its own words.

    Attributes:
        id: unique within the persona.
        depth: 1 told readily, 2 needs some alliance, 3 needs trust.
        lines: the same fact in the patient's words, at least two, so that sessions differ.
        topics: words in a therapist's turn that open the subject.
        risk: the fact tells of a danger to the patient or to others.
    """

    id: str
    depth: int
    lines: tuple[str, ...]
    topics: tuple[str, ...]
    risk: bool = False


@dataclass(frozen=True, slots=True)
class Voice:
    """The patient's own lines, each usable at most once a session.

    Attributes:
        opening: said first.
        express: how it feels, tied to this patient's life.
        change: speaking for change.
        sustain: speaking for leaving things be.
        ask: questions to the therapist.
    """

    opening: tuple[str, ...]
    express: tuple[str, ...]
    change: tuple[str, ...]
    sustain: tuple[str, ...]
    ask: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Temperament:
    """How this patient moves, beside resistance and trust.

    Attributes:
        inertia: in [0, 1], how slowly the mood moves, up or down; 0.5 is middling.
        reactivity: in [0, 1], how much a harmful turn hurts; 0.5 is middling.
    """

    inertia: float
    reactivity: float


@dataclass(frozen=True, slots=True)
class Persona:
    """One fictional patient.

    Attributes:
        id: the file's name without ``.yaml``.
        split: train, dev or test; a patient belongs to one only.
        diagnosis, code: DSM-5-TR name and its ICD-10-CM code.
        severity: mild, moderate or severe.
        phq9, gad7: questionnaire-like scores, 0-27 and 0-21.
        living: with whom, where, and in what circumstances; where the patient comes from.
        symptoms: ids of ``diagnoses.yaml``.
        core_belief, intermediate_beliefs, automatic_thoughts, coping: the cognitive model (J. Beck 2011).
        mood: baseline affect [I, T, A, S], the set point that mood drifts to.
        resistance: in [0, 1]; 1 = nothing helps until there is an alliance.
        trust: alliance in [0, 1] when the session begins.
        temperament: how the mood moves.
        risk: 0 none, 1 passive ideation, 2 ideation with risk factors, 3 plan or intent.
        facts: in the order in which they may be told.
        circumstances: what may have happened lately; only the variants of ``vary`` have lived through one of them.
    """

    id: str
    split: Split
    name: str
    age: int
    pronouns: str
    occupation: str
    living: str
    diagnosis: str
    code: str
    severity: Severity
    phq9: int
    gad7: int
    presenting_problem: str
    symptoms: tuple[str, ...]
    core_belief: str
    intermediate_beliefs: tuple[str, ...]
    automatic_thoughts: tuple[str, ...]
    coping: str
    strengths: tuple[str, ...]
    triggers: tuple[str, ...]
    style: Style
    mood: Vector
    resistance: float
    trust: float
    temperament: Temperament
    risk: int
    facts: tuple[Fact, ...]
    circumstances: tuple[Fact, ...]
    voice: Voice

    @property
    def attributes(self) -> Attributes:
        """u_t: what the therapist is told of this patient."""
        return Attributes(persona=self.id, diagnosis=self.diagnosis, severity=self.severity, age=self.age)
