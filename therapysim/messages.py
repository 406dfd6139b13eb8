"""Who said what: the words of one session, in order, never changed in place."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

__all__ = ["Message", "Speaker", "Transcript"]

Speaker = Literal["patient", "therapist"]


@dataclass(frozen=True, slots=True)
class Message:
    """One turn's words."""

    speaker: Speaker
    text: str


@dataclass(frozen=True, slots=True)
class Transcript:
    """The messages of one session, oldest first."""

    messages: tuple[Message, ...] = ()

    def add(self, speaker: Speaker, text: str) -> "Transcript":
        """A transcript with one message more."""
        return Transcript((*self.messages, Message(speaker, text)))

    def said_by(self, speaker: Speaker) -> list[str]:
        """Every text of one speaker, oldest first."""
        return [m.text for m in self.messages if m.speaker == speaker]

    def last(self, speaker: Speaker) -> str:
        """The newest text of one speaker, "" where there is none."""
        return next((m.text for m in reversed(self.messages) if m.speaker == speaker), "")

    def __len__(self) -> int:
        return len(self.messages)

    def __iter__(self) -> Iterator[Message]:
        return iter(self.messages)

    def __str__(self) -> str:
        return "\n".join(f"{m.speaker.capitalize()}: {m.text}" for m in self.messages)
