"""``therapysim judge``: how often the automated judge prefers the turn that is known to be better."""

import argparse
import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from therapysim.cli.options import keep, require_place
from therapysim.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from therapysim.agents.probes.pairs import Fault, Pair, Pairs, Row, Share
    from therapysim.agents.statistics.intervals import Interval
    from therapysim.rewards.judge import Judgement
    from therapysim.rewards.rubric import RubricSettings

    Floats = NDArray[np.float64]

__all__ = ["add_judge_command"]

#: Faults of one file that are printed; --out keeps all of them.
_SHOWN = 20


def add_judge_command(commands: Any) -> None:
    """Adds ``therapysim judge``."""
    parser = commands.add_parser(
        "judge",
        help="how often the automated judge prefers the better turn of a pair, beside length, VADER and surface",
    )
    parser.add_argument(
        "pairs", type=Path, metavar="PAIRS.jsonl",
        help="a pair a line: context, better, worse; if need be worse_context, source, group",
    )  # fmt: skip
    parser.add_argument("--rubric", default="judge", metavar="NAME", help="judge (default), default, grpo or user")
    parser.add_argument(
        "--fit", type=Path, metavar="DEV.jsonl",
        help="pairs to fit the surface regression on; default: cross-fitted on PAIRS.jsonl",
    )  # fmt: skip
    parser.add_argument("--terms", action="store_true", help="show each term of the rubric as the only judge")
    parser.add_argument("--out", type=Path, metavar="FILE.json", help="keep every figure and score; no text of a pair")
    parser.set_defaults(run=run_judge)


def run_judge(chosen: argparse.Namespace) -> None:
    """Reads the pairs, scores them, writes the file, and prints the tables."""
    import vaderSentiment  # type: ignore[import-untyped]  # noqa: F401 - to be named before the work, if it is missing

    from therapysim.agents.probes.pairs import alone, assess, by_pair, read_pairs, sides
    from therapysim.rewards.judge import Judge
    from therapysim.rewards.rubric import TERMS, RubricSettings

    settings = RubricSettings.preset(chosen.rubric)
    _refuse_inputs(chosen)
    require_place(chosen.out)
    files = {path: read_pairs(path) for path in (chosen.pairs, chosen.fit) if path}
    pairs = files[chosen.pairs].pairs
    fitted, how = _fitted(pairs, files[chosen.fit].pairs if chosen.fit else None)
    judgement = Judge(settings).score(*sides(pairs))
    scores = {"judge": by_pair(judgement.scores), **_baselines(pairs, fitted)}
    rows, terms = assess(pairs, scores), alone(pairs, {name: by_pair(judgement.term(name), name) for name in TERMS})
    told = [_heading(path, found) for path, found in files.items()]
    told += [f"rubric {chosen.rubric!r}; surface {how}", "", _accuracies(rows), "", _differences(rows)]
    told += ["", _terms(terms)] if chosen.terms else []
    keep(chosen.out, {
        "rubric": _rubric(chosen.rubric, settings), "files": [_file(*item) for item in files.items()], "surface": how,
        "results": [_figures(row) for row in rows],
        "terms": {name: {source: asdict(share) for source, share in own.items()} for name, own in terms.items()},
        "pairs": _scores(files[chosen.pairs], scores, judgement),
    })  # fmt: skip
    print("\n".join(told))


def _refuse_inputs(chosen: argparse.Namespace) -> None:
    """Refuses to write over what is read."""
    for path in (chosen.pairs, chosen.fit):
        if path and chosen.out and chosen.out.exists() and path.exists() and chosen.out.samefile(path):
            raise ConfigError(f"--out is {chosen.out}, which holds the pairs, expected another file; name a new one")


def _fitted(pairs: "Sequence[Pair]", others: "Sequence[Pair] | None") -> "tuple[Sequence[Pair] | None, str]":
    """What the surface regression is fitted on, None for no regression at all, and what to say of it."""
    from therapysim.agents.probes.surface import FOLDS, unseen

    if others is not None:
        kept = unseen(others, pairs)
        if not kept:
            raise ConfigError("every pair of --fit shares a context or a turn with the pairs to evaluate, expected "
                              "other pairs; leave --fit out to cross-fit")  # fmt: skip
        return kept, f"fitted on {len(kept)} other pairs; {len(others) - len(kept)} that share a text were left out"
    if len({pair.group for pair in pairs}) < 2:
        return None, "left out: pairs of one group cannot be cross-fitted; name others with --fit"
    return pairs, f"cross-fitted in {FOLDS} folds by group"


def _baselines(pairs: "Sequence[Pair]", fitted: "Sequence[Pair] | None") -> "dict[str, Floats]":
    from therapysim.agents.probes.pairs import by_pair, sides
    from therapysim.agents.probes.surface import cross_fit, fit_apart, length, vader

    scores = {"length": by_pair(length(*sides(pairs))), "vader": by_pair(vader(*sides(pairs)))}
    if fitted is None:
        return scores
    return {**scores, "surface": cross_fit(pairs) if fitted is pairs else fit_apart(fitted, pairs)}


def _heading(path: Path, found: "Pairs") -> str:
    """How many pairs and groups a file holds, and each line of it that was skipped."""
    groups = len({pair.group for pair in found.pairs})
    lines = [f"{path.name}: {len(found.pairs)} pairs in {groups} groups, {len(found.faults)} lines skipped"]
    lines += [f"  {fault}" for fault in found.faults[:_SHOWN]]
    more = len(found.faults) - _SHOWN
    return "\n".join([*lines, *([f"  and {more} more, all of them in --out"] if more > 0 else [])])


def _accuracies(rows: "Sequence[Row]") -> str:
    judges = list(rows[0].accuracy)
    return _table(
        ["accuracy", "pairs", "groups", *judges],
        [[_name(r.source), str(r.pairs), str(r.groups), *(_told(r.accuracy[j]) for j in judges)] for r in rows],
    )


def _differences(rows: "Sequence[Row]") -> str:
    others = list(rows[0].ahead)
    return _table(
        ["difference", *(f"judge - {name}" for name in others)],
        [[_name(row.source), *(_told(row.ahead[name], "+.3f") for name in others)] for row in rows],
    )


def _terms(terms: "Mapping[str, Mapping[str, Share]]") -> str:
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


def _told(value: "Interval", form: str = ".3f") -> str:
    bounds = "-" if math.isnan(value.low) else f"{value.low:{form}}, {value.high:{form}}"
    return f"{value.mean:{form}} [{bounds}]"


def _name(source: str) -> str:
    """A source as a cell of a Markdown table."""
    return " ".join(source.split()).replace("|", "\\|") or "(no source)"


def _rubric(name: str, settings: "RubricSettings") -> dict[str, Any]:
    return {"name": name, "weights": settings.weights, "gates": list(settings.gates)}


def _file(path: Path, found: "Pairs") -> dict[str, Any]:
    """Which file it was, told by its bytes, and what was skipped of it."""
    faults: Sequence[Fault] = found.faults
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return {"name": path.name, "sha256": digest, "pairs": len(found.pairs), "skipped": [asdict(f) for f in faults]}


def _figures(row: "Row") -> dict[str, Any]:
    own = {"source": row.source, "pairs": row.pairs, "groups": row.groups}
    return {**own, **{part: {name: _plain(value) for name, value in getattr(row, part).items()}
                      for part in ("accuracy", "ahead")}}  # fmt: skip


def _plain(value: "Interval") -> dict[str, float | None]:
    """JSON has no nan."""
    return {part: None if math.isnan(own) else own
            for part, own in (("mean", value.mean), ("low", value.low), ("high", value.high))}  # fmt: skip


def _scores(found: "Pairs", scores: "Mapping[str, Floats]", judgement: "Judgement") -> list[dict[str, Any]]:
    """Each pair's scores, better and worse, and the gates they shut; groups by number, for a name may be a text."""
    from therapysim.agents.probes.pairs import group_numbers

    n, numbers = len(found.pairs), group_numbers(found.pairs).tolist()
    gates = [list(turn.gates) for turn in judgement.turns]
    return [
        {"line": found.lines[i], "source": found.pairs[i].source, "group": numbers[i],
         **{name: own[i].tolist() for name, own in scores.items()}, "gates": [gates[i], gates[n + i]]}
        for i in range(n)
    ]  # fmt: skip
