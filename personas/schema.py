"""Who sits in the chair: the fields of a patient, and what each may hold.

The classes are plain frozen dataclasses, so that code may make and vary them freely. What their annotations ask for is
checked when a file is read, and is published as ``docs/schemas/persona.schema.json``.
"""

from collections.abc import Callable, Iterator
from dataclasses import astuple, dataclass
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, GetPydanticSchema, model_validator

from therapysim.personas.case import Case
from therapysim.personas.fields import Depth, Fault, Four, Id, One, Share, Signed, Six, Ten, Text, Three, Two, Words
from therapysim.records import STRICT, wrong_each
from therapysim.state import Attributes, Vector

__all__ = ["MOODS", "RULES", "SPLITS", "Fact", "Persona", "Severity", "Split", "Style", "Temperament", "Voice"]

Split = Literal["train", "dev", "test"]
Severity = Literal["mild", "moderate", "severe"]
Style = Literal["terse", "plain", "talkative"]

SPLITS: tuple[Split, ...] = ("train", "dev", "test")

#: The four dimensions a mood is given in, each in [-1, 1].
MOODS = ("introspection", "temper", "attitude", "sensitivity")
#: Lines of a no to questions about danger.
_DENIALS = 5


@dataclass(frozen=True, slots=True)
class Mood:
    """The mood as a file gives it; code has it as a ``Vector``."""

    __pydantic_config__ = STRICT

    introspection: Signed
    temper: Signed
    attitude: Signed
    sensitivity: Signed


_ByName = GetPydanticSchema(lambda _, handler: handler(Annotated[Mood, AfterValidator(astuple)]))


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

    __pydantic_config__ = STRICT

    id: Id
    depth: Depth
    lines: Two
    topics: Words
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

    __pydantic_config__ = STRICT

    opening: Three
    express: Ten
    change: Six
    sustain: Six
    ask: Four


@dataclass(frozen=True, slots=True)
class Temperament:
    """How this patient moves, beside resistance and trust.

    Attributes:
        inertia: in [0, 1], how slowly the mood moves, up or down; 0.5 is middling.
        reactivity: in [0, 1], how much a harmful turn hurts; 0.5 is middling.
    """

    __pydantic_config__ = STRICT

    inertia: Share
    reactivity: Share


def _in_order(facts: tuple[Fact, ...]) -> tuple[Fact, ...]:
    """Facts under ids of their own, in order of depth: who earns trust gets deeper, never shallower."""
    faults: list[Fault] = []
    for i, fact in enumerate(facts):
        if fact.id in {earlier.id for earlier in facts[:i]}:
            faults.append((f"{fact.id!r} a second time", "ids that differ within the persona", f"[{i}].id"))
        if i and fact.depth < (least := facts[i - 1].depth):
            faults.append((str(fact.depth), f"at least {least}: facts stand in order of depth", f"[{i}].depth"))
    if faults:
        raise wrong_each(faults)
    return facts


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
        case: what it answers, whatever it is asked.
        circumstances: what may have happened lately; only the variants of ``vary`` have lived through one of them.
    """

    __pydantic_config__ = STRICT

    id: Id
    split: Split
    name: Text
    age: Annotated[int, Field(ge=16, le=110)]
    pronouns: Text
    occupation: Text
    living: Text
    diagnosis: Text
    code: Text
    severity: Severity
    phq9: Annotated[int, Field(ge=0, le=27)]
    gad7: Annotated[int, Field(ge=0, le=21)]
    presenting_problem: Text
    symptoms: One
    core_belief: Text
    intermediate_beliefs: Two
    automatic_thoughts: Three
    coping: Text
    strengths: One
    triggers: One
    style: Style
    mood: Annotated[Vector, _ByName]
    resistance: Share
    trust: Share
    temperament: Temperament
    risk: Annotated[int, Field(ge=0, le=3)]
    facts: Annotated[tuple[Fact, ...], Field(min_length=6), AfterValidator(_in_order)]
    circumstances: Annotated[tuple[Fact, ...], Field(min_length=3)]
    voice: Voice
    case: Case

    @property
    def attributes(self) -> Attributes:
        """u_t: what the therapist is told of this patient."""
        return Attributes(persona=self.id, diagnosis=self.diagnosis, severity=self.severity, age=self.age)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if faults := [fault for rule in RULES for fault in rule(self)]:
            raise wrong_each(faults)
        return self


def _of_risk(p: Persona) -> Iterator[Fault]:
    told = [fact.id for fact in p.facts if fact.risk]
    if p.risk and not told:
        yield str(p.risk), "0, or at least one fact with 'risk: true' that tells of it", "risk"
    if told and not p.risk:
        yield "0", f"1–3, since fact {told[0]!r} is marked 'risk: true'", "risk"


def _of_danger(p: Persona) -> Iterator[Fault]:
    """Who is in danger has the ladder, and who is not has a no."""
    if p.risk and p.case.danger is None:
        yield "missing", f"the ladder of a patient of risk {p.risk}", "case.danger"
    if not p.risk and p.case.danger is not None:
        yield "a ladder", "none: risk is 0", "case.danger"
    said = len(p.case.denial)
    if said if p.risk else said < _DENIALS:
        expected = f"a no of {_DENIALS} lines or more where risk is 0, and none where it is not"
        yield f"{said} lines", expected, "case.denial"


def _of_circumstances(p: Persona) -> Iterator[Fault]:
    """What may have happened lately is told readily, is no danger, and bears an id of its own."""
    taken = {fact.id for fact in p.facts}
    for i, fact in enumerate(p.circumstances):
        if fact.id in taken or fact.depth != 1 or fact.risk:
            yield repr(fact.id), "an id of its own, depth 1 and no risk", f"circumstances[{i}].id"
        taken.add(fact.id)


#: What spans fields of a persona. Each looks at some fields alone, and yields what is wrong in them.
RULES: tuple[Callable[[Persona], Iterator[Fault]], ...] = (_of_risk, _of_danger, _of_circumstances)
