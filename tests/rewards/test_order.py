"""The order of words: heaps are told from sentences, and hardly a sentence is taken for a heap."""

from itertools import pairwise

import numpy as np
import pytest

from therapysim.agents.sessions.episode import play
from therapysim.agents.therapists.baselines import BASELINES, baseline
from therapysim.envs.batch import SessionBatch, SessionConfig, Start
from therapysim.envs.spaces import Utterance
from therapysim.errors import SensorError
from therapysim.personas.load import personas
from therapysim.rewards.reading.word_order import EDGE, SCALE, in_order, load_order, steps
from therapysim.train.sensor.count_order import count_order

LINES = [line for p in personas() if p.split != "test" for line in (*p.voice.express, *p.voice.change)]


def test_patients_lines_are_in_order_and_shuffled_they_are_not() -> None:
    rng = np.random.default_rng(0)
    heaps = [" ".join(rng.permutation(line.split())) for line in LINES]
    kept, lost = (np.array([in_order(text) for text in texts]) for texts in (LINES, heaps))
    assert (kept > 0.9).mean() > 0.99 and (lost < 0.5).mean() > 0.7


def test_words_drawn_at_random_are_mostly_a_heap() -> None:
    space = Utterance(seed=0)
    assert np.mean([in_order(space.sample()) for _ in range(500)]) < 0.6


@pytest.mark.parametrize(
    "text", ["", "Mm-hm.", "So alone.", "Ja, das ist schwer für dich.", "...", "🙂 🙂", "x " * 500]
)
def test_what_cannot_be_told_costs_nothing(text: str) -> None:
    assert in_order(text) == 1.0


def test_a_word_order_is_told_by_its_neighbours() -> None:
    assert in_order("And how is that for you?") == 1.0 > 0.5 > in_order("how and that for is you how the me and")
    assert in_order("Don\u2019t you think so?") == in_order("Don't you think so?")


@pytest.mark.parametrize("text", ["the me", "more when how", "how the me", "and for that is you how the"])
def test_the_order_is_the_mean_step_of_the_pairs_and_four_of_english(text: str) -> None:
    table, words = load_order(), [EDGE, *text.split(), EDGE]
    found = [table.steps[table.numbers[a], table.numbers[b]] for a, b in pairwise(words)]
    mean = (sum(np.clip(found, -3.0, 1.0)) + 4 * 0.5) / (len(found) + 4)
    assert in_order(text) == pytest.approx(min(1.0, max(0.0, (mean + 0.5) / 0.5)), abs=1e-6)


def test_some_of_these_lie_between_a_heap_and_english() -> None:
    found = [in_order(text) for text in ("the me", "more when how", "how the me", "and for that is you how the")]
    assert sum(0.0 < value < 1.0 for value in found) >= 2


def test_sentences_have_edges() -> None:
    assert steps("I see. And then?") == [[EDGE, "i", "see", EDGE], [EDGE, "and", "then", EDGE]]


def test_the_table_counts_who_follows_whom() -> None:
    words, table = count_order(["the cat sat", "the cat ran", "a dog sat"] * 40, 8)
    step = {(a, b): table[i, j] / SCALE for i, a in enumerate(words) for j, b in enumerate(words)}
    # "the" and "cat" come 80 times together; alone 80 times each among 480 words and edges.
    assert step["the", "cat"] == pytest.approx(min(1.0, np.log(81 / (80 * 80 / 480 + 1))), abs=1 / SCALE)
    assert step["cat", "the"] == pytest.approx(np.log(1 / (80 * 80 / 480 + 1)), abs=1 / SCALE)


def test_a_missing_table_says_so(tmp_path: object) -> None:
    with pytest.raises(SensorError, match=r"order\.npz cannot be read"):
        load_order(tmp_path / "order.npz")  # type: ignore[operator]


def test_a_heap_of_words_earns_less_than_one_who_listens() -> None:
    starts = [Start(seed, p.id) for p in personas("dev")[:6] for seed in range(2)]
    batch = SessionBatch(SessionConfig(max_turns=10))
    heap, plain = (np.mean([e.total for e in play(batch, baseline(name), starts)]) for name in ("random", "neutral"))
    assert heap < plain
    assert {"random", "neutral"} <= BASELINES.keys()
