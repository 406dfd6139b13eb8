"""What the automated judge made of pairs, beside its baselines: the tables, and everything for a file."""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from therapysim.agents.probes.pairs import (
    Fault,
    Pair,
    Pairs,
    Row,
    Share,
    alone,
    assess,
    by_pair,
    group_numbers,
    pasts,
    sides,
)
from therapysim.agents.probes.surface import FOLDS, cross_fit, fit_apart, length, unseen, vader
from therapysim.agents.statistics.intervals import Interval
from therapysim.errors import ConfigError
from therapysim.rewards.judge import Judge, Judgement
from therapysim.rewards.rubric_settings import TERMS, RubricSettings

__all__ = ["Judged", "judge_pairs"]

Floats = NDArray[np.float64]

#: Faults of one file that are printed; ``as_dict`` keeps all of them.
_SHOWN = 20


@dataclass(frozen=True)
class Judged:
    """What came out.

    Attributes:
        files: what was read, with its place; the first holds the pairs that were judged.
        rubric: the judge's, by the name of its preset.
        settings: the same, spelt out.
        surface: what the surface regression was fitted on.
        scores: of the judge and each baseline, (n, 2), better and worse.
        judgement: the judge's, with terms and gates.
        rows: accuracy by source.
        terms: accuracy of each term alone, by source.
    """

    files: Sequence[tuple[Path, Pairs]]
    rubric: str
    settings: RubricSettings
    surface: str
    scores: Mapping[str, Floats]
    judgement: Judgement
    rows: Sequence[Row]
    terms: Mapping[str, Mapping[str, Share]]

    def tables(self, *, terms: bool = False) -> str:
        """Markdown: what was read, accuracies, differences, and if asked for each term alone."""
        told = [_heading(path, found) for path, found in self.files]
        told += [f"rubric {self.rubric!r}; surface {self.surface}", "", _accuracies(self.rows), ""]
        return "\n".join([*told, _differences(self.rows), *(["", _terms(self.terms)] if terms else [])])

    @property
    def warning(self) -> str:
        """What to say where the judge is no better than a coin; "" where it is."""
        own = self.rows[-1].accuracy["judge"]
        if own.low > 0.5:
            return ""
        few, coin = "too few pairs to tell the judge from a coin", "the judge is no better than a coin on these pairs"
        what = few if own.mean > 0.5 else coin
        return f"{what}: {_told(own)} of them right, 0.5 within or above"

    def as_dict(self) -> dict[str, Any]:
        """Every figure and score, and no text of a pair."""
        terms = {n: {source: asdict(share) for source, share in own.items()} for n, own in self.terms.items()}
        return {
            "rubric": {"name": self.rubric, "weights": self.settings.weights, "gates": list(self.settings.gates)},
            "files": [_file(*item) for item in self.files],
            "surface": self.surface,
            "results": [_figures(row) for row in self.rows],
            "terms": terms,
            "pairs": _scores(self.files[0][1], self.scores, self.judgement),
        }


def judge_pairs(files: Sequence[tuple[Path, Pairs]], rubric: str = "judge") -> Judged:
    """Judges the pairs of the first file; the surface regression is fitted on the second's, or cross-fitted.

    Raises:
        ConfigError: the rubric is unknown, or no pair of the second file is left that shares no text with the first's.
    """
    settings = RubricSettings.preset(rubric)
    own, *others = (found.pairs for _, found in files)
    fitted, how = _fitted(own, others[0] if others else None)
    judgement = Judge(settings).score(*sides(own), pasts(own))
    scores = {"judge": by_pair(judgement.scores), **_baselines(own, fitted)}
    terms = alone(own, {name: by_pair(judgement.term(name), name) for name in TERMS})
    return Judged(files, rubric, settings, how, scores, judgement, assess(own, scores), terms)


def _fitted(pairs: Sequence[Pair], others: Sequence[Pair] | None) -> tuple[Sequence[Pair] | None, str]:
    """What the surface regression is fitted on, None for no regression at all, and what to say of it."""
    if others is not None:
        kept = unseen(others, pairs)
        if not kept:
            raise ConfigError("every pair of --fit shares a context or a turn with the pairs to evaluate, expected "
                              "other pairs; leave --fit out to cross-fit")  # fmt: skip
        return kept, f"fitted on {len(kept)} other pairs; {len(others) - len(kept)} that share a text were left out"
    if len({pair.group for pair in pairs}) < 2:
        return None, "left out: pairs of one group cannot be cross-fitted; name others with --fit"
    return pairs, f"cross-fitted in {FOLDS} folds by group"


def _baselines(pairs: Sequence[Pair], fitted: Sequence[Pair] | None) -> dict[str, Floats]:
    scores = {"length": by_pair(length(*sides(pairs))), "vader": by_pair(vader(*sides(pairs)))}
    if fitted is None:
        return scores
    return {**scores, "surface": cross_fit(pairs) if fitted is pairs else fit_apart(fitted, pairs)}


def _heading(path: Path, found: Pairs) -> str:
    """How many pairs and groups a file holds, and each line of it that was skipped."""
    groups = len({pair.group for pair in found.pairs})
    lines = [f"{path.name}: {len(found.pairs)} pairs in {groups} groups, {len(found.faults)} lines skipped"]
    lines += [f"  {fault}" for fault in found.faults[:_SHOWN]]
    more = len(found.faults) - _SHOWN
    return "\n".join([*lines, *([f"  and {more} more, all of them in --out"] if more > 0 else [])])


def _accuracies(rows: Sequence[Row]) -> str:
    judges = list(rows[0].accuracy)
    return _table(
        ["accuracy", "pairs", "groups", *judges, "ties"],
        [
            [_name(r.source), str(r.pairs), str(r.groups), *(_told(r.accuracy[j]) for j in judges), _ties(r)]
            for r in rows
        ],
    )


def _ties(row: Row) -> str:
    """How many pairs each judge scores alike; each counts one half."""
    return ", ".join(f"{name} {n}" for name, n in row.ties.items() if n) or "none"


def _differences(rows: Sequence[Row]) -> str:
    others = list(rows[0].ahead)
    return _table(
        ["difference", *(f"judge - {name}" for name in others)],
        [[_name(row.source), *(_told(row.ahead[name], "+.3f") for name in others)] for row in rows],
    )


def _terms(terms: Mapping[str, Mapping[str, Share]]) -> str:
    """Accuracy, and in how many pairs the term differs."""
    sources = list(next(iter(terms.values())))
    return _table(
        ["term alone (pairs in which it differs)", *map(_name, sources)],
        [[name, *(f"{own[s].accuracy:.3f} ({own[s].differs})" if own[s].differs else "-" for s in sources)]
         for name, own in terms.items()],
    )  # fmt: skip


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _told(value: Interval, form: str = ".3f") -> str:
    bounds = "-" if math.isinf(value.low) else f"{value.low:{form}}, {value.high:{form}}"
    return f"{value.mean:{form}} [{bounds}]"


def _name(source: str) -> str:
    """A source as a cell of a Markdown table."""
    return " ".join(source.split()).replace("|", "\\|") or "(no source)"


def _file(path: Path, found: Pairs) -> dict[str, Any]:
    """Which file it was, told by its bytes, and what was skipped of it."""
    faults: Sequence[Fault] = found.faults
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return {"name": path.name, "sha256": digest, "pairs": len(found.pairs), "skipped": [asdict(f) for f in faults]}


def _figures(row: Row) -> dict[str, Any]:
    own = {"source": row.source, "pairs": row.pairs, "groups": row.groups, "ties": row.ties}
    return {**own, **{part: {name: _plain(value) for name, value in getattr(row, part).items()}
                      for part in ("accuracy", "ahead")}}  # fmt: skip


def _plain(value: Interval) -> dict[str, float | None]:
    """JSON has no inf."""
    return {part: None if math.isinf(own) else own
            for part, own in (("mean", value.mean), ("low", value.low), ("high", value.high))}  # fmt: skip


def _scores(found: Pairs, scores: Mapping[str, Floats], judgement: Judgement) -> list[dict[str, Any]]:
    """Each pair's scores, better and worse, and the gates they shut; groups by number, for a name may be a text."""
    n, numbers = len(found.pairs), group_numbers(found.pairs).tolist()
    gates = [list(turn.gates) for turn in judgement.turns]
    return [
        {"line": found.lines[i], "source": found.pairs[i].source, "group": numbers[i],
         **{name: own[i].tolist() for name, own in scores.items()}, "gates": [gates[i], gates[n + i]]}
        for i in range(n)
    ]  # fmt: skip
