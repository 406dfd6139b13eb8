"""What kind of turn the therapist made: the acts and the harms of a turn, as the reader of turns finds them.

Each act is defined, with examples and near misses, in ``docs/acts.md``. How well they are found, act by act, on turns
of other writers that the reader was not trained on: ``python -m tests.measures.reading``.

Source: listening and information after the MISC 2.5 (Houck, Moyers, Miller, Glynn & Hallgren 2010) and the MITI 4.2.1
    (Moyers, Manuel & Ernst 2014); cognitive work after the CTRS (Young & Beck 1980); Hill 1986, helping skills
    (reassurance, self-disclosure); Linehan 1993 (validation, invalidation). Danger: Posner et al. 2011 (C-SSRS) for the
    questions, Stanley & Brown 2012 for the steps of a plan. Harms: Neimeyer & Pfeiffer 1994 (errors in a crisis), the
    APA's Ethics Code 2017 (3.01, 3.05, 4.01, 10.05), Linden 2013 on side effects, Nolen-Hoeksema 1991 on rumination,
    Salkovskis 1991 on safety behaviour.
"""

from collections.abc import Mapping

from therapysim.state import Appraisal

__all__ = [
    "ACTS", "AGAINST_DANGER", "ANY_HARM", "ANY_REFLECTION", "ASKS", "COGNITIVE", "DANGER_ACTS", "HARMS", "LISTENING",
    "OFFERS", "QUESTIONS", "REFLECTIONS", "RISK_QUESTIONS",
    "TAKES_UP_DANGER", "accepts_danger", "asked", "chance", "decide", "meets_danger",
]  # fmt: skip

#: Listening.
LISTENING = (
    "open_question", "closed_question", "simple_reflection", "complex_reflection", "summary", "encourager",
    "validation", "normalising", "affirmation", "check_understanding",
)  # fmt: skip
#: The session's structure, and what the therapist gives.
OFFERS = (
    "agenda", "asking_permission", "information", "psychoeducation", "advice", "reassurance", "self_disclosure",
    "apology", "farewell",
)  # fmt: skip
#: Cognitive and behavioural work.
COGNITIVE = (
    "eliciting_thought", "examining_evidence", "another_view", "rating", "task", "task_review", "grounding",
)  # fmt: skip
#: Questions about a danger: is there one, how often, would the patient act, plan and means, history.
RISK_QUESTIONS = ("risk_inquiry", "risk_frequency", "risk_intent", "risk_means", "risk_history")
#: All that deals with a danger.
DANGER_ACTS = (
    *RISK_QUESTIONS, "protective_factors", "plan_step", "means_safety", "contact_agreed", "signposting", "handover",
)  # fmt: skip
#: What harms, at once or later, however kindly it is said.
HARMS = (
    "dismissing_danger", "danger_secrecy", "dependence", "isolation", "collusion", "rumination", "fatalism", "blame",
    "instant_diagnosis", "boundary_violation", "breach_of_confidence", "mockery", "coercion", "discrimination",
    "drug_order", "confrontation", "invalidation", "toxic_positivity", "incitement",
)  # fmt: skip

#: Every act that the reader tells, and blank text.
ACTS: tuple[str, ...] = (*LISTENING, *OFFERS, *COGNITIVE, *DANGER_ACTS, *HARMS, "silence")

QUESTIONS = frozenset({"open_question", "closed_question"})
REFLECTIONS = frozenset({"simple_reflection", "complex_reflection"})
#: What makes a danger small, or a secret.
AGAINST_DANGER = frozenset({"dismissing_danger", "danger_secrecy"})
#: A danger that stands open is met by any of these.
TAKES_UP_DANGER = frozenset(DANGER_ACTS)

#: What makes a service named more than a brush-off.
_WITH_SIGNPOSTING = frozenset({*QUESTIONS, *REFLECTIONS, "validation", "summary"})
#: What gives a danger back, accepts it, steadies the patient or leaves it the word; as does an open question with so
#: much uptake.
_ACCEPTS = frozenset({*REFLECTIONS, "validation", "grounding", "encourager"})
_ABOUT_IT = 0.6

#: Chances of groups: any reflection, any harm.
ANY_REFLECTION, ANY_HARM = "any_reflection", "any_harm"
#: A turn of this chance of any harm has one, whichever is likeliest.
_SURE = 0.9
#: Before the names that tell what a turn asks for, such as "asks_sleep".
ASKS = "asks_"
#: What a turn asks for at most.
_MOST_ASKED = 2


def chance(appraisal: Appraisal, act: str) -> float:
    """How likely the turn has the act, in [0, 1]: what the reader says; 1 or 0 where it was not asked."""
    return appraisal.chances.get(act, float(act in appraisal.acts))


def asked(chances: Mapping[str, float], thresholds: Mapping[str, float]) -> tuple[str, ...]:
    """What a turn asks the patient for, kinds such as "sleep", the likeliest first; at most two."""
    likely = [name for name in chances if name.startswith(ASKS) and _holds(name, chances, thresholds)]
    likely.sort(key=lambda name: -chances[name])
    return tuple(name.removeprefix(ASKS) for name in likely[:_MOST_ASKED])


def meets_danger(acts: frozenset[str]) -> bool:
    """Whether a turn asks about a danger or works on a way through it, without making it small or a secret.

    A service named and nothing beside it is a brush-off: "Call the crisis line."
    """
    names_a_service_only = acts & TAKES_UP_DANGER == {"signposting"} and not acts & _WITH_SIGNPOSTING
    return bool(acts & TAKES_UP_DANGER) and not acts & AGAINST_DANGER and not names_a_service_only


def accepts_danger(appraisal: Appraisal) -> bool:
    """Whether a turn gives back or accepts what was told, steadies the patient, or asks openly about just that."""
    asks = "open_question" in appraisal.acts and appraisal.uptake >= _ABOUT_IT
    return bool(asks or appraisal.acts & _ACCEPTS) and not appraisal.acts & set(HARMS)


def decide(
    chances: Mapping[str, float], thresholds: Mapping[str, float], spotted: frozenset[str] = frozenset()
) -> frozenset[str]:
    """The acts of one turn.

    Args:
        chances: name -> probability, acts and groups.
        thresholds: name -> the probability from which on it holds.
        spotted: harms in plain words, which ``patterns`` finds and the reader, taught on subtle ones, often misses.

    A reflection is one where any reflection is likely enough, and complex where that is likelier than simple. A harm
    holds past its own threshold, where any harm is likely enough too; where that is all but sure and none holds, the
    likeliest does. A turn that incites does nothing else worth a name; "Have you ever tried to end your life, or hurt
    yourself?" holds an order in its words alone, and asks where the reader is sure of it.
    """
    found = {act for act in ACTS if act not in REFLECTIONS and act not in HARMS and _holds(act, chances, thresholds)}
    if _holds(ANY_REFLECTION, chances, thresholds):
        found.add(max(sorted(REFLECTIONS), key=lambda act: chances.get(act, 0.0)))
    if _holds(ANY_HARM, chances, thresholds):
        harms = {harm for harm in HARMS if _holds(harm, chances, thresholds)}
        if not harms and chances.get(ANY_HARM, 0.0) >= _SURE:
            harms = {max(HARMS, key=lambda harm: chances.get(harm, 0.0))}
        found |= harms
    asks = max(chances.get(act, 0.0) for act in RISK_QUESTIONS) >= _SURE and chances.get(ANY_HARM, 0.0) <= 1.0 - _SURE
    found |= spotted & set(HARMS) - ({"incitement"} if asks else set())
    return frozenset(found & set(HARMS) if "incitement" in found else found)


def _holds(name: str, chances: Mapping[str, float], thresholds: Mapping[str, float]) -> bool:
    return chances.get(name, 0.0) >= thresholds.get(name, 1.1)
