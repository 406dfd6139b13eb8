"""Does a patient agree with itself: diagnosis with signs, score with severity, risk with facts? Are the splits fair?"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from therapysim.errors import PersonaError
from therapysim.personas.numbers import in_words
from therapysim.personas.schema import Persona, Severity
from therapysim.records import STRICT, Record, hint, read_record, shown

__all__ = ["CHECKS", "DANGER", "METHOD", "Diagnosis", "check", "check_splits", "diagnoses", "symptoms"]

#: Scores that go with each severity. Source: Kroenke, Spitzer & Williams 2001 (PHQ-9); Spitzer et al. 2006 (GAD-7). The
#: PHQ-9's "moderately severe", 15-19, may be called either way.
BANDS: dict[str, dict[Severity, tuple[int, int]]] = {
    "phq9": {"mild": (5, 9), "moderate": (10, 19), "severe": (15, 27)},
    "gad7": {"mild": (5, 9), "moderate": (10, 14), "severe": (15, 21)},
}
#: Words that tell of a danger to life; every wording of a risk fact holds one, and no other line may.
DANGER = re.compile(
    r"\b(?:(?:not|never) (?:have )?(?:wake|woken|waking)|wake up(?: again| at all)|dying|die|dead|without me|"
    r"(?:not|stop) (?:want(?:ing)? to )?(?:be(?:ing)? )(?:here|alive)|not (?:want(?:ing)? to )?(?:live|exist|go on)\b|"
    r"end (?:it|my life|everything|things)|(?:kill|hurt|harm|cut)(?:ing|ting)? (?:myself|me|him|her|them|someone)|"
    r"free of me|suicid\w*|(?:be|were|was|am) gone|disappear|(?:being|be) over|no point in (?:living|being)|"
    r"take my (?:own )?life|not be (?:here|around)|over with|saved up|say goodbye)\b",
    re.IGNORECASE,
)
_GRAVE = re.compile(r"\b(?:suicid\w*|kill myself|end my life|take my (?:own )?life|hurt myself|want to die)\b", re.I)
#: What no line may name, not even where a danger is told of.
METHOD = re.compile(
    r"\b(?:overdos\w*|noose|razors?|blades?|knife|knives|guns?|rifles?|cliffs?|ledge|bleach|exhaust|drown\w*|wrists?|"
    r"jump(?:ed|ing)? off|pesticides?|hang(?:ed|ing)? (?:my|him|her)self)\b",
    re.IGNORECASE,
)
#: Parts of a case file that may speak of a danger.
_OF_DANGER = ("danger.", "denial")
#: At least so many facts tell of a risk of this level.
_RISK_FACTS = {0: 0, 1: 1, 2: 1, 3: 2}


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """One row of ``diagnoses.yaml``.

    Attributes:
        group: the stratum for the splits.
        needs: (count, symptoms): so many of these.
        severity: what the name itself says, None where it does not.
        score: the questionnaire that grows with the disorder, "" where none does.
        family: the same disorder at other severities; "" where it is one of its own.
    """

    __pydantic_config__ = STRICT

    name: str
    code: str
    group: str
    needs: tuple[tuple[int, tuple[str, ...]], ...]
    severity: Severity | None = None
    score: Literal["phq9", "gad7", ""] = ""
    family: str = ""


class _Table(Record):
    symptoms: dict[str, str]
    diagnoses: tuple[Diagnosis, ...]


@cache
def diagnoses() -> dict[str, Diagnosis]:
    """Every known diagnosis by its full name."""
    return {row.name: row for row in _table().diagnoses}


@cache
def symptoms() -> dict[str, str]:
    """Every known symptom: id -> what it is."""
    return dict(_table().symptoms)


def check(persona: Persona) -> list[str]:
    """What in one patient contradicts what; empty where nothing does."""
    return [problem for one in CHECKS for problem in one(persona)]


def check_splits(people: Sequence[Persona]) -> list[str]:
    """Whether the splits are 3 : 1 : 2 within every group of diagnoses and every level of risk, and names differ."""
    problems = [f"name {n!r} is borne by {c} patients" for n, c in Counter(p.name for p in people).items() if c > 1]
    strata: tuple[tuple[str, Callable[[Persona], object]], ...] = (
        ("group", lambda p: known.group if (known := diagnoses().get(p.diagnosis)) else "of other diagnoses"),
        ("risk", lambda p: p.risk),
    )
    for label, key in strata:
        counts = Counter((key(p), p.split) for p in people)
        for stratum in sorted({key(p) for p in people}, key=str):
            train, dev, test = (counts[stratum, split] for split in ("train", "dev", "test"))
            if (train, test) != (3 * dev, 2 * dev):
                problems.append(f"{label} {stratum}: train {train}, dev {dev}, test {test}, expected 3 : 1 : 2")
    return problems


@cache
def _table() -> _Table:
    return read_record(Path(__file__).parent / "diagnoses.yaml", _Table, PersonaError)


def _of_diagnosis(p: Persona) -> Iterable[str]:
    known = diagnoses().get(p.diagnosis)
    if known is None:
        expected = f"one of diagnoses.yaml: {' | '.join(diagnoses())}"
        yield f"diagnosis is {shown(p.diagnosis)}, expected {expected}{hint(p.diagnosis, [*diagnoses()])}"
        return
    if p.code != known.code:
        yield f"code is {p.code}, expected {known.code} for {known.name}"
    if known.severity and p.severity != known.severity:
        yield f"severity is {p.severity}, but the diagnosis says {known.severity}"


def _of_symptoms(p: Persona) -> Iterable[str]:
    if unknown := [s for s in p.symptoms if s not in symptoms()]:
        meant = "".join(hint(s, [*symptoms()]) for s in unknown)
        told = ", ".join(map(repr, unknown))
        yield f"symptom {told} is unknown, expected some of diagnoses.yaml: {', '.join(symptoms())}{meant}"
    if (known := diagnoses().get(p.diagnosis)) is None:
        return
    for count, names in known.needs:
        if len(set(names) & set(p.symptoms)) < count:
            yield f"symptoms {', '.join(p.symptoms)}: {known.name} needs {count} of {', '.join(names)}"


def _of_score(p: Persona) -> Iterable[str]:
    if (known := diagnoses().get(p.diagnosis)) is None:
        return
    highest = max(p.phq9, p.gad7)
    if known.score:
        low, high = BANDS[known.score][p.severity]
        value = getattr(p, known.score)
        if not low <= value <= high:
            yield f"{known.score} is {value}, expected {low}-{high} for {p.severity}"
    elif (p.severity == "mild" and highest >= 15) or (p.severity == "severe" and highest < 10):
        yield f"phq9 {p.phq9} and gad7 {p.gad7} do not go with {p.severity}"


def _of_risk(p: Persona) -> Iterable[str]:
    telling = [fact for fact in p.facts if fact.risk]
    if len(telling) < _RISK_FACTS[p.risk]:
        yield f"risk is {p.risk} with {len(telling)} risk facts, expected at least {_RISK_FACTS[p.risk]}"
    if p.risk and p.phq9 < 5:
        yield f"risk is {p.risk}, but phq9 is {p.phq9}"
    for fact in telling:
        yield from (f"fact {fact.id!r} is a risk, but {line!r} says no danger" for line in fact.lines
                    if not DANGER.search(line))  # fmt: skip
        if fact.depth < 2:
            yield f"fact {fact.id!r} is a risk of depth {fact.depth}, expected 2 or 3"
    others = [line for fact in (*p.facts, *p.circumstances) if not fact.risk for line in fact.lines]
    yield from (f"{line!r} speaks of suicide, but is no risk fact" for line in (*others, *_voice(p))
                if _GRAVE.search(line))  # fmt: skip


def _of_facts(p: Persona) -> Iterable[str]:
    if {fact.depth for fact in p.facts} != {1, 2, 3}:
        yield "facts lie at depths " + ", ".join(sorted({str(f.depth) for f in p.facts})) + ", expected 1, 2 and 3"
    facts = [line for fact in (*p.facts, *p.circumstances) for line in fact.lines]
    count = Counter(facts) + Counter(_voice(p)) + Counter(line for _, line in p.case.spoken())
    yield from (f"{line!r} stands {n} times" for line, n in count.items() if n > 1)


def _of_voice(p: Persona) -> Iterable[str]:
    yield from (f"{line!r} is no question" for line in p.voice.ask if not line.endswith("?"))
    yield from (f"{line!r} does not end like a sentence" for line in _voice(p) if line[-1] not in ".?!")
    yield from (f"{line!r} has {len(line.split())} words, expected at most 32" for line in _voice(p)
                if len(line.split()) > 32)  # fmt: skip


def _of_mood(p: Persona) -> Iterable[str]:
    lowest = min(p.mood)
    if lowest > -0.1:
        yield f"mood has no dimension below -0.1 (lowest {lowest}), so there is nothing to treat"
    if p.severity == "severe" and lowest > -0.45:
        yield f"severity is severe, but the lowest mood is {lowest}, expected -0.45 or less"
    if p.severity == "mild" and lowest < -0.6:
        yield f"severity is mild, but the lowest mood is {lowest}, expected -0.6 or more"


def _of_case(p: Persona) -> Iterable[str]:
    for place, line in p.case.spoken():
        told = place.startswith(_OF_DANGER)
        if _GRAVE.search(line) and not told:
            yield f"case.{place}: {line!r} speaks of a danger; only case.danger and case.denial may"
        if told and (named := METHOD.search(line)):
            yield f"case.{place}: {line!r} names {named[0]!r}; no line may name a method"
        if not re.search(r"[.?!…]['\"]?$", line):
            yield f"case.{place}: {line!r} does not end like a sentence"
    yield from (f"case.asks: {line!r} is no question" for line in p.case.asks if "?" not in line)


def _of_age(p: Persona) -> Iterable[str]:
    """Who is asked how old it is says its age."""
    told = (str(p.age), in_words(p.age))
    if not any(re.search(rf"\b{said}\b", line.lower()) for line in p.case.life.age for said in told):
        yield f"case.life.age: no line says {told[0]} or {told[1]}"


def _voice(p: Persona) -> tuple[str, ...]:
    v = p.voice
    return (*v.opening, *v.express, *v.change, *v.sustain, *v.ask)


#: Each looks at some fields alone, and yields what contradicts what in them.
CHECKS: tuple[Callable[[Persona], Iterable[str]], ...] = (
    _of_diagnosis, _of_symptoms, _of_score, _of_risk, _of_facts, _of_voice, _of_mood, _of_case, _of_age,
)  # fmt: skip
