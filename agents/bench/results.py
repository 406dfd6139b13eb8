"""What a benchmark keeps of a session: one row with its measures, and the transcript behind every number."""

import gzip
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import AfterValidator, Field

from therapysim.agents.bench.measures import MEASURES, RATES, Measure, measures_of, shifts
from therapysim.agents.sessions.episode import Episode
from therapysim.agents.sessions.session_file import Count, OrNan, Share
from therapysim.envs.session import Turn
from therapysim.errors import ConfigError
from therapysim.files import whole
from therapysim.records import STRICT, read_rows, wrong
from therapysim.rewards.matrix import DIMENSIONS
from therapysim.state import Ending, Vector

__all__ = ["MEASURES", "Measure", "SessionResult", "TurnResult", "read_results", "result_of", "write_results"]

_DIGITS = 5


def _complete(measures: dict[str, float]) -> dict[str, float]:
    """Refuses measures that are not exactly ``MEASURES``, or rates outside [0, 1]."""
    if odd := sorted(set(measures) ^ set(MEASURES)):
        raise wrong(f"something that lacks or adds {', '.join(map(repr, odd))}", f"the measures {', '.join(MEASURES)}")
    for name in sorted(RATES):
        if not math.isnan(measures[name]) and not 0 <= measures[name] <= 1:
            raise wrong(f"{measures[name]:g}", "0–1, or nothing", name)
    return measures


@dataclass(frozen=True, slots=True)
class TurnResult:
    """One therapist turn and the patient's answer to it.

    Attributes:
        therapist, patient: their words; the patient's are "" where it failed.
        shown: what the patient was shown of the turn where that differs, else "".
        affect: e_t after it, each in [-1, 1].
        alliance: after it, in [0, 1].
        move: what the answer does.
        acts, flags, violations: what kind of turn it was, what the screen found, why it was unsafe.
        disclosed: ids of the facts told.
        source, rejected: who worded the answer, and why earlier draws were refused.
    """

    __pydantic_config__ = STRICT

    therapist: str
    patient: str
    shown: str
    reward: OrNan
    affect: Vector
    alliance: Share
    move: str
    acts: tuple[str, ...]
    flags: tuple[str, ...]
    violations: tuple[str, ...]
    disclosed: tuple[str, ...]
    source: str
    rejected: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SessionResult:
    """One policy's session with one patient under one seed.

    Attributes:
        policy: the therapist's name.
        simulator: who worded the patient: "scripted", "llm", a model, a server.
        persona, split, diagnosis, severity, risk: who the patient is; risk from 0 (none) to 3.
        ending: "goal", "rupture", "crisis", or "" at the turn limit.
        failed: the patient gave no answer; such a session stays out of every mean.
        measures: name of ``MEASURES`` -> value; nan where a session has none.
        terms: each reward term, weighted and summed over the session. An unsafe turn forfeits its gains, so that these
            add up to the return only where no gate shut.
        weakest: the dimension that fell most, where the session failed its patient, in that polarity fell or the
            patient broke it off; else "".
        opening, affect: the patient's first words, and e_0.
        turns: oldest first.
        failure: why the patient failed, in a line without secrets: a status, the server's message; "" where it did not.
    """

    __pydantic_config__ = STRICT

    policy: str
    simulator: str
    persona: str
    split: str
    diagnosis: str
    severity: str
    risk: Annotated[int, Field(ge=0, le=3)]
    seed: Count
    ending: Ending
    failed: bool
    measures: Annotated[dict[str, OrNan], AfterValidator(_complete)]
    terms: dict[str, float]
    weakest: str
    opening: str
    affect: Vector
    turns: tuple[TurnResult, ...] = field(repr=False)
    failure: str = ""

    def __getitem__(self, measure: str) -> float:
        """The measure of that name.

        Raises:
            ConfigError: there is none.
        """
        if measure not in self.measures:
            raise ConfigError(f"measure {measure!r} is unknown, expected one of {', '.join(self.measures)}")
        return self.measures[measure]

    @property
    def key(self) -> tuple[str, str, str, int]:
        """What tells it from every other result."""
        return self.policy, self.simulator, self.persona, self.seed


def result_of(policy: str, simulator: str, episode: Episode, tokens: tuple[float, float] = (0, 0)) -> SessionResult:
    """The row of one finished session.

    Args:
        policy, simulator: who spoke.
        episode: the session and its turns.
        tokens: read and written by the policy's model; nan where they are unknown.
    """
    session, who = episode.session, episode.session.persona
    shift = shifts(session)
    measures = dict.fromkeys(MEASURES, math.nan) if session.failed else measures_of(episode, shift, tokens)
    lost = not session.failed and (measures["polarity"] < 0 or session.ending == "rupture")
    return SessionResult(
        policy=policy,
        simulator=simulator,
        persona=who.id,
        split=who.split,
        diagnosis=who.diagnosis,
        severity=who.severity,
        risk=who.risk,
        seed=int(session.seed),
        ending=session.ending,
        failed=session.failed,
        measures={name: round(float(value), _DIGITS) for name, value in measures.items()},
        terms=_terms(episode.turns),
        weakest=DIMENSIONS[int(np.argmin(shift))] if lost else "",
        opening=session.transcript.messages[0].text if session.transcript.messages else "",
        affect=_rounded(session.states[0].affect),
        turns=_said(episode),
        failure=session.failure,
    )


def _terms(turns: Sequence[Turn]) -> dict[str, float]:
    scores = [turn.score for turn in turns if turn.score]
    names = dict.fromkeys(name for score in scores for name in score.terms)  # a rubric of one's own may change them
    sums = {name: sum(s.weights.get(name, 0.0) * s.terms.get(name, 0.0) for s in scores) for name in names}
    return {name: round(value, _DIGITS) for name, value in sums.items()}


def _said(episode: Episode) -> tuple[TurnResult, ...]:
    states, alliance = episode.session.states[1:], episode.session.latent.alliance
    rows = []
    for i, turn in enumerate(episode.turns):
        seen, line = turn.transition, turn.line
        after = states[i].affect if i < len(states) else episode.session.state.affect
        rows.append(
            TurnResult(
                therapist=turn.screen.utterance,
                patient=line.text if line else "",
                shown=turn.screen.shown if turn.screen.shown != turn.screen.utterance else "",
                reward=round(float(turn.reward), _DIGITS),
                affect=_rounded(after),
                alliance=round(float(seen.alliance_after if seen else alliance), _DIGITS),
                move=str(seen.move) if seen else "",
                acts=tuple(sorted(seen.appraisal.acts)) if seen else (),
                flags=tuple(turn.screen.flags),
                violations=tuple(turn.violations),
                disclosed=tuple(seen.disclosed) if seen else (),
                source=line.source if line else "",
                rejected=tuple(line.rejected) if line else (),
            )
        )
    return tuple(rows)


def _rounded(affect: Vector) -> Vector:
    introspection, temper, attitude, sensitivity = (round(float(value), _DIGITS) for value in affect)
    return introspection, temper, attitude, sensitivity


def as_line(result: SessionResult) -> str:
    """The row as one line of JSON; nan is null. ``failure`` stands in a failed one alone."""
    row = asdict(result)
    if not result.failure:
        del row["failure"]
    return json.dumps(_finite(row), ensure_ascii=False, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, float) and math.isnan(value):
        return None
    if isinstance(value, Mapping):
        return {name: _finite(inner) for name, inner in value.items()}
    return [_finite(inner) for inner in value] if isinstance(value, list | tuple) else value


def write_results(path: Path, results: Iterable[SessionResult]) -> None:
    """Writes all rows, whole or not at all; gzipped, and the same bytes each time, where the name ends in ``.gz``.

    Raises:
        OSError: the file cannot be written.
    """
    text = "".join(as_line(result) + "\n" for result in results)
    data = text.encode("utf-8")
    with whole(path) as part:
        part.write_bytes(gzip.compress(data, mtime=0) if path.suffix == ".gz" else data)


def read_results(path: str | Path, *, broken_end: bool = False) -> list[SessionResult]:
    """The rows of a file of results, ``.jsonl`` or ``.jsonl.gz``.

    Args:
        path: the file.
        broken_end: leave out a last line that was cut off, as a killed run leaves it.

    Raises:
        ConfigError: it cannot be read, or a line is no result; names the file, the line and the entry.
    """
    try:
        return list(read_rows(path, SessionResult, ConfigError, f"results {path}", broken_end=broken_end))
    except ConfigError as error:
        if ".heard is an unknown field" not in str(error):
            raise
        raise ConfigError(f"{error}; its version is 1, expected 2: play it again in another folder") from error
