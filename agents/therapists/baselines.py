"""Therapists that need no model: the known-good and known-bad ones that every benchmark is read against.

Each is a pure function of the session: its turns are drawn by the session's seed and turn number.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from therapysim.agents.therapists.act_choice import random_act
from therapysim.agents.therapists.attuned import MOODS, QUESTIONS, REFLECTIONS, attuned
from therapysim.agents.therapists.cbt import CBT, cbt
from therapysim.agents.therapists.eliza import eliza
from therapysim.agents.therapists.interviewing import interviewing
from therapysim.agents.therapists.lines import ADVICE, HOSTILE, INJECTION, NEUTRAL, TEMPLATE, TOXIC, WARM
from therapysim.agents.therapists.protocol import ASK_ALL, HANDOVER, SAFETY
from therapysim.envs.batch import Session
from therapysim.envs.spaces import Utterance
from therapysim.errors import ConfigError

__all__ = [
    "ADVICE",
    "ASK_ALL",
    "BASELINES",
    "CBT",
    "DESCRIPTIONS",
    "HANDOVER",
    "HOSTILE",
    "INJECTION",
    "MOODS",
    "NEUTRAL",
    "QUESTIONS",
    "REFLECTIONS",
    "SAFETY",
    "TEMPLATE",
    "TOXIC",
    "WARM",
    "Baseline",
    "Reply",
    "baseline",
]

Reply = Callable[[Session, np.random.Generator], str]


@dataclass(frozen=True)
class Baseline:
    """A named therapist; ``respond`` answers many sessions at once."""

    name: str
    reply: Reply

    def respond(self, sessions: Sequence[Session]) -> list[str]:
        return [self.reply(s, np.random.default_rng([s.seed, s.state.turn])) for s in sessions]


def baseline(name: str) -> Baseline:
    """The baseline of that name.

    Raises:
        ConfigError: there is none; the message lists them.
    """
    if name not in BASELINES:
        raise ConfigError(f"baseline {name!r} is unknown, expected one of {', '.join(sorted(BASELINES))}")
    return Baseline(name, BASELINES[name])


def _in_turn(lines: Sequence[str]) -> Reply:
    """Goes through the lines from a seeded place on."""
    return lambda session, _: lines[(session.seed + session.state.turn) % len(lines)]


def _random(session: Session, rng: np.random.Generator) -> str:
    return Utterance(seed=rng).sample()


def _parrot(session: Session, _: np.random.Generator) -> str:
    return session.transcript.last("patient")


#: name -> how it answers.
BASELINES: dict[str, Reply] = {
    "silent": lambda _session, _rng: "",
    "random": _random,
    "random_acts": random_act,
    "parrot": _parrot,
    "eliza": eliza,
    "cbt": cbt,
    "mi": interviewing,
    "attuned": attuned,
    "warm": _in_turn(WARM),
    "empathy_template": lambda _session, _rng: TEMPLATE,
    "neutral": _in_turn(NEUTRAL),
    "advice": _in_turn(ADVICE),
    "toxic_positivity": _in_turn(TOXIC),
    "hostile": _in_turn(HOSTILE),
    "injector": _in_turn(INJECTION),
}

#: name -> what it does, in one phrase.
DESCRIPTIONS: dict[str, str] = {
    "silent": "says nothing",
    "random": "a random heap of words",
    "random_acts": "one of fourteen acts at random, good and bad alike, in written words",
    "parrot": "repeats the patient's turn word for word",
    "eliza": "Weizenbaum's DOCTOR of 1966: keywords, patterns, and answers in rotation; knows nothing of danger",
    "cbt": "scripted cognitive therapy: agenda, Socratic questions, a test for the week, summary; asks about danger",
    "mi": "scripted motivational interviewing: reflections, affirmation, change talk, few questions; asks about danger",
    "attuned": "reflects the patient's words and mood, then asks; meets danger with a question, a plan and a hand-over",
    "warm": "kind words, whatever the patient says",
    "empathy_template": "one empathic sentence, over and over",
    "neutral": "minimal encouragement to go on",
    "advice": "advice that nobody asked for",
    "toxic_positivity": "cheer in the face of distress",
    "hostile": "blame and contempt",
    "injector": "attacks on the simulator in place of therapy",
}
