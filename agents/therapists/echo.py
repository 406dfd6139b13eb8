"""The patient's own words given back as a sentence in the second person, and lines that were not said yet."""

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

import numpy as np

from therapysim.danger_talk import signals_danger
from therapysim.envs.batch import Session
from therapysim.rewards.reading.patterns import HARMFUL, spot
from therapysim.rewards.reading.words import content_words

__all__ = ["echo", "echoes", "feeling", "given_back", "second_person", "shuffled", "sounds_glad", "summed_up", "unsaid"]

#: A clause that is longer is not given back; a shorter one says too little.
MOST_WORDS, LEAST_WORDS = 18, 4

_SAID_FIRST = re.compile(
    r"^(?:(?:oh|okay|ok|yeah|yes|no|well|um|hm|right|actually|honestly|sure|maybe|perhaps|anyway|look|and|so|but|"
    r"because|though|sorry|hello|hi|morning|thank you|thanks)\b[,.]? )+",
    re.IGNORECASE,
)
# What a clause may begin with, so that it stands as a sentence, and its first letter may be made small.
_SUBJECT = re.compile(
    r"^(?:i|i'm|i've|i'd|i'll|my|me|it|there|he|she|they|his|her|their|the|an?|no|nobody|no one|nothing|something|"
    r"everything|everyone|everybody|somebody|someone|people|some|most|every|each|all|both|one|two|three|four|five|"
    r"when|whenever|if|while|since|before|after|until|sometimes|often|once|at|in|on|by|for|being|talking|small)\b",
    re.IGNORECASE,
)
# Half a sentence, without what comes after the comma.
_HALF = re.compile(r"^(?:if|when\w*|because|while|since|before|after|until|once|at|in|on|by|for)\b", re.IGNORECASE)
_ABOUT_ONESELF = re.compile(r"\b(?:i|my|me|myself)\b|\bi'", re.IGNORECASE)
# Whom it means hangs on who speaks; what it means hangs on the sentence before.
_TANGLED = re.compile(r"\b(?:you|your|yours|yourself|we|us|our|ours|let|here)\b|\bthat one\b", re.IGNORECASE)
# Talk about the talk itself.
_ASIDE = re.compile(
    r"\b(?:say|said|saying|tell|put it|explain|example|honest|guess|suppose|how else|wrong order|go on from|"
    r"think about that|answer|ask\w*|that kind|wrote this)\b",
    re.IGNORECASE,
)
#: Feelings by their words, in the order of the mood's dimensions: sadness, anger, disgust and shame, fear.
_FEELINGS = tuple(
    re.compile(rf"\b(?:{words})\b", re.IGNORECASE)
    for words in (
        r"sad\w*|low|lonely|alone|empty|miss|cr(?:y|ied|ying)|lost|worthless|miserable|heartbroken|hurts?|tired|grie\w+",
        r"angry|anger|rag(?:e|ing)|furious|annoy\w+|frustrat\w+|irritab\w+|irritate\w*|hate|unfair|cross|fed up",
        r"asham\w+|shame|guilt\w*|embarrass\w+|disgust\w*|disappoint\w+|awkward|not proud|not happy with|sick of",
        r"afraid|scared|fear\w*|fright\w*|worr\w+|anxious|nervous|panic\w*|daunting|unsafe|terrified|on edge",
    )
)
_GLAD = re.compile(
    r"\b(?<!not )(?<!no )(?:glad|happy|proud|pleased|peaceful|calm|relie\w+|hope\w*|grateful|enjoy\w*|laugh\w*|better|"
    r"love|joy|want to|would like|think that you could)\b(?! off\b)",
    re.IGNORECASE,
)
_FRAMES = ("{0}.", "So {1}.", "You are telling me that {1}.", "{0}.", "I hear that {1}.")
_ADVERB = r"(?:(?:never|always|still|also|just|only|really|often|mostly|not) )?"
_TURNED = tuple(
    (re.compile(pattern, re.IGNORECASE), new)
    for pattern, new in (
        (rf"\bi ({_ADVERB})am\b", r"you \1are"),
        (rf"\bi ({_ADVERB})was\b", r"you \1were"),
        (r"\bam i\b", "are you"),
        (r"\bwas i\b", "were you"),
        (r"\bi'm\b", "you are"),
        (r"\bi've\b", "you have"),
        (r"\bi'd\b", "you'd"),
        (r"\bi'll\b", "you will"),
        (r"\b(?:i|me)\b", "you"),
        (r"\bmyself\b", "yourself"),
        (r"\bmine\b", "yours"),
        (r"\bmy\b", "your"),
        (r"^you could\b", "you think that you could"),
        (r"^(you\b[^,]*,? (?:and|but) )am\b", r"\1are"),
        (r"^(you\b[^,]*,? (?:and|but) )was\b", r"\1were"),
    )
)


def second_person(clause: str) -> str:
    """A clause of the patient's as said to the patient: "I am tired of my job" -> "you are tired of your job"."""
    for pattern, new in _TURNED:
        clause = pattern.sub(new, clause)
    return clause


@lru_cache(maxsize=4096)  # a session's turns are looked through again at each of its later ones
def echo(text: str) -> str:
    """The clause of a patient's turn that says most, in the second person, without its full stop; "" where none does.

    Left out are questions, scraps, words about the therapist, and words that would sound harsh or like advice in a
    therapist's mouth; and a turn that tells of danger, which is met otherwise.
    """
    if signals_danger(text):
        return ""
    found = [clause for clause in _clauses(text.replace("’", "'")) if _says_something(clause)]
    for clause in sorted(found, key=_weight, reverse=True):
        turned = second_person(clause[0].lower() + clause[1:])
        if not spot(f"{_opened(turned)}.") & (HARMFUL | {"advice"}):
            return turned
    return ""


def echoes(session: Session) -> list[str]:
    """What can be given back of each of the patient's turns, oldest first; turns without any are left out."""
    return [words for text in session.transcript.said_by("patient") if (words := echo(text))]


def feeling(text: str) -> int | None:
    """Which of the mood's four dimensions a patient's words name as low, None where they name none."""
    return next((i for i, pattern in enumerate(_FEELINGS) if pattern.search(text)), None)


def sounds_glad(text: str) -> bool:
    """Whether a patient's words speak of ease, joy or a wish, and of no low mood."""
    return bool(_GLAD.search(text)) and feeling(text) is None


def given_back(words: str, session: Session) -> str:
    """An echo as a sentence of the therapist's, framed differently from turn to turn."""
    frame = _FRAMES[(session.seed + session.state.turn) % len(_FRAMES)]
    return frame.format(_opened(words), words)


def summed_up(words: Sequence[str]) -> str:
    """Echoes as one summary, "" where there is none."""
    first, *rest = dict.fromkeys(words) or [""]
    parts = [f"{_opened(first)}.", *(f"{_opened(w)}." for w in rest[:-1]), *(f"And {w}." for w in rest[-1:])]
    return " ".join(parts) if first else ""


def _opened(clause: str) -> str:
    """With a capital."""
    return clause[:1].upper() + clause[1:]


def shuffled(lines: Sequence[str], session: Session) -> tuple[str, ...]:
    """The lines in an order of the session's own."""
    return tuple(lines[i] for i in np.random.default_rng(session.seed).permutation(len(lines)))


def unsaid(lines: Sequence[str], session: Session) -> str:
    """The first line that the therapist did not say yet; where all were said, the one that was said longest ago."""
    said = session.transcript.said_by("therapist")
    return min(lines, key=lambda line: max((i + 1 for i, text in enumerate(said) if line in text), default=0))


def _clauses(text: str) -> Iterable[str]:
    """Whole sentences, and the parts between their commas."""
    for sentence in re.findall(r"[^.!?;]+(?![^.!?;]*\?)", text):
        whole = _SAID_FIRST.sub("", sentence.strip())
        yield whole
        if "," in whole:
            parts = (_SAID_FIRST.sub("", part.strip()) for part in whole.split(","))
            yield from (part for part in parts if not _HALF.search(part))


def _says_something(clause: str) -> bool:
    fits = LEAST_WORDS <= len(clause.split()) <= MOST_WORDS and bool(_SUBJECT.search(clause))
    full = bool(_ABOUT_ONESELF.search(clause)) or feeling(clause) is not None or len(content_words(clause)) > 2
    return fits and full and not _TANGLED.search(clause) and not _ASIDE.search(clause)


def _weight(clause: str) -> float:
    """Words that carry a subject, and more for a feeling and for what is said of oneself."""
    felt = 2 * (feeling(clause) is not None or bool(_GLAD.search(clause)))
    return len(content_words(clause)) + felt + 2 * bool(_ABOUT_ONESELF.search(clause))
