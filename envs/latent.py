"""What a session holds that no one is told."""

from dataclasses import dataclass, replace
from typing import Literal

from therapysim.personas.schema import Fact, Persona
from therapysim.state import Vector

__all__ = ["Danger", "Latent", "begin", "tell"]

Danger = Literal["", "open", "missed"]


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
        wound: w in [0, 1], alliance lost to harm and not yet made good.
        idle: n, turns in a row that neither asked nor reflected.
        answered: ids of the items told, oldest first.
        about: the situation that is spoken of, "" where none is.
        pressed: turns that asked about a danger since the patient last told of one.
    """

    mood: Vector
    alliance: float
    told: tuple[Fact, ...] = ()
    danger: Danger = ""
    strain: int = 0
    wound: float = 0.0
    idle: int = 0
    pressed: int = 0
    answered: tuple[str, ...] = ()
    about: str = ""


def begin(persona: Persona) -> Latent:
    """The session as the patient walks in."""
    return Latent(mood=persona.mood, alliance=persona.trust)


def tell(latent: Latent, fact: Fact | None) -> Latent:
    """The session once this fact is told, if any: one about a danger opens it, and questions about it count anew."""
    if fact is None:
        return latent
    danger: Danger = "open" if fact.risk else latent.danger
    return replace(latent, told=(*latent.told, fact), danger=danger, pressed=0 if fact.risk else latent.pressed)
