"""Optimisers for the audit: the best of n turns at every turn, by the rubric or the judge, and one template for all.

They are cheap on purpose: what they find, a policy under training will find too.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np
from numpy.typing import NDArray

from therapysim.agents.probes.audit.turns import CHEAP, Bank, Exploiter, blind, candidates
from therapysim.agents.therapists.baselines import Baseline
from therapysim.envs.batch import Session, SessionBatch, Start
from therapysim.errors import ConfigError, require_count
from therapysim.personas.load import personas
from therapysim.rewards.judge import Judge

__all__ = ["BestByJudge", "BestOf", "climb", "every_exploiter", "searchers"]

Floats = NDArray[np.float64]

#: The smaller of the two sizes that a search is played with.
_SMALL = 8
#: How many of the best lines are joined, each with each other.
_JOINED = 12
#: Every so many of the training patients is one that templates are tuned on; with all of them it would take minutes.
_TUNED_ON = 3


@dataclass(frozen=True)
class BestOf:
    """Tries n turns in each session and says the one with the highest reward at once.

    A branch meets the chance that the turn itself will meet, so this search knows the outcome of what it says.

    Attributes:
        batch: where the branches are played; it holds afterwards what it held before.
        bank: what the turns are drawn from.
        n: how many, at least 2.
    """

    batch: SessionBatch
    bank: Bank
    n: int

    def __post_init__(self) -> None:
        require_count("n", self.n, 2)

    def respond(self, sessions: Sequence[Session]) -> list[str]:
        """The best of n for each session."""
        texts = [candidates(session, self.bank, self.n) for session in sessions]
        rewards, _ = branch(self.batch, sessions, texts)
        return [own[best(row)] for own, row in zip(texts, rewards, strict=True)]


@dataclass(frozen=True)
class BestByJudge:
    """Says that of n turns which the single-turn judge likes best as an answer to the patient's last words.

    Attributes:
        judge: who judges.
        bank: what the turns are drawn from.
        n: how many, at least 2.
    """

    judge: Judge
    bank: Bank
    n: int

    def __post_init__(self) -> None:
        require_count("n", self.n, 2)

    def respond(self, sessions: Sequence[Session]) -> list[str]:
        """The best of n for each session."""
        texts = [candidates(session, self.bank, self.n) for session in sessions]
        heard = [session.transcript.last("patient") for session in sessions for _ in range(self.n)]
        scores = self.judge.score(heard, [text for own in texts for text in own]).scores
        return [own[best(row)] for own, row in zip(texts, scores.reshape(-1, self.n), strict=True)]


def branch(
    batch: SessionBatch, sessions: Sequence[Session], texts: Sequence[Sequence[str]]
) -> tuple[list[Floats], list[tuple[Session, ...]]]:
    """What each text would bring in its session: rewards, nan where the patient failed, and the sessions after it.

    The batch holds afterwards what it held before.
    """
    kept = batch.snapshot()
    ends = np.cumsum([0, *(len(own) for own in texts)])
    try:
        batch.restore([session for session, own in zip(sessions, texts, strict=True) for _ in own])
        turns = batch.step([text for own in texts for text in own])
        after = batch.snapshot()
    finally:
        batch.restore(kept)
    rewards = np.array([turn.reward if turn else float("nan") for turn in turns])
    spans = list(zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True))
    return [rewards[a:b] for a, b in spans], [after[a:b] for a, b in spans]


def best(values: Floats) -> int:
    """Where the highest value stands, the first of equals; nan is the lowest."""
    return int(np.argmax(np.where(np.isnan(values), -np.inf, values)))


def every_exploiter(batch: SessionBatch, bank: Bank, n: int, judge: Judge) -> list[Exploiter]:
    """All of them. Templates are tuned on the scripted patient, whoever they are played with: cheap is the point."""
    tuned_on = [p.id for p in personas("train")][::_TUNED_ON]
    scripted = SessionBatch(batch.config, rubric=batch.rubric, sensor=batch.sensor)
    return [*blind(bank), *searchers(batch, bank, n, judge), *climb(scripted, bank, tuned_on)]


def searchers(batch: SessionBatch, bank: Bank, n: int, judge: Judge) -> list[Exploiter]:
    """The searches: few and ``n`` turns by the rubric's reward, ``n`` of cheap kinds alone, ``n`` by the judge.

    Raises:
        ConfigError: ``n`` is below 2.
    """
    cheap = {kind: lines for kind, lines in bank.items() if kind in CHEAP}
    require_count("n", n, 2)
    found = [Exploiter(f"best of {k}", "search", BestOf(batch, bank, k)) for k in sorted({min(_SMALL, n), n})]
    if cheap and cheap != bank:
        found.append(Exploiter(f"best of {n}, cheap kinds", "search", BestOf(batch, cheap, n)))
    return [*found, Exploiter(f"best of {n} by the judge", "search", BestByJudge(judge, bank, n))]


def climb(batch: SessionBatch, bank: Bank, persona_ids: Sequence[str], seed: int = 0) -> list[Exploiter]:
    """Templates tuned on some patients, to be played with others: a line, two lines joined, and a script.

    The line is said at every turn, as are the two. A script has one line for each turn, the same for all patients; it
    is chosen turn by turn, the sessions so far going on from what was chosen.

    Args:
        batch: where they are tuned; its sessions are lost.
        bank: the lines.
        persona_ids: patients to tune on.
        seed: of their sessions.

    Raises:
        ConfigError: nothing to tune on.
    """
    starts, lines = [Start(seed, persona) for persona in persona_ids], [line for own in bank.values() for line in own]
    if not starts or not lines:
        raise ConfigError("a template is tuned on at least one patient and one line, found none")
    singles = totals(batch, lines, starts)
    first = [lines[i] for i in np.argsort(-singles, kind="stable")[:_JOINED]]
    found = [_template("best line for all", [lines[best(singles)]])]
    if pairs := [f"{a} {b}" for a, b in permutations(first, 2)]:
        found.append(_template("best pair for all", [pairs[best(totals(batch, pairs, starts))]]))
    found.append(_template("best script for all", script(batch, lines, starts)))
    cheap = [line for kind, own in bank.items() if kind in CHEAP for line in own]
    if cheap and len(cheap) < len(lines):
        found.append(_template("best script for all, cheap kinds", script(batch, cheap, starts)))
    return found


def totals(batch: SessionBatch, lines: Sequence[str], starts: Sequence[Start]) -> Floats:
    """Mean session reward of each line, said at every turn; shape (lines,), nan where every patient failed."""
    batch.reset([*starts] * len(lines))
    said, sums = [line for line in lines for _ in starts], np.zeros(len(lines) * len(starts))
    while not all(session.done for session in batch.sessions):
        texts = [None if session.done else text for session, text in zip(batch.sessions, said, strict=True)]
        sums += [turn.reward if turn else 0.0 for turn in batch.step(texts)]
    return _mean(sums.reshape(len(lines), len(starts)))


def script(batch: SessionBatch, lines: Sequence[str], starts: Sequence[Start]) -> list[str]:
    """The line with the highest mean reward at each turn, until every session has ended; at least one line."""
    going, chosen = [s for s in batch.reset(starts) if not s.done], list[str]()
    while going:
        rewards, after = branch(batch, going, [lines] * len(going))
        pick = best(_mean(np.stack(rewards, axis=1)))
        chosen.append(lines[pick])
        going = [own[pick] for own in after if not own[pick].done]
    return chosen or [lines[0]]


def _mean(values: Floats) -> Floats:
    """Row means over what is not nan; nan where nothing is."""
    known = ~np.isnan(values)
    sums, counts = np.where(known, values, 0.0).sum(axis=1), known.sum(axis=1)
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)


def _template(name: str, lines: Sequence[str]) -> Exploiter:
    """Says the lines in turn to every patient alike."""
    spoken = tuple(lines)
    return Exploiter(
        name, "trick", Baseline(name, lambda session, _: spoken[session.state.turn % len(spoken)]), " / ".join(spoken)
    )
