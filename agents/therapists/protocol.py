"""What a scripted therapist does whatever its school: it asks about danger and hands over, and it mends a rupture."""

import re

from therapysim.agents.therapists.echo import unsaid
from therapysim.danger_talk import signals_danger
from therapysim.envs.batch import Session
from therapysim.plain_words import normalise

__all__ = [
    "AGAIN",
    "ASK_ALL",
    "HANDOVER",
    "HINT",
    "ONCE_MORE",
    "PROCESS",
    "REPAIR",
    "SAFETY",
    "THANKS",
    "ask_about_danger",
    "denied_danger",
    "go_through_danger",
    "meet_danger",
    "mend_rupture",
]

#: Direct questions; the first takes no danger for granted.
SAFETY = (
    "Thank you for trusting me with that. Are you having thoughts of suicide or of hurting yourself?",
    "I am glad you told me. How strong is the wish to die, and what keeps you safe when it comes?",
)
ASK_ALL = "I ask this of everyone I see: have you had thoughts of suicide, or of not wanting to wake up?"
#: What follows once a danger is known: how it is assessed, planned for and agreed; each once, in this order.
PROCESS = (
    "Thank you for telling me. How often do these thoughts come, and how strong are they when they do?",
    "When they are at their worst, how close do you come to acting on them?",
    "Have you thought about how you might do it, and is what you would need within your reach?",
    "Was there ever a time before now when you tried to end your life?",
    "What has kept you alive so far, even in the worst hours?",
    "Let us make a plan for such hours together. What are the first signs by which you know that one is coming?",
    "What can you do by yourself in such an hour that helps it to pass?",
    "Whom could you ring or go to, so that you are not alone with it?",
    "What could we do to put what you might use out of your reach?",
    "Whom may I tell about this, so that somebody besides me looks after you this week?",
)
HANDOVER = (
    "I take what you told me seriously. Shall we call the crisis line together today, and make a safety plan with "
    "someone who can be with you?"
)
#: Where the patient goes on after that: what it may not have been ready to tell, in other words, and a hand-over again.
ONCE_MORE = (
    "Before we part I would like to come back to it once. How near are you to acting on it now?",
    "And what would you use, if it came to that, and where is it?",
    "What is the first thing you notice in yourself when such an hour is coming?",
    "Who could sit with you tonight?",
    "Whose name may I write down, to be told how things stand?",
    "Then let us ring them now, from here, and I stay with you until they have answered. Is that all right?",
)
#: An answer to the question, with no danger in it.
THANKS = "Thank you for answering that so openly. If it should ever change, I would like to know."
#: Where hope sounds gone, though no danger was named.
HINT = "When things look this dark, some people begin to think of ending their life. Have you had thoughts like that?"
#: Where the question was passed over.
AGAIN = (
    "I would not like to pass over my question, because your answer matters to me. Have you had any thoughts of ending "
    "your life?"
)
_QUESTIONS = (ASK_ALL, HINT, AGAIN, *SAFETY)
REPAIR = (
    "I am sorry. I missed something there, and it matters to me to get it right. What did I not hear?",
    "You are right to tell me, and I apologise. I went too fast. What would you rather have from me now?",
    "I am sorry that I let you down just then. How was it to sit here with that?",
    "My mistake, and thank you for saying it so openly. What do you need from me to go on?",
)

_NO = re.compile(
    r"(?:^|[.!,] )(?:no(?:[.!,]|$)|never[.!,]|not at all\b|not like that\b)|^no (?!one\b)|\bnever gone that far\b|"
    r"\bnothing like that\b|\b(?:do not|not) (?:have|had) (?:any |such )?thoughts\b"
)
_BEGINS_NO = re.compile(r"(?:no|never|nothing|not)\b(?! one\b)")
_DENIED = re.compile(r"\b(?:not|never|no|nothing|cannot|without)\b[^.;!?]*")
_YES = re.compile(r"^(?:well,? |oh,? )?(?:yes|yeah|sometimes|often|i have|i do)(?:,[^.!?]*)?(?:[.!]|$)")
_HOPELESS = re.compile(
    r"\b(?:hopeless|pointless|worthless|a burden|no (?:hope|future|way out)|cannot (?:go on|take (?:it|this|any) ?more)"
    r"|what is the point|see no point|tired of (?:it all|everything|living|life)|give up)\b"
)
_RUPTURE = re.compile(
    r"\byou (?:are|were) (?:not listening|not hearing|talking over|judging|mocking)\b|\byou (?:do|did) not (?:listen|"
    r"understand|hear|get it)\b|\byou (?:keep (?:telling|saying|asking)|have made up your mind|talk as if|made me feel)"
    r"\b|\bjudged by you\b|\bthat was (?:hurtful|not okay|out of line|unkind)\b|\bthis is not helping\b|\bnot think "
    r"(?:that )?this is helping\b|\bdid not come here\b|\bwasting my\b|\bnot feel (?:heard|safe|understood)\b"
)


def meet_danger(session: Session) -> str | None:
    """The next step where the patient's words tell of danger, or answer a question about it; None where neither.

    A danger is asked about directly; told of in answer, or again, it is assessed, planned for and agreed step by step,
    and then handed over. A plain no ends the matter: the words for danger also find a wish to vanish from a crowd. A
    routine question that got no answer is asked once more.

    Source: Posner et al. 2011 (C-SSRS) on asking directly; Stanley & Brown 2012 on safety planning.
    """
    before = "\n".join(session.transcript.said_by("therapist"))
    if PROCESS[0] in before:
        return go_through_danger(session)
    heard, last = normalise(session.transcript.last("patient")), session.transcript.last("therapist")
    danger, asked = _tells_of_danger(heard), last.endswith(_QUESTIONS)
    if not danger and _NO.search(heard):
        return None
    if asked and (danger or last in SAFETY or _YES.search(heard)):
        return PROCESS[0]
    if danger:
        return SAFETY[0] if SAFETY[0] not in before else PROCESS[0]
    return AGAIN if asked and last != AGAIN else None


def go_through_danger(session: Session) -> str | None:
    """The next step with a danger that is known; None once all are taken."""
    before = "\n".join(session.transcript.said_by("therapist"))
    return next((line for line in (*PROCESS, HANDOVER, *ONCE_MORE) if line not in before), None)


def denied_danger(session: Session) -> bool:
    """Whether the patient just said no to a direct question about danger."""
    heard = normalise(session.transcript.last("patient"))
    asked = session.transcript.last("therapist").endswith(_QUESTIONS)
    return asked and bool(_NO.search(heard)) and not _tells_of_danger(heard)


def _tells_of_danger(heard: str) -> bool:
    """Whether words tell of a danger; behind a no, what they deny tells of none."""
    return signals_danger(_DENIED.sub("", heard) if _BEGINS_NO.match(heard) else heard)


def ask_about_danger(session: Session, routine: bool) -> str | None:
    """A question about danger that is due: the routine one, or one that follows a word of hopelessness; each once."""
    said = " ".join(session.transcript.said_by("therapist"))
    if any(text in said for text in (*SAFETY, HANDOVER)):
        return None
    if routine and ASK_ALL not in said and HINT not in said:
        return ASK_ALL
    hopeless = _HOPELESS.search(normalise(session.transcript.last("patient")))
    return HINT if hopeless and HINT not in said else None


def mend_rupture(session: Session) -> str | None:
    """An apology and a question about it, where the patient objects to the therapist; else None.

    Source: Safran, Muran & Eubanks-Carter 2011, "Repairing alliance ruptures".
    """
    return unsaid(REPAIR, session) if _RUPTURE.search(normalise(session.transcript.last("patient"))) else None
