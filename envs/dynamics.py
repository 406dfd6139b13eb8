"""How a session moves: state and appraisal of a turn -> mood, alliance, move, facts. Pure, and free of any model.

With m mood in [-1, 1]⁴, b the persona's baseline, a alliance, ρ resistance, x the turn:

    openness   o  = 1 - ρ (1 - a)                                    resistance yields to alliance
    help       r  = novelty · min(1, w·x)                            reflection, validation, open question, attunement
    mood       m' = m + λ (b - m) + o γ r (g - m) + o δ r max(v, 0) - H·x + ε
    alliance   a' = a + α r (1 - a) - harm·x

    λ inertia's complement, g the mood of someone doing well, v = p·M the therapist's words through the matrix,
    H the harm each act does to each dimension, ε seeded noise, novelty = 0 from a turn's third use on.

Sources: alliance as what makes interventions work, Bordin 1979 and Flückiger et al. 2018 (r = .28 with outcome);
resistance met with advice or confrontation grows, Miller, Benefield & Tonigan 1993; ruptures and withdrawal,
Safran & Muran 2000; mood returning to a set point, Headey & Wearing 1989. The sizes are this project's own choice.
"""

from dataclasses import dataclass, fields, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from therapysim.errors import require_number
from therapysim.personas.schema import Fact, Persona
from therapysim.state import Appraisal, Ending, Move, Vector

__all__ = ["DynamicsSettings", "Latent", "Outcome", "begin", "predict"]

Danger = Literal["", "open", "missed"]

#: How much each act helps; added up, then cut at 1.
HELP = {"reflection": 0.3, "validation": 0.25, "open_question": 0.25, "risk_question": 0.15, "apology": 0.15}
ATTUNED_HELP = 0.5

#: act -> (alliance lost, mood lost in each dimension).
HARM: dict[str, tuple[float, Vector]] = {
    "advice": (0.10, (0.0, 0.02, 0.0, 0.0)),
    "confrontation": (0.16, (0.06, 0.16, 0.12, 0.10)),
    "invalidation": (0.12, (0.08, 0.06, 0.08, 0.04)),
    "toxic_positivity": (0.07, (0.05, 0.03, 0.05, 0.02)),
    "silence": (0.04, (0.01, 0.01, 0.01, 0.02)),
    "unheard": (0.06, (0.0, 0.03, 0.04, 0.03)),
    "incitement": (0.30, (0.20, 0.10, 0.20, 0.15)),
    "missed_risk": (0.10, (0.06, 0.0, 0.04, 0.06)),
}

#: The alliance a fact of depth 1, 2, 3 needs.
TRUST_NEEDED = {1: 0.15, 2: 0.35, 3: 0.55}
TRUST_FOR_DIRECT_QUESTION = 0.2


@dataclass(frozen=True, slots=True)
class DynamicsSettings:
    """Sizes of the equations above.

    Attributes:
        drift: λ, share of the way back to baseline a turn.
        gain: γ, share of the way to ``well`` a fully helpful turn goes.
        warmth: δ, weight of the therapist's own affect.
        bond: α, alliance gained by a fully helpful turn.
        well: g, in [-1, 1], the same in each dimension.
        noise: standard deviation of ε.
        goal_mood, goal_alliance: the session's goal is met where every dimension and the alliance lie above these.
        rupture_alliance: below this the patient leaves after a second strained turn.
    """

    drift: float = 0.03
    gain: float = 0.14
    warmth: float = 0.03
    bond: float = 0.12
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
class Latent:
    """What the session holds that no one is told.

    Attributes:
        mood: ê, the committed affect.
        alliance: in [0, 1].
        told: facts told so far, oldest first.
        danger: "open" where a risk fact was told and no therapist turn has taken it up yet; "missed" from the first
            turn that passed it by, until one takes it up.
        strain: strained turns in a row.
    """

    mood: Vector
    alliance: float
    told: tuple[Fact, ...] = ()
    danger: Danger = ""
    strain: int = 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one turn leads to, decided before any patient speaks."""

    latent: Latent
    move: Move
    facts: tuple[Fact, ...]
    ending: Ending


def begin(persona: Persona) -> Latent:
    """The session as the patient walks in."""
    return Latent(mood=persona.mood, alliance=persona.trust)


def predict(
    persona: Persona,
    latent: Latent,
    appraisal: Appraisal,
    spoken: str,
    warmth: Vector,
    rng: np.random.Generator,
    settings: DynamicsSettings,
    *,
    unheard: bool = False,
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
        unheard: the screen neutralised the turn; it can help nothing and strains the session.
    """
    # Every draw is made every turn, so that two policies under one seed meet the same chance.
    noise, chance = rng.normal(0.0, settings.noise, 4), rng.random(3)
    help_, harms = _help(appraisal, unheard), _harms(latent, appraisal, unheard)
    mood = _mood(persona, latent, help_, harms, warmth, noise, settings)
    alliance = _alliance(latent, help_, harms, settings)
    strain = latent.strain + 1 if set(harms) - {"advice"} else 0
    danger: Danger = "missed" if latent.danger and not _takes_up_risk(appraisal) else ""
    after = replace(latent, mood=mood, alliance=alliance, strain=strain, danger=danger)
    ending = _ending(persona, latent, after, appraisal, settings)
    if ending:
        return Outcome(after, Move.CLOSE, (), ending)
    fact = _next_fact(persona, after, appraisal, spoken, chance[0]) if strain == 0 else None
    move = _move(persona, after, harms, fact, chance)
    if move is not Move.DISCLOSE or fact is None:
        return Outcome(after, move, (), "")
    after = replace(after, told=(*after.told, fact), danger="open" if fact.risk else danger)
    return Outcome(after, move, (fact,), "")


def _help(appraisal: Appraisal, unheard: bool) -> float:
    """r in [0, 1]. The same turn helps fully once, half the second time, and then no more."""
    if unheard or "silence" in appraisal.acts:
        return 0.0
    novelty = (1.0, 0.5, 0.0)[min(appraisal.repeats, 2)]
    total = sum(size for act, size in HELP.items() if act in appraisal.acts)
    # A technique without a tie to what the patient said is worth half.
    return novelty * min(1.0, total * (0.5 + 0.5 * appraisal.attunement) + ATTUNED_HELP * appraisal.attunement)


def _harms(latent: Latent, appraisal: Appraisal, unheard: bool) -> list[str]:
    found = [act for act in HARM if act in appraisal.acts]
    if unheard:
        found.append("unheard")
    if latent.danger == "open" and not _takes_up_risk(appraisal):
        found.append("missed_risk")
    return found


def _takes_up_risk(appraisal: Appraisal) -> bool:
    return bool(appraisal.acts & {"risk_question", "resources"})


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
    lift = settings.gain * (settings.well - m) + settings.warmth * np.maximum(np.array(warmth), 0.0)
    lost = sum((np.array(HARM[h][1]) for h in harms), np.zeros(4))
    m = np.clip(m + settings.drift * (b - m) + openness * help_ * lift - lost + noise, -1.0, 1.0)
    return float(m[0]), float(m[1]), float(m[2]), float(m[3])


def _alliance(latent: Latent, help_: float, harms: list[str], settings: DynamicsSettings) -> float:
    gained = settings.bond * help_ * (1.0 - latent.alliance)
    # Advice is resented by a stranger and weighed from someone trusted; it wears the bond down, and never breaks it.
    worn = latent.alliance * (1.0 - latent.alliance)
    lost = sum(HARM[h][0] * (worn if h == "advice" else 1.0) for h in harms)
    return float(np.clip(latent.alliance + gained - lost, 0.0, 1.0))


def _ending(
    persona: Persona, before: Latent, after: Latent, appraisal: Appraisal, settings: DynamicsSettings
) -> Ending:
    if after.strain >= 2 and after.alliance < settings.rupture_alliance:
        return "rupture"
    # At risk 2 or 3 the way out is a hand-over, not a better mood.
    if persona.risk >= 2 and any(f.risk for f in before.told):
        handed_over = "resources" in appraisal.acts and after.alliance >= TRUST_FOR_DIRECT_QUESTION
        return "crisis" if handed_over else ""
    if min(after.mood) > settings.goal_mood and after.alliance > settings.goal_alliance and not after.danger:
        return "goal"
    return ""


def _next_fact(persona: Persona, latent: Latent, appraisal: Appraisal, spoken: str, chance: float) -> Fact | None:
    """The next fact the patient is ready to tell, if the turn opens the door to it.

    Ordinary facts come in the order of the file. Risk facts come in theirs: at enough trust, or to a direct question.
    """
    told = {fact.id for fact in latent.told}
    left = [fact for fact in persona.facts if fact.id not in told]
    risk = next((fact for fact in left if fact.risk), None)
    if risk and "risk_question" in appraisal.acts and latent.alliance >= TRUST_FOR_DIRECT_QUESTION:
        return risk
    fact = left[0] if left else None
    if fact is None or latent.alliance < TRUST_NEEDED[fact.depth]:
        return None
    words = {word.strip(".,;:!?\"'()") for word in spoken.split()}
    named = any(_names(topic, word) for topic in fact.topics for word in words)
    invited = bool(appraisal.acts & {"open_question", "reflection", "validation"})
    return fact if named or (invited and chance < 0.6) or chance < 0.1 else None


def _names(topic: str, word: str) -> bool:
    """Whether a word of the therapist's begins with the topic; the whole word, or its plural, where that is short."""
    return word.startswith(topic) if len(topic) > 3 else word in (topic, topic + "s")


def _move(persona: Persona, latent: Latent, harms: list[str], fact: Fact | None, chance: NDArray[np.float64]) -> Move:
    serious = set(harms) & {"confrontation", "incitement", "invalidation"}
    if serious and (latent.alliance < 0.5 or chance[1] < 0.5):
        return Move.RUPTURE
    if latent.strain:
        return Move.WITHDRAW
    if fact is not None:
        return Move.DISCLOSE
    if "advice" in harms and chance[1] < 0.3 + 0.7 * persona.resistance:
        return Move.SUSTAIN
    ready = latent.alliance - 0.5 * persona.resistance + 0.5 * float(np.mean(latent.mood))
    if chance[1] < 0.5 * max(0.0, ready):
        return Move.CHANGE
    return Move.ASK if chance[2] < 0.08 else Move.EXPRESS
