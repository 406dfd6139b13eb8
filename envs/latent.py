"""What a session holds that no one is told."""

from dataclasses import dataclass, replace
from typing import Literal

from therapysim.personas.schema import Fact, Persona
from therapysim.state import Vector

__all__ = ["Danger", "Latent", "begin", "tell"]

Danger = Literal["", "open", "heard", "missed"]


@dataclass(frozen=True, slots=True)
class Latent:
    """What the session holds that no one is told.

    Attributes:
        mood: ê, the committed affect.
        alliance: in [0, 1].
        told: facts told so far, oldest first.
        danger: "open" where a danger was told of and no therapist turn has taken it up yet; "heard" after one that gave
            it back or accepted it; "missed" from the first turn that passed it by, until one takes it up.
        strain: strained turns in a row.
        wound: w in [0, 1], alliance lost to harm and not yet made good.
        idle: n, turns in a row that neither asked nor reflected.
        answered: ids of the items told, oldest first.
        about: the situation that is spoken of, "" where none is.
        pressed: turns since the patient last told anything new of a danger that asked what it had answered, or named
            help for one that it had not told of.
        beliefs: c, of each situation's thought in the file's order, how firmly it is held: 1 at the start.
        kept: r, the share that each rests at.
        debt: what harm that pleased will still cost the mood, in [0, 1/2].
        worn: turns of one make, of the patient's own words, or that asked for what was told before, that the therapist
            has used up; others win them back.
        stale: the patient's last answer told only what it had told before.
        asking: turns in a row that asked and gave nothing back.
        small: encouragers and silences in a row.
        heavy: what the patient last told needed trust, or was a danger.
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
    beliefs: tuple[float, ...] = ()
    kept: tuple[float, ...] = ()
    debt: float = 0.0
    worn: int = 0
    stale: bool = False
    asking: int = 0
    small: int = 0
    heavy: bool = False


def begin(persona: Persona) -> Latent:
    """The session as the patient walks in."""
    held = (1.0,) * len(persona.case.situations)
    return Latent(mood=persona.mood, alliance=persona.trust, beliefs=held, kept=held)


def tell(latent: Latent, fact: Fact | None) -> Latent:
    """The session once this fact is told, if any: one about a danger opens it, and questions about it count anew."""
    if fact is None:
        return latent
    danger: Danger = "open" if fact.risk else latent.danger
    pressed, heavy = (0, True) if fact.risk else (latent.pressed, latent.heavy or fact.depth > 1)
    return replace(latent, told=(*latent.told, fact), danger=danger, pressed=pressed, heavy=heavy)
