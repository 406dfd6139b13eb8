"""Therapist turns, judged against the patient's words they answer: acts, attunement, novelty, relevance."""

import math
import re
from collections.abc import Mapping, Sequence

from therapysim.rewards.matrix import LABELS
from therapysim.rewards.reading.acts import REFLECTIONS, decide
from therapysim.rewards.reading.danger_talk import signals_danger
from therapysim.rewards.reading.features import featurise
from therapysim.rewards.reading.heads import open_heads
from therapysim.rewards.reading.open_sensor import Sensor
from therapysim.rewards.reading.relevance import open_relevance
from therapysim.rewards.reading.word_order import in_order
from therapysim.rewards.reading.words import content_words, count_words, overlap, prose, word_set
from therapysim.state import Appraisal, Reading

__all__ = ["Appraiser"]

_CARING = LABELS.index("caring")
# Speaks to the patient or of what it said, rather than of the speaker.
_ADDRESSED = re.compile(r"\byou\b|\byour|\b(that|it|this) (sounds|seems|feels|must)\b|\b(sounds|seems) like\b", re.I)
# "You said that you feel wonderful": a bright state laid in the patient's mouth.
_CLAIM = re.compile(
    r"\byou (?:\w+ ){0,6}?(?:feel|felt|are|were) (?:so |very |much |quite |really |now )*"
    r"(wonderful|great|happy|fine|cured|healed|better|amazing|fantastic|joyful|well)\b"
)
_QUESTION = re.compile(r"\w[^.!?]*\?")


class Appraiser:
    """Judges turns, many at once; a turn's judgement does not hang on the others.

    Args:
        sensor: what reads the session. The heads read through the shipped encoder whatever it is.
    """

    def __init__(self, sensor: Sensor) -> None:
        self._heads, self._relevance = open_heads(sensor), open_relevance(sensor=sensor)

    def __call__(
        self, turns: Sequence[Reading], heard: Sequence[Reading], earlier: Sequence[Sequence[str]]
    ) -> list[Appraisal]:
        """One judgement a turn.

        Args:
            turns: the therapists' turns.
            heard: the patient's last words before each.
            earlier: the therapist's earlier turns in each session.
        """
        texts = [turn.text for turn in turns]
        found = featurise(self._heads.sensor, [reading.text for reading in heard], texts)
        chances, relevance = self._heads.judge(found), self._relevance(texts)
        return [
            self._judge(*row)
            for row in zip(
                turns, heard, earlier, found.spotted, found.danger, chances.tolist(), relevance.tolist(), strict=True
            )
        ]

    def danger(self, heard: Sequence[Reading]) -> list[bool]:
        """Which of a patient's words speak of a danger, or hint at one: by plain words, or by the head for hints."""
        texts = [reading.text for reading in heard]
        column = self._heads.names.index("signals_danger")
        hints = self._heads([""] * len(texts), texts)[:, column] >= self._heads.thresholds["signals_danger"]
        return [bool(hint) or signals_danger(text) for hint, text in zip(hints, texts, strict=True)]

    def _judge(
        self,
        turn: Reading,
        heard: Reading,
        earlier: Sequence[str],
        spotted: frozenset[str],
        danger: bool,
        row: Sequence[float],
        relevance: float,
    ) -> Appraisal:
        chances = dict(zip(self._heads.names, row, strict=True))
        words, order = word_set(turn.text), in_order(turn.text)
        acts = decide(spotted, chances, self._heads.thresholds)
        attunement = _attunement(turn, heard)
        refused = REFLECTIONS if _nothing_back(turn, heard, acts, chances, attunement) else frozenset()
        if not danger:  # a question that names none asks about none, whatever its head says
            refused |= {"risk_inquiry"}
        return Appraisal(
            acts=acts - refused,
            attunement=attunement,
            words=count_words(turn.text),
            # Over all words: a turn of stop words alone, "What is it like for you?", can be worn out too.
            repeats=sum(_same(words, word_set(text)) for text in earlier),
            order=order,
            prose=prose(turn.text) * order,
            questions=len(_QUESTION.findall(turn.text)),
            relevance=relevance,
            # No term may pay for an act that was refused.
            chances=chances | dict.fromkeys(refused, 0.0),
        )


def _same(words: frozenset[str], earlier: frozenset[str]) -> bool:
    """Whether two turns say almost the same; two without any word do."""
    return overlap(words, earlier) > 0.7 if words or earlier else True


def _nothing_back(
    turn: Reading, heard: Reading, acts: frozenset[str], chances: Mapping[str, float], attunement: float
) -> bool:
    """Whether a seeming reflection gives nothing back: an echo, a mood made up, or unsure and tied to nothing."""
    return _parrots(turn, heard) or _gainsays(turn, heard) or (attunement < 0.05 and _unsure(acts, chances))


def _unsure(acts: frozenset[str], chances: Mapping[str, float]) -> bool:
    """Whether a turn's reflections are no likelier than not."""
    return all(chances[act] < 0.5 for act in acts & REFLECTIONS)


def _parrots(turn: Reading, heard: Reading) -> bool:
    """Whether the turn is the patient's own words and no more: that is no reflection, and attunes to nothing."""
    return overlap(content_words(turn.text), content_words(heard.text)) > 0.8


def _gainsays(turn: Reading, heard: Reading, *, bright: float = 0.3) -> bool:
    """Whether the turn lays a bright state in the patient's mouth that it did not name, or speaks so to a low mood.

    "You told me that you feel wonderful", said to someone in grief, gives nothing back.
    """
    claimed = _CLAIM.search(turn.text.lower())
    if claimed is not None and claimed[1] not in heard.text.lower():
        return True
    return turn.polarity > bright and heard.polarity < 0.0


def _attunement(therapist: Reading, patient: Reading) -> float:
    """In [0, 1]: half for taking up the patient's words, half for meeting the patient's mood.

    A turn that only gives the patient's own words back is parroting, and attunes to nothing. One that speaks neither to
    the patient nor of what it said is worth a quarter. Two shared words are enough, if not lost among the turn's own.
    """
    if _parrots(therapist, patient):
        return 0.0
    said, heard = content_words(therapist.text), content_words(patient.text)
    taken = len(said & heard)
    uptake = min(1.0, taken / 2) * min(1.0, 5 * taken / len(said)) if taken else 0.0
    address = 1.0 if _ADDRESSED.search(therapist.text) else 0.25
    return address * (0.5 * uptake + 0.5 * _meets(therapist, patient))


def _meets(therapist: Reading, patient: Reading) -> float:
    """Whether the turn names a mood like the patient's, or cares: cosine of the two vectors, or p(caring)."""
    a, b = therapist.affect, patient.affect
    long, wide = math.hypot(*a), math.hypot(*b)
    cosine = sum(x * y for x, y in zip(a, b, strict=True)) / (long * wide) if long * wide > 0.01 else 0.0
    strength = min(1.0, long / 0.3)
    caring = float(therapist.probabilities[_CARING])
    return min(1.0, max(0.0, cosine * strength, 2 * caring))
