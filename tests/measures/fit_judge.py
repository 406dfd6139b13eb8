"""How the weights of the rubric's ``judge`` preset were found.

    python -m tests.measures.fit_judge --data PAIRS/dev.jsonl --pair PAIR/train.jsonl

Logistic regression on the differences between the better and the worse turn's terms, weights at least 0, pulled towards
a prior that says how much each term seemed worth before any pair was seen. Each source of pairs counts alike. Fitted on
the pairs given, on PAIR's training half (a reflection over a question, advice and anything else; a complex over a
simple one), and on this project's own (``tests/data/pairs.jsonl``); printed beside it: the accuracy on each source by
weights that were fitted without that source, among pairs of like length, and how the score goes with length (Spearman).
"""

import argparse
import json
from collections.abc import Sequence
from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.stats import spearmanr

from therapysim.agents.probes.pair_files import read_pairs
from therapysim.agents.probes.pairs import Pair
from therapysim.rewards.judge import Judge
from therapysim.rewards.rubric_settings import PRESETS

Floats = NDArray[np.float64]

#: Before any pair was seen: graded harms and the techniques count alike, single faults of form less.
PRIOR = {
    "safety": 0.25, "risk": 0.5, "neglect": 1.0, "harm": 1.0, "medical_advice": 1.0, "invalidation": 1.0,
    "toxic_positivity": 1.0, "reassurance": 0.5, "alignment": 0.25, "tone": 0.5, "injection": 1.0, "reactions": 1.0,
    "interpretations": 1.0, "explorations": 1.0, "inquiry": 1.0, "uptake": 0.5, "addition": 0.5, "reflection": 1.0,
    "relevance": 0.5, "length": 0.25, "one_question": 0.5,
}  # fmt: skip


def differences(pairs: Sequence[Pair]) -> Floats:
    """Terms of the better turn less those of the worse one, shape (n, len(PRIOR))."""
    judge = Judge()
    better = judge.score([p.context for p in pairs], [p.better for p in pairs])
    worse = judge.score([p.worse_context or p.context for p in pairs], [p.worse for p in pairs])
    return np.stack([better.term(name) - worse.term(name) for name in PRIOR], axis=1)


def reflections(path: Path) -> list[Pair]:
    """PAIR's responses to one prompt as pairs: a reflection over whatever is none, a complex one over a simple one."""
    found = []
    for prompt in map(json.loads, path.read_text(encoding="utf-8").splitlines()):
        for better, worse in product(prompt["responses"], prompt["responses"]):
            if _RANK[better["kind"]] > _RANK[worse["kind"]]:
                source = f"pair_{worse['kind']}"
                found.append(Pair(prompt["context"], better["text"], worse["text"], source=source))
    return found


#: Kinds of PAIR; questions, advice and anything else are not compared.
_RANK = {"complex": 2, "simple": 1, "question": 0, "advice": 0, "other": 0}


def length_gap(pairs: Sequence[Pair]) -> NDArray[np.int64]:
    """Words of the better turn less those of the worse, shape (n,)."""
    return np.array([len(pair.better.split()) - len(pair.worse.split()) for pair in pairs])


def fit(x: Floats, sources: NDArray[np.str_], pull: float) -> Floats:
    """Weights of at least 0, shape (len(PRIOR),)."""
    share = np.array([100.0 / (sources == source).sum() for source in sources])
    prior = np.array(list(PRIOR.values()))

    def loss(w: Floats) -> tuple[float, Floats]:
        z = x @ w
        fall = -x.T @ (share / (1.0 + np.exp(z)))
        return float(share @ np.logaddexp(0.0, -z) + pull * ((w - prior) ** 2).sum()), fall + 2 * pull * (w - prior)

    return np.asarray(minimize(loss, prior, jac=True, bounds=[(0, None)] * len(prior), method="L-BFGS-B").x)


def accuracy(scores: Floats) -> float:
    """Share of pairs in order; half for a tie."""
    return float(np.mean((scores > 1e-9) + 0.5 * (np.abs(scores) <= 1e-9)))


def main() -> None:
    """Prints the weights, and the accuracy on each source under several sets of weights."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="pairs labelled by people, JSON lines")
    parser.add_argument("--pair", type=Path, required=True, help="PAIR's training half, JSON lines")
    parser.add_argument("--pull", type=float, default=5.0, help="how strongly the prior pulls, default 5")
    chosen = parser.parse_args()
    own = Path(__file__).parents[1] / "data" / "pairs.jsonl"
    pairs = [*read_pairs(chosen.data).pairs, *reflections(chosen.pair), *read_pairs(own).pairs]
    x, sources = differences(pairs), np.array([pair.source for pair in pairs])
    everything = fit(x, sources, chosen.pull)
    shipped = np.array([PRESETS["judge"].weights[name] for name in PRIOR])
    print("weights:", ", ".join(f"{name}={w:.2f}" for name, w in zip(PRIOR, everything, strict=True)))
    gap = length_gap(pairs)
    print("| source | n | prior | all sources | without this source | preset | of like length | with length |")
    print("|---|---|---|---|---|---|---|---|")
    for source in dict.fromkeys(sources):
        rows = sources == source
        without = fit(x[~rows], sources[~rows], chosen.pull)
        columns = [accuracy(x[rows] @ w) for w in (np.array(list(PRIOR.values())), everything, without, shipped)]
        like = rows & (np.abs(gap) <= 5)
        columns += [accuracy(x[like] @ shipped), float(spearmanr(x[rows] @ shipped, gap[rows]).statistic)]
        print(f"| {source} | {rows.sum()} | " + " | ".join(f"{value:.3f}" for value in columns) + " |")


if __name__ == "__main__":
    main()
