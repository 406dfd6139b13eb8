"""A scripted motivational interviewer: open questions, affirmations, reflections and summaries, by what was just said.

Source: Miller & Rollnick 2013, "Motivational Interviewing", 3rd edition: OARS, evoking change talk, rolling with
    sustain talk, elicit-provide-elicit; the MITI 4.2.1 manual (Moyers, Manuel & Ernst 2014) for two reflections to a
    question. The word patterns and the wording are our own.
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
from therapysim.plain_words import normalise

__all__ = ["ASKED", "MAY_I", "SUMMING_UP", "TOLD", "hears_change", "hears_sustain", "interviewing"]

OPEN_QUESTIONS = (
    "What has it been like to live with this?",
    "How does this fit with the life that you would like?",
    "What worries you most about how things are at present?",
    "When things were better, what was different?",
    "What do you care about most in all of this?",
    "How have you managed to come as far as this?",
    "Who notices it when you have a better day, and what do they see?",
    "What would the next months look like if all stayed as it is?",
    "What else should I know in order to understand it?",
    "If one thing were a little easier by next week, what should it be?",
)
EVOKING = (
    "What makes that matter to you now?",
    "On a scale from nought to ten, how important is that to you, and why not less?",
    "How sure are you that you could, from nought to ten, and what makes it more than nought?",
    "If you decided to, how might you go about it?",
    "What would be the best thing about it if it came true?",
    "What in you tells you that it is possible?",
    "Who would be on your side in this?",
    "What might a first small step be, if you chose to take one?",
)
WITH_SUSTAIN = (
    "What does the way you do it now give you that you would not want to lose?",
    "What would have to be different for it to be worth a thought?",
    "Where does that leave you?",
    "What are the things that you would not change, whatever came?",
    "And if there is another side to it, even a faint one, what does it say?",
)
AUTONOMY = (
    "Whether anything changes is up to you, and nobody can decide it for you.",
    "There are good reasons for how you do it now.",
    "You know best what you can take on at present.",
    "You do not want to be pushed, and I will not push you.",
    "Something in you is not persuaded, and it has its reasons.",
)
LEANING = (
    "A part of you is already leaning towards something new.",
    "You have thought about this more than once, and it is growing clearer.",
    "It matters to you that this does not stay as it is.",
    "You can picture things being different, even if only in outline.",
    "There is a wish in that, and some strength behind it.",
)
AFFIRMATIONS = (
    "It takes courage to say that aloud.",
    "You have kept going through a great deal, and that shows how persistent you are.",
    "You think carefully about yourself, and you are honest about what you find.",
    "You care about doing right by other people, even when you are worn out.",
    "You came here although it is not easy for you, and that shows resolve.",
)
#: What may lie behind the words, by the lowest dimension of the mood: sadness, anger, disgust, fear.
DEEPER = (
    (
        "There is a sadness in that, and not many people get to see it.",
        "Something that used to give you joy has gone out of reach, and you miss it.",
        "You have been alone with this for longer than you would like.",
        "It is as though the colour has gone out of things.",
        "Underneath, you are grieving for how it was meant to be.",
    ),
    (
        "There is anger in that, because something was not fair to you.",
        "You are fed up, and you want it to be taken seriously at last.",
        "A line was crossed there, and it still burns.",
        "Behind the anger, you want to be treated with respect.",
        "You have been holding a great deal back, and it is costing you.",
    ),
    (
        "You are disappointed, and some of that turns against yourself.",
        "You hold yourself to a high standard, and falling short of it stings.",
        "There is shame in that, and you would rather keep it out of sight.",
        "You expected something else from life than this, and it leaves a bitter taste.",
        "You wish that you could look at yourself more kindly.",
    ),
    (
        "There is fear in that, and it keeps you on watch.",
        "You cannot quite rest, because something might go wrong the moment you do.",
        "You would give a lot to feel safe again.",
        "The worry runs ahead of you, and you are always trying to catch up with it.",
        "It frightens you not to know how this will turn out.",
    ),
)
#: Where no feeling was named and the mood is not low.
MEANING = (
    "That has stayed with you.",
    "There is more behind that than you usually let people see.",
    "That says something about what matters to you.",
    "It belongs to how you came to be where you are now.",
    "You have turned that over in your mind many times.",
    "It means more than it may look like from outside.",
    "That one is not easily put down again.",
    "There is a reason why it comes to you here, and now.",
    "You have lived with that longer than this hour.",
)
LIGHTER = (
    "Something has eased there, and you notice it.",
    "You can feel what it is like when things go well.",
    "That gives you a little hope.",
    "There is more lightness in that than before, and it is of your own making.",
    "You are finding out what does you good.",
)
SPACE = (
    "There is no hurry. It is hard to put this into words.",
    "You would rather not go further into that just now, and that is all right.",
    "Part of you is not sure whether it is safe to say more.",
    "You are tired of explaining yourself.",
    "It is a lot to be asked all this by somebody you hardly know.",
    "Words only go so far with this.",
)
MAY_I = "Would it be all right if I told you what others have found, and you tell me what fits?"
#: Elicit first; provide only what was asked for, and by leave.
ASKED = (
    "You would like an answer you can lean on. Before I say how it looks to me, what is your own sense of it?",
    "That question has been with you for some time. What have you found out about it so far?",
    f"You want to know where you stand. {MAY_I}",
    "You are looking for something that would make sense of it. What answer do you half expect?",
    "That is worth asking. Nobody can be sure, and people differ in this. How do you see it for yourself?",
    "You are weighing up whether this can help you. What would tell you that it does?",
)
#: Said after leave was given, and handed back at once.
TOLD = (
    "Many people find that it comes and goes, and that it shifts over weeks and not overnight. Some get furthest by "
    "talking, others by trying one small thing. What do you make of that?",
    "What others tell me is that such questions are common, that setbacks belong to it, and that one way does not suit "
    "all. How does that sit with you?",
)
SUMMING_UP = (
    "Let me gather up what you have told me so far.",
    "I would like to see whether I have understood you.",
    "Let me put together what I have heard.",
)
AFTER_SUMMARY = (
    "What have I missed?",
    "Where would you like to go from here?",
    "Which part of that matters most?",
)

# Both in the patient's person and given back in the second.
_CHANGE = re.compile(
    r"\b(?:i|you) (?:really |do |would |still |just )*(?:want to|want (?:this|it|my|your|things)|would like|like to|"
    r"need to (?:change|stop|start|do)|have (?:decided|started)|(?:am|are) (?:going to|ready|nearly ready|willing)|"
    r"(?:might|could)(?! not)|will try)\b|\b(?:has to|have to|must|cannot) (?:change|stay|go on like)\b|"
    r"\btime (?:that (?:i|you)|for (?:me|you)|to)\b|\b(?:rather try|work on it|something (?:new|different))\b"
)
_SUSTAIN = re.compile(
    r"\b(?:no (?:point|use)|never works?|not (?:ready|worth|the right time|that (?:simple|bad|easy))|used to it|"
    r"easier (?:to|if|not)|always (?:been|done)|just how (?:i am|you are)|what difference|as (?:it|things) (?:are|is)|"
    r"(?:do|does|did|would|could) not (?:help|work|change|need|make|see (?:how|why|the point))|"
    r"cannot (?:change|simply|just)|(?:i|you) (?:get by|have tried|am fine|are fine)|nothing (?:helps|changes|works))\b"
)
_ASKS_ALL_AT = 3
_SUMMARY_EVERY = 6
_LITTLE = 4
_LOW = -0.35


def hears_change(text: str) -> bool:
    """Whether a patient speaks for change: wish, ability, reason, need, a decision or a step."""
    return bool(_CHANGE.search(normalise(text))) and not hears_sustain(text)


def hears_sustain(text: str) -> bool:
    """Whether a patient speaks for leaving things as they are."""
    return bool(_SUSTAIN.search(normalise(text)))


def interviewing(session: Session, _: np.random.Generator) -> str:
    """The next turn: danger before all else, then a rupture, then an answer to what the patient just did.

    Every other turn asks; two reflections go with a question, and a turn that does not ask reflects all the same.
    """
    if urgent := meet_danger(session) or mend_rupture(session):
        return urgent
    heard, turn = session.transcript.last("patient"), session.state.turn
    if asks := ask_about_danger(session, routine=turn >= _ASKS_ALL_AT):
        return f"{_simple(session)} {asks}".strip()
    if session.transcript.last("therapist").endswith(MAY_I) and not heard.lower().startswith("no"):
        return _fresh(TOLD, session)
    if heard.strip().endswith("?"):
        return _fresh(ASKED, session)
    if turn % _SUMMARY_EVERY == _SUMMARY_EVERY - 1 and len(echoes(session)) > 2:
        return _summary(session)
    return _reflects(session) if turn % 2 else f"{_reflects(session)} {_fresh(_questions(session), session)}"


def _fresh(lines: tuple[str, ...], session: Session) -> str:
    return unsaid(shuffled(lines, session), session)


def _simple(session: Session) -> str:
    """The patient's words given back; thanks for a no to danger; room for one who says little; else ""."""
    heard = session.transcript.last("patient")
    if denied_danger(session):
        return THANKS
    if len(heard.split()) < _LITTLE:
        return _fresh(SPACE, session)
    words = echo(heard)
    return given_back(words, session) if words else ""


def _reflects(session: Session) -> str:
    """A simple reflection and what may lie behind it."""
    simple = _simple(session)
    return simple if simple in (THANKS, *SPACE) else f"{simple} {_fresh(_behind(session), session)}".strip()


def _behind(session: Session) -> tuple[str, ...]:
    """What a complex reflection can be made of: where the patient leans, what it has shown, what it feels."""
    words = _given(session)
    if hears_sustain(words):
        return AUTONOMY
    if hears_change(words):
        return LEANING
    if session.state.turn % 5 == 4:
        return AFFIRMATIONS
    return LIGHTER if sounds_glad(words) else _feelings(words, session)


def _feelings(words: str, session: Session) -> tuple[str, ...]:
    """For the feeling that the words name; else for the mood's lowest dimension, where that is low."""
    named, lowest = feeling(words), int(np.argmin(session.state.affect))
    if named is None and session.state.affect[lowest] > _LOW:
        return MEANING
    return DEEPER[lowest if named is None else named]


def _given(session: Session) -> str:
    """What is given back of the patient's last words, or all of them: a turn answers what it reflects."""
    heard = session.transcript.last("patient")
    return echo(heard) or heard


def _questions(session: Session) -> tuple[str, ...]:
    words = _given(session)
    if hears_sustain(words):
        return WITH_SUSTAIN
    return EVOKING if hears_change(words) else OPEN_QUESTIONS


def _summary(session: Session) -> str:
    words = summed_up(echoes(session)[-3:])
    return f"{_fresh(SUMMING_UP, session)} {words} {_fresh(AFTER_SUMMARY, session)}"
