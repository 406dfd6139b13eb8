"""The catch: detectors, acts and distinct-n of the trained policies beside the base's, with intervals over patients."""

from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import Any

import numpy as np

from therapysim.agents.bench.results import SessionResult
from therapysim.agents.probes.detectors import DETECTORS, acts_of, detect, elsewhere, sentences, words_of
from therapysim.agents.probes.talk_counts import distinct
from therapysim.rewards.reading.words import count_words
from therapysim.train.learned.compared_runs import Key, Study, rounded
from therapysim.train.learned.effects import Effect, Values, compare, session_values

__all__ = ["PERCENTILES", "catch", "catch_tables", "distinct_within"]

#: Of the turns' lengths.
PERCENTILES = (5, 25, 50, 75, 95)
_SHUFFLES = 5


def catch(study: Study) -> list[Effect]:
    """Detectors, distinct-1 and -2 within what one patient was told, and the share of turns with each act."""
    found: dict[str, Values] = {}
    for policy, sessions in study.sessions.items():
        archive = elsewhere(sessions.values())
        rows = {key: detect(result, archive) for key, result in sessions.items()}
        found[policy] = {name: {key: row[name] for key, row in rows.items()} for name in DETECTORS}
    acts = session_values(study, acts_of)
    return [
        *compare(study, "detector", found),
        *compare(study, "detector", _diversity(study)),
        *compare(study, "act", acts),
    ]


def catch_tables(study: Study) -> dict[str, Any]:
    """Each policy's most frequent sentences, turn lengths, and distinct-n of all that it said.

    Distinct-n falls with the number of words, so all policies' is of as many words: the fewest that any of them said.
    """
    texts = {policy: _texts(own.values()) for policy, own in study.sessions.items()}
    budget = min(sum(len(words) for words in own) for own in texts.values())
    return {
        "sentences": {policy: sentences(list(own.values())) for policy, own in study.sessions.items()},
        "words_a_turn": {policy: _lengths(own.values()) for policy, own in study.sessions.items()},
        "distinct": {"words": budget, **{p: distinct_within(own, budget) for p, own in texts.items()}},
    }


def distinct_within(lines: Sequence[Sequence[str]], budget: int) -> dict[str, float | None]:
    """Distinct-1 and -2 of ``budget`` words, mean over five shuffles of the lines; None of no words.

    Args:
        lines: each as its words; runs do not cross lines.
        budget: words read of each shuffle; the last line is cut.

    Source: Li et al. 2016, "A Diversity-Promoting Objective Function for Neural Conversation Models".
    """
    if not budget:
        return {"1": None, "2": None}
    drawn = [_draw(lines, budget, seed) for seed in range(_SHUFFLES)]
    return {str(n): rounded(fmean(distinct(own, n) for own in drawn)) for n in (1, 2)}


def _draw(lines: Sequence[Sequence[str]], budget: int, seed: int) -> list[Sequence[str]]:
    left, drawn = budget, []
    for i in np.random.default_rng(seed).permutation(len(lines)):
        drawn.append(lines[i][:left])
        left -= len(drawn[-1])
        if not left:
            break
    return drawn


def _texts(results: Iterable[SessionResult]) -> list[list[str]]:
    return [words_of(said.therapist) for result in results for said in result.turns]


def _lengths(results: Iterable[SessionResult]) -> dict[str, float | None]:
    counts = [count_words(said.therapist) for result in results for said in result.turns]
    return {str(p): rounded(float(np.percentile(counts, p))) for p in PERCENTILES} if counts else {}


def _diversity(study: Study) -> dict[str, Values]:
    """Of what each patient was told in all its sessions, at the fewest words that any policy said to it."""
    told: dict[str, dict[str, list[list[str]]]] = {}
    for policy, sessions in study.sessions.items():
        people: dict[str, list[SessionResult]] = {}
        for (persona, _), result in sorted(sessions.items()):
            people.setdefault(persona, []).append(result)
        told[policy] = {persona: _texts(own) for persona, own in people.items()}
    least = {p: min(sum(map(len, own.get(p, []))) for own in told.values()) for own in told.values() for p in own}
    return {policy: _by_patient(own, least) for policy, own in told.items()}


def _by_patient(own: Mapping[str, list[list[str]]], least: Mapping[str, int]) -> dict[str, dict[Key, float]]:
    found = {persona: distinct_within(lines, least[persona]) for persona, lines in own.items()}
    return {
        f"distinct_{n}": {(persona, 0): _number(values[n]) for persona, values in found.items()} for n in ("1", "2")
    }


def _number(value: float | None) -> float:
    return float("nan") if value is None else value
