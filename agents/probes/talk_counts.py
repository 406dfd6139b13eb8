"""How the simulated patients talk, counted as real help-seekers' talk was counted.

    talks = play_talks(SessionBatch(SessionConfig(max_turns=12)), {"attuned": baseline("attuned")}, personas("dev"), 64)
    figures = measure(talks)

The plain definitions here are this project's own. Those of the reference are known for the length in words, the
question mark and the VADER score; its word lists are not, so ROUGH names the figures that compare only roughly.

Each style has one source to match. Terse and plain patients speak as clients do in a room: AnnoMI, demonstration
sessions, transcribed speech, with many a bare "yeah" and a long tail. Talkative patients match ESConv: typed chats,
whose writers put a thought in each message and hardly ever send an acknowledgement alone. Terse and plain are held
against AnnoMI together as well, as its clients are of both kinds.

Sources: Wu et al. 2022, "AnnoMI", ICASSP; Liu et al. 2021, "Towards Emotional Support Dialog Systems" (ESConv), ACL;
Hutto & Gilbert 2014, "VADER", ICWSM, with its cut of ±0.05 on the compound score; Li et al. 2016, "A
Diversity-Promoting Objective Function for Neural Conversation Models", NAACL (distinct-n).
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np
from numpy.typing import NDArray

from therapysim.agents.sessions.episode import play
from therapysim.agents.statistics.intervals import Interval, clustered
from therapysim.agents.therapists.therapist import Therapist
from therapysim.envs.batch import SessionBatch, Start
from therapysim.errors import ConfigError, require_count
from therapysim.personas.schema import Persona

__all__ = [
    "LEVELS",
    "MEANS",
    "ROUGH",
    "SOURCES",
    "Figures",
    "Talk",
    "backchannel",
    "distinct",
    "grouped",
    "log_distance",
    "measure",
    "play_talks",
]

#: style -> the reference that it should match.
SOURCES = {"terse": "annomi", "plain": "annomi", "terse and plain": "annomi", "talkative": "esconv"}

#: Per cent of the turns at which a length is given.
LEVELS = (5, 10, 25, 50, 75, 90, 95, 99)

#: Figures whose word lists are our own, so that they compare only roughly.
ROUGH = frozenset({"backchannel", "hedge_rate", "first_person_rate", "thanks_rate", "emotion_word_rate"})

#: Means over turns; those of 0 and 1 are shares.
MEANS = (
    "words_mean", "le3", "ge50", "backchannel", "question_rate", "hedge_rate", "first_person_rate", "thanks_rate",
    "emotion_word_rate", "vader_mean",
)  # fmt: skip

_WORD = re.compile(r"[a-z]+(?:'[a-z]+)?")
_ACKNOWLEDGED = frozenset(
    "yeah yes yep yup no nope ok okay right sure mm hm hmm uh huh um oh ah well exactly true really fine alright all "
    "good great i see know guess suppose think so that's that is it pretty much".split()
)
#: "Mm-hmm" and "uh-huh" are split at the hyphen. Said alone, none of these is an acknowledgement.
_NOT_ALONE = frozenset("i see know guess suppose think so that's that is it pretty much all well really".split())
_HEDGES = re.compile(
    r"\b(maybe|perhaps|probably|possibly|i guess|i suppose|i think|i mean|kind of|sort of|kinda|sorta|i don't know|"
    r"i do not know|not sure|might|a bit|a little|more or less|somehow|i feel like|could be)\b"
)
_FIRST = re.compile(r"\b(i|i'm|i've|i'd|i'll|me|my|mine|myself)\b")
_THANKS = re.compile(r"\b(thank|thanks|thankful|grateful|appreciate)\b")
_EMOTION = re.compile(
    r"\b(sad|sadness|unhappy|depress\w*|lonel\w*|miserable|cry|crying|cried|grief|griev\w*|hurt\w*|happy|happier|glad|"
    r"joy\w*|enjoy\w*|ang(?:er|ry)|annoy\w*|irritat\w*|frustrat\w*|furious|hate|mad|rage|relie[fv]\w*|calm\w*|"
    r"disgust\w*|asham\w*|shame|embarrass\w*|disappoint\w*|guilt\w*|proud|love\w*|scar(?:ed|y|es)|afraid|fear\w*|"
    r"frighten\w*|terrif\w*|terror|panic\w*|anxi\w*|nervous\w*|worr(?:y|ied|ies|ying)|hope\w*|excit\w*|upset)\b"
)


@dataclass(frozen=True, slots=True)
class Talk:
    """What one patient said in one session, oldest turn first; the opening counts."""

    style: str
    policy: str
    turns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Figures:
    """The figures of one group of talks.

    Attributes:
        sessions, turns: how many.
        means: of MEANS, with 95 % intervals, bootstrapped by session: turns of one session are not independent.
        words: length in words at each of LEVELS.
        sentiment: share of turns that VADER calls "neg", "neu" and "pos".
        vader_thirds, words_thirds: means over the first, second and last third of each session.
        distinct: distinct-1, -2, -3; falls with the number of turns, so compare equal numbers only.
        repeats: share of turns said word for word "across" (in another session), "across_long" (the same of turns of
            more than three words), "within" (earlier in the same session), and of "sentences" said in another session.
    """

    sessions: int
    turns: int
    means: dict[str, Interval]
    words: dict[str, float]
    sentiment: dict[str, float]
    vader_thirds: tuple[Interval, ...]
    words_thirds: tuple[Interval, ...]
    distinct: dict[str, float]
    repeats: dict[str, float]


def play_talks(
    batch: SessionBatch,
    policies: Mapping[str, Therapist],
    who: Sequence[Persona],
    sessions: int,
    *,
    seed: int = 0,
    chunk: int = 64,
) -> list[Talk]:
    """Plays ``sessions`` sessions, each patient with each therapist in turn, and keeps what the patients said.

    Sessions whose patient failed are left out.

    Raises:
        ConfigError: nothing to play.
    """
    if not policies or not who:
        raise ConfigError(f"realism has {len(policies)} policies and {len(who)} patients, expected one each at least")
    require_count("sessions", sessions, 1)
    names, talks = list(policies), []
    starts = [(names[i % len(names)], Start(seed + i, who[i // len(names) % len(who)].id)) for i in range(sessions)]
    for name in names:
        own = [start for policy, start in starts if policy == name]
        for first in range(0, len(own), chunk):
            for episode in play(batch, policies[name], own[first : first + chunk]):
                session = episode.session
                if not session.failed:
                    talks.append(Talk(session.persona.style, name, tuple(session.transcript.said_by("patient"))))
    return talks


def grouped(talks: Sequence[Talk]) -> dict[str, list[Talk]]:
    """The talks by style, by therapist, and all together; only groups that have any."""
    groups = {style: [t for t in talks if t.style == style] for style in ("terse", "plain", "talkative")}
    groups["terse and plain"] = [*groups["terse"], *groups["plain"]]
    groups["all"] = list(talks)
    for policy in dict.fromkeys(t.policy for t in talks):
        groups[f"with {policy}"] = [t for t in talks if t.policy == policy]
    return {name: own for name, own in groups.items() if own}


def measure(talks: Sequence[Talk], sentiment: Callable[[str], float] | None = None, *, seed: int = 0) -> Figures:
    """The figures of these talks.

    Args:
        talks: at least one, each of at least one turn.
        sentiment: a turn's score in [-1, 1]; VADER's compound score by default.
        seed: of the bootstrap.

    Raises:
        ConfigError: there is no turn to count.
    """
    talks = [talk for talk in talks if talk.turns]
    if not talks:
        raise ConfigError("realism of no turn, expected at least one session")
    scores = _scores(talks, sentiment or _vader())
    owner = np.repeat(np.arange(len(talks)), [len(talk.turns) for talk in talks])
    third = np.concatenate([np.arange(len(t.turns)) * 3 // len(t.turns) for t in talks])
    words, vader = scores["words_mean"], scores["vader_mean"]
    cuts = {"neg": vader <= -0.05, "neu": np.abs(vader) < 0.05, "pos": vader >= 0.05}

    def thirds(values: NDArray[np.float64]) -> tuple[Interval, ...]:
        return tuple(
            clustered(values[third == k], owner[third == k], seed=seed) for k in range(3) if (third == k).any()
        )

    return Figures(
        sessions=len(talks),
        turns=len(words),
        means={name: clustered(values, owner, seed=seed) for name, values in scores.items()},
        words={str(level): float(np.percentile(words, level)) for level in LEVELS},
        sentiment={name: float(hit.mean()) for name, hit in cuts.items()},
        vader_thirds=thirds(vader),
        words_thirds=thirds(words),
        distinct={str(n): distinct((_words(turn) for t in talks for turn in t.turns), n) for n in (1, 2, 3)},
        repeats=_repeats(talks),
    )


def log_distance(first: Mapping[str, float], second: Mapping[str, float]) -> float:
    """Wasserstein-1 distance of the natural logarithms of two lengths, told from their quantiles at LEVELS.

    Between two levels a quantile is interpolated, beyond the outermost it is taken as constant; where the lengths are
    whole numbers and short, that rounds.
    """
    grid = np.linspace(0.0, 100.0, 1_001)
    curves = [np.interp(grid, LEVELS, [np.log(own[str(level)]) for level in LEVELS]) for own in (first, second)]
    return float(np.abs(curves[0] - curves[1]).mean())


def backchannel(turn: str) -> bool:
    """Whether a turn does nothing but acknowledge: at most three words, each of them one of a short list."""
    words = _words(turn)
    known = 0 < len(words) <= 3 and set(words) <= _ACKNOWLEDGED and "?" not in turn
    return known and (len(words) > 1 or words[0] not in _NOT_ALONE)


def distinct(lines: Iterable[Sequence[str]], n: int) -> float:
    """Distinct runs of n words over all such runs, in [0, 1]; runs do not cross lines. Source: Li et al. 2016.

    Args:
        lines: each as its words.
        n: at least 1.
    """
    runs = [tuple(words[i : i + n]) for words in lines for i in range(len(words) - n + 1)]
    return len(set(runs)) / max(1, len(runs))


def _scores(talks: Sequence[Talk], sentiment: Callable[[str], float]) -> dict[str, NDArray[np.float64]]:
    """Each of MEANS turn by turn, (n,)."""
    turns = [turn for talk in talks for turn in talk.turns]
    lengths = np.array([len(turn.split()) for turn in turns], dtype=np.float64)
    lower = [turn.lower().replace("’", "'") for turn in turns]
    columns: dict[str, Iterable[float]] = {
        "words_mean": lengths,
        "le3": lengths <= 3,
        "ge50": lengths >= 50,
        "backchannel": map(backchannel, turns),
        "question_rate": ("?" in turn for turn in turns),
        "hedge_rate": (bool(_HEDGES.search(turn)) for turn in lower),
        "first_person_rate": (bool(_FIRST.search(turn)) for turn in lower),
        "thanks_rate": (bool(_THANKS.search(turn)) for turn in lower),
        "emotion_word_rate": (bool(_EMOTION.search(turn)) for turn in lower),
        "vader_mean": map(sentiment, turns),
    }
    return {name: np.array([float(v) for v in values]) for name, values in columns.items()}


@cache
def _vader() -> Callable[[str], float]:
    """VADER's compound score; a text that stands in several groups is scored once."""
    from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer  # type: ignore[import-untyped]

    analyzer = SentimentIntensityAnalyzer()
    return lru_cache(maxsize=65_536)(lambda text: float(analyzer.polarity_scores(text)["compound"]))


def _words(turn: str) -> list[str]:
    return _WORD.findall(turn.lower().replace("’", "'"))


def _repeats(talks: Sequence[Talk]) -> dict[str, float]:
    turns = [[turn.strip().lower() for turn in talk.turns] for talk in talks]
    said = [[s for turn in own for s in re.split(r"(?<=[.?!])\s+", turn)] for own in turns]
    long = [[turn for turn in own if len(turn.split()) > 3] for own in turns]
    within = sum(len(own) - len(set(own)) for own in turns) / sum(map(len, turns))
    return {"across": _across(turns), "across_long": _across(long), "within": within, "sentences": _across(said)}


def _across(sessions: Sequence[Sequence[str]]) -> float:
    """Share of the texts that are said in another session too."""
    heard = Counter(text for own in sessions for text in set(own))
    total = sum(map(len, sessions))
    return sum(heard[text] > 1 for own in sessions for text in own) / max(1, total)
