"""What a drawn line adds that nobody wrote: a danger, a name, a number."""

import re
from functools import lru_cache

from therapysim.danger_talk import DANGER
from therapysim.personas.answers import answer_lines
from therapysim.personas.bank import load_bank
from therapysim.personas.items import items_of
from therapysim.personas.llm.stems import content_of, runs_of
from therapysim.personas.load import personas
from therapysim.personas.patient import Cue
from therapysim.personas.schema import Persona
from therapysim.personas.vary import MARK
from therapysim.plain_words import normalise

__all__ = ["DENIES", "adds_danger", "borrows", "invents", "new_words"]

#: Words that say no.
DENIES = frozenset("no not never none nothing nobody don't haven't isn't wouldn't won't can't didn't".split())
# A capital within a sentence, and what may have one anywhere.
_NAME = re.compile(r"(?<=[a-z,;] )([A-Z][a-z]+)")
_NAMES = frozenset(
    "I God Monday Tuesday Wednesday Thursday Friday Saturday Sunday January February March April May June July August "
    "September October November December Christmas Easter English".split()
)
_KIN = re.compile(
    r"\b(wife|husband|son|daughter|brother|sister|fiancee?|girlfriend|boyfriend|twins?|grandson|granddaughter)\b"
)
_LIKE = re.compile(r"\b(?:like|as if|as though) [^.,;:!?]*")
_DIGITS = re.compile(r"\b\d+\b")
_TENS = "twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety"
_COUNTS = re.compile(rf"\b(?:(?:{_TENS})(?:-[a-z]+)?|(?:thir|four|fif|six|seven|eigh|nine)teen|hundred|thousand)\b")
#: Clauses, so that a no in one takes nothing back in the next.
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+")
_CLAUSE = re.compile(r"[,;:]|\b(?:but|and|because|so)\b")


def adds_danger(line: str, cue: Cue) -> bool:
    """Whether a line speaks of a danger in words that neither the cue nor the patient has told.

    Asked whether there is one, a patient without any may name it to say no: in a sentence of its file, or in a clause
    that says no before it. "I do not want to live" says no to living, and counts as a danger.
    """
    told, plain = normalise("\n".join([*_cued(cue), *cue.transcript.said_by("patient")])), normalise(line)
    denies = any(item.id == "denial" for item in cue.items)
    known = _denied if denies else _named
    return not all(known(found, plain, told) for found in DANGER.finditer(plain))


def _named(found: re.Match[str], plain: str, told: str) -> bool:
    return found.group(0) in told


def _denied(found: re.Match[str], plain: str, told: str) -> bool:
    before, after = _SENTENCE_END.split(plain[: found.start()])[-1], _SENTENCE_END.split(plain[found.start() :])[0]
    if before + after in told:
        return True
    clause = set(_CLAUSE.split(before)[-1].split())
    return bool(DENIES & clause) and found.group(0).split()[0] not in DENIES


def _cued(cue: Cue) -> list[str]:
    """Every wording of what the cue tells or earlier cues told."""
    facts = [line for fact in (*cue.facts, *cue.told) for line in fact.lines]
    return [*answer_lines(cue), *(line for item in cue.items for line in item.lines), *facts]


def invents(line: str, cue: Cue) -> bool:
    """Whether a line holds a name, kin, or a number of thirteen and more, that nothing written or said has."""
    plain = line.replace("’", "'")
    names = {m.group(1) for m in _NAME.finditer(plain)} - _NAMES
    numbers = {*_DIGITS.findall(plain), *_COUNTS.findall(plain.lower())} - {str(cue.figure)}
    kin = set(_KIN.findall(plain.lower()))
    if not names and not numbers and not kin:
        return False
    known = "\n".join([*_everything(cue.persona), *(message.text for message in cue.transcript)])
    return any(not re.search(rf"\b{re.escape(word)}", known, re.IGNORECASE) for word in (*names, *numbers, *kin))


def borrows(line: str, cue: Cue) -> bool:
    """Whether a line takes a run of words from another patient's own: what a small model remembers of training."""
    own = cue.persona.id.partition(MARK)[0]
    taken = [run for run in runs_of(line, _BORROWED) if own not in _speakers().get(run, {own})]
    return bool(taken) and not set(taken) <= _own_runs(cue.persona)  # one's own patient may be a shipped one rewritten


@lru_cache(maxsize=512)
def _own_runs(persona: Persona) -> frozenset[tuple[str, ...]]:
    return frozenset(run for line in _everything(persona) for run in runs_of(line, _BORROWED))


#: So many words in a row that only another patient says.
_BORROWED = 6


@lru_cache(maxsize=1)
def _speakers() -> dict[tuple[str, ...], frozenset[str]]:
    """Run of words -> the patients in whose voice it stands."""
    found: dict[tuple[str, ...], set[str]] = {}
    for p in personas():
        v = p.voice
        for line in (*v.opening, *v.express, *v.change, *v.sustain, *v.ask):
            for run in runs_of(line, _BORROWED):
                found.setdefault(run, set()).add(p.id)
    return {run: frozenset(who) for run, who in found.items()}


def new_words(line: str, cue: Cue) -> int:
    """How many words of content a line has that nothing written of the patient has, nor anything said, nor a mood.

    A comparison ("like the road at dusk") tells no fact and is free.
    """
    said = content_of(message.text for message in cue.transcript)
    return len(content_of([_LIKE.sub("", line)]) - _vocabulary(cue.persona) - said - content_of(answer_lines(cue)))


@lru_cache(maxsize=512)
def _vocabulary(persona: Persona) -> frozenset[str]:
    """Stems of all that is written of a patient, and of the shared lines, which name moods and no facts."""
    thoughts = (persona.core_belief, *persona.intermediate_beliefs, *persona.automatic_thoughts, persona.coping)
    greetings = ("hi hello hey goodbye bye thanks thank sorry please nope cheers",)
    return frozenset(content_of([*_everything(persona), *thoughts, *load_bank().texts, *greetings]))


@lru_cache(maxsize=512)
def _everything(persona: Persona) -> tuple[str, ...]:
    """All that is written of a patient."""
    told = tuple(line for item in items_of(persona).values() for line in item.lines)
    voice = persona.voice
    return (persona.name, persona.occupation, persona.living, persona.presenting_problem, *told, *voice.opening,
            *voice.express, *voice.change, *voice.sustain, *voice.ask, *persona.case.asks,
            *(line for fact in persona.facts for line in fact.lines))  # fmt: skip
