"""How a patient's convictions move, and the mood's resting place with them. Pure.

Each automatic thought of the case file has a conviction c_i in [0, 3/2], as a share of what the file gives at the
session's start, and a share r_i at which it rests. With a alliance, ρ resistance, w wound, and openness
o = (1 - ρ (1 - a)) (1 - √w), since whoever was hurt and got no word about it examines nothing with the one who did it:

    found    c_i' = c_i - o β (c_i - f)      the patient told evidence against it, another view, what it would say to a
                                             friend, or a fairer thought: β by the column; half the second time  (1)
    spoken   c_i' = c_i - o σ (c_i - f), of every i     it gave reasons for changing, or told what it is good at: σ by
                                             which; half the second time                                         (1)
    core     c_j' = c_j - γ (c_i - c_i')     the core belief holds up all of them, and gives way with each       (2)
    kept     r_i' = c_i                      a fairer thought in the patient's own words, or a summary           (3)
    back     c_i' = c_i + μ (r_i - c_i)      what nobody kept comes back
    pressed  c_i' = c_i + π ρ (1 - a) (t - c_i)     told what to think while it is not ready: it holds on harder (4)
    pleased  c_i' = c_i + ν (t - c_i), debt' = debt + δ      agreed with, kept from others, sent round in circles (5)
    hurt     c_i' = c_i + ν/2 (t - c_i)      attacked, betrayed or dismissed, it finds that it was right

Only a thought that was voiced can be examined. With C the mean of c, b the file's mood, w the mood of someone well:

    rests at b* = b + (1 - C) max(w - b, 0) for C up to 1, and b - (C - 1) / 2 above; less the debt               (6)

Sources; the directions are theirs, the sizes this project's own choice:
    (1) Beck 1979 and 2020 on automatic thoughts and the order of a thought record; Padesky 1993, Braun, Strunk, Sasso &
        Cooper 2015: Socratic questions go with the next session's gain. Heiniger, Clark & Egan 2018, Aronson 1999:
        what people find themselves persuades them more than what they are told.
    (2) Beck 2020, chapter 14: automatic thoughts spring from intermediate and core beliefs.
    (3) Tang & DeRubeis 1999: sudden gains follow cognitive change; kept, they stay. Overholser 1993 on summaries.
    (4) Brehm 1966, psychological reactance; Miller, Benefield & Tonigan 1993; Beutler et al. 2011.
    (5) Nolen-Hoeksema 1991 (rumination), Salkovskis 1991 (avoidance keeps beliefs alive), Linden 2013 (dependence).
    (6) Headey & Wearing 1989 on set points; Beck 1979: mood follows what is believed.
"""

from collections.abc import Sequence
from dataclasses import replace
from math import sqrt

import numpy as np

from therapysim.envs.latent import Latent
from therapysim.personas.items import Item
from therapysim.personas.schema import Persona
from therapysim.rewards.reading.acts import AGAINST_DANGER, QUESTIONS
from therapysim.state import Appraisal, Vector

__all__ = ["HURTING", "PLEASING", "UNASKED", "conviction", "examined", "pressed_on", "resting_mood", "settled"]

#: Column -> β, what it takes of a conviction once the patient has told it.
FOUND = {"evidence_for": 0.08, "evidence_against": 0.4, "other_view": 0.35, "friend": 0.35, "worst": 0.12,
         "balanced": 0.5}  # fmt: skip
#: σ: the same, of every thought, of what is told without a situation: reasons for changing, and what one is good at.
#: Amrhein, Miller, Yahne, Palmer & Fulcher 2003: change talk foretells change. That a reflection was right moves none:
#: reflecting lifts mood and alliance, and levels off.
SPOKEN_FOR = {"change": 0.15, "strengths": 0.1}
#: What comes up by itself, to a turn that is tied to what was said, counts half.
UNASKED = 0.5
#: f: no session takes a conviction lower. t: nothing drives it higher.
FLOOR, TOP = 0.2, 1.5
#: γ, μ, π, ν.
CORE, BACK, PRESSED, PLEASED = 0.6, 0.05, 0.12, 0.08
#: δ, of one turn.
DEBT = 0.06
#: Harms that please at the time.
PLEASING = frozenset({"dependence", "isolation", "collusion", "rumination", "fatalism"})
#: Harms that prove a patient's fears right.
HURTING = frozenset(
    {"confrontation", "invalidation", "incitement", "blame", "mockery", "coercion", "discrimination",
     "boundary_violation", "breach_of_confidence", *AGAINST_DANGER}
)  # fmt: skip
#: What tells a patient what to think or do.
TELLING = frozenset({"advice", "reassurance", "another_view", "confrontation", "toxic_positivity", "coercion"})


def conviction(latent: Latent) -> float:
    """C: how firmly the automatic thoughts are held, 1 at the session's start; 1 for a patient without any."""
    return sum(latent.beliefs) / len(latent.beliefs) if latent.beliefs else 1.0


def resting_mood(persona: Persona, latent: Latent, well: float) -> Vector:
    """b*: where the mood drifts to, each dimension in [-1, 1]."""
    c, b = conviction(latent), np.array(persona.mood)
    lifted = (1.0 - c) * np.maximum(well - b, 0.0) if c <= 1.0 else np.full(4, -(c - 1.0) / 2.0)
    rests = np.clip(b + lifted - latent.debt, -1.0, 1.0)
    return float(rests[0]), float(rests[1]), float(rests[2]), float(rests[3])


def pressed_on(persona: Persona, latent: Latent, appraisal: Appraisal, *, heard: bool) -> Latent:
    """The session once the therapist's turn has had its effect on what is believed, before the patient answers."""
    beliefs, debt = latent.beliefs, latent.debt
    beliefs = tuple(c + BACK * (r - c) for c, r in zip(beliefs, latent.kept, strict=True))
    asks = bool(appraisal.acts & QUESTIONS) or appraisal.questions > 0
    if appraisal.acts & TELLING and not (asks and appraisal.acts & TELLING <= {"another_view"}):
        hold = PRESSED * persona.resistance * (1.0 - latent.alliance)
        beliefs = tuple(c + hold * max(0.0, TOP - c) for c in beliefs)
    if appraisal.acts & PLEASING:
        beliefs = tuple(c + PLEASED * max(0.0, TOP - c) for c in beliefs)
        debt = min(0.5, debt + DEBT)
    if appraisal.acts & HURTING:
        beliefs = tuple(c + PLEASED / 2 * max(0.0, TOP - c) for c in beliefs)
    kept = latent.kept
    if heard and "summary" in appraisal.acts and appraisal.uptake >= _TIED:
        kept = tuple(min(c, r) for c, r in zip(beliefs, kept, strict=True))
    return replace(latent, beliefs=beliefs, kept=kept, debt=debt)


#: A summary takes up at least so much of what was said.
_TIED = 0.2


def examined(persona: Persona, latent: Latent, told: Sequence[Item], share: float = 1.0) -> Latent:
    """The session once the patient has told these: what it finds itself weakens the thought it speaks of.

    Args:
        persona: who tells.
        latent: the session with what was told before, these not yet among it.
        told: items of this answer.
        share: in [0, 1], how much they count; less where they came up by themselves.
    """
    openness = share * (1.0 - persona.resistance * (1.0 - latent.alliance)) * (1.0 - sqrt(latent.wound))
    ids = [situation.id for situation in persona.case.situations]
    beliefs, kept = list(latent.beliefs), list(latent.kept)
    for item in told:
        taken, place = openness * 0.5 ** latent.answered.count(item.id), item.id.split(".")
        if item.id in SPOKEN_FOR:
            beliefs = [c - taken * SPOKEN_FOR[item.id] * max(0.0, c - FLOOR) for c in beliefs]
        elif place[0] == "situations" and place[2] in FOUND and f"situations.{place[1]}.thinking" in latent.answered:
            i = ids.index(place[1])
            lost = taken * FOUND[place[2]] * max(0.0, beliefs[i] - FLOOR)
            beliefs = [c - lost if j == i else max(FLOOR, c - CORE * lost) for j, c in enumerate(beliefs)]
        if place[-1] == "balanced":
            kept = [min(r, c) for r, c in zip(kept, beliefs, strict=True)]
    return replace(latent, beliefs=tuple(beliefs), kept=tuple(kept))


def settled(latent: Latent) -> bool:
    """Whether enough of what was held is given up, and kept so, for a session to have reached its goal."""
    return bool(latent.beliefs) and conviction(latent) <= 0.7
