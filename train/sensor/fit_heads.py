"""Trains the linear heads of ``rewards.reading.heads``: acts, empathy and danger on this project's own lines, two
classes of harm on DiaSafety.

Each head is a logistic regression with an L2 penalty, fitted to its optimum. How well it does is told by five folds in
which no context is on both sides; the thresholds of the acts are chosen there too. The acts' test set
(``tests/data/acts_test.jsonl``) is not looked at.

DiaSafety: Sun et al. 2022, "On the Safety of Conversational Models", its responses labelled Safe or Unsafe in context.
    "Risk Ignorance" becomes ``ignores_risk``, "Unauthorized Expertise" ``practises_medicine``.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict

from therapysim.errors import ConfigError
from therapysim.files import whole
from therapysim.records import Record, read_rows
from therapysim.rewards.reading.acts import ACTS
from therapysim.rewards.reading.emotions import EmotionSensor, shipped_sensor
from therapysim.rewards.reading.features import dense_width, featurise
from therapysim.rewards.reading.heads import write_heads
from therapysim.rewards.reading.patterns import HARMFUL
from therapysim.rewards.reading.relevance import load_gold
from therapysim.rewards.terms.empathy import MECHANISMS
from therapysim.train.sensor.heads_card import heads_card
from therapysim.train.sensor.sensor_settings import HeadsConfig

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


class Example(NamedTuple):
    """A turn, what it answers, and which heads hold."""

    heard: str
    text: str
    labels: frozenset[str]


class _Row(Record):
    """A line of a file; what else it holds is not read."""

    model_config = ConfigDict(extra="ignore")


class _Turn(_Row):
    patient: str
    text: str
    acts: tuple[str, ...]


class _Reply(_Row):
    context: str
    response: str
    reactions: int
    interpretations: int
    explorations: int


class _Danger(_Row):
    text: str
    danger: bool


class _Harm(_Row):
    context: str
    response: str
    category: str
    label: str


class _Apart(_Row):
    context: str
    worse_context: str | None = None


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
    own = read_rows(HERE / "acts.jsonl", _Turn, ConfigError)
    turns = [Example(row.patient, row.text, frozenset(row.acts)) for row in own]
    acts = tuple(act for act in ACTS if act != "silence")
    replies = read_rows(HERE / "empathy_levels.jsonl", _Reply, ConfigError)
    levels = [Example(row.context, row.response, _levels(row)) for row in replies]
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
    settings = config.model_dump(exclude={"data", "out", "exclude"})
    meta = {"encoder": sensor.digest, "names": names, "thresholds": thresholds, "settings": settings, "folds": report}
    packed = {"dense": dense.astype(np.float16), "grams": words.astype(np.float16), "bias": bias}
    write_heads(config.out, meta, packed | {"vocabulary": np.array("\n".join(rows))})
    with whole(Path(config.out) / "HEADS.md") as part:
        sizes = {name: int(row["of"]) for name, row in report.items()}
        part.write_text(heads_card(report, sizes, settings), encoding="utf-8")
    return report


def _danger(medical: Sequence[Example], most: int = 300) -> Task:
    """Own lines; as lines without danger also questions to doctors and plain talk, so that neither is taken for it."""
    rows = read_rows(HERE / "danger.jsonl", _Danger, ConfigError)
    own = [Example("", row.text, frozenset({DANGER} if row.danger else ())) for row in rows]
    asked = [Example("", text, frozenset()) for text in list(dict.fromkeys(e.heard for e in medical))[:most]]
    plain = [Example("", text, frozenset()) for text in load_gold().background]
    return Task((DANGER,), [*own, *asked, *plain])


def _levels(reply: _Reply) -> frozenset[str]:
    return frozenset(f"{name}_{level}" for name in MECHANISMS for level in (1, 2) if getattr(reply, name) >= level)


def _diasafety(config: HeadsConfig, name: str) -> list[Example]:
    """The responses of one class outside the excluded contexts."""
    apart = _contexts(config.exclude) if config.exclude else set()
    found = [
        Example(row.context, row.response, frozenset({name} if row.label == "Unsafe" else ()))
        for row in read_rows(config.data, _Harm, ConfigError)
        if row.category == DIASAFETY[name] and row.context not in apart
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
    rows = read_rows(path, _Apart, ConfigError)
    return {text for row in rows for text in (row.context, row.worse_context or row.context)}


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
