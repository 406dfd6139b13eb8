"""One therapist turn, judged against the patient's words it answers: its acts, its attunement, its novelty."""

import re
from collections.abc import Sequence

import numpy as np

from therapysim.rewards.acts import classify
from therapysim.rewards.matrix import LABELS
from therapysim.state import Appraisal, Reading

__all__ = ["appraise", "content_words"]

_STOP = frozenset(
    "a about after again all also am an and any are as at be because been before being but by can could did do does "
    "doing don down even ever every for from get go going got had has have having he her here hers him his how i if "
    "in into is it its just know like make me more most much my no not now of off on one only or other our out over "
    "own really said say she should so some still such than that the their them then there these they thing things "
    "think this those through to too up us very was way we well were what when where which while who why will with "
    "would you your yours".split()
)
_CARING = LABELS.index("caring")
# Speaks to the patient or of what it said, rather than of the speaker.
_ADDRESSED = re.compile(r"\byou\b|\byour|\b(that|it|this) (sounds|seems|feels|must)\b|\b(sounds|seems) like\b", re.I)


def appraise(therapist: Reading, patient: Reading, earlier: Sequence[str]) -> Appraisal:
    """Judges one therapist turn.

    Args:
        therapist: the turn.
        patient: the patient's last words.
        earlier: the therapist's earlier turns in this session.
    """
    words = _words(therapist.text)
    return Appraisal(
        acts=classify(therapist.text),
        attunement=_attunement(therapist, patient),
        words=len(therapist.text.split()),
        # Over all words: a turn of stop words alone, "What is it like for you?", can be worn out too.
        repeats=sum(_overlap(words, _words(text)) > 0.7 for text in earlier) if words else 0,
    )


def content_words(text: str) -> frozenset[str]:
    """The words of a text that carry its subject, lower case and roughly stemmed."""
    return frozenset(_stem(word) for word in _words(text) if word not in _STOP)


def _words(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"[^\W\d_]{2,}", text.lower().replace("\u2019", "'")))


def _attunement(therapist: Reading, patient: Reading) -> float:
    """In [0, 1]: half for taking up the patient's words, half for meeting the patient's mood.

    A turn that only gives the patient's own words back is parroting, and attunes to nothing. One that speaks neither to
    the patient nor of what it said is worth a quarter. Two shared words are enough, if not lost among the turn's own.
    """
    said, heard = content_words(therapist.text), content_words(patient.text)
    if _overlap(said, heard) > 0.8:
        return 0.0
    taken = len(said & heard)
    uptake = min(1.0, taken / 2) * min(1.0, 5 * taken / len(said)) if taken else 0.0
    address = 1.0 if _ADDRESSED.search(therapist.text) else 0.25
    return address * (0.5 * uptake + 0.5 * _meets(therapist, patient))


def _meets(therapist: Reading, patient: Reading) -> float:
    """Whether the turn names a mood like the patient's, or cares: cosine of the two vectors, or p(caring)."""
    a, b = np.array(therapist.affect), np.array(patient.affect)
    size = float(np.linalg.norm(a) * np.linalg.norm(b))
    cosine = float(a @ b) / size if size > 0.01 else 0.0
    strength = min(1.0, float(np.linalg.norm(a)) / 0.3)
    caring = float(therapist.probabilities[_CARING])
    return float(np.clip(max(cosine * strength, 2 * caring), 0.0, 1.0))


def _overlap(a: frozenset[str], b: frozenset[str]) -> float:
    """Jaccard index of two word sets."""
    return len(a & b) / len(a | b) if a | b else 0.0


def _stem(word: str) -> str:
    for ending in ("ing", "ies", "ed", "es", "s"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word[: -len(ending)]
    return word
