"""How a policy's implicit reward ranks answers that people judged; nothing here passes or fails.

    python -m tests.measures.implicit_reward POLICY [POLICY ...] --data FILE [FILE ...] [--batch-size 8]

The implicit reward of an answer is the log-probability that training added to it: log π(y|x) - log π_base(y|x), by
token summed, and as a mean a token, which length sways less (Rafailov et al. 2023, section 4). POLICY is a run's
``policy`` folder, an adapter on its base. Two kinds of lines are read:

    {"context", "better", "worse", "worse_context"?}    each side in its own context
    {"context", "responses": [{"kind", "text"}]}        every reflection (complex, simple) against every advice and
                                                        every question, which are closed or confronting ones

Prompts have no state header, since nobody knows these people's state. Printed for each policy and file: the share of
pairs that is ranked right, with a 95 % interval by bootstrap over contexts, and what length alone gets right.
"""

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch

from therapysim.agents.therapists.therapist import SYSTEM_PROMPT
from therapysim.models.chat_template import TurnTemplate
from therapysim.models.checkpoint import load

_DRAWS = 2000
Side = tuple[str, str]
Row = tuple[str, Side, Side]


def read(file: Path) -> list[Row]:
    """Context's group, better side and worse side, each a context and an answer."""
    rows: list[Row] = []
    for line in file.read_text(encoding="utf-8").splitlines():
        told = json.loads(line)
        context = told["context"]
        if "responses" in told:
            kinds = defaultdict(list)
            for own in told["responses"]:
                kinds[own["kind"]].append(own["text"])
            good, bad = kinds["complex"] + kinds["simple"], kinds["advice"] + kinds["question"]
            rows += [(context, (context, better), (context, worse)) for better, worse in product(good, bad)]
        else:
            other = told.get("worse_context") or context
            rows.append((context, (context, told["better"]), (other, told["worse"])))
    return rows


def scores(model: Any, tokenizer: Any, sides: Sequence[Side], size: int) -> np.ndarray:
    """Log-probability that the adapter added to each answer: summed, and a token, (n, 2)."""
    template = TurnTemplate(tokenizer, {})
    rows = []
    for context, answer in sides:
        prompt = [{"role": "system", "content": SYSTEM_PROMPT}, {"role": "user", "content": f"Patient: {context}"}]
        ids = template.prompt(prompt)
        rows.append((len(ids), ids + template.turn(answer)))
    found = np.zeros((len(rows), 2))
    order = sorted(range(len(rows)), key=lambda i: len(rows[i][1]))
    for at in range(0, len(order), size):
        part = order[at : at + size]
        own = _added(model, [rows[i] for i in part])
        for i, value in zip(part, own, strict=True):
            found[i] = value, value / (len(rows[i][1]) - rows[i][0])
    return found


@torch.no_grad()
def _added(model: Any, rows: Sequence[tuple[int, list[int]]]) -> list[float]:
    width = max(len(ids) for _, ids in rows)
    ids = torch.tensor([own + [0] * (width - len(own)) for _, own in rows], device=model.device)
    there = torch.tensor([[1] * len(own) + [0] * (width - len(own)) for _, own in rows], device=model.device)
    with_adapter = _told(model, ids, there)
    with model.disable_adapter():
        added = with_adapter - _told(model, ids, there)
    return [float(added[k, start - 1 : len(own) - 1].sum()) for k, (start, own) in enumerate(rows)]


def _told(model: Any, ids: torch.Tensor, there: torch.Tensor) -> torch.Tensor:
    """Log-probability of each next token, (n, width - 1)."""
    logits = model(input_ids=ids, attention_mask=there).logits[:, :-1].float()
    return torch.log_softmax(logits, -1).gather(-1, ids[:, 1:, None])[..., 0]


def right(better: np.ndarray, worse: np.ndarray, groups: Sequence[str]) -> dict[str, Any]:
    """Share ranked right, a tie counting one half, with an interval over contexts."""
    one = (1 + np.sign(better - worse)) / 2
    names = {name: i for i, name in enumerate(dict.fromkeys(groups))}
    where = np.array([names[name] for name in groups])
    sums, counts = np.bincount(where, one), np.bincount(where)
    draws = np.random.default_rng(0).integers(len(names), size=(_DRAWS, len(names)))
    low, high = np.quantile(sums[draws].sum(1) / counts[draws].sum(1), [0.025, 0.975])
    return {"right": round(float(one.mean()), 3), "low": round(float(low), 3), "high": round(float(high), 3)}


def main(arguments: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """Prints a line a policy and file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("policies", nargs="+", metavar="POLICY")
    parser.add_argument("--data", nargs="+", type=Path, required=True, metavar="FILE")
    parser.add_argument("--batch-size", type=int, default=8)
    chosen = parser.parse_args(arguments)
    told = []
    for policy in chosen.policies:
        gpu = torch.cuda.is_available()
        model, tokenizer = load(policy, dtype="bfloat16" if gpu else "float32")
        if not hasattr(model, "disable_adapter"):
            parser.error(f"{policy} is no adapter on a base: name a run's folder `policy`")
        model = model.to("cuda" if gpu else "cpu").eval()
        for file in chosen.data:
            rows = read(file)
            groups = [group for group, _, _ in rows]
            sides = list(dict.fromkeys(side for _, better, worse in rows for side in (better, worse)))
            found = dict(zip(sides, scores(model, tokenizer, sides, chosen.batch_size), strict=True))
            better, worse = (np.array([found[row[k]] for row in rows]) for k in (1, 2))
            words = [np.array([float(len(row[k][1].split())) for row in rows]) for k in (1, 2)]
            line = {"policy": policy, "file": file.name, "pairs": len(rows), "contexts": len(set(groups))}
            for name, (a, b) in {
                "sum": (better[:, 0], worse[:, 0]), "mean": (better[:, 1], worse[:, 1]), "longer": tuple(words),
            }.items():  # fmt: skip
                line[name] = right(a, b, groups)
            print(json.dumps(line), flush=True)
            told.append(line)
    return told


if __name__ == "__main__":
    main(sys.argv[1:])
