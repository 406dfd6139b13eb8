"""Which candidate is chosen, which rejected, and by what rule; the safer side is never the rejected one."""

import random
from typing import Any

import pytest

from therapysim.train.pairs.branches import Outcome
from therapysim.train.pairs.choosing import RULES, Judged, choose, ranked, rule_of, safer, valid, worth


def outcome(total: float = 0.0, **changes: Any) -> Outcome:
    own = {"rise": 0.0, "polarity": 0.0, "toxic": False, "r_emo": 0.0, "violations": (), "gates": 0, "handled": 0.0}
    return Outcome(total, **{**own, **changes})


def judged(total: float = 0.0, kind: str = "good", **changes: Any) -> Judged:
    return Judged(f"turn worth {total}", kind, "warm", "cbt", outcome(total, **changes))


def test_the_best_valid_candidate_is_chosen() -> None:
    found = [
        judged(1.0),
        judged(2.0),
        judged(9.0, "error"),
        judged(8.0, violations=("blame",)),
        judged(7.0, toxic=True),
    ]
    choices, reasons = choose(found, 0.3, 1.0)
    assert [(c.chosen, c.rejected) for c in choices] == [(1, 0)]
    assert reasons == ["small margin"] * 3  # what is invalid is not chosen, however much it earned


def test_a_small_margin_is_no_pair() -> None:
    found = [judged(1.0), judged(0.75), judged(0.6)]
    choices, reasons = choose(found, 0.3, 1.0)
    assert [c.rejected for c in choices] == [2] and choices[0].margin == pytest.approx(0.4)
    assert reasons == ["small margin"]
    assert len(choose(found, 0.2, 1.0)[0]) == 2


def test_of_like_worth_the_higher_polarity_is_chosen() -> None:
    found = [judged(1.0, polarity=0.1), judged(0.95, polarity=0.4), judged(0.0)]
    choices, _ = choose(found, 0.3, 1.0)
    assert choices[0].chosen == 1 and choices[0].polar
    assert choose(found, 0.1, 1.0)[0][0].chosen == 0  # they are further apart than a quarter of that


def test_where_a_danger_is_dealt_with_further_that_is_chosen() -> None:
    found = [judged(9.0), judged(1.0, handled=0.4), judged(0.0, handled=0.4), judged(0.0, handled=0.2)]
    choices, reasons = choose(found, 0.3, 1.0)
    assert [(c.chosen, c.rejected, c.rule) for c in choices] == [(1, 2, "return"), (1, 3, "danger")]
    assert reasons == ["small margin"]


def test_no_valid_candidate_is_no_pair() -> None:
    assert choose([judged(1.0, r_emo=-1.0), judged(0.0, "error")], 0.3, 1.0) == ([], ["no valid candidate"])
    assert choose([judged(1.0, failed=True)], 0.3, 1.0) == ([], ["failed", "no valid candidate"])


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"toxic": True, "violations": ("toxic_positivity",)}, "toxic_positivity"),
        ({"r_emo": -1.0, "violations": ("blame",)}, "r_emo"),
        ({"violations": ("blame",)}, "safety"),
        ({"handled": 0.1}, "danger"),
        ({"handled": 0.2, "rise": -0.4}, "deficit"),
        ({"handled": 0.2}, "return"),
    ],
)
def test_the_rule_that_decided_is_recorded(changes: dict[str, Any], rule: str) -> None:
    assert rule in RULES and rule_of(outcome(5.0, handled=0.2), outcome(**changes), 0.3) == rule


def test_worth_adds_the_rise_of_what_was_lowest_and_r_emo() -> None:
    assert worth(outcome(1.2, rise=0.1), 1.0) == pytest.approx(1.3)
    assert worth(outcome(1.2, rise=0.1, r_emo=-1.0), 2.0) == pytest.approx(0.4)


def test_the_safer_side_is_never_rejected() -> None:
    rng = random.Random(0)
    inverted = 0
    for _ in range(3000):
        found = [
            judged(
                rng.uniform(-5, 5),
                rng.choice(("good", "error")),
                violations=tuple(rng.sample(("blame", "dependence"), rng.randrange(3))),
                gates=rng.randrange(3),
                handled=rng.choice((0.0, 0.2, 0.5)),
                toxic=rng.random() < 0.2,
                r_emo=-float(rng.random() < 0.2),
                failed=rng.random() < 0.1,
            )
            for _ in range(6)
        ]
        choices, reasons = choose(found, 0.3, 1.0)
        inverted += reasons.count("safer rejected")
        for one in choices:
            chosen, rejected = found[one.chosen].outcome, found[one.rejected].outcome
            assert valid(found[one.chosen]) and not safer(rejected, chosen)
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
    assert ranked(found, 1.0) == [2, 0, 1, 4]
