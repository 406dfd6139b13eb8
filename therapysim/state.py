"""What is known of a session at turn t, s_t = [u_t, h_t, e_t], and what one turn did to it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

__all__ = ["WINDOW", "Appraisal", "Attributes", "Ending", "Move", "Reading", "Signed", "State", "Transition", "Vector"]

#: In [-1, 1]; a file that says otherwise is refused.
Signed = Annotated[float, Field(ge=-1.0, le=1.0)]
#: Introspection, temper, attitude, sensitivity, each in [-1, 1].
Vector = tuple[Signed, Signed, Signed, Signed]

#: How many patient turns the rolling history h_t remembers.
WINDOW = 3

#: Why the patient closed the session; "" while it goes on.
Ending = Literal["", "goal", "rupture", "crisis"]


class Move(StrEnum):
    """What the patient does with its turn."""

    ANSWER = "answer"  # says what was asked for, or what is said to what the therapist did
    DISCLOSE = "disclose"  # tells a fact it had kept back
    CHANGE = "change talk"  # speaks for changing something
    SUSTAIN = "sustain talk"  # speaks for leaving things as they are
    EXPRESS = "express"  # says how it feels
    ASK = "ask"  # asks the therapist something
    WITHDRAW = "withdraw"  # says less
    RUPTURE = "rupture"  # objects to how the session goes
    CLOSE = "close"  # ends the session


@dataclass(frozen=True, slots=True)
class Attributes:
    """u_t: what does not change within a session."""

    persona: str
    diagnosis: str
    severity: str
    age: int


@dataclass(frozen=True, slots=True)
class State:
    """s_t = [u_t, h_t, e_t].

    Attributes:
        attributes: u_t, constant.
        history: h_t, the polarity in [-1, 1] of the last WINDOW patient turns, oldest first; shorter at the start.
        affect: e_t = [I, T, A, S], each in [-1, 1].
        turn: how many turns the therapist has taken.
    """

    attributes: Attributes
    history: tuple[Signed, ...]
    affect: Vector
    turn: int = 0

    @property
    def mean(self) -> float:
        """Mean polarity over the window; 0 before the patient has spoken."""
        return sum(self.history) / len(self.history) if self.history else 0.0

    @property
    def trend(self) -> Literal["Improving", "Declining", "–"]:
        """Whether the newest polarity lies below the oldest in the window; "–" until there are two to compare."""
        if len(self.history) < 2:
            return "–"
        return "Declining" if self.history[-1] < self.history[0] else "Improving"


@dataclass(frozen=True, slots=True)
class Reading:
    """One text as the sensor reads it.

    Attributes:
        probabilities: shape (28,), GoEmotions order.
        affect: its image under the matrix.
        polarity: of that image, in [-1, 1].
    """

    text: str
    probabilities: NDArray[np.float32]
    affect: Vector
    polarity: float


@dataclass(frozen=True, slots=True)
class Appraisal:
    """What kind of turn the therapist made.

    Attributes:
        acts: names from ``rewards.reading.acts.ACTS`` found in the turn.
        uptake: in [0, 1], how much of the patient's meaning it takes up in its own words; ``rewards.reading.uptake``.
        words: its length in words.
        repeats: how many earlier therapist turns of the session said almost the same.
        elsewhere: to how many other patients the same words were said, as far as the batch's archive knows.
        questions: how many sentences of it ask.
        order: in [0, 1], whether its words stand in an order of English; 1 in doubt. See
            ``rewards.reading.word_order``.
        prose: in [0, 1], whether it is made of English sentences rather than a heap of words:
            ``rewards.reading.words.prose`` times ``order``.
        relevance: in [-1, 1], how near it is to clinical talk; see ``rewards.reading.relevance``.
        chances: what the reader of turns says, name -> probability; see ``rewards.reading.reader``.
        addition: in [0, 1], how much it names that the patient meant and did not say.
        echo: in [0, 1], how much of it hands the patient's words back.
        frame: in [0, 1], how much of the therapist's own part of it came in an earlier turn.
        asks: what its questions ask for, kinds of ``rewards.reading.acts.asked``, the likeliest first; two at most.
        language: ISO 639-1 code; whatever is not "en" is read as unknown: no act, no uptake, neither paid nor punished.
    """

    acts: frozenset[str]
    uptake: float
    words: int
    repeats: int = 0
    elsewhere: int = 0
    questions: int = 0
    order: float = 1.0
    prose: float = 1.0
    relevance: float = 0.0
    chances: Mapping[str, float] = field(default_factory=dict)
    addition: float = 0.0
    echo: float = 0.0
    frame: float = 0.0
    language: str = "en"
    asks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Transition:
    """One turn, complete: all that a reward term may look at.

    Attributes:
        before, after: s_t and s_{t+1}.
        therapist, patient: readings of the therapist's turn and of the patient's answer.
        context: the patient's words that the therapist was answering.
        flags: what the screen found in the therapist's turn, such as "injection".
        risk_open: the patient had told of a danger that no earlier therapist turn took up.
        risk_new: it told of it in its last words, so that this is the first turn that could.
        alliance_before, alliance_after: working alliance in [0, 1].
        repaired: alliance won back in this turn of what a rupture had cost, in [0, 1].
        asked, reflected: earlier turns of the session that held a question, a reflection.
        disclosed: ids of the facts told in the patient's answer.
        ending: why the patient closed the session, "" where it goes on.
        turns_left: turns that the turn limit would still allow.
        mood_before, mood_after: the latent mood, which no policy is shown.
        held_before, held_after: how firmly the automatic thoughts are held, 1 at the session's start.
        handled_before, handled_after: how far the patient's danger was dealt with, in [0, 1]; 0 without one.
        risk: the patient's, 0 to 3; None where it is not known, as of a single turn.
    """

    before: State
    after: State
    therapist: Reading
    patient: Reading
    appraisal: Appraisal
    move: Move
    context: str = ""
    flags: tuple[str, ...] = ()
    risk_open: bool = False
    risk_new: bool = False
    disclosed: tuple[str, ...] = ()
    alliance_before: float = 0.0
    alliance_after: float = 0.0
    repaired: float = 0.0
    asked: int = 0
    reflected: int = 0
    ending: Ending = ""
    turns_left: int = 0
    mood_before: Vector = (0.0, 0.0, 0.0, 0.0)
    mood_after: Vector = (0.0, 0.0, 0.0, 0.0)
    held_before: float = 1.0
    held_after: float = 1.0
    handled_before: float = 0.0
    handled_after: float = 0.0
    risk: int | None = None
