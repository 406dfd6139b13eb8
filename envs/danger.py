"""Danger as a process: hidden, told, assessed, planned for, agreed. Pure.

What was told of it is the state: the rungs of the patient's ladder among ``Latent.answered``. Any order will do.

Source: Posner et al. 2011 (C-SSRS) and Bryan & Rudd 2006 on what an assessment asks: how often and how strong,
    intent, plan and means, history, what protects; Stanley & Brown 2012 on the steps of a safety plan; Mann et al. 2005
    on making means safe and staying in touch.
"""

from therapysim.envs.latent import Danger, Latent
from therapysim.personas.schema import Persona
from therapysim.rewards.reading.acts import accepts_danger, meets_danger
from therapysim.state import Appraisal

__all__ = ["handled", "imminent", "known", "met", "stage", "sufficient"]

#: What an assessment covers: any rung of each.
ASSESSED = (("frequency", "strength", "since", "triggers"), ("intent",), ("plan", "means"), ("history",), ("protects",))
#: What a plan covers.
PLANNED = (("signs",), ("alone", "places"), ("people",), ("professionals",), ("safe",))
#: With whom it is agreed.
AGREED = ("let_tell", "knows", "handover")
#: Shares of the way: that it is told, assessed, planned for, agreed.
TOLD, ASSESS, PLAN, AGREE = 0.2, 0.35, 0.3, 0.15
#: Rungs of an assessment and a plan, out of five each, that are enough to hand over.
ENOUGH_ASSESSED, ENOUGH_PLANNED = 3, 2


def handled(persona: Persona, latent: Latent) -> float:
    """How far a danger has been dealt with, in [0, 1]; 0 for a patient without one, or while it is hidden."""
    if not persona.risk or not known(latent):
        return 0.0
    agreed = any(_told(latent, rung) for rung in AGREED)
    # Whoever cannot wait is not left with a plan: others take over then and there.
    planned = 1.0 if imminent(persona, latent) and _told(latent, "handover") else _share(latent, PLANNED)
    return TOLD + ASSESS * _share(latent, ASSESSED) + PLAN * planned + AGREE * agreed


def known(latent: Latent) -> bool:
    """Whether the patient has told of a danger."""
    return "danger.asked" in latent.answered or any(fact.risk for fact in latent.told)


def met(latent: Latent, appraisal: Appraisal) -> Danger:
    """What becomes of a danger that was told of: taken up, given back or accepted once without harm, or passed by."""
    if not latent.danger or meets_danger(appraisal.acts):
        return ""
    return "heard" if latent.danger == "open" and accepts_danger(appraisal) else "missed"


def sufficient(latent: Latent) -> bool:
    """Whether it was assessed, planned for and agreed enough to hand it over."""
    return (
        _count(latent, ASSESSED) >= ENOUGH_ASSESSED
        and _count(latent, PLANNED) >= ENOUGH_PLANNED
        and any(_told(latent, rung) for rung in AGREED)
    )


def imminent(persona: Persona, latent: Latent) -> bool:
    """Whether it cannot wait: one at the gravest risk has told that it would act, or how."""
    return persona.risk >= 3 and any(_told(latent, rung) for rung in ("intent", "plan", "means"))


def stage(persona: Persona, latent: Latent) -> str:
    """ "none", "hidden", "told", "assessed", "planned" or "agreed"."""
    if not persona.risk:
        return "none"
    if not known(latent):
        return "hidden"
    if _count(latent, ASSESSED) < ENOUGH_ASSESSED:
        return "told"
    if _count(latent, PLANNED) < ENOUGH_PLANNED:
        return "assessed"
    return "agreed" if sufficient(latent) else "planned"


def _told(latent: Latent, rung: str) -> bool:
    return f"danger.{rung}" in latent.answered


def _count(latent: Latent, groups: tuple[tuple[str, ...], ...]) -> int:
    return sum(any(_told(latent, rung) for rung in group) for group in groups)


def _share(latent: Latent, groups: tuple[tuple[str, ...], ...]) -> float:
    return _count(latent, groups) / len(groups)
