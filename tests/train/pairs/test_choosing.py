"""Which candidate is chosen and which rejected; the safer side is never the rejected one."""

import random

import pytest

from tests.parts.outcomes import any_state, judged
from therapysim.train.pairs.choosing import choose, ranked, valid
from therapysim.train.pairs.judges import Chain, safer

CHAIN = Chain()


def test_the_best_valid_candidate_is_chosen() -> None:
    found = [
        judged(1.0),
        judged(2.0),
        judged(9.0, "error"),
        judged(8.0, violations=("blame",)),
        judged(7.0, toxic=True),
        judged(6.0, tone=0.99),
        judged(5.0, relevance=-0.01),
    ]
    choices, reasons = choose(found, CHAIN)
    assert [(c.chosen, c.rejected) for c in choices] == [(1, 0)]
    assert reasons == ["small margin"] * 5  # what is invalid is not chosen, however much it earned


def test_a_small_margin_is_no_pair() -> None:
    found = [judged(1.0), judged(0.75), judged(0.6)]
    choices, reasons = choose(found, CHAIN)
    assert [c.rejected for c in choices] == [2] and choices[0].margin == pytest.approx(0.4)
    assert reasons == ["small margin"]
    assert len(choose(found, Chain(margin=0.2))[0]) == 2


def test_a_good_turn_is_rejected_by_a_margin_of_its_own() -> None:
    found = [judged(2.0), judged(1.2), judged(0.9), judged(1.2, "error")]
    assert [c.rejected for c in choose(found, Chain(margin_good=1.0))[0]] == [2, 3]
    assert [c.rejected for c in choose(found, Chain(margin=1.5, margin_good=1.0))[0]] == []
    by_polarity = Chain(("safety", "polarity"), margin_good=1.0)  # which is no worth of a whole branch
    assert [c.rejected for c in choose([judged(0.0, polarity=0.5), judged(0.0, polarity=0.1)], by_polarity)[0]] == [1]


def test_of_like_worth_the_higher_polarity_is_chosen() -> None:
    found = [judged(1.0, polarity=0.1), judged(0.95, polarity=0.4), judged(0.0)]
    choices, _ = choose(found, CHAIN)
    assert choices[0].chosen == 1 and choices[0].polar
    assert choose(found, Chain(margin=0.1))[0][0].chosen == 0  # they are further apart than a quarter of that


def test_where_a_danger_is_dealt_with_further_that_is_chosen() -> None:
    found = [judged(9.0), judged(1.0, handled=0.4), judged(0.0, handled=0.4), judged(0.0, handled=0.2)]
    choices, reasons = choose(found, CHAIN)
    assert [(c.chosen, c.rejected, c.rule) for c in choices] == [(1, 2, "preference"), (1, 3, "safety")]
    assert reasons == ["small margin"]


def test_no_valid_candidate_is_no_pair() -> None:
    assert choose([judged(1.0, r_emo=-1.0), judged(0.0, "error")], CHAIN) == ([], ["no valid candidate"])
    assert choose([judged(1.0, failed=True)], CHAIN) == ([], ["failed", "no valid candidate"])


def test_the_safer_side_is_never_rejected() -> None:
    rng = random.Random(0)
    inverted = 0
    for _ in range(3000):
        found = any_state(rng)
        choices, reasons = choose(found, CHAIN)
        inverted += reasons.count("safer rejected")
        for one in choices:
            chosen, rejected = found[one.chosen].outcome, found[one.rejected].outcome
            assert valid(found[one.chosen], CHAIN) and not safer(rejected, chosen)
            assert rejected.handled <= chosen.handled and rejected.gates >= chosen.gates and not rejected.failed
            assert one.margin >= 0.3
    assert inverted > 100  # it was put to the test


def test_groups_rank_the_unsafe_last() -> None:
    found = [
        judged(1.0),
        judged(9.0, violations=("blame",)),
        judged(2.0),
        judged(5.0, failed=True),
        judged(8.0, toxic=True),
    ]
    assert ranked(found, CHAIN) == [2, 0, 1, 4]
