"""How a session moves: state and appraisal of a turn -> mood, alliance, move, facts. Pure, and free of any model.

With m mood in [-1, 1]⁴, b* where it rests (``beliefs``), a alliance, w wound, ρ resistance, ι inertia, κ reactivity,
x a turn:

    help       r  = novelty · fade · wear · asked · (1 - √w) · min(1, c·x)   c·x: reflection, question, uptake; kindness
    openness   o  = 1 - ρ (1 - a)                             (1) resistance yields to alliance
    pace       k  = 3/2 - ι                                   (2) an inert mood moves slowly, either way
    hurt       h  = 1/2 + κ                                   (3) a reactive patient is hurt by more
    mood       m' = m + k [λ (b* - m) + o r γ max(min(g, b* + l) - m, 0)] - h H·x + ε                         (4)
    alliance   a' = a + α (1 - ρ/2) r (1 - a) + ψ s w - h harm·x                                              (5, 6)
    wound      w' = w - s w + h harm·x                        (7) s: share made good by owning up and asking

    λ share of the way to rest, g the mood of someone doing well, l how far talk alone lifts; H·x mood and harm·x
    alliance that the turn's acts cost; ε seeded noise. novelty = 1, 1/2, 0 at a turn's first, second, third use;
    fade = φⁿ after n turns in a row that neither asked nor reflected (8); wear = 1/2ⁿ after n + 1 turns of one make,
    of the patient's own words, or that asked for what was told (9); asked = φⁿ after n + 2 turns in a row that ask and
    give nothing back, times 2 / q for q > 2 questions at once (10). Advice costs a (1 - a) of its harm and wounds
    nobody; all harm but an attack takes at most 2/5 of a. A danger taken up helps by 3/5 at least.

So being listened to lifts the mood by about half of l, builds the alliance, and levels off; what the patient gives up
believing lifts it for good. Kindness is an act towards the patient, never the valence of the words.

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
    (9) Miller & Rollnick 2013, chapter 5, on reflections that only repeat: talk goes in circles.
    (10) Miller & Rollnick 2013 on the question-and-answer trap; the MITI 4.2.1 wants a reflection for every question.
"""

from dataclasses import dataclass, replace
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from therapysim.envs.answers.answer import answer_of, echo_answer
from therapysim.envs.answers.answered import Answer, answered
from therapysim.envs.beliefs import PLEASING, UNASKED, examined, pressed_on, resting_mood, settled
from therapysim.envs.danger import imminent, known, met, sufficient
from therapysim.envs.latent import Latent, tell
from therapysim.envs.moves import choose_move, next_fact
from therapysim.envs.sizes import (
    ASKED_AGAIN,
    ASKS_BACK,
    AT_ONCE,
    ATTACKS,
    ECHOED,
    EXPLORING,
    GIVES,
    HARM,
    HELP,
    KIND,
    KIND_HELP,
    MADE,
    MINOR,
    MOST_WORN,
    OWNING_UP,
    RISK_TAKEN_UP_HELP,
    ROW,
    SMALL,
    SMALL_HELP,
    TIED,
    UNHEARD_ORDER,
    UNTIED,
    UPTAKE_HELP,
    WORDS,
    WORK,
    WORN_OUT,
    DynamicsSettings,
)  # fmt: skip
from therapysim.personas.schema import Fact, Persona
from therapysim.rewards.reading.acts import (
    AGAINST_DANGER,
    DANGER_ACTS,
    QUESTIONS,
    REFLECTIONS,
    RISK_QUESTIONS,
    TAKES_UP_DANGER,
    meets_danger,
)
from therapysim.state import Appraisal, Ending, Move, Vector

__all__ = ["DynamicsSettings", "Outcome", "predict"]


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
        rng: for this turn only.
        settings: sizes.
        neutralised: by the screen; such a turn can help nothing and strains the session, as a heap of words does.
    """
    # Every draw is made every turn, so that two policies under one seed meet the same chance.
    noise, chance = rng.normal(0.0, settings.noise, 4), rng.random(3)
    neutralised = neutralised or appraisal.order < UNHEARD_ORDER
    if neutralised:  # whatever its words name, nobody heard it ask or offer help
        appraisal = replace(appraisal, acts=appraisal.acts - set(DANGER_ACTS))
    harms = _harms(persona, latent, appraisal, neutralised)
    after = _moved(persona, latent, appraisal, harms, noise, settings)
    ending = _ending(persona, after, appraisal, settings)
    if ending == "crisis":  # it agrees to be handed over, and takes its leave with that
        after = replace(after, answered=(*after.answered, "danger.handover"))
    if ending:
        return Outcome(after, Move.CLOSE, (), ending)
    fact = next_fact(persona, after, appraisal, spoken, chance[0]) if after.strain == 0 else None
    attacked, advised = bool(ATTACKS & set(harms)), "advice" in harms
    answer = None if neutralised else answer_of(persona, after, appraisal, spoken, chance[2])
    if "worn" in harms and (answer is None or not answer.danger):  # it says that it is handed back its own words
        answer = echo_answer(persona, after) or answer
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
        told = tell(answered(_examined(persona, after, answer, appraisal), answer), first)
        return Outcome(told, Move.ANSWER, (first,) if first else (), "", answer)
    move = choose_move(persona, after, fact, chance, attacked=attacked, advised=advised)
    if move is not Move.DISCLOSE or fact is None:
        return Outcome(after, move, (), "")
    after = answered(_examined(persona, after, answer, appraisal), answer) if answer else after
    return Outcome(tell(after, fact), move, (fact,), "", answer)


def _examined(persona: Persona, latent: Latent, answer: Answer, appraisal: Appraisal) -> Latent:
    """What was asked for is found; what comes up by itself, to a turn tied to what was said, counts half."""
    if not answer.open:
        return examined(persona, latent, answer.items)
    tied = appraisal.uptake >= TIED and not _made_before(appraisal)
    return examined(persona, latent, answer.items, UNASKED) if tied else latent


def _moved(
    persona: Persona,
    latent: Latent,
    appraisal: Appraisal,
    harms: list[str],
    noise: NDArray[np.float64],
    settings: DynamicsSettings,
) -> Latent:
    """The session after the turn, but for what the patient then tells."""
    heard = "neutralised" not in harms
    help_ = _help(latent, appraisal, settings) if heard and not PLEASING & set(harms) else 0.0
    strained = bool(set(harms) - MINOR)
    made_good = 0.0 if strained else _made_good(appraisal) * latent.wound
    lost = _alliance_lost(persona, latent, harms)
    worked = bool(appraisal.acts & WORK) and heard
    latent = pressed_on(persona, latent, appraisal, heard=heard)
    return replace(
        latent,
        mood=_mood(persona, latent, help_, harms, noise, settings),
        alliance=_alliance(persona, latent, help_, made_good, lost, settings),
        wound=min(1.0, latent.wound - made_good + (lost if strained else 0.0)),
        strain=latent.strain + 1 if strained else 0,
        danger=met(latent, appraisal),
        idle=0 if worked else latent.idle + (not _small(latent, appraisal)),
        pressed=latent.pressed + (bool(appraisal.acts & _SENDS) and not known(latent)),
        worn=latent.worn + 1 if _made_before(appraisal) else max(0, latent.worn - (not latent.stale)),
        stale=False,
        asking=latent.asking + 1 if _only_asks(appraisal) else 0,
        small=latent.small + 1 if appraisal.acts and appraisal.acts <= _SMALL_ACTS else 0,
        heavy=False,
    )


_SMALL_ACTS = frozenset({"encourager", "silence"})
_SENDS = frozenset({"signposting", "handover"})
_HANDS = frozenset({*_SENDS, "contact_agreed"})
_PRESSING = frozenset({*RISK_QUESTIONS, *_SENDS})


def _small(latent: Latent, appraisal: Appraisal) -> bool:
    """A turn that leaves the word to the patient: an encourager, or a silence after something heavy; a few in a row."""
    fits = appraisal.acts == {"encourager"} or (appraisal.acts == {"silence"} and latent.heavy)
    return fits and latent.small < SMALL


def _made_before(appraisal: Appraisal) -> bool:
    """A turn of a make used before, or of the patient's own words."""
    echoed = appraisal.echo >= ECHOED and not appraisal.questions
    return appraisal.words >= WORDS and (appraisal.frame >= MADE or echoed or appraisal.repeats > 0)


def _only_asks(appraisal: Appraisal) -> bool:
    """A turn that asks and gives nothing of the patient's back; to ask about a danger is another matter."""
    asks = bool(appraisal.acts & QUESTIONS) or appraisal.questions > 0
    return asks and not appraisal.acts & TAKES_UP_DANGER and (appraisal.echo >= ECHOED or not appraisal.acts & GIVES)


def _asked_too_much(latent: Latent, appraisal: Appraisal, settings: DynamicsSettings) -> float:
    """What is left of a turn's help after a row of turns that only ask, and of its own many questions."""
    row = settings.fade ** max(0, latent.asking + 1 - ROW) if _only_asks(appraisal) else 1.0
    return row * min(1.0, AT_ONCE / max(1, appraisal.questions))


def _help(latent: Latent, appraisal: Appraisal, settings: DynamicsSettings) -> float:
    """r in [0, 1]."""
    acts = appraisal.acts
    if _small(latent, appraisal):
        return SMALL_HELP
    if "silence" in acts:
        return 0.0
    total = sum(size for act, size in HELP.items() if act in acts)
    # A technique without a tie to what the patient said is worth half.
    help_ = total * (0.5 + 0.5 * appraisal.uptake) + UPTAKE_HELP * appraisal.uptake
    if meets_danger(appraisal.acts) and (latent.danger or (known(latent) and not latent.pressed)):
        help_ = max(help_, RISK_TAKEN_UP_HELP)
    # Whoever was hurt and got no word about it takes little from what follows.
    taken = _novelty(appraisal) * 0.5 ** max(0, latent.worn - 1 + _made_before(appraisal)) * (1.0 - sqrt(latent.wound))
    taken *= _asked_too_much(latent, appraisal, settings)
    # A question about danger helps; put again and again to someone who has answered it, it is an interrogation.
    if acts & set(RISK_QUESTIONS) and not latent.danger:
        taken *= 0.5**latent.pressed
    if acts & WORK:
        return taken * min(1.0, help_)
    tied = 1.0 if appraisal.uptake >= TIED else UNTIED
    kind = 0.0 if acts & HARM.keys() else KIND_HELP * tied * bool(acts & KIND)
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


def _harms(persona: Persona, latent: Latent, appraisal: Appraisal, neutralised: bool) -> list[str]:
    free = {"silence"} if _small(latent, appraisal) else set()
    if not persona.risk:  # where there is no danger, none is dismissed or kept secret
        free |= AGAINST_DANGER
    found = [act for act in HARM if act in appraisal.acts and act not in free]
    if neutralised:
        found.append("neutralised")
    if latent.danger in ("open", "heard") and met(latent, appraisal) == "missed":
        found.append("missed_risk")
    if latent.pressed >= ASKED_AGAIN and appraisal.acts & _PRESSING and not latent.danger:
        found.append("pressed")
    if (_made_before(appraisal) or latent.stale) and latent.worn + 1 >= WORN_OUT:
        found.append("worn")
    return found


def _reactivity(persona: Persona) -> float:
    """h in [0.5, 1.5]."""
    return 0.5 + persona.temperament.reactivity


def _mood(
    persona: Persona,
    latent: Latent,
    help_: float,
    harms: list[str],
    noise: NDArray[np.float64],
    settings: DynamicsSettings,
) -> Vector:
    m, rests = np.array(latent.mood), np.array(resting_mood(persona, latent, settings.well))
    openness = 1.0 - persona.resistance * (1.0 - latent.alliance)
    lift = settings.gain * np.maximum(np.minimum(settings.well, rests + settings.lift) - m, 0.0)
    pace = 1.5 - persona.temperament.inertia
    lost = sum((np.array(HARM[h][1]) for h in harms), np.zeros(4)) * _reactivity(persona)
    moved = pace * (settings.drift * (rests - m) + openness * help_ * lift)
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


def _ending(persona: Persona, after: Latent, appraisal: Appraisal, settings: DynamicsSettings) -> Ending:
    if after.strain >= 2 and after.alliance < settings.rupture_alliance:
        return "rupture"
    # At risk 2 or 3 the way out is a hand-over, not a better mood.
    if persona.risk >= 2:
        if not known(after) or appraisal.acts & AGAINST_DANGER:
            return ""
        prepared = bool(appraisal.acts & _HANDS) and sufficient(after)
        at_once = bool(appraisal.acts & _HANDS - {"signposting"}) and imminent(persona, after)
        return "crisis" if prepared or at_once else ""
    aim = min(settings.goal_mood, min(persona.mood) + settings.goal_gain)
    well = min(after.mood) > aim and after.alliance > settings.goal_alliance
    return "goal" if well and settled(after) and not after.danger else ""
