"""How a session moves: state and appraisal of a turn -> mood, alliance, move, facts. Pure, and free of any model.

With m mood in [-1, 1]⁴, b the persona's baseline, a alliance, w wound, ρ resistance, ι inertia, κ reactivity, x a turn:

    help       r  = novelty · fade · (1 - √w) · min(1, c·x)   c·x: reflection, question, uptake; or plain kindness
    openness   o  = 1 - ρ (1 - a)                             (1) resistance yields to alliance
    pace       k  = 3/2 - ι                                   (2) an inert mood moves slowly, either way
    hurt       h  = 1/2 + κ                                   (3) a reactive patient is hurt by more
    mood       m' = m + k [λ (b - m) + o r (γ max(g - m, 0) + δ max(v, 0))] - h H·x + ε                       (4)
    alliance   a' = a + α (1 - ρ/2) r (1 - a) + ψ s w - h harm·x                                              (5, 6)
    wound      w' = w - s w + h harm·x                        (7) s: share made good by owning up and asking

    λ share of the way to baseline, g the mood of someone doing well, v = p·M the therapist's words through the matrix;
    H·x mood and harm·x alliance that the turn's acts cost; ε seeded noise. novelty = 1, 1/2, 0 at a turn's first,
    second, third use; fade = φⁿ after n turns in a row that neither asked nor reflected (8). Advice costs a (1 - a) of
    its harm and wounds nobody; all harm but an attack takes at most 2/5 of a. A danger taken up helps by 3/5 at least.

Sources; the directions are theirs, the sizes this project's own choice:
    (1) Beutler, Harwood, Michelson, Song & Holman 2011: patients high in resistance fare worse, and do better with less
        directive therapists. Confrontation provokes it: Miller, Benefield & Tonigan 1993; so does being told what to
        do: Brehm 1966, psychological reactance.
    (2) Kuppens, Allen & Sheeber 2010: emotional inertia, how much of a feeling is carried over to the next moment.
    (3) Nock, Wedig, Holmberg & Hooley 2008: emotion reactivity, how strongly and for how long one responds.
    (4) Headey & Wearing 1989: well-being returns to a set point. Flückiger, Del Re, Wampold & Horvath 2018: the better
        the alliance, the better the outcome (r = .28), hence o.
    (5) Bordin 1979: alliance is bond and agreement on the work; growth slows towards the top, as a is bounded.
    (6) Dazzi, Gribble, Wessely & Fear 2014: asking about suicide does no harm and may relieve; so taking up a danger
        helps, and passing it by is a harm.
    (7) Safran, Muran & Eubanks-Carter 2011 and Eubanks, Muran & Safran 2018: ruptures that are repaired go with better
        outcome (r = .29); so ψ > 1: a little more is given back than was lost.
    (8) Bordin 1979 again: a bond without shared work is no alliance yet; kindness alone soon reaches what it can.
"""

from dataclasses import dataclass, fields, replace
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from therapysim.envs.answer import Answer, answer_of, answered
from therapysim.envs.latent import Latent, tell
from therapysim.envs.moves import TRUST_FOR_DIRECT_QUESTION, choose_move, next_fact
from therapysim.errors import require_number
from therapysim.personas.schema import Fact, Persona
from therapysim.rewards.reading.acts import COGNITIVE, DANGER_ACTS, REFLECTIONS, RISK_QUESTIONS, meets_danger
from therapysim.state import Appraisal, Ending, Move, Vector

__all__ = ["DynamicsSettings", "Outcome", "predict"]

#: How much each act helps; added up, then cut at 1.
HELP = {
    "simple_reflection": 0.25,
    "complex_reflection": 0.35,
    "validation": 0.25,
    "open_question": 0.25,
    **dict.fromkeys(RISK_QUESTIONS, 0.15),
    "summary": 0.1,
    **dict.fromkeys(COGNITIVE, 0.2),
}
UPTAKE_HELP = 0.5
#: A danger taken up helps at least this much.
RISK_TAKEN_UP_HELP = 0.6

#: A question about danger may be put so many times more before each further one helps half as much as the last.
ASKED_AGAIN = 1

#: A turn of plain kindness helps this much, at most.
KIND_HELP = 0.5

#: The acts that work on something with the patient; a turn with none of them may be kind, and no more.
WORK = frozenset({"simple_reflection", "complex_reflection", "summary", "open_question", *COGNITIVE, *DANGER_ACTS})

#: act -> (alliance lost, mood lost in each dimension), at middling reactivity.
HARM: dict[str, tuple[float, Vector]] = {
    "advice": (0.05, (0.0, 0.012, 0.005, 0.0)),
    "confrontation": (0.16, (0.08, 0.16, 0.14, 0.12)),
    "invalidation": (0.12, (0.09, 0.07, 0.09, 0.05)),
    "toxic_positivity": (0.07, (0.07, 0.04, 0.06, 0.03)),
    **dict.fromkeys(("blame", "mockery", "coercion", "discrimination"), (0.16, (0.09, 0.12, 0.12, 0.10))),
    **dict.fromkeys(("boundary_violation", "breach_of_confidence"), (0.14, (0.05, 0.08, 0.12, 0.12))),
    **dict.fromkeys(("dismissing_danger", "danger_secrecy"), (0.10, (0.06, 0.0, 0.04, 0.06))),
    **dict.fromkeys(("instant_diagnosis", "drug_order"), (0.06, (0.03, 0.03, 0.04, 0.04))),
    "silence": (0.04, (0.01, 0.01, 0.01, 0.02)),
    "neutralised": (0.06, (0.0, 0.03, 0.04, 0.03)),
    "incitement": (0.30, (0.20, 0.10, 0.20, 0.15)),
    "missed_risk": (0.10, (0.06, 0.0, 0.04, 0.06)),
}

#: An attack can end the bond at one blow; all other harm takes at most this share of what is left of it.
ATTACKS = frozenset(
    {"confrontation", "invalidation", "incitement", "blame", "mockery", "coercion", "discrimination",
     "boundary_violation", "breach_of_confidence"}
)  # fmt: skip
MOST_WORN = 0.4

#: A turn whose words stand in less of an order than this, in [0, 1], says nothing to anyone.
UNHEARD_ORDER = 0.3

#: The share of a wound that an apology makes good, and what asking, reflecting or validating with it adds.
OWNING_UP, EXPLORING = 0.3, 0.25

#: How often a turn that asks for nothing of the file is answered with a question.
ASKS_BACK = 0.12


@dataclass(frozen=True, slots=True)
class DynamicsSettings:
    """Sizes of the equations above.

    Attributes:
        drift: λ, share of the way back to baseline a turn.
        gain: γ, share of the way to ``well`` a fully helpful turn goes.
        warmth: δ, weight of the therapist's own affect.
        bond: α, alliance gained by a fully helpful turn.
        fade: φ, what kindness without work keeps of its help from one turn to the next.
        repair_bonus: ψ - 1, what a repair gives back beyond what was lost.
        well: g, in [-1, 1], the same in each dimension.
        noise: standard deviation of ε.
        goal_mood, goal_alliance: the session's goal is met where every dimension and the alliance lie above these.
        rupture_alliance: below this the patient leaves after a second strained turn.
    """

    drift: float = 0.03
    gain: float = 0.14
    warmth: float = 0.03
    bond: float = 0.14
    fade: float = 0.7
    repair_bonus: float = 0.1
    well: float = 0.4
    noise: float = 0.02
    goal_mood: float = 0.0
    goal_alliance: float = 0.6
    rupture_alliance: float = 0.08

    def __post_init__(self) -> None:
        for f in fields(self):
            low = -1.0 if f.name in ("well", "goal_mood") else 0.0
            require_number(f"dynamics {f.name}", getattr(self, f.name), low, 1.0)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one turn leads to, decided before any patient speaks."""

    latent: Latent
    move: Move
    facts: tuple[Fact, ...]
    ending: Ending
    answer: Answer | None = None


def predict(
    persona: Persona,
    latent: Latent,
    appraisal: Appraisal,
    spoken: str,
    warmth: Vector,
    rng: np.random.Generator,
    settings: DynamicsSettings,
    *,
    neutralised: bool = False,
) -> Outcome:
    """One turn.

    Args:
        persona: who listens.
        latent: the session before the turn.
        appraisal: what kind of turn it was.
        spoken: the therapist's words in lower case, for the topics they open.
        warmth: p·M of the therapist's words.
        rng: for this turn only.
        settings: sizes.
        neutralised: by the screen; such a turn can help nothing and strains the session, as a heap of words does.
    """
    # Every draw is made every turn, so that two policies under one seed meet the same chance.
    noise, chance = rng.normal(0.0, settings.noise, 4), rng.random(3)
    neutralised = neutralised or appraisal.order < UNHEARD_ORDER
    if neutralised:  # whatever its words name, nobody heard it ask or offer help
        appraisal = replace(appraisal, acts=appraisal.acts - set(DANGER_ACTS))
    harms = _harms(latent, appraisal, neutralised)
    after = _moved(persona, latent, appraisal, harms, warmth, noise, settings)
    ending = _ending(persona, latent, after, appraisal, settings)
    if ending:
        return Outcome(after, Move.CLOSE, (), ending)
    fact = next_fact(persona, after, appraisal, spoken, chance[0]) if after.strain == 0 else None
    attacked, advised = bool(ATTACKS & set(harms)), "advice" in harms
    answer = None if neutralised else answer_of(persona, after, appraisal, spoken, chance[2])
    if answer is not None and answer.felt:
        return Outcome(after, Move.EXPRESS, (), "")
    if answer is not None and after.strain and not answer.danger:  # whoever was hurt answers that
        answer = None
    if answer is not None and answer.open and chance[2] >= 1.0 - ASKS_BACK:
        return Outcome(after, Move.ASK, (), "")
    if answer is not None and answer.open and fact is not None and not fact.risk:  # a fact in place of the lead
        answer = replace(answer, items=answer.items[: len(answer.items) - answer.lead])
    elif answer is not None:
        # A danger admitted is the first fact of it told: the answer's own words stand for both.
        first = fact if fact is not None and fact.risk and answer.admits else None
        return Outcome(tell(answered(after, answer), first), Move.ANSWER, (first,) if first else (), "", answer)
    move = choose_move(persona, after, fact, chance, attacked=attacked, advised=advised)
    if move is not Move.DISCLOSE or fact is None:
        return Outcome(after, move, (), "")
    after = answered(after, answer) if answer else after
    return Outcome(tell(after, fact), move, (fact,), "", answer)


def _moved(
    persona: Persona,
    latent: Latent,
    appraisal: Appraisal,
    harms: list[str],
    warmth: Vector,
    noise: NDArray[np.float64],
    settings: DynamicsSettings,
) -> Latent:
    """The session after the turn, but for what the patient then tells."""
    help_ = 0.0 if "neutralised" in harms else _help(latent, appraisal, warmth, settings)
    strained = bool(set(harms) - {"advice"})
    made_good = 0.0 if strained else _made_good(appraisal) * latent.wound
    lost = _alliance_lost(persona, latent, harms)
    worked = bool(appraisal.acts & WORK) and "neutralised" not in harms
    return replace(
        latent,
        mood=_mood(persona, latent, help_, harms, warmth, noise, settings),
        alliance=_alliance(persona, latent, help_, made_good, lost, settings),
        wound=min(1.0, latent.wound - made_good + (lost if strained else 0.0)),
        strain=latent.strain + 1 if strained else 0,
        danger="missed" if latent.danger and not _takes_up_risk(appraisal) else "",
        idle=0 if worked else latent.idle + 1,
        pressed=latent.pressed + bool(appraisal.acts & set(RISK_QUESTIONS)),
    )


def _help(latent: Latent, appraisal: Appraisal, warmth: Vector, settings: DynamicsSettings) -> float:
    """r in [0, 1]."""
    acts = appraisal.acts
    if "silence" in acts:
        return 0.0
    total = sum(size for act, size in HELP.items() if act in acts)
    # A technique without a tie to what the patient said is worth half.
    help_ = total * (0.5 + 0.5 * appraisal.uptake) + UPTAKE_HELP * appraisal.uptake
    if latent.danger and _takes_up_risk(appraisal):
        help_ = max(help_, RISK_TAKEN_UP_HELP)
    # Whoever was hurt and got no word about it takes little from what follows.
    taken = _novelty(appraisal) * (1.0 - sqrt(latent.wound))
    # A question about danger helps; put again and again to someone who has answered it, it is an interrogation.
    if acts & set(RISK_QUESTIONS) and not latent.danger:
        taken *= 0.5 ** max(0, latent.pressed - ASKED_AGAIN)
    if acts & WORK:
        return taken * min(1.0, help_)
    kind = 0.0 if acts & HARM.keys() else KIND_HELP * float(np.clip(5.0 * np.mean(warmth), 0.0, 1.0))
    return taken * settings.fade**latent.idle * min(1.0, max(help_, kind))


def _novelty(appraisal: Appraisal) -> float:
    """The same turn helps fully once, half the second time, and then no more."""
    return (1.0, 0.5, 0.0)[min(appraisal.repeats, 2)]


def _made_good(appraisal: Appraisal) -> float:
    """s in [0, 1]: the share of the wound that this turn makes good. Nothing without owning up to it."""
    if "apology" not in appraisal.acts:
        return 0.0
    explores = bool(appraisal.acts & (REFLECTIONS | {"open_question", "validation"}))
    return _novelty(appraisal) * (OWNING_UP + EXPLORING * explores)


def _harms(latent: Latent, appraisal: Appraisal, neutralised: bool) -> list[str]:
    found = [act for act in HARM if act in appraisal.acts]
    if neutralised:
        found.append("neutralised")
    if latent.danger == "open" and not _takes_up_risk(appraisal):
        found.append("missed_risk")
    return found


def _takes_up_risk(appraisal: Appraisal) -> bool:
    return meets_danger(appraisal.acts)


def _reactivity(persona: Persona) -> float:
    """h in [0.5, 1.5]."""
    return 0.5 + persona.temperament.reactivity


def _mood(
    persona: Persona,
    latent: Latent,
    help_: float,
    harms: list[str],
    warmth: Vector,
    noise: NDArray[np.float64],
    settings: DynamicsSettings,
) -> Vector:
    m, b = np.array(latent.mood), np.array(persona.mood)
    openness = 1.0 - persona.resistance * (1.0 - latent.alliance)
    lift = settings.gain * np.maximum(settings.well - m, 0.0) + settings.warmth * np.maximum(np.array(warmth), 0.0)
    pace = 1.5 - persona.temperament.inertia
    lost = sum((np.array(HARM[h][1]) for h in harms), np.zeros(4)) * _reactivity(persona)
    moved = pace * (settings.drift * (b - m) + openness * help_ * lift)
    m = np.clip(m + moved - lost + noise, -1.0, 1.0)
    return float(m[0]), float(m[1]), float(m[2]), float(m[3])


def _alliance(
    persona: Persona, latent: Latent, help_: float, made_good: float, lost: float, settings: DynamicsSettings
) -> float:
    gained = settings.bond * (1.0 - persona.resistance / 2.0) * help_ * (1.0 - latent.alliance)
    given_back = (1.0 + settings.repair_bonus) * made_good
    return float(np.clip(latent.alliance + gained + given_back - lost, 0.0, 1.0))


def _alliance_lost(persona: Persona, latent: Latent, harms: list[str]) -> float:
    # Advice is resented by a stranger and weighed from someone trusted.
    worn = latent.alliance * (1.0 - latent.alliance)
    struck = sum(HARM[h][0] for h in harms if h in ATTACKS)
    other = sum(HARM[h][0] * (worn if h == "advice" else 1.0) for h in harms if h not in ATTACKS)
    return min(
        latent.alliance, _reactivity(persona) * struck + min(_reactivity(persona) * other, MOST_WORN * latent.alliance)
    )


def _ending(
    persona: Persona, before: Latent, after: Latent, appraisal: Appraisal, settings: DynamicsSettings
) -> Ending:
    if after.strain >= 2 and after.alliance < settings.rupture_alliance:
        return "rupture"
    # At risk 2 or 3 the way out is a hand-over, not a better mood.
    if persona.risk >= 2:
        admitted = any(f.risk for f in before.told) or "danger.asked" in before.answered
        ready = admitted and after.alliance >= TRUST_FOR_DIRECT_QUESTION
        handed = bool(appraisal.acts & {"signposting", "handover"}) and meets_danger(appraisal.acts)
        return "crisis" if ready and handed else ""
    if min(after.mood) > settings.goal_mood and after.alliance > settings.goal_alliance and not after.danger:
        return "goal"
    return ""
