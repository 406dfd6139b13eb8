"""The default patient: it words every cue from written lines, seeded, offline, and with no sensor call once warm.

A line is an opener that answers the therapist's act, the content that the move asks for, and mood clauses. Among a
seeded sample of such compositions, the one is spoken whose clauses, taken together, read closest to the mood that the
cue commits the patient to. What was said before stands in the transcript, so the patient itself holds nothing.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from therapysim.errors import ConfigError, PatientError
from therapysim.personas.bank import load_bank
from therapysim.personas.patient import Cue, Line
from therapysim.personas.schema import MOODS, Style
from therapysim.state import Move, Vector

__all__ = ["Manner", "ScriptedPatient", "ScriptedSettings"]

Floats = NDArray[np.float32]

#: One way to word a move: its rank, 0 the patient's own words and 1 the shared ones, and its texts.
_Content = tuple[int, tuple[str, ...]]
_Pools = tuple[tuple[str, ...], ...]

#: Where a turn holds several acts, the first of these is the one that the opener answers.
_ACTS = (
    "silence", "risk_question", "apology", "confrontation", "invalidation", "toxic_positivity", "resources",
    "farewell", "advice", "validation", "reflection", "open_question", "closed_question",
)  # fmt: skip
_HURTFUL = frozenset({"confrontation", "invalidation", "toxic_positivity"})
_FIRM = frozenset({Move.RUPTURE, Move.CLOSE, Move.WITHDRAW})
#: A stage note in place of words, no word at all, or an order to the simulation rather than to the patient.
_SENSELESS = re.compile(
    r"\s*\(.*\)\s*|[\W\d_]+|.*\b(ignore|disregard|forget)\b.{0,40}\b(instructions?|prompt|persona)\b.*", re.I | re.S
)


@dataclass(frozen=True, slots=True)
class Manner:
    """How a style speaks.

    Attributes:
        opener: how often a line begins with an answer to the therapist's act, in [0, 1].
        brief: how often a line is a few words only, in [0, 1].
        extras: probability of up to 0, 1, 2, 3 mood clauses beside the content; adds up to 1.
        max_words: no mood clause is added that would make the line longer.
    """

    opener: float
    brief: float
    extras: tuple[float, float, float, float]
    max_words: int

    def __post_init__(self) -> None:
        chances = (self.opener, self.brief, *self.extras)
        if not all(0.0 <= c <= 1.0 for c in chances) or abs(sum(self.extras) - 1.0) > 1e-6 or self.max_words < 1:
            raise ConfigError(f"{self}: expected chances in [0, 1], extras that add up to 1, max_words of at least 1")


@dataclass(frozen=True, slots=True)
class ScriptedSettings:
    """Settings of the scripted patient.

    Attributes:
        options: how many contents of each rank (own lines, shared lines) are weighed a turn.
        clauses: how many mood clauses are weighed a turn.
        own_words: how much further from the mood, in L2, an own line may read before a shared one is taken instead.
        gain: a mood clause is added only where it brings the line closer to the mood by this much, in L2.
        brief_words: a brief line is at most this long.
        cache_texts: how many clause readings are kept before the cache is emptied.
        terse, plain, talkative: the manner of each style.
    """

    options: int = 4
    clauses: int = 48
    own_words: float = 0.15
    gain: float = 0.1
    brief_words: int = 5
    cache_texts: int = 16_384
    terse: Manner = field(default=Manner(opener=0.15, brief=0.4, extras=(0.3, 0.7, 0.0, 0.0), max_words=16))
    plain: Manner = field(default=Manner(opener=0.3, brief=0.25, extras=(0.15, 0.45, 0.4, 0.0), max_words=26))
    talkative: Manner = field(default=Manner(opener=0.4, brief=0.0, extras=(0.0, 0.15, 0.45, 0.4), max_words=50))

    def __post_init__(self) -> None:
        if (
            min(self.options, self.clauses, self.brief_words, self.cache_texts) < 1
            or min(self.own_words, self.gain) < 0
        ):
            raise ConfigError(f"{self}: expected counts of at least 1, own_words and gain of at least 0")

    def manner(self, style: Style) -> Manner:
        """How that style speaks."""
        return {"terse": self.terse, "plain": self.plain, "talkative": self.talkative}[style]


class ScriptedPatient:
    """Words cues from a persona's own lines and a shared bank; equal cues give equal lines, in any batch.

    Args:
        feel: reads the affect [I, T, A, S] of each text, (n, 4); it must read a text alike in any batch.
        settings: how many compositions are weighed, and how each style speaks.
    """

    def __init__(self, feel: Callable[[Sequence[str]], Floats], settings: ScriptedSettings | None = None) -> None:
        self.feel = feel
        self.settings = settings or ScriptedSettings()
        self._bank = load_bank()
        self._readings: dict[str, _Reading] = {}

    def speak(self, cues: Sequence[Cue]) -> list[Line]:
        """One line a cue, in order.

        Raises:
            PatientError: ``feel`` gave something other than four finite numbers a text.
        """
        self._read(dict.fromkeys([*self._bank.texts, *(text for cue in cues for text in _own_texts(cue))]))
        return [Line(self._word(cue)) for cue in cues]

    def _read(self, needed: dict[str, None]) -> None:
        """Reads what is not in the cache, in one call; a full cache is emptied, which changes no line."""
        new = [text for text in needed if text not in self._readings]
        if not new:
            return
        if len(self._readings) + len(new) > self.settings.cache_texts:
            self._readings, new = {}, list(needed)
        rows = np.asarray(self.feel(new), dtype=np.float32)
        if rows.shape != (len(new), len(MOODS)) or not np.isfinite(rows).all():
            raise PatientError(f"feel gave shape {rows.shape}, expected {(len(new), len(MOODS))} finite numbers")
        lengths = [len(text.split()) for text in new]
        self._readings.update({t: _Reading(n, row) for t, n, row in zip(new, lengths, rows, strict=True)})

    def _word(self, cue: Cue) -> str:
        rng = np.random.default_rng(cue.seed % 2**64)
        manner = self.settings.manner(cue.persona.style)
        earlier = cue.transcript.said_by("patient")
        said = "\n".join(earlier)
        brief = bool(rng.random() < manner.brief) and not cue.facts and len(cue.transcript) > 0
        opener = [] if brief or rng.random() >= manner.opener else self._opener(cue, said, rng)
        contents = self._contents(cue, said, brief, rng)
        extras = self._extras(cue.mood, said, rng)
        # A danger is told plainly, with nothing behind it that would draw the therapist away from it.
        plainly = brief or cue.move is Move.WITHDRAW or any(fact.risk for fact in cue.facts)
        count = 0 if plainly else int(rng.choice(4, p=manner.extras))
        lines = self._compose(cue, opener, contents, extras, count, manner.max_words)
        return next((line for line in lines if line not in earlier), None) or self._unheard(cue, earlier, lines[0])

    def _opener(self, cue: Cue, said: str, rng: np.random.Generator) -> list[str]:
        """At most one unused answer to what the therapist did."""
        acts = cue.acts & _HURTFUL if cue.move in _FIRM else cue.acts
        if not cue.transcript.messages or _senseless(cue):
            return []
        act = next((act for act in _ACTS if act in acts), "")
        unused = _unused(self._bank.openers.get(act, ()), said)
        return [unused[int(rng.integers(len(unused)))]] if unused else []

    def _contents(self, cue: Cue, said: str, brief: bool, rng: np.random.Generator) -> list[_Content]:
        """What the move may be worded with; never empty. Where all that fits was said, the least recent comes back."""
        told = [tuple(fact.lines[int(rng.integers(len(fact.lines)))] for fact in cue.facts) for _ in range(4)]
        if cue.facts and cue.move is Move.DISCLOSE:
            return [(0, texts) for texts in dict.fromkeys(told)]
        stages = self._stages(cue, rng)
        for pools in stages:
            drawn = [(rank, text) for rank, pool in enumerate(pools) for text in self._draw(pool, said, brief, rng)]
            if drawn:
                return [(rank, (*told[0], text)) for rank, text in drawn]
        oldest = sorted((text for pool in stages[0] for text in pool), key=said.rfind)
        return [(0, (*told[0], text)) for text in oldest[: self.settings.options]]

    def _stages(self, cue: Cue, rng: np.random.Generator) -> list[_Pools]:
        """Pools that a move draws on, own lines first; a later stage serves where an earlier is used up."""
        if not cue.transcript.messages:
            return [(cue.persona.voice.opening,)]
        moves, fitting = self._bank.moves, self._bank.fitting(cue.mood)
        if cue.move is Move.CLOSE:
            return [(moves[f"close_{cue.ending}" if cue.ending else "close"],)]
        stages = [self._pools(cue, fitting), (fitting,), (self._bank.neutral,)]
        if _senseless(cue) and cue.move is not Move.RUPTURE:
            return [(moves["dodge"],), *stages]
        return [(moves["silence"],), *stages] if _silent(cue) and rng.random() < 0.5 else stages

    def _pools(self, cue: Cue, fitting: tuple[str, ...]) -> _Pools:
        voice, moves = cue.persona.voice, self._bank.moves
        pools: dict[Move, _Pools] = {
            Move.RUPTURE: (moves["rupture"],),
            Move.WITHDRAW: (moves["withdraw"],),
            Move.ASK: (voice.ask, moves["ask"]),
            Move.CHANGE: (voice.change, moves["change"]),
            Move.SUSTAIN: (voice.sustain, moves["sustain"]),
        }
        return pools.get(cue.move, (voice.express, fitting))

    def _draw(self, pool: tuple[str, ...], said: str, brief: bool, rng: np.random.Generator) -> list[str]:
        unused = _unused(pool, said)
        short = [text for text in unused if self._readings[text].words <= self.settings.brief_words] if brief else []
        chosen = short or unused
        return [chosen[i] for i in rng.permutation(len(chosen))[: self.settings.options]]

    def _extras(self, mood: Vector, said: str, rng: np.random.Generator) -> "_Extras":
        unused = _unused((*self._bank.fitting(mood), *self._bank.neutral), said)
        drawn = [unused[i] for i in rng.permutation(len(unused))[: self.settings.clauses]]
        readings = [self._readings[text] for text in drawn]
        words = np.array([reading.words for reading in readings], dtype=np.int64)
        affects = np.array([reading.affect for reading in readings], dtype=np.float32).reshape(-1, len(MOODS))
        return _Extras(drawn, words, affects, np.array([self._bank.kinds[text] for text in drawn], dtype=np.int64))

    def _compose(
        self, cue: Cue, opener: list[str], contents: list[_Content], extras: "_Extras", count: int, limit: int
    ) -> list[str]:
        """The lines, one a content, closest to the mood first; each content takes the extras that serve it best."""
        scored: list[tuple[float, str]] = []
        for rank, content in contents:
            mix = _Mix([self._readings[text] for text in (*opener, *content)], cue.mood)
            spoken_of = {self._bank.kinds[text] for text in content if text in self._bank.kinds}
            chosen = mix.add(extras, spoken_of, count, limit, self.settings.gain)
            body = [*chosen, *content] if cue.move in (Move.ASK, Move.CLOSE) else [*content, *chosen]
            scored.append((mix.distance + self.settings.own_words * rank, " ".join([*opener, *body])))
        return [line for _, line in sorted(scored, key=lambda pair: pair[0])]

    def _unheard(self, cue: Cue, earlier: list[str], line: str) -> str:
        """A line that was said before, made longer by clauses until it is new; the least recent clause comes first."""
        said = "\n".join(earlier)
        for clause in sorted((*self._bank.fitting(cue.mood), *self._bank.neutral), key=said.rfind):
            if (longer := f"{line} {clause}") not in earlier:
                return longer
        return self._unheard(cue, earlier, f"{line} {self._bank.neutral[0]}")


class _Reading(NamedTuple):
    """A text's length in words, and its affect, shape (4,)."""

    words: int
    affect: Floats


class _Extras(NamedTuple):
    """The mood clauses that a line may take: texts, words (n,), affects (n, 4), dimensions (n,)."""

    texts: list[str]
    words: NDArray[np.int64]
    affects: Floats
    kinds: NDArray[np.int64]


class _Mix:
    """A line in the making, and how far from a mood it is going to read.

    A line of n texts is taken to read as the sum of their readings over the square root of n. Against the shipped
    sensor that errs by 0.20, 0.25 and 0.34 (mean L2) for lines of 2, 3 and 4 texts; the mean of the readings, weighted
    by words, errs by 0.24, 0.33 and 0.42 (``python tests/measure.py mood``): a sentence without feeling hides its
    neighbour's feeling only in part.
    """

    def __init__(self, readings: list[_Reading], mood: Vector) -> None:
        self.mood = np.array(mood, dtype=np.float32)
        self.count = len(readings)
        self.words = sum(reading.words for reading in readings)
        self.total = sum((reading.affect for reading in readings), np.zeros(len(MOODS), dtype=np.float32))

    @property
    def distance(self) -> float:
        """L2 distance between the estimated reading and the mood."""
        return float(np.linalg.norm(np.clip(self.total / np.sqrt(max(1, self.count)), -1, 1) - self.mood))

    def add(self, extras: _Extras, spoken_of: set[int], count: int, limit: int, gain: float) -> list[str]:
        """Takes up to ``count`` extras, each the one that serves the mood best and by ``gain`` or more.

        One a dimension: two sentences on one feeling, a mild and a strong one at that, would sound like two patients.
        """
        closed = np.zeros(len(extras.texts), dtype=np.bool_)
        for kind in spoken_of:
            closed |= extras.kinds == kind
        chosen: list[str] = []
        while len(chosen) < count and not (shut := closed | (self.words + extras.words > limit)).all():
            off = np.clip((self.total + extras.affects) / np.sqrt(self.count + 1), -1, 1) - self.mood
            distances = np.where(shut, np.inf, np.sqrt((off * off).sum(axis=1)))
            best = int(np.argmin(distances))
            if distances[best] > self.distance - gain:
                break
            chosen.append(extras.texts[best])
            closed |= extras.kinds == extras.kinds[best]
            self.total, self.count = self.total + extras.affects[best], self.count + 1
            self.words += int(extras.words[best])
        return chosen


def _own_texts(cue: Cue) -> Iterable[str]:
    voice = cue.persona.voice
    told = (line for fact in cue.facts for line in fact.lines)
    return (*voice.opening, *voice.express, *voice.change, *voice.sustain, *voice.ask, *told)


def _unused(texts: Iterable[str], said: str) -> list[str]:
    return [text for text in texts if text not in said]


def _silent(cue: Cue) -> bool:
    return "silence" in cue.acts or not cue.transcript.last("therapist").strip()


def _senseless(cue: Cue) -> bool:
    heard = cue.transcript.last("therapist")
    return bool(heard.strip()) and _SENSELESS.fullmatch(heard) is not None
