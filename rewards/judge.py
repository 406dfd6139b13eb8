"""The automated judge: what the rubric says of single turns, without a session.

A turn is judged as the answer to a context. What only a session knows (change of mood, alliance, disclosure, endings,
repetition, what the screen finds) counts 0; whether the context speaks of danger is read from its words, by
``danger.signals_danger`` or by a head trained on hints.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from therapysim.errors import ConfigError
from therapysim.rewards.reading.appraisal import Appraiser, Said
from therapysim.rewards.reading.open_sensor import Sensor, open_sensor
from therapysim.rewards.rubric import Rubric, Score
from therapysim.rewards.rubric_settings import RubricSettings
from therapysim.state import Appraisal, Attributes, Move, Reading, State, Transition

__all__ = ["MAX_CHARS", "Judge", "Judgement", "score"]

#: Of a longer text only this much is read.
MAX_CHARS = 8_000

_NOBODY = Attributes("unknown", "unknown", "unknown", 0)


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the rubric says of n turns.

    Attributes:
        scores: shape (n,), float64; the higher the better. Comparable between answers to one context.
        turns: each turn's terms, weights, violations and gates.
    """

    scores: NDArray[np.float64]
    turns: tuple[Score, ...]

    def term(self, name: str) -> NDArray[np.float64]:
        """One term of each turn before its weight, shape (n,)."""
        return np.array([turn.terms[name] for turn in self.turns])


class Judge:
    """Scores single turns.

    Args:
        rubric: the rubric, its settings, or a preset's name; "judge" by default.
        sensor: reads both sides; the shipped one by default.
    """

    def __init__(self, rubric: Rubric | RubricSettings | str | None = None, *, sensor: Sensor | None = None) -> None:
        self.rubric = rubric if isinstance(rubric, Rubric) else Rubric("judge" if rubric is None else rubric)
        self._sensor = sensor or open_sensor()
        self._appraiser = Appraiser(self._sensor)

    def score(
        self,
        contexts: Sequence[str],
        responses: Sequence[str],
        before: Sequence[Sequence[str]] | None = None,
    ) -> Judgement:
        """The score of each response as an answer to its context.

        Args:
            contexts: what the patient said, one a response; "" where there is none.
            responses: the turns.
            before: what was said before each context, oldest first, the therapist's turn last; nothing by default.

        Raises:
            ConfigError: they are of different length, or one of them is a single string.
            SensorError: something in them is not text.
        """
        if not (_is_list(contexts) and _is_list(responses)) or len(contexts) != len(responses):
            sides = (f"{len(x)} {name}" if _is_list(x) else f"{name} of type {type(x).__name__}"
                     for x, name in ((contexts, "contexts"), (responses, "responses")))  # fmt: skip
            raise ConfigError(f"judge.score got {' and '.join(sides)}, expected two lists, one context a response")
        if before is not None and len(before) != len(contexts):
            raise ConfigError(f"judge.score got {len(before)} pasts for {len(contexts)} contexts, expected one each")
        heard, spoken = (self._sensor.read(_cut(texts)) for texts in (contexts, responses))
        said = [_said(reading.text, past) for reading, past in zip(heard, before or [()] * len(heard), strict=True)]
        appraisals = self._appraiser(spoken, said)
        danger = self._appraiser.danger(heard)
        turns = tuple(self.rubric.score([_turn(*row) for row in zip(heard, spoken, appraisals, danger, strict=True)]))
        return Judgement(np.array([turn.reward for turn in turns], dtype=np.float64), turns)


def score(
    contexts: Sequence[str], responses: Sequence[str], rubric: Rubric | RubricSettings | str | None = None
) -> Judgement:
    """``Judge(rubric).score(contexts, responses)``.

    Example:
        >>> score(["I cannot sleep."], ["Lying awake again, and dreading it. What goes through your mind then?"]).scores
    """
    return Judge(rubric).score(contexts, responses)


def _is_list(texts: object) -> bool:
    return isinstance(texts, Sequence | np.ndarray) and not isinstance(texts, str)


def _cut(texts: Sequence[str]) -> list[str]:
    return [text[:MAX_CHARS] if isinstance(text, str) else text for text in texts]


def _said(context: str, before: Sequence[str]) -> Said:
    past = _cut(before)
    return Said((*past[-2::-2][::-1], context), tuple(past[::-2][::-1]))


def _turn(heard: Reading, spoken: Reading, appraisal: Appraisal, danger: bool) -> Transition:
    state = State(_NOBODY, (heard.polarity,), heard.affect)
    return Transition(
        before=state,
        after=state,
        therapist=spoken,
        patient=heard,
        appraisal=appraisal,
        move=Move.EXPRESS,
        context=heard.text,
        risk_open=danger,
        risk_new=danger,
    )
