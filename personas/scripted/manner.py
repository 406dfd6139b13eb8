"""How each style of patient speaks: what the scripted patient is set to."""

from dataclasses import dataclass, field

import numpy as np

from therapysim.errors import ConfigError, require_number
from therapysim.personas.schema import Style

__all__ = ["QUANTILES", "Manner", "ScriptedSettings"]

#: The shares of turns at which ``Manner.words`` gives a length.
QUANTILES = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 1.0)


@dataclass(frozen=True, slots=True)
class Manner:
    """How a style speaks.

    Attributes:
        opener: how often a line begins with an answer to the therapist's act, in [0, 1].
        filler: how often a sentence that begins with "I" is led in by "I mean," or its like, in [0, 1].
        tag: how often a line ends with a question, in [0, 1].
        unasked: what a turn that asks nothing makes of the length, in [0, 1].
        words: how many words a line is meant to have, at each of QUANTILES of the turns.
    """

    opener: float
    filler: float
    tag: float
    unasked: float
    words: tuple[int, int, int, int, int, int, int, int]

    def __post_init__(self) -> None:
        for name in ("opener", "filler", "tag", "unasked"):
            require_number(f"manner {name}", getattr(self, name), 0.0, 1.0)
        if len(self.words) != len(QUANTILES) or self.words[0] < 1 or list(self.words) != sorted(self.words):
            raise ConfigError(
                f"manner words is {self.words}, expected {len(QUANTILES)} lengths of at least 1, in rising order"
            )


@dataclass(frozen=True, slots=True)
class ScriptedSettings:
    """Settings of the scripted patient.

    Attributes:
        options: how many contents of each rank (own lines, shared lines) are weighed a turn.
        clauses: how many mood clauses are weighed a turn.
        reads: how many whole lines the sensor reads to choose from at most; 1 goes by the clauses' readings alone.
        content_with: the likeliest line is spoken where it reads as near to the mood as this, in L2.
        own_words: how much further from the mood, in L2, an own line may read before a shared one is taken instead.
        gain: a clause is added only where it brings the line closer to its aim by this much, in L2.
        pace: what a word short of the length meant weighs, in L2.
        talk: change and sustain talk is longer than the rest: its lengths begin at this quantile, in [0, 0.99].
        brief_mood: how often a brief line names the mood, where it would else only acknowledge, in [0, 1].
        brief_words: a line meant to be no longer than this is a few words from ``Bank.brief``.
        shared: how often a line may take in clauses that all patients share, in [0, 1].
        cache_texts: how many clause readings are kept before the cache is emptied.
        terse, plain, talkative: the manner of each style. The lengths are tuned inputs, set so that what is said in
            the end comes near AnnoMI (spoken sessions) for the first two and near ESConv (typed chats) for the last;
            ``therapysim realism`` measures how near.
    """

    options: int = 8
    clauses: int = 128
    reads: int = 3
    content_with: float = 0.3
    own_words: float = 0.1
    gain: float = 0.05
    pace: float = 0.03
    talk: float = 0.35
    brief_mood: float = 0.4
    brief_words: int = 3
    shared: float = 0.15
    cache_texts: int = 32_768
    terse: Manner = field(default=Manner(0.0, 0.15, 0.0, 0.8, (1, 1, 1, 1, 5, 22, 36, 70)))
    plain: Manner = field(default=Manner(0.0, 0.15, 0.0, 0.8, (1, 1, 1, 3, 13, 37, 56, 100)))
    talkative: Manner = field(default=Manner(0.0, 0.15, 0.0, 1.0, (1, 3, 4, 6, 15, 36, 50, 84)))

    def __post_init__(self) -> None:
        counts = (self.options, self.clauses, self.reads, self.brief_words, self.cache_texts)
        costs = (self.own_words, self.gain, self.pace, self.content_with)
        if min(counts) < 1 or not all(0.0 <= cost < np.inf for cost in costs):
            raise ConfigError(
                f"{self}: expected counts of at least 1, own_words, gain, pace and content_with of at least 0"
            )
        require_number("scripted talk", self.talk, 0.0, 0.99)
        require_number("scripted shared", self.shared, 0.0, 1.0)
        require_number("scripted brief_mood", self.brief_mood, 0.0, 1.0)

    def manner(self, style: Style) -> Manner:
        """How that style speaks."""
        return {"terse": self.terse, "plain": self.plain, "talkative": self.talkative}[style]
