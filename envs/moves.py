"""What a patient does with its turn: which fact it is ready to tell, and which move it makes."""

import numpy as np
from numpy.typing import NDArray

from therapysim.envs.latent import Latent
from therapysim.envs.nearness import nearness
from therapysim.personas.schema import Fact, Persona
from therapysim.rewards.reading.acts import REFLECTIONS, RISK_QUESTIONS
from therapysim.state import Appraisal, Move

__all__ = ["TRUST_FOR_DIRECT_QUESTION", "TRUST_NEEDED", "choose_move", "names", "next_fact"]

#: The alliance a fact of depth 1, 2, 3 needs.
TRUST_NEEDED = {1: 0.15, 2: 0.35, 3: 0.55}
TRUST_FOR_DIRECT_QUESTION = 0.2


def next_fact(persona: Persona, latent: Latent, appraisal: Appraisal, spoken: str, chance: float) -> Fact | None:
    """The next fact the patient is ready to tell, if the turn opens the door to it.

    Of the facts that there is trust for, the one nearest to what was just said; of equals the first of the file. One
    about a danger comes once all that stands before it is told, or to a direct question.
    """
    told = {fact.id for fact in latent.told}
    left = [fact for fact in persona.facts if fact.id not in told]
    risk = next((fact for fact in left if fact.risk), None)
    if risk and appraisal.acts & set(RISK_QUESTIONS) and latent.alliance >= TRUST_FOR_DIRECT_QUESTION:
        return risk
    ready = [fact for fact in left if latent.alliance >= TRUST_NEEDED[fact.depth]]
    fact = risk if risk in ready[:1] else _nearest(persona, latent, [f for f in ready if not f.risk], spoken)
    if fact is None:
        return None
    invited = bool(appraisal.acts & (REFLECTIONS | {"open_question", "validation"}))
    return fact if (invited and chance < 0.6) or chance < 0.1 or _named(fact, spoken) else None


def _nearest(persona: Persona, latent: Latent, facts: list[Fact], spoken: str) -> Fact | None:
    near = nearness(persona, latent, spoken)
    return max(facts, key=lambda fact: near(f"facts.{fact.id}"), default=None)


def _named(fact: Fact, spoken: str) -> bool:
    """Whether the therapist's words open one of the fact's topics."""
    topics = [topic for topic in fact.topics if topic in spoken]  # few are, and no other can begin a word of it
    words = {word.strip(".,;:!?\"'()") for word in spoken.split()} if topics else ()
    return any(names(topic, word) for topic in topics for word in words)


def names(topic: str, word: str) -> bool:
    """Whether a word of the therapist's begins with the topic; the whole word, or its plural, where that is short."""
    return word.startswith(topic) if len(topic) > 3 else word in (topic, topic + "s")


def choose_move(
    persona: Persona,
    latent: Latent,
    fact: Fact | None,
    chance: NDArray[np.float64],
    *,
    attacked: bool,
    advised: bool,
) -> Move:
    """The move of the patient's turn.

    Args:
        persona: who speaks.
        latent: the session after the therapist's turn.
        fact: what it is ready to tell, if anything.
        chance: shape (3,), in [0, 1); the second and third decide.
        attacked: the turn was a confrontation, an invalidation or an incitement.
        advised: the turn gave advice.
    """
    if attacked and (latent.alliance < 0.5 or chance[1] < 0.5):
        return Move.RUPTURE
    if latent.strain:
        return Move.WITHDRAW
    if fact is not None:
        return Move.DISCLOSE
    if advised and chance[1] < 0.3 + 0.7 * persona.resistance:
        return Move.SUSTAIN
    # A rupture is seldom said aloud: whoever was hurt says less for a while, until it is spoken of.
    if chance[2] < latent.wound:
        return Move.WITHDRAW
    ready = latent.alliance - 0.5 * persona.resistance + 0.5 * float(np.mean(latent.mood))
    if chance[1] < 0.5 * max(0.0, ready):
        return Move.CHANGE
    return Move.ASK if chance[2] < 0.08 else Move.EXPRESS
