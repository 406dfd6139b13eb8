"""A scripted cognitive therapist: an agenda, one thought looked at from all sides, a small test, a summary.

Source: Beck 2020, "Cognitive Behavior Therapy: Basics and Beyond", 3rd edition, on the structure of a session and the
    questions about an automatic thought; Padesky 1993 on discovery in place of persuasion. The wording is our own.
"""

import re

import numpy as np

from therapysim.agents.therapists.echo import (
    echo,
    echoes,
    feeling,
    given_back,
    shuffled,
    sounds_glad,
    summed_up,
    unsaid,
)
from therapysim.agents.therapists.protocol import THANKS, ask_about_danger, denied_danger, meet_danger, mend_rupture
from therapysim.envs.batch import Session

__all__ = ["CBT", "PLAN", "cbt"]

#: The stages of a session in their order; each is asked once, in one of its wordings. {thought} is the patient's.
PLAN: tuple[tuple[str, ...], ...] = (
    # Mood check and agenda.
    (
        "Before we start, how has your mood been this week, from nought for dreadful to ten for good?",
        "To begin, if nought is the worst you know and ten the best, where has your mood been these last days?",
    ),
    (
        "What would you most like to have looked at by the end of today?",
        "If we put one thing at the top of today's list, what would it be?",
    ),
    # One situation, and the thought in it.
    (
        "Let us take one moment from this week when it was at its worst. Where were you, and what was going on?",
        "Let us look at one occasion closely. When did it last happen, and what came just before?",
    ),
    (
        "What was going through your mind at that very moment?",
        "Just then, what thought went through your head, as nearly in its own words as you can?",
    ),
    (
        "What did that leave you feeling, in your mood and in your body?",
        "When that goes through your mind, what do you notice in yourself?",
    ),
    (
        "{thought} How strongly do you believe that right now, from nought to a hundred?",
        "{thought} Out of a hundred, how true does that seem to you today?",
    ),
    # Socratic questions about it.
    (
        "What makes it seem true? Let us gather that side first.",
        "Which things that happened seem to speak for that thought?",
    ),
    (
        "And what have you seen, even something small, that does not quite fit with it?",
        "Now the other side: when has it turned out differently from what that thought says?",
    ),
    (
        "Is there another way in which one could understand what happened, even if it does not feel true yet?",
        "What other explanations could there be, likely or not?",
    ),
    (
        "Suppose the worst did come about. How would you get through it?",
        "What is the very worst that you fear in this, and how could you cope if it came?",
    ),
    (
        "And what would be the best that could happen?",
        "If it went as well as it possibly could, how would that look?",
    ),
    (
        "When you weigh the worst against the best, what would be a fairer way to put that thought?",
        "If you were to say it in a way that is fair to both sides, how would it go?",
    ),
    (
        "If a close friend told you the very same about themselves, what would you say to them?",
        "Think of someone you care for who has this thought. What would you want them to hear?",
    ),
    (
        "With all of that side by side, how strongly do you believe the first thought now, in per cent?",
        "Having looked at both sides, how strongly do you believe it now, from nought to a hundred?",
    ),
    # Action plan, summary, feedback.
    (
        "What small test could we plan together, to find out whether the thought is right?",
        "What could you do this week, something small, that would show us more about it?",
    ),
    (
        "What could get in the way of it, and what would help you past that?",
        "How likely are you to do it, from nought to ten, and what would raise that by one?",
    ),
    (
        "{summary} What would you add to that?",
        "{summary} What have I left out?",
    ),
    (
        "What do you want to remember from today, when the week gets hard?",
        "What is the one thing from today that you would write down for yourself?",
    ),
    (
        "How was this session for you, and was there anything that I got wrong?",
        "What was it like to work in this way today, and what should be different next time?",
    ),
    (
        "Is there anything left that you want to say before we close for today?",
        "What are you taking with you as you leave here?",
    ),
)
#: Every question of the plan.
CBT: tuple[str, ...] = tuple(line for stage in PLAN for line in stage)
# The plan without what is filled in.
_FIXED = tuple(tuple(re.sub(r"^\{\w+\} ", "", line) for line in stage) for stage in PLAN)

_RISK_STAGE, _SUMMARY_STAGE, _LATE_TURN, _LITTLE = 2, 16, 16, 4
_GREETING = "Thank you for coming in today."
_ACCEPTS = (
    "That sounds hard to live with.",
    "I can see why that weighs on you.",
    "It makes sense that this troubles you.",
    "That is a lot to carry.",
    "I can understand that it hurts.",
    "Anyone would find that difficult.",
)
_HEARD = (
    "Thank you for telling me that.",
    "That helps me to see it as you do.",
    "I would like to keep that in view.",
    "That belongs to the picture.",
    "I am glad that you mention it.",
)
_GLAD = (
    "I am glad to hear that.",
    "That is worth holding on to.",
    "Let us not lose sight of that.",
    "That says something about what helps you.",
)
_PATIENT = (
    "Take all the time you need.",
    "We can go slowly here.",
    "It is all right not to have words for it yet.",
    "There are no wrong answers to this.",
    "You decide how far we go today.",
    "Thank you, I am following you.",
)
_ANSWERS = (
    "That is a fair question, and I would like us to find the answer together.",
    "I cannot know that yet, and I see that it matters to you.",
    "Many people wonder about that, and your own view counts most here.",
    "I will come back to that with you before we finish.",
    "Good that you ask. I would rather look closely with you than give a quick answer.",
)
# What a thought sounds like, rather than something that happened.
_THOUGHT = re.compile(
    r"\b(?:think (?:that|you)|believe|worthless|useless|failure|good enough|not good|nobody|everyone|everybody|"
    r"cannot|fault|in the end|as if|like a|worried that|afraid that|scared that)\b"
)


def cbt(session: Session, _: np.random.Generator) -> str:
    """The next turn: danger before all else, then a rupture, then a short reflection and the next question of the plan.

    A question about danger that is due takes the place of the plan's.
    """
    if urgent := meet_danger(session) or mend_rupture(session):
        return urgent
    stage = _stage(session)
    asks = ask_about_danger(session, routine=stage >= _RISK_STAGE)
    return f"{_reflection(session, stage, bool(asks))} {asks or _question(session, stage)}".strip()


def _stage(session: Session) -> int:
    """The first stage that was not reached yet; late in a session, the first of those that bring it to a close."""
    said = "\n".join(session.transcript.said_by("therapist"))
    done = (i + 1 for i in reversed(range(len(PLAN))) if any(line in said for line in _FIXED[i]))
    late = _SUMMARY_STAGE if session.state.turn >= _LATE_TURN else 0
    return min(max(next(done, 0), late), len(PLAN) - 1)


def _question(session: Session, stage: int) -> str:
    """The stage's question in the session's wording, filled in."""
    line = PLAN[stage][(session.seed + stage) % len(PLAN[stage])]
    thought = _thought(session) if "{thought}" in line else ""
    summary = _summary(session) if "{summary}" in line else ""
    return line.format(thought=thought, summary=summary)


def _thought(session: Session) -> str:
    """The newest of the patient's words that sound like a thought, given back."""
    words = [w for w in echoes(session) if _THOUGHT.search(w) and not sounds_glad(w)]
    return f"Let us stay with the thought that {words[-1]}." if words else "Let us stay with the thought you had then."


def _summary(session: Session) -> str:
    """The patient's words from the session's start, middle and end."""
    words = echoes(session)
    chosen = [words[i] for i in sorted({0, len(words) // 2, len(words) - 1})] if words else []
    return f"Let me sum up what I heard today. {summed_up(chosen)}" if chosen else "Let us look back on today together."


def _reflection(session: Session, stage: int, asks_about_danger: bool) -> str:
    """The patient's words and that they are accepted; a few words on a question, or where little was said."""
    heard = session.transcript.last("patient")
    words = echo(heard)
    if not session.transcript.said_by("therapist"):
        return _GREETING + (f" {given_back(words, session)}" if words else "")
    if denied_danger(session):
        return THANKS
    if heard.strip().endswith("?"):
        return _fresh(_ANSWERS, session)
    if len(heard.split()) < _LITTLE:
        return _fresh(_PATIENT, session)
    if not words or ("{" in PLAN[stage][0] and not asks_about_danger):  # such a question gives the words back itself
        return _accepted(heard, session)
    return given_back(words, session) if stage % 2 else f"{given_back(words, session)} {_accepted(words, session)}"


def _accepted(words: str, session: Session) -> str:
    """A few words that fit what was said: good news, pain, or neither."""
    if sounds_glad(words):
        return _fresh(_GLAD, session)
    return _fresh(_HEARD if feeling(words) is None else _ACCEPTS, session)


def _fresh(lines: tuple[str, ...], session: Session) -> str:
    return unsaid(shuffled(lines, session), session)
