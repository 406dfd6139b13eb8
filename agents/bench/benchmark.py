"""Policies × patients × seeds -> results; all sessions of a policy advance together."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryFile

from therapysim.agents.bench.faults import replaced_lines
from therapysim.agents.bench.measures import MEASURES, RATES
from therapysim.agents.bench.results import SessionResult, result_of
from therapysim.agents.sessions.episode import Episode, play
from therapysim.agents.sessions.session_file import save_session, session_file
from therapysim.agents.statistics.intervals import Difference, mean_interval, paired_difference, proportion
from therapysim.agents.therapists.therapist import Therapist
from therapysim.envs.batch import SessionBatch, Start
from therapysim.errors import ConfigError

__all__ = ["USUAL", "benchmark", "paired", "play_policy", "results_table"]

#: What ``table`` shows unless told otherwise.
USUAL = ("total", "polarity", "alliance", "disclosure", "ruptures", "safe", "turns", "goal")


def benchmark(
    batch: SessionBatch,
    policies: Mapping[str, Therapist],
    persona_ids: Sequence[str],
    seeds: Sequence[int],
    sessions: str | Path | None = None,
    simulator: str = "scripted",
) -> list[SessionResult]:
    """Plays every policy with every patient under every seed. All policies meet the same sessions.

    Args:
        batch: the patients, and what scores a turn.
        policies: name -> therapist.
        persona_ids, seeds: whom each of them meets.
        sessions: a folder for one file a session, see ``agents.sessions.session_file``; each is written as it
            ends. Their risks go by the default ``RiskThresholds``.
        simulator: what the results call the one who words the patients.

    Raises:
        ConfigError: nothing to play, or the folder cannot be written in or holds sessions of one of the policies
            already; it is made and tried before anything is played.
    """
    starts = [Start(seed, persona) for persona in persona_ids for seed in seeds]
    if not starts or not policies:
        raise ConfigError("a benchmark needs at least one policy, one persona and one seed")
    if sessions is not None:
        _prepare(Path(sessions), policies)
    results: list[SessionResult] = []
    for name, therapist in policies.items():
        results += play_policy(batch, therapist, starts, name, simulator, partial(_keep, sessions))
    return results


def _keep(folder: str | Path | None, result: SessionResult, episode: Episode) -> None:
    """Writes the session's file, where files are wanted."""
    if folder is not None:
        path = session_file(folder, result.policy, result.persona, result.seed)
        save_session(path, episode.session, episode.turns, result.policy)


def play_policy(
    batch: SessionBatch,
    therapist: Therapist,
    starts: Sequence[Start],
    policy: str,
    simulator: str,
    on_end: Callable[[SessionResult, Episode], None] | None = None,
) -> list[SessionResult]:
    """One policy's sessions, all advanced together, as results in the order of the starts.

    Args:
        batch, therapist, starts: see ``episode.play``.
        policy, simulator: their names in the results.
        on_end: told of each result as its session ends, and of the session.
    """
    results: dict[int, SessionResult] = {}

    def take(i: int, episode: Episode) -> None:
        results[i] = result_of(policy, simulator, episode, _tokens(therapist, episode))
        if on_end:
            on_end(results[i], episode)

    play(batch, therapist, starts, take)
    return [results[i] for i in range(len(starts))]


def paired(results: Sequence[SessionResult], first: str, second: str, measure: str) -> Difference:
    """second - first, session by session under the same patient and seed; the interval is by patient."""
    if len(simulators := {r.simulator for r in results}) > 1:
        raise ConfigError(f"results with {', '.join(sorted(simulators))} are mixed, expected those with one patient")
    for name in {first, second} - {r.policy for r in results}:
        raise ConfigError(f"policy {name!r} has no results, expected one of {', '.join({r.policy for r in results})}")
    sides = [{(r.persona, r.seed): r[measure] for r in _sound(results, name, measure)} for name in (first, second)]
    return paired_difference(*sides)


def _sound(results: Sequence[SessionResult], policy: str, measure: str) -> list[SessionResult]:
    """A policy's sessions that have the measure."""
    return [r for r in results if r.policy == policy and not r.failed and not math.isnan(r[measure])]


def results_table(results: Sequence[SessionResult], measures: Sequence[str] = USUAL) -> str:
    """A Markdown table: one row a policy, mean and 95 % interval of each measure, by patient.

    A second column says how many of the patient's lines the script replaced, where these are more than a tenth of any
    policy's.
    """
    unknown = set(measures) - set(MEASURES)
    if unknown:
        raise ConfigError(f"measures {sorted(unknown)} are unknown, expected some of {', '.join(MEASURES)}")
    held = {p: [r for r in results if r.policy == p and not r.failed] for p in dict.fromkeys(r.policy for r in results)}
    replaced = {policy: replaced_lines(own) for policy, own in held.items()}
    many = any(one.many for one in replaced.values())
    heads = ["policy", *[MEASURES["replaced"].label] * many, "n", *(MEASURES[m].label for m in measures)]
    rows = [heads, ["---"] * len(heads)]
    for policy, own in held.items():
        cells = [_mean(_sound(own, policy, m), m) for m in measures]
        rows.append([policy, *[str(replaced[policy])] * many, str(len(own)), *cells])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _mean(results: Sequence[SessionResult], measure: str) -> str:
    if not results:
        return "–"
    interval = proportion if measure in RATES else mean_interval
    return str(interval([r[measure] for r in results], [r.persona for r in results]))


def _tokens(therapist: Therapist, episode: Episode) -> tuple[float, float]:
    count = getattr(therapist, "tokens", None)
    return count(episode.session) if count else (0, 0)


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
