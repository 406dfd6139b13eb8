"""What the patient answers: the router from a therapist's turn to the items of a case file. Pure, no model.

First a question about danger, then what is asked, then what is done. What needs more trust than there is, is declined;
what the file is silent about is not known. Nothing is answered with something else. A turn that reflects or asks for
more is answered with what lies nearest to what was just said: see ``nearest``.
"""

import re
from collections.abc import Mapping

from therapysim.envs.answers.answered import Answer
from therapysim.envs.answers.danger_answer import danger_answer
from therapysim.envs.latent import Latent
from therapysim.envs.moves import TRUST_NEEDED, names
from therapysim.envs.nearness import leads, nearness, weights_of
from therapysim.personas.items import COLUMNS, NUMBERS, Item, items_of
from therapysim.personas.schema import Persona
from therapysim.rewards.reading.acts import QUESTIONS, REFLECTIONS
from therapysim.rewards.reading.words import content_words
from therapysim.state import Appraisal

__all__ = ["answer_of", "echo_answer", "figure_of", "nearest", "trusts"]

#: Act -> what is said to it, the first that holds; after all that was asked.
_REPLIES: Mapping[str, str] = {
    "silence": "silence", "apology": "apology", "grounding": "grounding", "farewell": "farewell",
    "asking_permission": "permission", "check_understanding": "check", "psychoeducation": "explained",
    "information": "explained", "advice": "advice", "normalising": "normalising", "validation": "validation",
    "affirmation": "praise", "encourager": "go_on",
}  # fmt: skip
#: Acts behind which more is told, nearest to what was just said.
_LEADS_ON = frozenset({*REFLECTIONS, "validation", "normalising", "affirmation", "encourager", "open_question"})
#: Kinds of question that the mood answers.
_FELT = frozenset({"feeling_now", "week"})
#: How often it leaves it at a word, where nothing was asked, while it has any left; more would be nearer to real talk
#: (AnnoMI: a third of all turns have three words at most) and tell less.
_BRIEF = {"terse": 0.7, "plain": 0.6, "talkative": 0.15}
#: How often one of few words replies to what was done and tells nothing behind it.
_REPLY_ALONE = 0.85
#: How often one that is not talkative goes straight on, without a reply.
_LEAD_ALONE = 0.2
#: A complex reflection that adds this much true opens what else needs a step more of trust.
_ADDED = 0.3
#: What the next column of a situation that is spoken of weighs beside shared words.
_NEXT = 0.6
#: A reflection tied less to the patient's words than the first missed; short of the second it is taken as kindness.
_MISSED, _MET = 0.03, 0.3
#: How much of a turn may be the patient's own words before it hears an echo, and how many words such a turn has.
_PARROT, _ENOUGH = 0.6, 5


def answer_of(
    persona: Persona, latent: Latent, appraisal: Appraisal, spoken: str, chance: float = 1.0
) -> Answer | None:
    """The answer to a turn; None where it asks nothing and does nothing that this patient answers.

    Args:
        persona: who listens.
        latent: the session after the turn, before the answer.
        appraisal: what the turn does, and what it asks for.
        spoken: its words in lower case.
        chance: in [0, 1); a low one leaves it at a word where nothing was asked.
    """
    items = items_of(persona)
    if found := danger_answer(persona, latent, appraisal, items):
        return found
    kinds = appraisal.asks or _thought_asked(latent, appraisal)
    asked = [one for kind in kinds if (one := _asked(persona, latent, kind, spoken, items))]
    if asked:
        told = tuple(dict.fromkeys(item for one in asked for item in one.items))
        figure = next((one.figure for one in asked if one.figure is not None), None)
        return Answer(told, figure, next((one.declined for one in asked if one.declined), ""))
    return _of_acts(persona, latent, appraisal, spoken, items, chance)


def _thought_asked(latent: Latent, appraisal: Appraisal) -> tuple[str, ...]:
    """The thought in the situation that is spoken of, where a turn elicits one in words that name no kind."""
    told = not latent.about or f"situations.{latent.about}.thinking" in latent.answered
    return () if told or "eliciting_thought" not in appraisal.acts else ("thinking",)


def echo_answer(persona: Persona, latent: Latent) -> Answer | None:
    """What is said to a therapist who only hands words back; nothing once all of that is said."""
    items = items_of(persona)
    return _reply("echo", latent, items) if "replies.echo" in items else None


def trusts(latent: Latent, depth: int, appraisal: Appraisal) -> bool:
    """Whether something of that depth may be told; a reflection that added something true opens a step more."""
    deeper = "complex_reflection" in appraisal.acts and appraisal.addition >= _ADDED
    return latent.alliance >= TRUST_NEEDED[max(1, depth - deeper)]


def nearest(persona: Persona, latent: Latent, appraisal: Appraisal, spoken: str) -> Item | None:
    """What is not told yet and shares most with the turn, then with what was last told; ties go by the file.

    Shared words count by how few of the patient's items have them. The columns of a situation that is spoken of come
    in the order of a thought record.
    """
    near, ahead = nearness(persona, latent, spoken), _ahead(persona, latent)
    best, most = None, -1.0
    for item in leads(persona):
        if item.id in latent.answered or not trusts(latent, item.depth, appraisal):
            continue
        if (value := near(item.id) + _NEXT * (item.id == ahead)) > most:
            best, most = item, value
    return best


def _ahead(persona: Persona, latent: Latent) -> str:
    """The next column of the situation that is spoken of."""
    columns = (f"situations.{latent.about}.{column}" for column in COLUMNS.values()) if latent.about else ()
    return next((column for column in columns if column not in latent.answered), "")


def _asked(persona: Persona, latent: Latent, kind: str, spoken: str, items: Mapping[str, Item]) -> Answer | None:
    """What answers one kind of question."""
    if kind in _FELT:
        return Answer(())
    if kind in NUMBERS:
        thought = items.get(f"situations.{_situation(persona, latent, spoken)}.thinking")
        figure = figure_of(persona, latent, kind, spoken)
        if kind != "conviction" or thought is None or thought.id in latent.answered:
            return Answer((), figure)
        # How firmly one believes it says what it is, where nobody has.
        return Answer((thought,) if latent.alliance >= TRUST_NEEDED[thought.depth] else (), figure)
    if kind in COLUMNS:
        situation = _situation(persona, latent, spoken)
        item = items.get(f"situations.{situation}.{COLUMNS[kind]}")
    else:
        item = next((items[place] for place in _places(kind) if place in items), None)
    if item is None:
        return None
    if latent.alliance < TRUST_NEEDED[item.depth]:
        return Answer((items["replies.decline"],), None, item.id)
    return Answer((item,))


def _places(kind: str) -> tuple[str, ...]:
    return (f"life.{kind}", f"story.{kind}", f"beliefs.{kind}", kind)


def _situation(persona: Persona, latent: Latent, spoken: str) -> str:
    """The situation that a turn means: one that it names, the one spoken of, or the next that is not known."""
    words = [word.strip(".,;:!?\"'()") for word in spoken.split()]
    named = [s.id for s in persona.case.situations if any(names(t, w) for t in s.topics for w in words)]
    if named:
        return latent.about if latent.about in named else named[0]
    if latent.about:
        return latent.about
    known = {place.split(".")[1] for place in latent.answered if place.startswith("situations.")}
    fresh = [s.id for s in sorted(persona.case.situations, key=lambda s: s.depth) if s.id not in known]
    return fresh[0] if fresh else persona.case.situations[0].id


def figure_of(persona: Persona, latent: Latent, kind: str, spoken: str = "") -> int:
    """A rating from the state: per cent for a conviction or a feeling's strength, 0 to 10 for mood and readiness.

    A thought is held as firmly as the file says, times what the session has left of that; a feeling is as strong as it
    was then, and half as strong at the mood of someone doing well.
    """
    lifted = sum(max(0.0, m - b) / max(0.1, 0.4 - b) for m, b in zip(latent.mood, persona.mood, strict=True)) / 4
    if kind == "mood_now":
        return round(10 * min(1.0, max(0.0, 0.5 + 0.5 * sum(latent.mood) / 4)))
    if kind == "ruler":
        return round(10 * min(1.0, max(0.0, 0.3 + 0.5 * latent.alliance + 0.3 * lifted - 0.3 * persona.resistance)))
    about = _situation(persona, latent, spoken)
    i, situation = next((i, s) for i, s in enumerate(persona.case.situations) if s.id == about)
    if kind == "conviction":
        held = latent.beliefs[i] if latent.beliefs else 1.0
        return min(100, 5 * round(situation.conviction * held / 5))
    return 5 * round(situation.strength * (1.0 - 0.5 * min(1.0, lifted)) / 5)


def _of_acts(
    persona: Persona, latent: Latent, appraisal: Appraisal, spoken: str, items: Mapping[str, Item], chance: float
) -> Answer | None:
    """What is said to what the therapist did, and what that brings up."""
    acts = appraisal.acts
    if appraisal.echo > _PARROT and appraisal.words >= _ENOUGH:
        return _reply("echo", latent, items)
    if task := _task(acts, spoken, items):
        return Answer((task,))
    if (acts & QUESTIONS or appraisal.questions) and _silent_about(persona, spoken):
        return Answer((items["replies.unknown"],))
    if acts & REFLECTIONS and appraisal.uptake < _MISSED:
        return _reply("wrong", latent, items)
    met = bool(acts & REFLECTIONS) and appraisal.uptake >= _MET
    kind = acts | {"validation"} if acts & REFLECTIONS else acts
    name = "right" if met else next((name for act, name in _REPLIES.items() if act in kind), "")
    first = _reply(name, latent, items) if name else None
    if not acts & _LEADS_ON:
        return first
    unasked = not acts & QUESTIONS and not appraisal.questions
    if unasked and chance < _BRIEF[persona.style] and (word := _reply("says_yes", latent, items)):
        return word
    if unasked and persona.style == "terse" and first and chance < _REPLY_ALONE:
        return first
    lead = nearest(persona, latent, appraisal, spoken)
    led = lead is not None and persona.style != "talkative" and chance < _LEAD_ALONE
    told = (*(first.items if first and not led else ()), *((lead,) if lead else ()))
    return Answer(told, open=True, lead=lead is not None) if told else None


def _reply(name: str, latent: Latent, items: Mapping[str, Item]) -> Answer | None:
    """A reply to what was done; none once all of its lines are used up."""
    item = items[f"replies.{name}"]
    return Answer((item,)) if latent.answered.count(item.id) < len(item.lines) else None


def _silent_about(persona: Persona, spoken: str) -> bool:
    """Whether a question asks for something that the patient's file has no word of. One with no content asks on."""
    weights = weights_of(persona)
    asked = content_words(re.split(r"(?<=[.!?])\s+", spoken.strip())[-1]) - _ASKING
    return bool(asked) and not any(word in weights for word in asked)


#: Words that ask and name nothing.
_ASKING = content_words(
    "tell say said mean means like feel feels felt feeling think thinks thought talk describe notice happen happens "
    "more bit little something anything right moment understand hear sound sounds going way part kind sort"
)


def _task(acts: frozenset[str], spoken: str, items: Mapping[str, Item]) -> Item | None:
    """A task that the turn proposes, by its words; or the outcome of one that it asks after."""
    end = "outcome" if "task_review" in acts else "answer" if acts & {"task", "advice", "plan_step"} else ""
    words = [word.strip(".,;:!?\"'()") for word in spoken.split()] if end else ()
    tasks = [item for place, item in items.items() if place.startswith("tasks.") and place.endswith(end)] if end else []
    return next((t for t in tasks if any(names(topic, word) for topic in t.topics for word in words)), None)
