"""Therapist turns, judged against the patient's words they answer: acts, uptake, addition, novelty, relevance."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from therapysim.danger_talk import signals_danger
from therapysim.rewards.reading.acts import QUESTIONS, REFLECTIONS, asked, decide
from therapysim.rewards.reading.language import ENGLISH, language
from therapysim.rewards.reading.open_sensor import Sensor
from therapysim.rewards.reading.patterns import spot
from therapysim.rewards.reading.reader import Reader, open_reader
from therapysim.rewards.reading.relevance import open_relevance
from therapysim.rewards.reading.speech import noise, speech
from therapysim.rewards.reading.uptake import addition, echo, frame, unsaid, uptake
from therapysim.rewards.reading.word_order import in_order
from therapysim.rewards.reading.words import content_words, count_words, overlap, prose, word_set
from therapysim.state import Appraisal, Reading

__all__ = ["Appraiser", "Said"]

_QUESTION = re.compile(r"\w[^.!?]*\?")
#: An earlier turn of the patient's is read beside its last words where it shares so many content words with the turn.
_RELATED = 2
#: Words in less order than this are a heap: it does nothing but the harm that stands in it in plain words.
_HEAP = 0.25


@dataclass(frozen=True, slots=True)
class Said:
    """What was said in a session before a turn.

    Attributes:
        patient: all of the patient's turns, oldest first; the last one is what the turn answers.
        therapist: the therapist's earlier turns.
    """

    patient: tuple[str, ...] = ()
    therapist: tuple[str, ...] = ()


class Appraiser:
    """Judges turns, many at once; a turn's judgement does not hang on the others.

    Args:
        sensor: what reads the session; relevance is judged by it.
        reader: what reads the turns; the shipped one by default.
    """

    def __init__(self, sensor: Sensor, reader: Reader | None = None) -> None:
        self._reader, self._relevance = reader or open_reader(), open_relevance(sensor=sensor)

    def __call__(self, turns: Sequence[Reading], said: Sequence[Said]) -> list[Appraisal]:
        """One judgement a turn.

        Args:
            turns: the therapists' turns.
            said: what was said before each.
        """
        texts = [speech(turn.text) for turn in turns]
        heard = [_heard(before, text) for before, text in zip(said, texts, strict=True)]
        chances, relevance = self._reader(heard, texts), self._relevance(texts)
        rows = zip(turns, said, texts, chances.tolist(), relevance.tolist(), strict=True)
        found = [self._judge(*row) for row in rows]
        return self._asking(texts, found)

    def _asking(self, texts: Sequence[str], found: list[Appraisal]) -> list[Appraisal]:
        """What questions ask for: read by themselves, since the patient's words before them only blur it."""
        asking = [i for i, one in enumerate(found) if one.acts & QUESTIONS or one.questions]
        if not asking:
            return found
        rows = self._reader([""] * len(asking), [texts[i] for i in asking]).tolist()
        for i, row in zip(asking, rows, strict=True):
            if found[i].order > _HEAP:
                chances = dict(zip(self._reader.names, row, strict=True))
                found[i] = replace(found[i], asks=asked(chances, self._reader.thresholds))
        return found

    def danger(self, heard: Sequence[Reading]) -> list[bool]:
        """Which of a patient's words speak of a danger, or hint at one: by plain words, or by the reader for hints."""
        texts = [reading.text for reading in heard]
        column = self._reader.names.index("signals_danger")
        hints = self._reader(texts, [""] * len(texts))[:, column] >= self._reader.thresholds["signals_danger"]
        return [bool(hint) or signals_danger(text) for hint, text in zip(hints, texts, strict=True)]

    def _judge(self, turn: Reading, said: Said, text: str, row: Sequence[float], relevance: float) -> Appraisal:
        tongue = language(text)
        if tongue != ENGLISH:
            return _unknown(text, said, tongue)
        if not text.strip():
            return Appraisal(acts=frozenset({"silence"}), uptake=0.0, words=0, repeats=_repeats(text, said))
        chances = dict(zip(self._reader.names, row, strict=True))
        echoed, spoken = echo(text, said.patient), in_order(text)
        order = spoken * (1.0 - noise(turn.text))
        acts = decide(chances if spoken > _HEAP else {}, self._reader.thresholds, spot(text))
        made_up = unsaid(text, said.patient)  # gives back nothing, however much it sounds so
        return Appraisal(
            acts=acts - REFLECTIONS if made_up else acts,
            uptake=0.0 if made_up else uptake(chances, echoed),
            addition=0.0 if made_up else addition(chances, echoed),
            echo=echoed,
            frame=frame(text, said.therapist, said.patient),
            words=count_words(text),
            repeats=_repeats(text, said),
            order=order,
            prose=prose(text) * order,
            questions=len(_QUESTION.findall(text)),
            relevance=relevance,
            chances=chances,
        )


def _unknown(text: str, said: Said, tongue: str) -> Appraisal:
    """What is known of a turn in another language: that it was said."""
    return Appraisal(
        acts=frozenset(), uptake=0.0, words=count_words(text), repeats=_repeats(text, said), language=tongue
    )


def _heard(said: Said, text: str) -> str:
    """The patient's last words, and before them the earlier ones that the turn speaks of most, if any."""
    if not said.patient:
        return ""
    *earlier, last = said.patient
    own = content_words(text)
    new = own - content_words(last)
    shared = [(len(new & content_words(words)), i) for i, words in enumerate(earlier)]
    best = max(shared, default=(0, 0))
    return f"{earlier[best[1]]} {last}" if best[0] >= _RELATED else last


def _repeats(text: str, said: Said) -> int:
    # Over all words: a turn of stop words alone, "What is it like for you?", can be worn out too.
    words = word_set(text)
    return sum(_same(words, word_set(speech(earlier))) for earlier in said.therapist)


def _same(words: frozenset[str], earlier: frozenset[str]) -> bool:
    """Whether two turns say almost the same; two without any word do."""
    return overlap(words, earlier) > 0.7 if words or earlier else True
