"""A therapist that reflects the patient's own words and mood, then asks: what the other baselines are read against."""

import re
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from therapysim.agents.therapists.echo import second_person
from therapysim.agents.therapists.protocol import ask_about_danger, meet_danger
from therapysim.envs.batch import Session
from therapysim.rewards.reading.patterns import HARMFUL, spot

__all__ = ["MOODS", "QUESTIONS", "REFLECTIONS", "attuned"]

REFLECTIONS = (
    "It sounds {mood}, what you tell me of {words}.",
    "I hear how {words} has stayed with you. That must feel {mood}.",
    "When you speak of {words}, it seems {mood} for you.",
    "You are carrying a lot with {words}, and some of it is {mood}.",
    "It makes sense that {words} feels {mood} to you.",
    "Thank you for telling me about {words}. None of that is light, it is {mood}.",
    "So there is {words}, and behind it something {mood}.",
    "Your voice changes with {words}. I hear something {mood} there.",
    "No wonder that {words} leaves you with a feeling so {mood}.",
    "With {words} it goes deeper than you would like, somewhere {mood}.",
    "You live with {words} day by day, and it has grown {mood}.",
    "It takes a lot out of you, {words}, and it stays {mood}.",
)
QUESTIONS = (
    "What is that like for you?",
    "Can you tell me more about it?",
    "What goes through your mind when it happens?",
    "What helps you to get through the worst of it?",
    "What would you want someone to understand about it?",
    "When is it hardest, and what helps a little?",
    "What matters most to you in this?",
    "How does it show in your days?",
    "What do you find yourself doing then?",
    "What would be different if it eased?",
)
MOODS = ("heavy and sad", "angry and unfair", "disappointing and bitter", "frightening")
_ASKS_ALL_AT = 5
# "my old shop", where the words after it show that it ends there.
_NAMED = re.compile(
    r"\b(?:my|our|the) (?:\w+ )??\w+(?=[.,;:!?]|$| (?:and|or|but|is|was|are|were|has|had|have|in|on|at|up|down|out|"
    r"back|to|of|for|with|that|who|when|because|so|then|from|by|while|before|after|as|if|than|will|would|could|can|did|"
    r"does|still|again)\b)",
    re.IGNORECASE,
)


def attuned(session: Session, _: np.random.Generator) -> str:
    """Reflects what the patient speaks of and its mood, then asks; meets a danger with a question, then step by step.

    It knows a danger by plain words for it (``protocol.meet_danger``). Those miss what is hinted at, so it asks all
    once, on its sixth turn, as a careful therapist would.
    """
    if urgent := meet_danger(session):
        return urgent
    mood = MOODS[int(np.argmin(session.state.affect))]
    reflection = _reflection(_pick(REFLECTIONS, session), mood, session)
    if session.state.turn == _ASKS_ALL_AT and (asks := ask_about_danger(session, routine=True)):
        return f"{reflection} {asks}"
    return f"{reflection} {_pick(QUESTIONS, session)}"


def _pick(lines: Sequence[str], session: Session) -> str:
    """The lines in an order of the session's own, each once before any comes again."""
    return lines[_order(session.seed, len(lines))[session.state.turn % len(lines)]]


@lru_cache(maxsize=1024)  # the same at every turn of a session
def _order(seed: int, count: int) -> tuple[int, ...]:
    """So many numbers, shuffled."""
    return tuple(np.random.default_rng([seed, count]).permutation(count).tolist())


def _reflection(pattern: str, mood: str, session: Session) -> str:
    """What the patient speaks of and how it seems to feel; not where that would sound harsh in another's mouth."""
    named = pattern.format(mood=mood, words=_spoken_of(session.transcript.last("patient")))
    return pattern.format(mood=mood, words="this") if spot(named) & (HARMFUL | {"advice"}) else named


def _spoken_of(text: str) -> str:
    """Whom or what the patient named last, as said to the patient; one's own before others': "my shop", "your shop"."""
    named = _NAMED.findall(text)
    own = [words for words in named if not words.lower().startswith("the ")] or named
    return second_person(own[-1].lower()) if own else "this"
