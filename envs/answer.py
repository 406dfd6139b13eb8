"""What the patient answers: the router from a therapist's turn to the items of a case file. Pure, no model.

First a question about danger, then what is asked, then what is done. What needs more trust than there is, is declined;
what the file is silent about is not known. Nothing is answered with something else.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from therapysim.envs.latent import Latent
from therapysim.envs.moves import TRUST_FOR_DIRECT_QUESTION, TRUST_NEEDED, names
from therapysim.personas.items import COLUMNS, DANGER_KINDS, NUMBERS, Item, items_of
from therapysim.personas.schema import Persona
from therapysim.rewards.reading.acts import QUESTIONS, REFLECTIONS, RISK_QUESTIONS
from therapysim.state import Appraisal

__all__ = ["Answer", "answer_of", "figure_of"]

_ASKS_DANGER = frozenset(RISK_QUESTIONS)
#: Steps of a safety plan, in the order in which they are made.
_STEPS = ("signs", "alone", "places", "people", "professionals")
#: Act -> the rungs that answer it, in the order in which they are told.
_RUNGS: Mapping[str, tuple[str, ...]] = {
    "risk_inquiry": ("asked",),
    "risk_intent": ("intent",),
    "risk_means": ("plan", "means"),
    "risk_history": ("history",),
    "risk_frequency": ("frequency", "strength", "since", "triggers"),
    "protective_factors": ("protects",),
    "means_safety": ("safe",),
    "plan_step": _STEPS,
    "contact_agreed": ("let_tell", "knows"),
    "handover": ("handover",),
    "signposting": ("professionals",),
}
#: Act -> what is said to it, the first that holds; after all that was asked.
_REPLIES: Mapping[str, str] = {
    "silence": "silence", "apology": "apology", "grounding": "grounding", "farewell": "farewell",
    "asking_permission": "permission", "check_understanding": "check", "psychoeducation": "explained",
    "information": "explained", "advice": "advice", "normalising": "normalising", "validation": "validation",
    "affirmation": "praise", "encourager": "go_on",
}  # fmt: skip
#: Replies behind which more may be told.
_LEADS_ON = frozenset(f"replies.{name}" for name in ("right", "go_on", "validation", "normalising", "praise"))
#: A reflection that ties less to the patient's words than this missed.
_MISSED = 0.1
#: How much of a turn may be the patient's own words before it hears an echo.
_PARROT = 0.6


@dataclass(frozen=True, slots=True)
class Answer:
    """What is told.

    Attributes:
        items: in order; of each one line.
        figure: said first, where a number was asked for.
        declined: id of what was asked for and is held back.
    """

    items: tuple[Item, ...]
    figure: int | None = None
    declined: str = ""

    @property
    def leads_on(self) -> bool:
        """Nothing was asked: something else may be told behind it."""
        return len(self.items) == 1 and self.items[0].id in _LEADS_ON


def answer_of(persona: Persona, latent: Latent, appraisal: Appraisal, spoken: str) -> Answer | None:
    """The answer to a turn; None where it asks nothing and does nothing that this patient answers.

    Args:
        persona: who listens.
        latent: the session after the turn, before the answer.
        appraisal: what the turn does, and what it asks for.
        spoken: its words in lower case.
    """
    items = items_of(persona)
    if found := _of_danger(persona, latent, appraisal, items):
        return found
    asked = [one for kind in appraisal.asks[-2:] if (one := _asked(persona, latent, kind, spoken, items))]
    if asked:
        told = tuple(item for one in asked for item in one.items)
        figure = next((one.figure for one in asked if one.figure is not None), None)
        return Answer(told, figure, next((one.declined for one in asked if one.declined), ""))
    return _of_acts(latent, appraisal, spoken, items)


def _of_danger(persona: Persona, latent: Latent, appraisal: Appraisal, items: Mapping[str, Item]) -> Answer | None:
    """A question about danger overrides all else; the rest of what deals with one, only once it is known."""
    acts = appraisal.acts
    known = "danger.asked" in latent.answered or bool(latent.danger)
    rungs = [DANGER_KINDS[kind] for kind in appraisal.asks if kind in DANGER_KINDS]
    about = acts & _ASKS_DANGER or (known and (rungs or acts & _RUNGS.keys()))
    if not about:
        return None
    if not persona.risk:
        return Answer((items["denial"],)) if acts & _ASKS_DANGER else None
    wanted = rungs or [_next(latent, names_) for act, names_ in _RUNGS.items() if act in acts]
    if not known and "asked" not in wanted:
        wanted = ["asked", *wanted]
    told, declined = [], ""
    for name in dict.fromkeys(wanted[:2]):
        item = items[f"danger.{name}"]
        needed = TRUST_FOR_DIRECT_QUESTION if name == "asked" else TRUST_NEEDED[item.depth]
        if latent.alliance >= needed:
            told.append(item)
        else:
            declined = item.id
    if not told:
        return Answer((items["danger.guarded" if not known else "replies.decline"],), None, declined)
    return Answer(tuple(told), None, declined)


def _next(latent: Latent, rungs: Sequence[str]) -> str:
    """The first that was not told yet, or the last."""
    return next((name for name in rungs if f"danger.{name}" not in latent.answered), rungs[-1])


def _asked(persona: Persona, latent: Latent, kind: str, spoken: str, items: Mapping[str, Item]) -> Answer | None:
    """What answers one kind of question."""
    if kind in NUMBERS:
        return Answer((), figure_of(persona, latent, kind, spoken))
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

    A thought is held as firmly as the file says at the mood that the session began with, and half as firmly at the
    mood of someone doing well.
    """
    lifted = sum(max(0.0, m - b) / max(0.1, 0.4 - b) for m, b in zip(latent.mood, persona.mood, strict=True)) / 4
    if kind == "mood_now":
        return round(10 * min(1.0, max(0.0, 0.5 + 0.5 * sum(latent.mood) / 4)))
    if kind == "ruler":
        return round(10 * min(1.0, max(0.0, 0.3 + 0.5 * latent.alliance + 0.3 * lifted - 0.3 * persona.resistance)))
    situation = next(s for s in persona.case.situations if s.id == _situation(persona, latent, spoken))
    begun = situation.conviction if kind == "conviction" else situation.strength
    return 5 * round(begun * (1.0 - 0.5 * min(1.0, lifted)) / 5)


def _of_acts(latent: Latent, appraisal: Appraisal, spoken: str, items: Mapping[str, Item]) -> Answer | None:
    """What is said to what the therapist did."""
    acts = appraisal.acts
    if appraisal.echo > _PARROT:
        return Answer((items["replies.echo"],))
    if task := _task(acts, spoken, items):
        return Answer((task,))
    if acts & QUESTIONS and appraisal.asks == ("none",):
        return Answer((items["replies.unknown"],))
    if acts & REFLECTIONS:
        missed = appraisal.uptake < _MISSED
        return Answer((items["replies.wrong" if missed else "replies.right"],))
    reply = next((name for act, name in _REPLIES.items() if act in acts), "")
    return Answer((items[f"replies.{reply}"],)) if reply else None


def _task(acts: frozenset[str], spoken: str, items: Mapping[str, Item]) -> Item | None:
    """A task that the turn proposes, by its words; or the outcome of one that it asks after."""
    end = "outcome" if "task_review" in acts else "answer" if acts & {"task", "advice", "plan_step"} else ""
    words = [word.strip(".,;:!?\"'()") for word in spoken.split()] if end else ()
    tasks = [item for place, item in items.items() if place.startswith("tasks.") and place.endswith(end)] if end else []
    return next((t for t in tasks if any(names(topic, word) for topic in t.topics for word in words)), None)
