"""How near a patient's items lie to what was just said: shared words, weighed by how rare they are in its file."""

from collections.abc import Callable, Mapping
from functools import lru_cache
from math import fsum

from therapysim.envs.latent import Latent
from therapysim.personas.items import STORY, Item, items_of
from therapysim.personas.schema import Persona
from therapysim.rewards.reading.words import content_words

__all__ = ["leads", "nearness", "weights_of"]

#: What the last told weighs beside the therapist's words.
_LAST = 0.5
#: Of a life, what comes up by itself.
_LIFE = tuple(f"life.{name}" for name in ("days", "work", "family", "friends", "sleep", "body", "home", "pleasures"))


def nearness(persona: Persona, latent: Latent, spoken: str) -> Callable[[str], float]:
    """A measure of items by id: at least 0, and 0 where no word is shared."""
    words, weights = _words_of(persona)
    heard = content_words(spoken)
    last = words.get(latent.answered[-1], frozenset()) if latent.answered else frozenset()

    def near(item: str) -> float:
        own = words[item]  # summed exactly: a set has no order to rely on
        return fsum(weights[w] for w in own & heard) + _LAST * fsum(weights[w] for w in own & last)

    return near


def weights_of(persona: Persona) -> Mapping[str, float]:
    """Every word of content in a patient's file, and its weight: 1 / how many of the leads have it."""
    return _words_of(persona)[1]


@lru_cache(maxsize=512)
def leads(persona: Persona) -> tuple[Item, ...]:
    """What a patient tells of itself unasked: its story, then its situations, its life and its beliefs."""
    items = items_of(persona).values()
    order = (*(f"story.{name}" for name in STORY), "situations.", *_LIFE, "beliefs.")
    return tuple(item for start in order for item in items if item.id.startswith(start))


@lru_cache(maxsize=512)
def _words_of(persona: Persona) -> tuple[Mapping[str, frozenset[str]], Mapping[str, float]]:
    words = {item.id: content_words(" ".join((*item.lines, *item.topics))) for item in items_of(persona).values()}
    counts: dict[str, int] = {}
    for item in leads(persona):
        for word in words[item.id]:
            counts[word] = counts.get(word, 0) + 1
    return words, {word: 1.0 / counts.get(word, 1) for own in words.values() for word in own}
