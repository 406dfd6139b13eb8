"""What a patient can answer, told from its file."""

from collections.abc import Iterator
from dataclasses import fields

from therapysim.personas.items import COLUMNS, DANGER_KINDS, KINDS, NUMBERS, Item, items_of
from therapysim.personas.schema import Persona

__all__ = ["answers_to", "describe_answers"]

_TRUST = {1: "readily", 2: "with some alliance", 3: "with trust"}
#: Kinds of question that are answered from the state, whatever the file says.
_FROM_STATE = (*NUMBERS, "feeling_now", "week")


def answers_to(persona: Persona, kind: str) -> tuple[Item, ...]:
    """The items that a kind of question leads to; of a situation's column, one a situation.

    Args:
        persona: who is asked.
        kind: one of ``items.KINDS``.
    """
    items = items_of(persona)
    if kind in COLUMNS:
        places = [f"situations.{s.id}.{COLUMNS[kind]}" for s in persona.case.situations]
    elif kind in DANGER_KINDS:
        places = [f"danger.{DANGER_KINDS[kind]}", "denial"]
    else:
        places = [f"life.{kind}", f"story.{kind}", f"beliefs.{kind}", kind]
    return tuple(items[place] for place in places if place in items)


def describe_answers(persona: Persona) -> str:
    """Who it is, what it answers and with how much trust, and what it tells by itself; lines of text."""
    found = {kind: answers_to(persona, kind) for kind in KINDS if kind not in _FROM_STATE}
    answered = sum(map(bool, found.values())) + len(_FROM_STATE)
    state = f"  from the state, as numbers or the mood: {', '.join(_FROM_STATE)}"
    told = {kind: items for kind, items in found.items() if persona.case.danger or kind not in DANGER_KINDS}
    return "\n".join(
        [*_who(persona), f"answers {answered} of {len(KINDS)} kinds of question", *_kinds(told), state, *_rest(persona)]
    )


def _who(p: Persona) -> Iterator[str]:
    yield f"{p.name} ({p.id}), {p.age}, {p.pronouns}, {p.occupation}; split {p.split}"
    yield f"{p.diagnosis} ({p.code}), {p.severity}, PHQ-9 {p.phq9}, GAD-7 {p.gad7}; risk {p.risk}"
    yield p.presenting_problem


def _kinds(found: dict[str, tuple[Item, ...]]) -> Iterator[str]:
    for depth, words in _TRUST.items():
        names = [kind for kind, items in found.items() if items and min(item.depth for item in items) == depth]
        if names:
            yield f"  {words}: {', '.join(names)}"
    if missing := [kind for kind, items in found.items() if not items]:
        yield f'  not at all ("I don\'t know"): {", ".join(missing)}'


def _rest(p: Persona) -> Iterator[str]:
    situations = (f"{s.id} (depth {s.depth}, {s.emotion} {s.strength} %): {s.thought}" for s in p.case.situations)
    yield from ("situations", *(f"  {line}" for line in situations))
    yield "tells by itself, once there is trust"
    yield from (f"  {fact.id} (depth {fact.depth}{', of a danger' * fact.risk}): {fact.lines[0]}" for fact in p.facts)
    yield "tasks: " + ", ".join(f"{task.id} ({'would' if task.would else 'would not'})" for task in p.case.tasks)
    replies = [field.name for field in fields(p.case.replies) if getattr(p.case.replies, field.name)]
    yield f"replies to what is done: {', '.join(replies)}"
    no = f"a true no, {len(p.case.denial)} lines"
    yield "danger: " + (f"a ladder of {len(fields(p.case.danger))} rungs" if p.case.danger else no)
