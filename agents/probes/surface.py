"""What a judge of turns must beat: their length, their sentiment, and a regression on their surface.

Sentiment is VADER's, from the extra ``report``.
"""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np
from numpy.typing import NDArray

from therapysim.agents.probes.pairs import Pair, sides
from therapysim.errors import ConfigError

__all__ = ["FEATURES", "FOLDS", "LEAST", "Surface", "cross_fit", "features", "fit_apart", "length", "unseen", "vader"]

Floats = NDArray[np.float64]

#: What the regression sees of a turn.
FEATURES = (
    "log_words", "questions", "exclamations", "first_person", "second_person", "word_length", "capitals", "digits",
    "starts_with_i", "sorry", "vader",
)  # fmt: skip

#: Folds of the cross-fitting.
FOLDS = 5

#: A source of fewer pairs has no regression of its own.
LEAST = 20

_WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)*")
_FIRST = frozenset("i me my mine myself we us our ours ourselves".split())
_SECOND = frozenset("you your yours yourself yourselves".split())


def length(contexts: Sequence[str], responses: Sequence[str]) -> Floats:
    """Words of each turn, (n,). That fewer are better is right on 1 - accuracy of the pairs."""
    return np.array([len(response.split()) for response in responses], dtype=np.float64)


def vader(contexts: Sequence[str], responses: Sequence[str]) -> Floats:
    """VADER's compound score of each turn, (n,) in [-1, 1]. Source: Hutto & Gilbert 2014."""
    return np.array([_compound()(response) for response in responses], dtype=np.float64)


def features(responses: Sequence[str]) -> Floats:
    """FEATURES of each turn, (n, 11)."""
    rows = [_features(response) for response in responses]
    return np.array(rows, dtype=np.float64).reshape(-1, len(FEATURES))


@dataclass(frozen=True, eq=False)
class Surface:
    """A logistic regression on the differences of two turns' features, with no intercept: a ``Scorer``.

    Attributes:
        weights: one for each of FEATURES, (11,).

    Source: Bradley & Terry 1952, with covariates.
    """

    weights: Floats

    @classmethod
    def fit(cls, drawn: Floats, ridge: float = 1.0) -> "Surface":
        """Fits ½ · ridge · |w|² + Σ log(1 + exp(-w·d)) to its optimum, d the standardised differences.

        Args:
            drawn: the features of n pairs, (n, 2, 11), better and worse.
            ridge: the penalty, above 0.
        """
        scale = drawn.reshape(-1, drawn.shape[-1]).std(axis=0)
        scale[scale < 1e-12] = 1.0  # a feature that never changes says nothing
        return cls(_newton((drawn[:, 0] - drawn[:, 1]) / scale, ridge) / scale)

    def of(self, drawn: Floats) -> Floats:
        """The scores of features, shape (..., 11) -> (...); equal features score equal, wherever they stand."""
        scores: Floats = (drawn * self.weights).sum(axis=-1)  # a matrix product may round by place, and so undo ties
        return scores

    def __call__(self, contexts: Sequence[str], responses: Sequence[str]) -> Floats:
        """The score of each turn, (n,); contexts are not looked at."""
        return self.of(features(responses))


def cross_fit(pairs: Sequence[Pair]) -> Floats:
    """Surface scores, (n, 2), each by a regression that saw no pair of the same group.

    A source of LEAST pairs or more has its own regression; those of the others are fitted on all sources.

    Raises:
        ConfigError: all pairs are of one group.
    """
    folds, drawn, sources = _folds(pairs), _drawn(pairs), _sources(pairs)
    if len(np.unique(folds)) < 2:
        raise ConfigError("pairs of one group cannot be cross-fitted, expected two groups; fit on other pairs")
    scores, large = np.empty((len(pairs), 2)), _large(pairs)
    for fold in np.unique(folds):
        held = folds == fold
        scores[held] = _by_source(drawn[~held], sources[~held], drawn[held], sources[held], large)
    return scores


def fit_apart(fitted: Sequence[Pair], pairs: Sequence[Pair]) -> Floats:
    """Surface scores of ``pairs``, (n, 2), by regressions on other pairs, by source as in ``cross_fit``.

    Raises:
        ConfigError: there is nothing to fit on.
    """
    if not fitted:
        raise ConfigError("no pair to fit the surface regression on, expected at least one that is not evaluated")
    return _by_source(_drawn(fitted), _sources(fitted), _drawn(pairs), _sources(pairs), _large(fitted))


def unseen(fitted: Sequence[Pair], pairs: Sequence[Pair]) -> list[Pair]:
    """Those of ``fitted`` that share no context and no turn with ``pairs``, whatever the case and spaces."""
    known = {text for pair in pairs for text in _texts(pair)}
    return [pair for pair in fitted if not known & _texts(pair)]


def _texts(pair: Pair) -> set[str]:
    texts = (pair.context, pair.worse_context, pair.better, pair.worse)
    return {text for text in (" ".join(own.lower().split()) for own in texts) if text}


def _by_source(
    fitted: Floats, of_fitted: NDArray[np.object_], drawn: Floats, of_drawn: NDArray[np.object_], large: frozenset[str]
) -> Floats:
    """Scores, (n, 2), of each source's pairs by its own regression where it is large, or else by that of all."""
    scores = np.empty(drawn.shape[:2])
    for source in np.unique(of_drawn):
        mine = of_fitted == source
        own = fitted[mine] if source in large and mine.any() else fitted
        scores[of_drawn == source] = Surface.fit(own).of(drawn[of_drawn == source])
    return scores


def _folds(pairs: Sequence[Pair]) -> NDArray[np.int64]:
    """The fold of each pair, (n,): groups in random order, dealt out source by source; lines may stand in any order."""
    home: dict[str, str] = {}
    for pair in pairs:
        home[pair.group] = min(pair.source, home.get(pair.group, pair.source))
    names = sorted(home)
    shuffled = [names[k] for k in np.random.default_rng(0).permutation(len(names))]
    fold = {name: place % FOLDS for place, name in enumerate(sorted(shuffled, key=home.__getitem__))}
    return np.array([fold[pair.group] for pair in pairs], dtype=np.int64)


def _drawn(pairs: Sequence[Pair]) -> Floats:
    """The features of each pair, (n, 2, 11)."""
    return features(sides(pairs)[1]).reshape(2, len(pairs), -1).swapaxes(0, 1)


def _sources(pairs: Sequence[Pair]) -> NDArray[np.object_]:
    return np.array([pair.source for pair in pairs], dtype=np.object_)


def _large(pairs: Sequence[Pair]) -> frozenset[str]:
    counts = Counter(pair.source for pair in pairs)
    return frozenset(source for source, count in counts.items() if count >= LEAST)


def _newton(z: Floats, ridge: float) -> Floats:
    """The optimum of ``Surface.fit`` by Newton's method, each step halved until the loss falls."""
    weights = np.zeros(z.shape[1])
    for _ in range(100):
        miss = np.exp(-np.logaddexp(0.0, z @ weights))  # the probability of the wrong answer
        slope = ridge * weights - miss @ z
        step = np.linalg.solve(ridge * np.eye(len(weights)) + (z.T * (miss * (1.0 - miss))) @ z, slope)
        now = _loss(z, weights, ridge) * (1.0 + 1e-12)  # less than that is rounding
        while _loss(z, weights - step, ridge) > now and np.abs(step).max() > 1e-12:
            step = step / 2.0
        weights = weights - step
        if np.abs(step).max() < 1e-10:
            break
    return weights


def _loss(z: Floats, weights: Floats, ridge: float) -> float:
    return float(0.5 * ridge * weights @ weights + np.logaddexp(0.0, -(z @ weights)).sum())


def _features(text: str) -> tuple[float, ...]:
    words = _WORD.findall(text.lower().replace("\u2019", "'"))
    stems = [word.partition("'")[0] for word in words]  # I'm, you've
    count, letters = max(1, len(words)), sum(map(str.isalpha, text))
    return (
        np.log1p(len(text.split())),
        np.log1p(text.count("?")),
        np.log1p(text.count("!")),
        sum(stem in _FIRST for stem in stems) / count,
        sum(stem in _SECOND for stem in stems) / count,
        sum(map(len, words)) / count,
        sum(map(str.isupper, text)) / max(1, letters),
        sum(map(str.isdigit, text)) / max(1, len(text)),
        float(stems[:1] == ["i"]),
        float("sorry" in stems),
        _compound()(text),
    )


@cache
def _compound() -> Callable[[str], float]:
    """VADER's compound score; a text that stands in several pairs is scored once."""
    from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer  # type: ignore[import-untyped]

    analyzer = SentimentIntensityAnalyzer()
    return lru_cache(maxsize=65_536)(lambda text: float(analyzer.polarity_scores(text)["compound"]))
