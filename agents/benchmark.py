"""Policies × patients × seeds -> results with confidence intervals."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryFile

import numpy as np
from numpy.typing import NDArray

from therapysim.agents.episode import Episode, play
from therapysim.agents.record import save_session, session_file
from therapysim.agents.therapist import Therapist
from therapysim.envs.batch import SessionBatch, Start
from therapysim.errors import ConfigError

__all__ = ["MEASURES", "Interval", "Result", "benchmark", "bootstrap", "clustered", "paired", "table"]

#: What is measured of each session.
MEASURES = ("total", "deficit", "alliance", "unsafe", "turns", "goal")


@dataclass(frozen=True)
class Result:
    """One policy's session with one patient under one seed.

    Attributes:
        total: the rewards' sum, what training maximises.
        deficit: min(e) at the end less min(e) at the start, in [-2, 2].
        alliance: at the end, in [0, 1].
        unsafe: share of turns that shut the safety gate.
        turns: how many the session lasted.
        goal: 1 where the session's goal was met.
        failed: the patient failed; such a session stays out of every mean.
    """

    policy: str
    persona: str
    seed: int
    total: float
    deficit: float
    alliance: float
    unsafe: float
    turns: int
    goal: float
    failed: bool


@dataclass(frozen=True)
class Interval:
    """A mean and its 95 % bootstrap interval over n sessions."""

    mean: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        return f"{self.mean:+.2f} [{self.low:+.2f}, {self.high:+.2f}]"


def benchmark(
    batch: SessionBatch,
    policies: Mapping[str, Therapist],
    persona_ids: Sequence[str],
    seeds: Sequence[int],
    sessions: str | Path | None = None,
) -> list[Result]:
    """Plays every policy with every patient under every seed. All policies meet the same sessions.

    Args:
        sessions: a folder for one file a session, see ``agents.record``; each policy's are written once all of them
            are played. Their risks go by the default ``RiskThresholds``.

    Raises:
        ConfigError: nothing to play, or the folder cannot be written in or holds sessions of one of the policies
            already; it is made and tried before anything is played.
    """
    starts = [Start(seed, persona) for persona in persona_ids for seed in seeds]
    if not starts or not policies:
        raise ConfigError("a benchmark needs at least one policy, one persona and one seed")
    if sessions is not None:
        _prepare(Path(sessions), policies)
    results: list[Result] = []
    for name, therapist in policies.items():
        episodes = play(batch, therapist, starts)
        if sessions is not None:
            _keep(Path(sessions), name, episodes)
        results += [result_of(name, start, episode) for start, episode in zip(starts, episodes, strict=True)]
    return results


def _prepare(folder: Path, policies: Iterable[str]) -> None:
    """Makes each policy's folder; hours of play must not be lost for want of one."""
    for own in [session_file(folder, name, "any", 0).parent for name in policies]:
        try:
            own.mkdir(parents=True, exist_ok=True)
            # Sessions of an earlier run would join the mean that is drawn of this folder.
            if any(own.glob("*.json")):
                raise ConfigError(f"{own} holds sessions already, expected none; name another folder or remove them")
            with TemporaryFile(dir=own):
                pass
        except OSError as error:
            raise ConfigError(
                f"session folder {own}: {error.strerror}, expected one to write in; name another"
            ) from error


def _keep(folder: Path, policy: str, episodes: Iterable[Episode]) -> None:
    for episode in episodes:
        session = episode.session
        path = session_file(folder, policy, session.persona.id, session.seed)
        save_session(path, session, episode.turns, policy)


def result_of(policy: str, start: Start, episode: Episode) -> Result:
    """The measures of one finished session."""
    session, turns = episode.session, episode.turns
    return Result(
        policy=policy,
        persona=session.persona.id,
        seed=int(start.seed),
        total=episode.total,
        deficit=min(session.state.affect) - min(session.states[0].affect),
        alliance=session.latent.alliance,
        unsafe=sum(bool(t.violations) for t in turns) / max(1, len(turns)),
        turns=len(turns),
        goal=float(session.ending == "goal"),
        failed=session.failed,
    )


def bootstrap(values: Sequence[float], *, draws: int = 2_000, seed: int = 0) -> Interval:
    """Mean and percentile bootstrap interval. Source: Efron & Tibshirani 1993, chapter 13."""
    x: NDArray[np.float64] = np.asarray(values, dtype=np.float64)
    if not len(x):
        return Interval(float("nan"), float("nan"), float("nan"), 0)
    picks = np.random.default_rng(seed).integers(len(x), size=(draws, len(x)))
    low, high = np.percentile(x[picks].mean(axis=1), [2.5, 97.5])
    return Interval(float(x.mean()), float(low), float(high), len(x))


def clustered(values: NDArray[np.float64], owner: NDArray[np.int64], *, draws: int = 1_000, seed: int = 0) -> Interval:
    """Mean over observations, and its 95 % percentile interval under resampling of whole clusters, such as sessions.

    Args:
        values: shape (n,), one an observation.
        owner: shape (n,), the number of the cluster that each belongs to; observations of one are not independent.

    Source: Davison & Hinkley 1997, section 3.8, resampling of clusters.
    """
    _, rows = np.unique(owner, return_inverse=True)
    sums, counts = np.bincount(rows, values), np.bincount(rows)
    times = np.random.default_rng(seed).multinomial(len(sums), np.full(len(sums), 1 / len(sums)), size=draws)
    low, high = np.percentile((times @ sums) / (times @ counts), [2.5, 97.5])
    return Interval(float(values.mean()), float(low), float(high), len(sums))


def paired(results: Sequence[Result], first: str, second: str, measure: str) -> Interval:
    """second - first, session by session under the same patient and seed."""
    sides = [{(r.persona, r.seed): r for r in results if r.policy == p and not r.failed} for p in (first, second)]
    shared = sorted(sides[0].keys() & sides[1].keys())
    return bootstrap([getattr(sides[1][key], measure) - getattr(sides[0][key], measure) for key in shared])


def table(results: Sequence[Result], measures: Sequence[str] = MEASURES) -> str:
    """A Markdown table: one row a policy, mean and 95 % interval of each measure."""
    unknown = set(measures) - set(MEASURES)
    if unknown:
        raise ConfigError(f"measures {sorted(unknown)} are unknown, expected some of {', '.join(MEASURES)}")
    rows = ["| policy | n | " + " | ".join(measures) + " |", "|---" * (len(measures) + 2) + "|"]
    for policy in dict.fromkeys(r.policy for r in results):
        own = [asdict(r) for r in results if r.policy == policy and not r.failed]
        cells = [str(bootstrap([r[m] for r in own])) for m in measures]
        rows.append(f"| {policy} | {len(own)} | " + " | ".join(cells) + " |")
    return "\n".join(rows)
