"""Trains the linear heads of ``rewards.reading.heads``: acts, empathy and danger on this project's own lines, two
classes of harm on DiaSafety.

Each head is a logistic regression with an L2 penalty, fitted to its optimum. How well it does is told by five folds in
which no context is on both sides; the thresholds of the acts are chosen there too. The acts' test set
(``tests/data/acts_test.jsonl``) is not looked at.

DiaSafety: Sun et al. 2022, "On the Safety of Conversational Models", its responses labelled Safe or Unsafe in context.
    "Risk Ignorance" becomes ``ignores_risk``, "Unauthorized Expertise" ``practises_medicine``.
"""

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from therapysim.errors import ConfigError, require_count, require_number
from therapysim.files import whole
from therapysim.rewards.reading.acts import ACTS
from therapysim.rewards.reading.emotions import EmotionSensor, shipped_sensor
from therapysim.rewards.reading.features import dense_width, featurise
from therapysim.rewards.reading.heads import write_heads
from therapysim.rewards.reading.patterns import HARMFUL
from therapysim.rewards.reading.relevance import load_gold
from therapysim.rewards.terms.empathy import MECHANISMS
from therapysim.train.sensor.heads_card import heads_card

__all__ = ["DANGER", "DIASAFETY", "Example", "HeadsConfig", "Task", "gather", "train"]

Floats = NDArray[np.float32]

HERE = Path(__file__).parent
#: Head -> the class of DiaSafety whose unsafe responses it finds.
DIASAFETY = {"ignores_risk": "Risk Ignorance", "practises_medicine": "Unauthorized Expertise"}

#: The head that reads the patient's own words, given as the turn, with nothing heard before.
DANGER = "signals_danger"

# Acts that are safe answers to a danger, and those that pass it by.
_MEETS = {"risk_inquiry", "signposting", "complex_reflection", "simple_reflection", "validation", "affirmation"}
_PASSES_BY = HARMFUL | {"reassurance"}


@dataclass(frozen=True, slots=True)
class HeadsConfig:
    """Settings of the training.

    Attributes:
        data: DiaSafety as JSON lines: context, response, category, label.
        exclude: JSON lines whose contexts (``context`` and ``worse_context``) are left out of the training.
        out: where ``heads.json`` and ``heads.npz`` go.
        strength: C, the weight of the loss against the penalty ½|w|².
        turn, heard, gram: scales of the blocks of features, which set how freely each is used; flags and counts have 1,
            and what was heard has 0 where the task is not to read it.
        least: a word run must stand in this many turns of a task.
        fair: the precision that the threshold of any other act must reach there: three in four credits are to be right.
        precise: the precision that the threshold of a harmful act must reach in the folds, as far as it can.
        sure: 0 to 0.9, and no threshold of a harmful act lies below: harm must be clearly likelier than not.
        seed: of the folds.
    """

    data: str
    out: str
    exclude: str = ""
    strength: float = 1.0
    turn: float = 0.05
    heard: float = 0.02
    gram: float = 0.5
    least: int = 3
    fair: float = 0.75
    precise: float = 0.8
    sure: float = 0.6
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("strength", "turn", "heard", "gram"):
            require_number(f"heads {name}", getattr(self, name), 1e-6, 1e6)
        for name in ("fair", "precise"):
            require_number(f"heads {name}", getattr(self, name), 0.0, 1.0)
        require_number("heads sure", self.sure, 0.0, 0.9)
        require_count("heads least", self.least, 1)
        require_count("heads seed", self.seed, 0)


class Example(NamedTuple):
    """A turn, what it answers, and which heads hold."""

    heard: str
    text: str
    labels: frozenset[str]


class Task(NamedTuple):
    """Heads that are trained on the same turns.

    ``context``: whether they may read what the sensor makes of what was heard, beyond the words shared with it. Where
    one hand wrote both, it would tell them what the writer had in mind: any question put to someone in danger would
    pass for one about the danger.
    """

    names: tuple[str, ...]
    examples: list[Example]
    context: bool = False


def gather(config: HeadsConfig) -> list[Task]:
    """All tasks: the acts, the mechanisms of empathy, danger in a patient's words, and the two classes of DiaSafety.

    Raises:
        ConfigError: a file cannot be read, or all examples of a head are of one kind.
    """
    rows = _lines(HERE / "acts.jsonl", "patient", "text", "acts")
    turns = [Example(r["patient"], r["text"], frozenset(r["acts"])) for r in rows]
    acts = tuple(act for act in ACTS if act != "silence")
    replies = _lines(HERE / "empathy_levels.jsonl", "context", "response", *MECHANISMS)
    levels = [Example(r["context"], r["response"], _levels(r)) for r in replies]
    steps = tuple(f"{name}_{level}" for name in MECHANISMS for level in (1, 2))
    answers = {name: _diasafety(config, name) for name in DIASAFETY}
    harms = [Task((name,), [*found, *_own(name, turns)], context=True) for name, found in answers.items()]
    tasks = [Task(acts, turns), Task(steps, levels), _danger(answers["practises_medicine"]), *harms]
    _require_both(tasks)
    return tasks


def train(config: HeadsConfig, say: Callable[[str], None] = print) -> dict[str, Any]:
    """Fits every head, writes the two files, and returns the report that stands in the first."""
    sensor, tasks = shipped_sensor(), gather(config)
    vocabularies = [_vocabulary(task, config) for task in tasks]
    rows = {gram: i for i, gram in enumerate(sorted(set().union(*vocabularies)))}
    names = tuple(name for task in tasks for name in task.names)
    dense = np.zeros((len(names), dense_width(sensor)), dtype=np.float32)
    words = np.zeros((len(rows), len(names)), dtype=np.float32)
    bias = np.zeros(len(names), dtype=np.float32)
    report: dict[str, Any] = {}
    thresholds: dict[str, float] = {}
    for task, vocabulary in zip(tasks, vocabularies, strict=True):
        x, scale, mean = _matrix(sensor, task, vocabulary, config)
        y = np.array([[name in e.labels for name in task.names] for e in task.examples], dtype=np.float32)
        folds = _folds([e.heard or e.text for e in task.examples], config.seed)
        kept_apart = _cross_fitted(x, y, folds, config.strength)
        weight, offset = _fit(x, y, config.strength)
        weight = weight * scale[:, None]
        columns = [names.index(name) for name in task.names]
        d = dense.shape[1]
        dense[columns] = weight[:d].T
        bias[columns] = offset - mean @ weight[:d]
        words[np.ix_([rows[gram] for gram in vocabulary], columns)] = weight[d:]
        for j, name in enumerate(task.names):
            thresholds[name] = _threshold(kept_apart[:, j], y[:, j], name, config) if name in ACTS else 0.5
            report[name] = _scores(kept_apart[:, j], y[:, j], thresholds[name])
            say(f"{name:<20} " + ", ".join(f"{k} {v:.3g}" for k, v in report[name].items()))
    settings = {k: v for k, v in asdict(config).items() if k not in ("data", "out", "exclude")}
    meta = {"encoder": sensor.digest, "names": names, "thresholds": thresholds, "settings": settings, "folds": report}
    packed = {"dense": dense.astype(np.float16), "grams": words.astype(np.float16), "bias": bias}
    write_heads(config.out, meta, packed | {"vocabulary": np.array("\n".join(rows))})
    with whole(Path(config.out) / "HEADS.md") as part:
        sizes = {name: int(row["of"]) for name, row in report.items()}
        part.write_text(heads_card(report, sizes, settings), encoding="utf-8")
    return report


def _danger(medical: Sequence[Example], most: int = 300) -> Task:
    """Own lines; as lines without danger also questions to doctors and plain talk, so that neither is taken for it."""
    rows = _lines(HERE / "danger.jsonl", "text", "danger")
    own = [Example("", r["text"], frozenset({DANGER} if r["danger"] else ())) for r in rows]
    asked = [Example("", text, frozenset()) for text in list(dict.fromkeys(e.heard for e in medical))[:most]]
    plain = [Example("", text, frozenset()) for text in load_gold().background]
    return Task((DANGER,), [*own, *asked, *plain])


def _levels(reply: Mapping[str, Any]) -> frozenset[str]:
    return frozenset(f"{name}_{level}" for name in MECHANISMS for level in (1, 2) if reply[name] >= level)


def _diasafety(config: HeadsConfig, name: str) -> list[Example]:
    """The responses of one class outside the excluded contexts."""
    apart = _contexts(config.exclude) if config.exclude else set()
    found = [
        Example(row["context"], row["response"], frozenset({name} if row["label"] == "Unsafe" else ()))
        for row in _lines(Path(config.data), "context", "response", "category", "label")
        if row["category"] == DIASAFETY[name] and row["context"] not in apart
    ]
    if len({e.labels for e in found}) < 2:
        raise ConfigError(f"{config.data} has {len(found)} lines of {DIASAFETY[name]!r}, expected Safe and Unsafe ones")
    return found


def _own(name: str, turns: Sequence[Example]) -> list[Example]:
    """Turns of our own, so that the head knows therapists."""
    if name == "practises_medicine":
        return [e._replace(labels=frozenset()) for e in turns if not e.labels & {"advice", "information", *HARMFUL}]
    passed_by = [e._replace(labels=frozenset({name})) for e in turns if e.labels & HARMFUL]
    met = [e._replace(labels=frozenset()) for e in turns if e.labels & _MEETS and not e.labels & _PASSES_BY]
    return passed_by + met


def _contexts(path: str) -> set[str]:
    rows = _lines(Path(path), "context")
    return {row["context"] for row in rows} | {row["worse_context"] for row in rows if row.get("worse_context")}


def _lines(path: Path, *keys: str) -> list[dict[str, Any]]:
    try:  # not splitlines, which would also split at a line separator within a text
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line.strip()]
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read as JSON lines: {error}") from error
    for i, row in enumerate(rows, 1):
        if not isinstance(row, dict) or not row.keys() >= set(keys):
            raise ConfigError(f"{path}, entry {i} is {row!r:.99}, expected an object with {', '.join(keys)}")
    return rows


def _require_both(tasks: Sequence[Task]) -> None:
    for name, examples in ((name, task.examples) for task in tasks for name in task.names):
        n, of = sum(name in e.labels for e in examples), len(examples)
        if not 0 < n < of:
            raise ConfigError(f"head {name!r}: {n} of {of} examples have it, expected some with and some without it")


def _vocabulary(task: Task, config: HeadsConfig) -> tuple[str, ...]:
    counts = Counter(gram for found in _features(task)[1] for gram in found)
    return tuple(sorted(gram for gram, n in counts.items() if n >= config.least))


def _features(task: Task) -> tuple[Floats, list[frozenset[str]]]:
    found = featurise(shipped_sensor(), [e.heard for e in task.examples], [e.text for e in task.examples])
    return found.dense, found.grams


def _matrix(
    sensor: EmotionSensor, task: Task, vocabulary: Sequence[str], config: HeadsConfig
) -> tuple[Floats, Floats, Floats]:
    """Features (n, d + v), standardised and scaled; what turns a weight on them into one on raw features; the mean."""
    dense, grams = _features(task)
    width = sensor.width
    scale = np.ones(dense.shape[1], dtype=np.float32)
    mean = np.zeros(dense.shape[1], dtype=np.float32)
    mean[: 2 * width] = dense[:, : 2 * width].mean(axis=0)
    scale[: 2 * width] = 1.0 / (dense[:, : 2 * width].std(axis=0) + 1e-6)
    scale[:width] *= config.heard if task.context else 0.0
    scale[width : 2 * width] *= config.turn
    known = {gram: i for i, gram in enumerate(vocabulary)}
    words = np.zeros((len(dense), len(vocabulary)), dtype=np.float32)
    for row, found in zip(words, grams, strict=True):
        row[[known[gram] for gram in found if gram in known]] = config.gram
    x = np.hstack([(dense - mean) * scale, words])
    return x, np.concatenate([scale, np.full(len(vocabulary), config.gram, dtype=np.float32)]), mean


def _fit(x: Floats, y: Floats, strength: float) -> tuple[Floats, Floats]:
    """Weights (d, k) and biases (k,) of k logistic regressions: ½|w|² + C Σ loss, by L-BFGS in double precision."""
    import torch

    inputs, targets = torch.from_numpy(x).double(), torch.from_numpy(y).double()
    weight = torch.zeros(x.shape[1], y.shape[1], dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(y.shape[1], dtype=torch.float64, requires_grad=True)
    descent = torch.optim.LBFGS([weight, bias], max_iter=300, line_search_fn="strong_wolfe", tolerance_grad=1e-5)

    def loss() -> Any:
        descent.zero_grad()
        logits = inputs @ weight + bias
        fit = torch.nn.functional.binary_cross_entropy_with_logits(logits, targets, reduction="sum")
        total = strength * fit + 0.5 * (weight**2).sum()
        total.backward()
        return total

    descent.step(loss)
    return weight.detach().float().numpy(), bias.detach().float().numpy()


def _folds(groups: Sequence[str], seed: int, count: int = 5) -> NDArray[np.int64]:
    """The fold of each example; equal contexts share one."""
    distinct = sorted(set(groups))
    order = np.random.default_rng(seed).permutation(len(distinct)) % count
    fold = dict(zip(distinct, order, strict=True))
    return np.array([fold[group] for group in groups])


def _cross_fitted(x: Floats, y: Floats, folds: NDArray[np.int64], strength: float) -> Floats:
    """Probability of each label by heads that did not see the example's context."""
    found = np.zeros_like(y)
    for fold in np.unique(folds):
        apart = folds == fold
        weight, bias = _fit(x[~apart], y[~apart], strength)
        found[apart] = 1.0 / (1.0 + np.exp(-(x[apart] @ weight + bias)))
    return found


def _threshold(p: Floats, y: Floats, act: str, config: HeadsConfig) -> float:
    """The threshold of greatest F1 among those precise enough, and for a harmful act high enough, as far as any is."""
    precision = config.precise if act in HARMFUL else config.fair
    grid = [round(0.1 + 0.05 * i, 2) for i in range(17)]
    scored = [(_scores(p, y, t), t) for t in grid if t >= config.sure or act not in HARMFUL]
    enough = [(s["f1"], t) for s, t in scored if s["precision"] >= precision]
    return max(enough)[1] if enough else max((s["precision"], t) for s, t in scored)[1]


def _scores(p: Floats, y: Floats, threshold: float) -> dict[str, float]:
    found, true = p >= threshold, y > 0.5
    both = int((found & true).sum())
    _, place, ties = np.unique(p, return_inverse=True, return_counts=True)
    rank = (np.cumsum(ties) - (ties + 1) / 2)[place]  # from 0; equal probabilities share their mean rank
    n, m = int(true.sum()), int((~true).sum())
    auc = (float(rank[true].sum()) - n * (n - 1) / 2) / max(1, n * m)
    return {
        "n": n,
        "of": len(y),
        "precision": both / max(1, int(found.sum())),
        "recall": both / max(1, n),
        "f1": 2 * both / max(1, int(found.sum()) + n),
        "auc": auc,
        "threshold": threshold,
    }
