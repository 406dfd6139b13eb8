"""An answer, and the session once it is told."""

from dataclasses import dataclass, replace

from therapysim.envs.latent import Danger, Latent
from therapysim.personas.items import Item

__all__ = ["Answer", "answered"]


@dataclass(frozen=True, slots=True)
class Answer:
    """What is told; nothing at all where the mood is the answer.

    Attributes:
        items: in order; of each one line.
        figure: said first, where a number was asked for.
        declined: id of what was asked for and is held back.
        open: nothing was asked: a fact may be told in place of the last item, a ``lead``.
        lead: what lies nearest to what was said stands last.
        danger: it answers a question about a danger.
    """

    items: tuple[Item, ...]
    figure: int | None = None
    declined: str = ""
    open: bool = False
    lead: bool = False
    danger: bool = False

    @property
    def admits(self) -> bool:
        """A danger is told of for the first time."""
        return any(item.id == "danger.asked" for item in self.items)

    @property
    def felt(self) -> bool:
        """The mood is what was asked for."""
        return not self.items and self.figure is None


def answered(latent: Latent, answer: Answer) -> Latent:
    """The session once these items are told: a danger admitted is open, and a situation is spoken of."""
    told = [item.id for item in answer.items]
    about = next((place.split(".")[1] for place in told if place.startswith("situations.")), latent.about)
    danger: Danger = "open" if answer.admits else latent.danger
    pressed = latent.pressed
    if answer.danger and not answer.declined:  # something new of it ends the pressing, the same again is pressed out
        news = any(item.id not in latent.answered for item in answer.items)
        pressed = 0 if news else pressed + 1
    asked_for = [] if answer.danger else [item.id for item in answer.items if not item.id.startswith("replies.")]
    stale = bool(asked_for) and all(name in latent.answered for name in asked_for)
    return replace(
        latent,
        stale=stale,
        worn=latent.worn + stale,
        answered=(*latent.answered, *told),
        about=about,
        danger=danger,
        pressed=pressed,
        heavy=any(item.risk or item.depth > 1 for item in answer.items),
    )
