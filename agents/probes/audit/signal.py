"""Does the reward tell the truth: what each term is worth, its noise, and whether it goes with what became of patients.

The latent gain of a turn is the rise of the lowest mood, of what is given up of the beliefs, of the alliance, and of
how far a danger was dealt with, times its gravity; of a session, their sum.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from therapysim.agents.sessions.episode import Episode, play
from therapysim.agents.therapists.baselines import BASELINES, baseline
from therapysim.envs.batch import SessionBatch, Start
from therapysim.errors import ConfigError
from therapysim.rewards.terms.outcome import alliance
from therapysim.rewards.terms.progress import beliefs, danger, mood
from therapysim.state import Transition

Floats = NDArray[np.float64]

__all__ = ["Signal", "TermSignal", "gain", "signal", "signal_table"]


@dataclass(frozen=True, slots=True)
class TermSignal:
    """One term times its weight, over all turns of all policies.

    Attributes:
        paid: its sum over a session, mean, by policy.
        noise: standard deviation over turns.
        lag: correlation of a turn's value with the next turn's; below 0 where it swings back.
        right: share of turns in which it is not 0 and has the sign of the latent gain.
        correlation: with the latent gain, over turns.
    """

    paid: Mapping[str, float]
    noise: float
    lag: float
    right: float
    correlation: float


@dataclass(frozen=True, slots=True)
class Signal:
    """All terms that are paid, and the whole reward.

    Attributes:
        terms: by name; "reward" is all of them behind the gate.
        session: correlation of a session's return with its latent gain, over all policies.
        sessions: how many.
    """

    terms: Mapping[str, TermSignal]
    session: float
    sessions: int


def gain(turn: Transition) -> float:
    """The latent gain of a turn."""
    return mood(turn) + beliefs(turn) + alliance(turn) + danger(turn)


def signal(
    batch: SessionBatch, persona_ids: Sequence[str], seeds: Sequence[int], policies: Sequence[str] = tuple(BASELINES)
) -> Signal:
    """Plays the policies and looks at every turn.

    Raises:
        ConfigError: nothing to play.
    """
    starts = [Start(seed, who) for who in persona_ids for seed in seeds]
    if not starts or not policies:
        raise ConfigError("a signal needs at least one policy, one patient and one seed")
    played = {name: [e for e in play(batch, baseline(name), starts) if not e.session.failed] for name in policies}
    every = [episode for episodes in played.values() for episode in episodes]
    scores = [turn.score for episode in every for turn in episode.turns if turn.score]
    paying = dict.fromkeys(name for score in scores for name, weight in score.weights.items() if weight)
    terms = {name: _term(played, name) for name in (*paying, "reward")}
    returns = [sum(_values(e, "reward")) for e in every]
    gains = [sum(_gains(e)) for e in every]
    return Signal(terms, _correlation(returns, gains), len(every))


def _term(played: Mapping[str, Sequence[Episode]], name: str) -> TermSignal:
    by = [(_values(e, name), _gains(e)) for episodes in played.values() for e in episodes]
    values = np.concatenate([np.array(own) for own, _ in by])
    gains = np.concatenate([np.array(own) for _, own in by])
    told = np.abs(values) > 1e-9
    now, later = (np.concatenate([np.array(own)[cut] for own, _ in by]) for cut in (slice(None, -1), slice(1, None)))
    return TermSignal(
        paid={policy: float(np.mean([sum(_values(e, name)) for e in own])) for policy, own in played.items()},
        noise=float(values.std()),
        lag=_correlation(now, later),
        right=float((np.sign(values[told]) == np.sign(gains[told])).mean()) if told.any() else float("nan"),
        correlation=_correlation(values, gains),
    )


def _values(episode: Episode, name: str) -> list[float]:
    scores = [turn.score for turn in episode.turns if turn.score]
    return [s.reward if name == "reward" else s.weights.get(name, 0.0) * s.terms.get(name, 0.0) for s in scores]


def _gains(episode: Episode) -> list[float]:
    return [gain(turn.transition) for turn in episode.turns if turn.transition]


def _correlation(a: Sequence[float] | Floats, b: Sequence[float] | Floats) -> float:
    one, other = np.asarray(a, float), np.asarray(b, float)
    return float(np.corrcoef(one, other)[0, 1]) if len(one) > 1 and one.std() > 0 and other.std() > 0 else float("nan")


def signal_table(found: Signal) -> str:
    """Two Markdown tables: of each term its noise and truth, and what it pays each policy in a session."""
    policies, rows = list(next(iter(found.terms.values())).paid), found.terms.items()
    one = ["| term | noise | lag-1 | right sign | correlation with the gain |", "|---" * 5 + "|"]
    one += [f"| {n} | {t.noise:.2f} | {t.lag:.2f} | {t.right:.2f} | {t.correlation:.2f} |" for n, t in rows]
    two = [f"| term | {' | '.join(policies)} |", "|---" * (len(policies) + 1) + "|"]
    two += [f"| {n} | {' | '.join(f'{t.paid[p]:+.1f}' for p in policies)} |" for n, t in rows]
    told = f"return and latent gain over {found.sessions} sessions: correlation {found.session:.2f}"
    return "\n".join([*one, "", *two, "", told])
