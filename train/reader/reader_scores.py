"""Thresholds and figures of the reader, from readings of turns by networks that did not learn from them."""

import zlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from therapysim.rewards.reading.acts import ANY_HARM, ANY_REFLECTION
from therapysim.rewards.terms.empathy import MECHANISMS
from therapysim.train.reader.reader_data import NAMES, Example

__all__ = ["level_f1", "pair_accuracy", "pick_thresholds", "scores_of", "table_of"]

Floats = NDArray[np.float32]

#: Seen in real talk, whose reflections are less sure than written ones, so that more must pass; and in which more turns
#: look like information and advice than are, so that fewer may.
_BETA = {ANY_REFLECTION: 3.0, "information": 0.5, "psychoeducation": 0.5, "advice": 0.5}
#: A threshold counts against the median of all as much as this many examples do that have the name.
_PULL = 200
_GRID = tuple(round(0.02 * i, 2) for i in range(1, 48))


def pick_thresholds(p: Floats, examples: Sequence[Example], false_alarms: float) -> dict[str, float]:
    """name -> threshold: of greatest F, pulled to the median of all, the rarer the more.

    Any harm's is set by the harmless turns that pass it; no turn is harmful by that alone.

    Args:
        p: probabilities (n, k), columns as ``NAMES``.
        examples: what is known of each row; a name that is told of none keeps 0.5.
        false_alarms: share of the harmless own turns in which any harm may be found.
    """
    told = {name: _told(p, examples, name) for name in NAMES}
    best = {name: _of_greatest_f(*told[name], _BETA.get(name, 1.0)) for name in NAMES}
    middle, found = float(np.median(list(best.values()))), {}
    for name, threshold in best.items():
        n = int(told[name][1].sum())
        found[name] = round((n * threshold + _PULL * middle) / (n + _PULL), 3)
    harmless = [p[i, NAMES.index(ANY_HARM)] for i, e in enumerate(examples) if e.labels.get(ANY_HARM) is False]
    if harmless:
        found[ANY_HARM] = round(float(np.quantile(harmless, 1.0 - false_alarms)) + 1e-3, 3)
    return found


def scores_of(p: Floats, examples: Sequence[Example], thresholds: Mapping[str, float]) -> dict[str, dict[str, Any]]:
    """name -> n, of, precision, recall, F1 and AUC, for every name that some examples tell."""
    found = {}
    for name in NAMES:
        chances, true = _told(p, examples, name)
        if 0 < true.sum() < len(true):
            found[name] = _scores(chances, true, thresholds[name])
    return found


def table_of(scores: Mapping[str, Mapping[str, Any]]) -> str:
    """The figures as rows of a Markdown table."""
    head = "| name | n | of | threshold | precision | recall | F1 | AUC |\n|---|---|---|---|---|---|---|---|"
    rows = [
        f"| {name} | {s['n']} | {s['of']} | {s['threshold']:.2f} | {s['precision']:.2f} | {s['recall']:.2f} | "
        f"{s['f1']:.2f} | {s['auc']:.3f} |"
        for name, s in scores.items()
    ]
    return "\n".join([head, *rows])


def pair_accuracy(p: Floats, examples: Sequence[Example]) -> dict[str, float]:
    """PAIR: share of a prompt's pairs in which the reflection looks more like one than the question, or the advice."""
    column = NAMES.index(ANY_REFLECTION)
    by_prompt: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row, example in zip(p, examples, strict=True):
        source, _, kind = example.source.partition("/")
        if source == "pair":
            by_prompt[example.heard]["reflection" if kind in ("simple", "complex") else kind].append(float(row[column]))
    found = {}
    for kind in ("question", "advice"):
        won = [a > b for kinds in by_prompt.values() for a in kinds["reflection"] for b in kinds[kind]]
        if won:
            found[f"reflection over {kind}"] = float(np.mean(won))
    return found


def level_f1(p: Floats, examples: Sequence[Example]) -> dict[str, float]:
    """EPITOME: macro-F1 of the three levels of each mechanism; the two cuts chosen on the other half, by context."""
    rows = [i for i, example in enumerate(examples) if example.source == "epitome"]
    half = np.array([zlib.crc32(examples[i].heard.encode()) % 2 for i in rows])
    found = {}
    for mechanism in MECHANISMS:
        columns = [NAMES.index(f"{mechanism}_{level}") for level in (1, 2)]
        chances = p[rows][:, columns]
        true = np.array([sum(examples[i].labels[f"{mechanism}_{level}"] for level in (1, 2)) for i in rows])
        said = np.zeros(len(rows), dtype=int)
        for part in (0, 1):
            apart = half == part
            if apart.all() or not apart.any():
                return {}
            cuts = max(product(_GRID[::2], _GRID[::2]), key=lambda c: _macro(_level(chances[~apart], c), true[~apart]))
            said[apart] = _level(chances[apart], cuts)
        found[mechanism] = _macro(said, true)
    return found


def _level(chances: Floats, cuts: tuple[float, float]) -> NDArray[np.int64]:
    """0 below the first cut, 2 where the second is passed too, else 1."""
    weak = chances[:, 0] >= cuts[0]
    return np.asarray(weak.astype(int) + (weak & (chances[:, 1] >= cuts[1])), dtype=np.int64)


def _macro(said: NDArray[np.int64], true: NDArray[np.int64]) -> float:
    both = [
        2 * int(((said == k) & (true == k)).sum()) / max(1, int((said == k).sum() + (true == k).sum()))
        for k in range(3)
    ]
    return float(np.mean(both))


def _told(p: Floats, examples: Sequence[Example], name: str) -> tuple[Floats, NDArray[np.bool_]]:
    rows = [i for i, example in enumerate(examples) if name in example.labels]
    return p[rows, NAMES.index(name)], np.array([examples[i].labels[name] for i in rows], dtype=bool)


def _of_greatest_f(chances: Floats, true: NDArray[np.bool_], beta: float) -> float:
    if not 0 < true.sum() < len(true):
        return 0.5
    return max(_GRID, key=lambda t: (_f(chances >= t, true, beta), -abs(t - 0.4)))


def _f(found: NDArray[np.bool_], true: NDArray[np.bool_], beta: float) -> float:
    """F-beta: recall counts beta times as much as precision."""
    both, weight = int((found & true).sum()), beta * beta
    return (1 + weight) * both / max(1.0, float(found.sum()) + weight * float(true.sum()))


def _scores(chances: Floats, true: NDArray[np.bool_], threshold: float) -> dict[str, Any]:
    found = chances >= threshold
    both, n, m = int((found & true).sum()), int(true.sum()), int((~true).sum())
    _, place, ties = np.unique(chances, return_inverse=True, return_counts=True)
    rank = (np.cumsum(ties) - (ties + 1) / 2)[place]  # from 0; equal chances share their mean rank
    return {
        "n": n,
        "of": len(true),
        "precision": both / max(1, int(found.sum())),
        "recall": both / max(1, n),
        "f1": 2 * both / max(1, int(found.sum()) + n),
        "auc": (float(rank[true].sum()) - n * (n - 1) / 2) / max(1, n * m),
        "threshold": threshold,
    }
