"""A patient's lines as items, each led to by what a therapist asks or does.

life.sleep                       what is asked about a life: the kind of question is the field's name
story.began                      how it came about
situations.lunch.did             a column of a situation; "body_then" and "friend" ask for its body and friend
beliefs.core                     the core belief, where it was learned, the rules
change, sustain, strengths       reasons for and against, what it is good at; these lines differ
tasks.walk.answer, .outcome      a task proposed, and what came of it
danger.intent                    a rung of the ladder; the kinds are d_frequency, d_intent ...
facts.letter                     what it tells of itself once there is trust
replies.right                    what is said to what a therapist does
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import lru_cache

from therapysim.personas.case import Beliefs, Ladder, Life, Replies, Situation, Story
from therapysim.personas.schema import Persona

__all__ = ["COLUMNS", "DANGER_KINDS", "KINDS", "LIFE", "NUMBERS", "STORY", "Item", "items_of"]

LIFE = tuple(field.name for field in fields(Life))
STORY = tuple(field.name for field in fields(Story))
#: Kind of question -> the column of a situation that answers it, in the order of a thought record.
COLUMNS: Mapping[str, str] = {
    "happened": "happened", "thinking": "thinking", "feeling": "feeling", "body_then": "body", "did": "did",
    "cost": "cost", "worst": "worst", "evidence_for": "evidence_for", "evidence_against": "evidence_against",
    "other_view": "other_view", "friend": "friend", "balanced": "balanced",
}  # fmt: skip
#: Kinds of question that a number answers; it comes from the state.
NUMBERS = ("conviction", "strength", "mood_now", "ruler")
_BELIEFS = tuple(field.name for field in fields(Beliefs))
#: Kind of question about a danger -> rung.
DANGER_KINDS: Mapping[str, str] = {
    "d_frequency": "frequency", "d_strength": "strength", "d_since": "since", "d_triggers": "triggers",
    "d_intent": "intent", "d_plan": "plan", "d_means": "means", "d_history": "history", "d_protects": "protects",
    "d_knows": "knows", "d_tell": "let_tell", "d_signs": "signs", "d_alone": "alone", "d_places": "places",
    "d_people": "people", "d_professionals": "professionals",
}  # fmt: skip
#: Every kind of question that a case file answers.
KINDS: tuple[str, ...] = (
    *LIFE, *STORY, *COLUMNS, *NUMBERS, *_BELIEFS, "change", "sustain", "strengths", "feeling_now", "week",
    *DANGER_KINDS,
)  # fmt: skip
#: The trust that some parts need; all else is told readily.
_DEPTH = {"beliefs.core": 3, "beliefs.learned": 3, "beliefs.rules": 2, "change": 2}


@dataclass(frozen=True, slots=True)
class Item:
    """Lines that tell one thing.

    Attributes:
        id: its place in the file.
        depth: 1 told readily, 2 needs some alliance, 3 needs trust.
        lines: in the patient's words; one is told, or one after another where they differ.
        topics: words in a therapist's turn that mean it; empty where only a kind of question leads to it.
        risk: it tells of a danger.
    """

    id: str
    depth: int
    lines: tuple[str, ...]
    topics: tuple[str, ...] = ()
    risk: bool = False


@lru_cache(maxsize=512)
def items_of(persona: Persona) -> Mapping[str, Item]:
    """Every item of a patient by id, in the order of its file."""
    case = persona.case
    found = [
        *(_plain(f"life.{name}", getattr(case.life, name)) for name in LIFE),
        *(_plain(f"story.{name}", getattr(case.story, name)) for name in STORY),
        *(item for situation in case.situations for item in _columns(situation)),
        *(_plain(f"beliefs.{name}", getattr(case.beliefs, name)) for name in _BELIEFS),
        *(_plain(name, getattr(case, name)) for name in ("change", "sustain")),
        _plain("strengths", case.strengths_told),
        *(Item(f"tasks.{t.id}.answer", 1, t.answer, t.topics) for t in case.tasks),
        *(Item(f"tasks.{t.id}.outcome", 1, t.outcome, t.topics) for t in case.tasks if t.would),
        *(_plain(f"replies.{field.name}", getattr(case.replies, field.name)) for field in fields(Replies)),
        Item("denial", 1, case.denial),
        *_rungs(case.danger),
        *(Item(f"facts.{fact.id}", fact.depth, fact.lines, fact.topics, fact.risk) for fact in persona.facts),
    ]
    return {item.id: item for item in found if item.lines}


def _plain(place: str, lines: tuple[str, ...]) -> Item:
    return Item(place, _DEPTH.get(place, 1), lines)


def _columns(situation: Situation) -> list[Item]:
    """The columns of one situation; what lies under the thought needs a step more of trust."""
    deep = ("worst",)
    return [
        Item(
            f"situations.{situation.id}.{column}",
            min(3, situation.depth + (column in deep)),
            getattr(situation, column),
            situation.topics,
        )
        for column in COLUMNS.values()
    ]


def _rungs(ladder: Ladder | None) -> list[Item]:
    if ladder is None:
        return []
    rungs = ((field.name, getattr(ladder, field.name)) for field in fields(ladder))
    return [Item(f"danger.{name}", rung.depth, rung.lines, (), True) for name, rung in rungs]
