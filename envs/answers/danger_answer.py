"""What the patient answers to questions about a danger, and to what deals with one. Pure, no model."""

from collections.abc import Mapping, Sequence

from therapysim.envs.answers.answered import Answer
from therapysim.envs.danger import known as tells
from therapysim.envs.latent import Latent
from therapysim.envs.moves import TRUST_FOR_DIRECT_QUESTION, TRUST_NEEDED
from therapysim.personas.items import DANGER_KINDS, Item
from therapysim.personas.schema import Persona
from therapysim.rewards.reading.acts import ASKS, QUESTIONS, RISK_QUESTIONS, chance
from therapysim.state import Appraisal

__all__ = ["danger_answer"]

_ASKS_DANGER = frozenset(RISK_QUESTIONS)
#: "How long have you carried this?" opens none: it may be about anything.
_OPENS = _ASKS_DANGER - {"risk_frequency"}
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
#: What these ask for, right after a danger was told, is for its sake, whatever else it may sound like: "What has helped
#: you get to morning?"
_KEEPS_ALIVE = frozenset({"protective_factors", "means_safety"})
#: A question with this uptake is about what was just told, unless the reader is sure that it asks for something else;
#: it asks for a rung that is at least likely.
_JUST_THAT, _SURE, _LIKELY = 0.5, 0.5, 0.1
#: What a plain question about a danger that is known needs of the trust that a rung needs: asked for, not offered.
_DIRECTLY = 0.75


def danger_answer(persona: Persona, latent: Latent, appraisal: Appraisal, items: Mapping[str, Item]) -> Answer | None:
    """A question about danger overrides all else; the rest of what deals with one, only once it is known."""
    acts = appraisal.acts
    closed = "denial" in latent.answered
    known = closed or tells(latent)
    rungs = [DANGER_KINDS[kind] for kind in appraisal.asks if kind in DANGER_KINDS] or _goes_on(latent, appraisal)
    plain = bool(appraisal.asks) and (not rungs if known else appraisal.asks[0] not in DANGER_KINDS)
    plain = plain and not (_just_told(latent) and acts & _KEEPS_ALIVE)
    follows = acts & (_ASKS_DANGER if known else _OPENS) or (known and (rungs or acts & _RUNGS.keys()))
    if "risk_inquiry" not in acts and (plain or not follows):
        return None
    if not persona.risk and closed and "risk_inquiry" not in acts:
        return None  # the matter is closed: a step of some other plan is asked for
    if not persona.risk or persona.case.danger is None:
        item = items.get("strengths" if "protective_factors" in acts else "denial")
        return Answer((item,), danger=True) if item and not persona.risk else None
    wanted = rungs or [_next(latent, names_) for act, names_ in _RUNGS.items() if act in acts]
    if not known:  # one thing at a time
        wanted = ["asked"]
    told, declined = [], ""
    for name in dict.fromkeys(wanted[:2]):
        item = items[f"danger.{name}"]
        needed = TRUST_FOR_DIRECT_QUESTION if name == "asked" else _DIRECTLY * TRUST_NEEDED[item.depth]
        if latent.alliance >= needed:
            told.append(item)
        else:
            declined = item.id
    if not told:
        guarded = items["danger.guarded" if not known else "replies.decline"]
        return Answer((guarded,), None, declined, danger=True)
    return Answer(tuple(told), None, declined, danger=True)


def _just_told(latent: Latent) -> bool:
    return bool(latent.answered) and latent.answered[-1].startswith("danger.")


def _goes_on(latent: Latent, appraisal: Appraisal) -> list[str]:
    """What a question is likeliest to ask of a danger just told of, where it is tied to that and names nothing else."""
    sure = max((chance(appraisal, ASKS + kind) for kind in appraisal.asks), default=0.0) >= _SURE
    if not _just_told(latent) or sure or appraisal.uptake < _JUST_THAT or not appraisal.acts & QUESTIONS:
        return []
    likeliest = max(DANGER_KINDS, key=lambda kind: chance(appraisal, ASKS + kind))
    return [DANGER_KINDS[likeliest]] if chance(appraisal, ASKS + likeliest) >= _LIKELY else []


def _next(latent: Latent, rungs: Sequence[str]) -> str:
    """The first that was not told yet, or the last."""
    return next((name for name in rungs if f"danger.{name}" not in latent.answered), rungs[-1])
