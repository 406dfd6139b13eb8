"""What a patient says against its own file: symptoms denied, another age, name or trade, kin that it does not have.

Patterns over words: they find plain contradictions in the first person and miss what is implied, what is said about
another time, and a told fact taken back in other words. ``tests/data/contradictions.yaml`` says how well they do.
"""

import re
from functools import cache
from pathlib import Path

from therapysim.errors import PersonaError
from therapysim.personas.items import items_of
from therapysim.personas.numbers import number_of
from therapysim.personas.schema import Persona
from therapysim.records import read_record

__all__ = ["contradictions"]

_CONTRACTIONS = (
    (r"\bcan't\b|\bcannot\b", "can not"), (r"\bwon't\b", "will not"), (r"n't\b", " not"), (r"\bi'm\b", "i am"),
    (r"'ve\b", " have"), (r"'ll\b", " will"), (r"\b(it|that|he|she|there|what)'s\b", r"\1 is"), (r"'re\b", " are"),
)  # fmt: skip
# Children of one's own; a school cook speaks of children, too, and a file may say "no children".
_OFFSPRING = (
    r"(?:my|our|her|his|their|two|three|four|grown|teenage|twin) (?:grown |teenage |twin |little |small |two |three )?"
    r"(?:child|children|kids?|boys?|girls?)\b|teenagers"
)
_KIN = {
    "wife": "wife|married", "husband": "husband|married",
    "partner": "partner|boyfriend|girlfriend|wife|husband|married",
    "girlfriend": "girlfriend|partner", "boyfriend": "boyfriend|partner", "son": rf"sons?\b|{_OFFSPRING}",
    "daughter": rf"daughters?\b|{_OFFSPRING}", "kids": rf"sons?\b|daughters?\b|{_OFFSPRING}",
    "children": rf"sons?\b|daughters?\b|{_OFFSPRING}", "sister": "sister", "brother": "brother",
    "grandson": "grandson|grandchild", "granddaughter": "granddaughter|grandchild",
}  # fmt: skip
_TRADES = frozenset(
    "accountant actor analyst architect artist baker banker barista bartender builder butcher carer carpenter cashier "
    "chef cleaner clerk consultant cook courier dancer dentist designer developer doctor driver electrician engineer "
    "farmer firefighter fisherman gardener hairdresser journalist lawyer lecturer librarian manager mechanic midwife "
    "musician nurse painter paramedic pharmacist photographer pilot plumber policeman priest professor programmer "
    "receptionist roofer sailor scientist secretary soldier student surgeon tailor teacher tester translator "
    "waiter waitress welder writer".split()
)
_NUMBER = r"(?:\d{1,3}|[a-z]+(?:-[a-z]+)?)"
_AGE = re.compile(
    rf"\bi am (?:only |just |already |now )?({_NUMBER})(?: years? old| years of age)?(?=[.,;!?]|$| and\b| now\b)"
)
# Over the words as written: "my name is mud" names nobody.
_NAME = re.compile(r"\b[Mm]y name(?: is|[’']s) ([A-Z]\w+)")
# How well one does a thing says nothing of one's trade.
_TRADE = re.compile(
    r"\bi (?:am|work as) an? (?!(?:good|great|bad|terrible|dreadful|awful|poor|lousy|hopeless|better|worse)\b)"
    rf"(?:\w+ ){{0,2}}?({'|'.join(sorted(_TRADES))})\b"
)
# A claim that is denied, wished for, long past, or another's words is none.
_TAKEN_BACK = re.compile(
    r"\b(?:not|never|nobody|no longer|wish|if|used to|would|could|when|until|before|hope|want to|tells?|told|promised?|"
    r"promising|(?<!\bi )(?:thinks?|says?|said|believes?))\b[^.!?]*$"
)
# Nor is a claim that is asked, or quoted afterwards.
_QUOTED = re.compile(
    r"[^.!?]*(?:\?|\bthat is what (?:i|he|she|they) (?:used to |always )?(?:say|said|tell|told|think)\b)"
)


def contradictions(line: str, persona: Persona) -> list[str]:
    """What a patient's line says against its file; empty where nothing does.

    Args:
        line: the patient's words.
        persona: who speaks.

    Returns:
        One entry a contradiction, such as ``symptom: insomnia`` or ``kin: wife``.
    """
    said = _plain(line)
    return [*_denied(said, persona), *_age(said, persona), *_name(line, persona), *_trade(said, persona),
            *_kin(said, persona)]  # fmt: skip


@cache
def _denials() -> dict[str, tuple[re.Pattern[str], ...]]:
    table = read_record(Path(__file__).parent / "denials.yaml", dict[str, tuple[str, ...]], PersonaError)
    return {symptom: tuple(re.compile(rf"\b{p.lower()}") for p in patterns) for symptom, patterns in table.items()}


def _plain(line: str) -> str:
    text = line.lower().replace("’", "'")
    for pattern, full in _CONTRACTIONS:
        text = re.sub(pattern, full, text)
    return " ".join(text.split())


def _denied(said: str, persona: Persona) -> list[str]:
    return [f"symptom: {symptom}" for symptom in persona.symptoms for pattern in _denials().get(symptom, ())
            if any(_meant(said, match) for match in pattern.finditer(said))]  # fmt: skip


def _meant(said: str, match: re.Match[str]) -> bool:
    return not _TAKEN_BACK.search(said[: match.start()]) and not _QUOTED.match(said[match.end() :])


def _age(said: str, persona: Persona) -> list[str]:
    told = [_claimed(match.group(1)) for match in _AGE.finditer(said) if _meant(said, match)]
    return [f"age: {age}" for age in told if age is not None and age != persona.age]


def _claimed(word: str) -> int | None:
    """The age that is claimed; "I am one." claims none."""
    age = number_of(word)
    return age if age is None or age > 9 or word.isdecimal() else None


def _name(line: str, persona: Persona) -> list[str]:
    return [f"name: {m.group(1)}" for m in _NAME.finditer(line)
            if m.group(1) not in persona.name and _meant(line.lower(), m)]  # fmt: skip


def _trade(said: str, persona: Persona) -> list[str]:
    file = _file(persona)
    return [f"trade: {m.group(1)}" for m in _TRADE.finditer(said)
            if m.group(1) not in file and _meant(said, m)]  # fmt: skip


def _kin(said: str, persona: Persona) -> list[str]:
    file, found = _file(persona), []
    for kin, known in _KIN.items():
        match = re.search(rf"\bmy {kin}\b", said)
        if match and _meant(said, match) and not re.search(rf"\b(?:{known})", file):
            found.append(f"kin: {kin}")
    return found


#: What of the case file says who a patient has, and what it works as; "like a teacher" elsewhere makes no teacher.
_OF_PEOPLE = ("life.family", "life.partner", "life.children", "life.work")


@cache
def _file(persona: Persona) -> str:
    """All that is written of a patient, in lower case."""
    told = (line for fact in (*persona.facts, *persona.circumstances) for line in fact.lines)
    items = items_of(persona)
    case = (line for name in _OF_PEOPLE if name in items for line in items[name].lines)
    v = persona.voice
    about = (persona.occupation, persona.living, persona.presenting_problem, persona.core_belief, persona.coping)
    rest = (*persona.strengths, *persona.triggers, *persona.intermediate_beliefs, *persona.automatic_thoughts)
    return " ".join((*about, *rest, *told, *case, *v.opening, *v.express, *v.change, *v.sustain, *v.ask)).lower()
