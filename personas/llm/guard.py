"""What a language model may not put into a patient's mouth: each way a drawn line can fail, and the check for it."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from therapysim.errors import ConfigError
from therapysim.messages import Transcript
from therapysim.personas.answers import answer_lines, opening_lines
from therapysim.personas.llm.additions import DENIES, adds_danger, borrows, invents, new_words
from therapysim.personas.llm.contradictions import contradictions
from therapysim.personas.llm.role import breaks_role, speaks_of_the_other
from therapysim.personas.llm.stems import content_of, runs_of, words_of
from therapysim.personas.patient import Cue
from therapysim.personas.schema import Fact
from therapysim.state import Move, Vector

__all__ = ["FAULTS", "Fault", "Feel", "GuardSettings", "Verdict", "evades", "inspect", "leaks", "misses_mood", "omits",
           "recites", "repeats", "trim"]  # fmt: skip

Fault = Literal[
    "", "empty", "length", "role", "repeat", "danger", "contradiction", "invention", "leak", "fact", "answer", "mood"
]

#: The faults a line can have, in the order in which they are looked for; the first one found is the one reported.
FAULTS: tuple[Fault, ...] = (
    "empty", "length", "role", "repeat", "danger", "contradiction", "invention", "leak", "fact", "answer", "mood",
)  # fmt: skip

#: Reads texts into affect, shape (n, 4), each value in [-1, 1].
Feel = Callable[[Sequence[str]], NDArray[np.float32]]


# What ends a sentence. Ends are looked for alone: a pattern of a whole one takes minutes where there is none.
_END = re.compile(r"[.!?…]+[\"'”’)]*(?=\s|$)")
# How a line that answers begins, and which way.
_ANSWERS = dict.fromkeys("yes yeah yep aye".split(), "yes") | dict.fromkeys("no nope never nah".split(), "no")
# Moves that speak of the therapist by right.
_ACCUSING = (Move.RUPTURE, Move.CLOSE)
# So many words in a row taken from the instructions are recital, not speech.
_RECITAL = 6


@dataclass(frozen=True, slots=True)
class GuardSettings:
    """How strict the guard is.

    Attributes:
        max_mood_distance: the largest L2 distance between a line's affect and the cue's mood; at most 4 can occur.
            Over 16 trial cues, scripted lines lay at 0.43 in the median, one of them beyond 0.8.
        max_leak: the largest share, in [0, 1], of an untold fact's content words that a line may hold.
        min_fact: the smallest share, in [0, 1], of a fact's content words that a line telling it must hold.
        max_similarity: the word-set Jaccard similarity in (0, 1] from which two turns count as the same.
        max_words: the longest line, once trimmed to whole sentences.
        max_new: the most words of content that nothing written of the patient has, nor anything said, nor the shared
            lines of moods.
    """

    max_mood_distance: float = 0.8
    max_leak: float = 0.4
    min_fact: float = 0.4
    max_similarity: float = 0.7
    max_words: int = 60
    max_new: int = 2

    def __post_init__(self) -> None:
        if not self.max_mood_distance > 0:
            raise ConfigError(f"GuardSettings: max_mood_distance is {self.max_mood_distance}, expected above 0")
        for name in ("max_leak", "min_fact", "max_similarity"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"GuardSettings: {name} is {getattr(self, name)}, expected in [0, 1]")
        if self.max_words < 1:
            raise ConfigError(f"GuardSettings: max_words is {self.max_words}, expected at least 1")
        if self.max_new < 0:
            raise ConfigError(f"GuardSettings: max_new is {self.max_new}, expected at least 0")


@dataclass(frozen=True, slots=True)
class Verdict:
    """A drawn line, trimmed, and its first fault; "" where it may be said."""

    line: str
    fault: Fault


def inspect(
    drawn: Sequence[str], cues: Sequence[Cue], feel: Feel, settings: GuardSettings, prompts: Sequence[str]
) -> list[Verdict]:
    """Judge one drawn text for each cue, in order.

    Args:
        drawn: the model's replies as they came.
        cues: what each was to word.
        feel: the sensor; it reads only the lines that have no other fault.
        settings: the limits.
        prompts: for each cue, the instructions that its line may not recite.
    """
    lines = [trim(text, settings.max_words) for text in drawn]
    rows = zip(drawn, lines, cues, prompts, strict=True)
    faults = [_fault_ofwords_of(text, line, cue, settings, prompt) for text, line, cue, prompt in rows]
    sound = [i for i, fault in enumerate(faults) if not fault]
    affects = feel([lines[i] for i in sound]) if sound else np.zeros((0, 4), np.float32)
    far = [i for i, a in zip(sound, affects, strict=True) if misses_mood(a, cues[i].mood, settings.max_mood_distance)]
    # What is told reads as it reads, whatever the mood: its wording must come near the one or the other.
    told = {i: " ".join(answer_lines(cues[i])) for i in far if cues[i].answers}
    reads = dict(zip(told, feel(list(told.values())) if told else (), strict=True))
    own = dict(zip(sound, affects, strict=True))
    for i in far:
        if i not in reads or misses_mood(own[i], tuple(reads[i].tolist()), settings.max_mood_distance):
            faults[i] = "mood"
    return [Verdict(line, fault) for line, fault in zip(lines, faults, strict=True)]


def _fault_ofwords_of(text: str, line: str, cue: Cue, settings: GuardSettings, prompt: str) -> Fault:
    """Every fault but the mood. Role is looked for in the untrimmed text, whose cut-off end may betray it."""
    checks: tuple[tuple[Fault, Callable[[], bool]], ...] = (
        ("empty", lambda: not words_of(line)),
        ("length", lambda: len(line.split()) > settings.max_words),
        ("role", lambda: breaks_role(text, cue.persona) or recites(text, prompt)),
        ("role", lambda: cue.move not in _ACCUSING and speaks_of_the_other(line)),
        ("repeat", lambda: repeats(line, cue.transcript, settings.max_similarity)),
        ("danger", lambda: adds_danger(line, cue)),
        ("contradiction", lambda: bool(contradictions(line, cue.persona))),
        ("invention", lambda: invents(line, cue) or borrows(line, cue) or new_words(line, cue) > settings.max_new),
        ("leak", lambda: leaks(line, cue, settings.max_leak)),
        ("fact", lambda: omits(line, [*(fact.lines for fact in cue.facts), *opening_lines(cue)], settings.min_fact)),
        ("answer", lambda: evades(line, cue, settings.min_fact)),
    )
    return next((name for name, fails in checks if fails()), "")


def trim(text: str, max_words: int) -> str:
    """The whole sentences of a text, on one line, as many as fit; a text without a whole sentence stays as it is."""
    plain = " ".join(text.split())
    if len(plain) > 1 and plain[0] in '"“' and plain[-1] in '"”':
        plain = plain[1:-1].strip()
    ends = [0, *(found.end() for found in _END.finditer(plain))]
    kept, words = list[str](), 0
    for start, end in pairwise(ends):
        words += len(plain[start:end].split())
        if kept and words > max_words:
            break
        kept.append(plain[start:end].strip())
    return " ".join(kept) or plain


def recites(text: str, instructions: str) -> bool:
    """Whether a text takes a run of words from the instructions."""
    return bool(runs_of(text, _RECITAL) & runs_of(instructions, _RECITAL))


def repeats(line: str, transcript: Transcript, max_similarity: float) -> bool:
    """Whether a line says an earlier patient turn, or the therapist's newest, almost word for word, or itself twice."""
    if _loops(line):
        return True
    said = [*transcript.said_by("patient"), transcript.last("therapist")]
    new = set(words_of(line))
    return any(_jaccard(new, set(words_of(old))) >= max_similarity for old in said if old)


def _loops(line: str) -> bool:
    """Whether a clause of four words or more comes twice: how small models run dry. "I don't know" may."""
    clauses = [tuple(words_of(part)) for part in re.split(r"[.!?;,]+", line)]
    long = [clause for clause in clauses if len(clause) >= 4]
    return len(set(long)) < len(long)


def leaks(line: str, cue: Cue, max_share: float) -> bool:
    """Whether a line tells a fact that is neither told nor cued, by words that nothing said so far explains."""
    open_facts = (*cue.told, *cue.facts)
    known = content_of([*cue.transcript.said_by("patient"), *_lines(open_facts), *answer_lines(cue), cue.persona.name])
    said = content_of([line]) - known
    allowed = {fact.id for fact in open_facts}
    secrets = (fact for fact in cue.persona.facts if fact.id not in allowed)
    return any(_gives_away(said, content_of([words]) - known, max_share) for words in _lines(secrets))


def omits(line: str, wanted: Iterable[Sequence[str]], min_share: float) -> bool:
    """Whether a line leaves out something it is to tell, each thing in any of its wordings."""
    said = content_of([line])
    return any(max((_share(said, content_of([w])) for w in words), default=1.0) < min_share for words in wanted)


def evades(line: str, cue: Cue, min_share: float) -> bool:
    """Whether a line is beside what was asked: an item or the figure is missing, or a yes stands for a no."""
    if not cue.answers:
        return False
    told, said = answer_lines(cue), words_of(line)
    if cue.figure is not None and not {str(cue.figure), *words_of(told[0])} & set(said):
        return True
    ways = [_ANSWERS.get(words[0], "") for words in (words_of(told[-1]), said) if words]
    if len(ways) == 2 and all(ways) and ways[0] != ways[1]:
        return True
    if any(item.id == "denial" for item in cue.items) and not DENIES & set(said):
        return True
    return omits(line, [item.lines for item in cue.items], min_share)


def misses_mood(affect: NDArray[np.float32], mood: Vector, max_distance: float) -> bool:
    """Whether a line's affect [I, T, A, S] lies too far from the mood to express."""
    return bool(np.linalg.norm(np.asarray(affect, np.float64) - np.asarray(mood)) > max_distance)


def _gives_away(said: set[str], secret: set[str], max_share: float) -> bool:
    # One shared word is chance; it takes two to tell something.
    return len(said & secret) >= 2 and _share(said, secret) > max_share


def _share(said: set[str], wanted: set[str]) -> float:
    return len(said & wanted) / len(wanted) if wanted else 1.0


def _jaccard(one: set[str], other: set[str]) -> float:
    return len(one & other) / len(one | other) if one | other else 0.0


def _lines(facts: Iterable[Fact]) -> list[str]:
    return [line for fact in facts for line in fact.lines]
