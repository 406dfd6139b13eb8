"""What a benchmark keeps of a session: one row with its measures, and the transcript behind every number."""

import gzip
import json
import math
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from therapysim.agents.bench.measures import MEASURES, RATES, Measure, measures_of, shifts
from therapysim.agents.sessions.episode import Episode
from therapysim.envs.session import Turn
from therapysim.errors import ConfigError
from therapysim.files import whole
from therapysim.rewards.matrix import DIMENSIONS

__all__ = ["MEASURES", "Measure", "Result", "Said", "read_results", "result_of", "write_results"]

_DIGITS = 5


@dataclass(frozen=True, slots=True)
class Said:
    """One therapist turn and the patient's answer to it.

    Attributes:
        therapist, patient: their words; the patient's are "" where it failed.
        heard: what the patient was shown of the turn where that differs, else "".
        affect: e_t after it, each in [-1, 1].
        alliance: after it, in [0, 1].
        move: what the answer does.
        acts, flags, violations: what kind of turn it was, what the screen found, why it was unsafe.
        disclosed: ids of the facts told.
        source, rejected: who worded the answer, and why earlier draws were refused.
    """

    therapist: str
    patient: str
    heard: str
    reward: float
    affect: tuple[float, ...]
    alliance: float
    move: str
    acts: tuple[str, ...]
    flags: tuple[str, ...]
    violations: tuple[str, ...]
    disclosed: tuple[str, ...]
    source: str
    rejected: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Result:
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
    """

    policy: str
    simulator: str
    persona: str
    split: str
    diagnosis: str
    severity: str
    risk: int
    seed: int
    ending: str
    failed: bool
    measures: dict[str, float]
    terms: dict[str, float]
    weakest: str
    opening: str
    affect: tuple[float, ...]
    turns: tuple[Said, ...] = field(repr=False)

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


def result_of(policy: str, simulator: str, episode: Episode, tokens: tuple[int, int] = (0, 0)) -> Result:
    """The row of one finished session.

    Args:
        policy, simulator: who spoke.
        episode: the session and its turns.
        tokens: read and written by the policy's model.
    """
    session, who = episode.session, episode.session.persona
    shift = shifts(session)
    measures = dict.fromkeys(MEASURES, math.nan) if session.failed else measures_of(episode, shift, tokens)
    lost = not session.failed and (measures["polarity"] < 0 or session.ending == "rupture")
    return Result(
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
    )


def _terms(turns: Sequence[Turn]) -> dict[str, float]:
    scores = [turn.score for turn in turns if turn.score]
    names = scores[0].terms if scores else ()
    sums = {name: sum(score.weights[name] * score.terms[name] for score in scores) for name in names}
    return {name: round(value, _DIGITS) for name, value in sums.items()}


def _said(episode: Episode) -> tuple[Said, ...]:
    states, alliance = episode.session.states[1:], episode.session.latent.alliance
    rows = []
    for i, turn in enumerate(episode.turns):
        seen, line = turn.transition, turn.line
        after = states[i].affect if i < len(states) else episode.session.state.affect
        rows.append(
            Said(
                therapist=turn.screen.text,
                patient=line.text if line else "",
                heard=turn.screen.heard if turn.screen.heard != turn.screen.text else "",
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


def _rounded(values: Iterable[float]) -> tuple[float, ...]:
    return tuple(round(float(value), _DIGITS) for value in values)


def as_line(result: Result) -> str:
    """The row as one line of JSON; nan is null."""
    return json.dumps(_finite(asdict(result)), ensure_ascii=False, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, float) and math.isnan(value):
        return None
    if isinstance(value, Mapping):
        return {name: _finite(inner) for name, inner in value.items()}
    return [_finite(inner) for inner in value] if isinstance(value, list | tuple) else value


def write_results(path: Path, results: Iterable[Result]) -> None:
    """Writes all rows, whole or not at all; gzipped, and the same bytes each time, where the name ends in ``.gz``.

    Raises:
        OSError: the file cannot be written.
    """
    text = "".join(as_line(result) + "\n" for result in results)
    data = text.encode("utf-8")
    with whole(path) as part:
        part.write_bytes(gzip.compress(data, mtime=0) if path.suffix == ".gz" else data)


def read_results(path: str | Path, *, broken_end: bool = False) -> list[Result]:
    """The rows of a file of results, ``.jsonl`` or ``.jsonl.gz``.

    Args:
        path: the file.
        broken_end: leave out a last line that was cut off, as a killed run leaves it.

    Raises:
        ConfigError: it cannot be read, or a line is no result; names the file and the line.
    """
    file = Path(path)
    try:
        data = file.read_bytes()
        text = (gzip.decompress(data) if file.suffix == ".gz" else data).decode("utf-8", "replace")
    except (OSError, EOFError, zlib.error) as error:
        raise ConfigError(
            f"results {file} cannot be read: {error}; give a file that `therapysim bench` wrote"
        ) from error
    lines = text.split("\n")
    if lines[-1] and not broken_end:
        raise ConfigError(f"results {file}: line {len(lines)} is cut off; run the same `therapysim bench` again")
    return [_read_line(line, file, i) for i, line in enumerate(lines[:-1], 1) if line.strip()]


def _read_line(line: str, file: Path, number: int) -> Result:
    try:
        row = json.loads(line)
        turns = tuple(Said(**{name: _tuples(value) for name, value in turn.items()}) for turn in row.pop("turns"))
        measures = {name: math.nan if value is None else float(value) for name, value in row.pop("measures").items()}
        affect = tuple(row.pop("affect"))
        result = Result(**row, measures=measures, affect=affect, turns=turns)
        _check(result)
        return result
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ConfigError(
            f"results {file}: line {number} is no result ({error}); give a file that `therapysim bench` wrote"
        ) from error


def _check(result: Result) -> None:
    """Refuses entries of the wrong kind, which would fail far from here.

    Raises:
        ValueError: names the entry.
    """
    for place, value, kind in _kinds(result):
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise ValueError(f"{place} is {value!r}, expected {getattr(kind, '__name__', 'a number')}")
    if set(result.measures) != set(MEASURES):
        raise ValueError(f"measures lack or add {', '.join(sorted(set(result.measures) ^ set(MEASURES)))}")
    numbers = [*result.terms.values(), *result.affect, *(x for said in result.turns for x in said.affect)]
    if not all(map(math.isfinite, numbers)) or any(map(math.isinf, result.measures.values())):
        raise ValueError("a number is not finite")
    if any(len(affect) != len(DIMENSIONS) for affect in (result.affect, *(said.affect for said in result.turns))):
        raise ValueError(f"affect has not {len(DIMENSIONS)} numbers")
    if any(not 0 <= result.measures[name] <= 1 for name in RATES if not math.isnan(result.measures[name])):
        raise ValueError(f"one of {', '.join(sorted(RATES))} lies outside 0 to 1")


def _kinds(result: Result) -> Iterator[tuple[str, Any, Any]]:
    """Entry, value and kind of all that later code relies on."""
    for name in ("policy", "simulator", "persona", "split", "diagnosis", "severity", "ending", "weakest", "opening"):
        yield name, getattr(result, name), str
    yield from (("risk", result.risk, int), ("seed", result.seed, int), ("failed", result.failed, bool))
    yield from ((f"terms.{name}", value, int | float) for name, value in result.terms.items())
    yield from (("affect", value, int | float) for value in result.affect)
    for i, said in enumerate(result.turns):
        for name in ("therapist", "patient", "heard", "move", "source"):
            yield f"turns[{i}].{name}", getattr(said, name), str
        yield from ((f"turns[{i}].{name}", getattr(said, name), int | float) for name in ("reward", "alliance"))
        yield from ((f"turns[{i}].affect", value, int | float) for value in said.affect)
        for name in ("acts", "flags", "violations", "disclosed", "rejected"):
            yield f"turns[{i}].{name}", getattr(said, name), tuple
            yield from ((f"turns[{i}].{name}", value, str) for value in getattr(said, name))


def _tuples(value: Any) -> Any:
    if value is None:
        return math.nan
    return tuple(value) if isinstance(value, list) else value
