"""What a patient is to the environment: something that words a cue."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, runtime_checkable

from therapysim.messages import Transcript
from therapysim.personas.items import Item
from therapysim.personas.schema import Fact, Persona
from therapysim.state import Ending, Move, Vector

__all__ = ["Cue", "Line", "NoLine", "Patient"]


@dataclass(frozen=True, slots=True)
class Cue:
    """What the dynamics decided that the patient says next; the patient only finds the words.

    Attributes:
        persona: who speaks.
        transcript: all that was said, the therapist's newest turn last; empty at the opening.
        mood: the affect [I, T, A, S] to express, each in [-1, 1].
        move: what the turn does.
        facts: the facts told in this turn; the line tells all of these and no other.
        items: what of the case file is told, before the facts; of each one line.
        figure: a number that was asked for, said first.
        told: facts told in earlier turns.
        acts: what the therapist's turn was, names from ``rewards.reading.acts.ACTS``.
        ending: why the session closes, where the move is CLOSE.
        seed: the only source of chance in the wording; equal cues give equal lines.
    """

    persona: Persona
    transcript: Transcript
    mood: Vector
    move: Move
    facts: tuple[Fact, ...] = ()
    told: tuple[Fact, ...] = ()
    acts: frozenset[str] = frozenset()
    ending: Ending = ""
    seed: int = 0
    items: tuple[Item, ...] = ()
    figure: int | None = None

    @property
    def answers(self) -> bool:
        """Something of the case file, or a number, is told."""
        return bool(self.items) or self.figure is not None


@dataclass(frozen=True, slots=True)
class Line:
    """The patient's words, and how they came about.

    Attributes:
        text: never empty.
        source: "scripted"; "llm"; or "replaced" where the model's lines all failed the guard.
        rejected: why each earlier draw was refused, oldest first.
        tokens_read, tokens_written: by the model, over all draws; 0 where none was asked. Two lines of the
            same words are equal, whatever they cost.
    """

    text: str
    source: Literal["scripted", "llm", "replaced"] = "scripted"
    rejected: tuple[str, ...] = ()
    tokens_read: int = field(default=0, compare=False)
    tokens_written: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class NoLine:
    """No words, and why: a status, the server's message, or what else went wrong."""

    reason: str


@runtime_checkable
class Patient(Protocol):
    """Words cues. It holds no session: whatever it needs stands in the cue.

    One may have more. ``at_once``, a number, says how many calls of ``speak`` it takes from threads at once: a client's
    own limit for a server, 1 for what answers one call at a time. ``interrupt`` breaks off the calls under way in other
    threads, where they wait for a server.
    """

    def speak(self, cues: Sequence[Cue]) -> list[Line]:
        """One line a cue, in order.

        Raises:
            PatientError: no line could be had; the sessions are failed, not scored.
        """
        ...
