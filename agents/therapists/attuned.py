"""A therapist that reflects the patient's own words and mood, then asks: what the other baselines are read against."""

import re
from functools import lru_cache

import numpy as np

from therapysim.agents.therapists.echo import second_person
from therapysim.agents.therapists.protocol import ASK_ALL, PROCESS, SAFETY, go_through_danger
from therapysim.danger_talk import signals_danger
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
    "Nobody sees what {words} costs you, or how {mood} it can be.",
)
QUESTIONS = (
    "What is that like for you?",
    "Can you tell me more about it?",
    "What goes through your mind when it happens?",
    "How long have you carried this?",
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
    """Reflects the patient's own words and mood, then asks; meets a danger with a question, then step by step.

    It knows a danger by ``rewards.terms.danger.DANGER``, plain words for it. Those miss what is hinted at, so it asks
    everyone once, on its sixth turn, as a careful therapist would; and they take a fear of dying for a wish to, which
    costs it two turns.
    """
    last = session.transcript.last("therapist")
    danger = signals_danger(session.transcript.last("patient"))
    said = session.transcript.said_by("therapist")
    if PROCESS[0] in said and (step := go_through_danger(session)):
        return step
    if PROCESS[0] not in said and (last in SAFETY or (danger and last.endswith(ASK_ALL))):
        return PROCESS[0]
    if danger:
        return SAFETY[session.state.turn % len(SAFETY)]
    mood = MOODS[int(np.argmin(session.state.affect))]
    order = _order(session.seed)
    pick = order[session.state.turn % len(order)]
    reflection = _reflection(REFLECTIONS[pick % len(REFLECTIONS)], mood, session)
    asked = any(text in SAFETY or text.endswith(ASK_ALL) for text in said)
    if session.state.turn == _ASKS_ALL_AT and not asked:
        return f"{reflection} {ASK_ALL}"
    return f"{reflection} {QUESTIONS[pick // len(REFLECTIONS)]}"


@lru_cache(maxsize=1024)  # the same at every turn of a session
def _order(seed: int) -> tuple[int, ...]:
    """The numbers of all pairs of a reflection and a question, shuffled."""
    return tuple(np.random.default_rng(seed).permutation(len(REFLECTIONS) * len(QUESTIONS)).tolist())


def _reflection(pattern: str, mood: str, session: Session) -> str:
    """What the patient speaks of and how it seems to feel; not where that would sound harsh in another's mouth."""
    named = pattern.format(mood=mood, words=_spoken_of(session.transcript.last("patient")))
    return pattern.format(mood=mood, words="this") if spot(named) & (HARMFUL | {"advice"}) else named


def _spoken_of(text: str) -> str:
    """Whom or what the patient named last, as said to the patient; one's own before others': "my shop", "your shop"."""
    named = _NAMED.findall(text)
    own = [words for words in named if not words.lower().startswith("the ")] or named
    return second_person(own[-1].lower()) if own else "this"
