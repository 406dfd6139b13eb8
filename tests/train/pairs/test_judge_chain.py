"""The stages of the judge chain: whom each prefers, what decides, and what is left where one is switched off."""

import random
from dataclasses import replace
from itertools import combinations
from typing import Any

import pytest

from tests.parts.outcomes import any_outcome, any_state, judged, outcome
from therapysim.errors import ConfigError
from therapysim.train.pairs.choosing import choose, ranked
from therapysim.train.pairs.judges import SAYS, Chain, disagreements, safer
from therapysim.train.pairs.pair_settings import STAGES, PairSettings

CHAIN = Chain()

#: What each switch reads of an outcome.
READS = {
    "tone": "tone", "relevance": "relevance", "toxic_positivity": "toxic", "r_emo": "r_emo", "deficit": "rise",
    "preference": "total", "polarity": "polarity",
}  # fmt: skip

#: Every chain that the settings allow.
CHAINS = [
    Chain(stages)
    for n in range(len(STAGES) + 1)
    for stages in combinations(STAGES, n)
    if "safety" in stages and {"deficit", "preference", "polarity"} & {*stages}
]


def without(stage: str) -> Chain:
    return Chain(tuple(name for name in STAGES if name != stage))


@pytest.mark.parametrize(
    ("stage", "better", "worse"),
    [
        ("tone", {"tone": 0.98}, {"tone": 0.99}),
        ("relevance", {"relevance": 0.0}, {"relevance": -0.01}),
        ("toxic_positivity", {}, {"toxic": True}),
        ("r_emo", {}, {"r_emo": -1.0}),
        ("safety", {}, {"violations": ("blame",)}),
        ("safety", {}, {"gates": 1}),
        ("safety", {"handled": 0.2}, {}),
        ("deficit", {"rise": 0.3}, {}),
        ("preference", {"total": 0.3}, {}),
        ("polarity", {"polarity": 0.01}, {}),
    ],
)
def test_whom_each_stage_prefers(stage: str, better: dict[str, Any], worse: dict[str, Any]) -> None:
    first, second = outcome(**better), outcome(**worse)
    assert CHAIN.verdicts(first, second)[stage] == 1 and CHAIN.verdicts(second, first)[stage] == -1
    assert CHAIN.verdicts(first, first)[stage] == 0


@pytest.mark.parametrize(
    ("stage", "first", "second"),
    [
        ("tone", {"tone": 0.995}, {"tone": 1.0}),  # both are ruled out
        ("relevance", {"relevance": 0.5}, {"relevance": 0.1}),  # neither is
        ("safety", {"violations": ("blame",), "handled": 0.5}, {}),  # each is the safer in something
        ("deficit", {"rise": 0.29}, {}),
        ("preference", {"total": 0.29}, {}),
    ],
)
def test_where_a_stage_has_no_opinion(stage: str, first: dict[str, Any], second: dict[str, Any]) -> None:
    assert CHAIN.verdicts(outcome(**first), outcome(**second))[stage] == 0


def test_limits_are_the_settings() -> None:
    chain = Chain.of(
        PairSettings(margin=1.0, margin_good=0.0, rise_weight=4.0, least_relevance=0.15, stages=("safety", "deficit"))
    )
    assert chain == Chain(("safety", "deficit"), 1.0, 0.0, 4.0, 0.15)
    assert chain.verdicts(outcome(rise=0.25), outcome()) == {"safety": 0, "deficit": 1}  # 4 · .25 is the margin
    strict = replace(CHAIN, least_relevance=0.15)
    assert strict.faults(outcome(relevance=0.1)) == 1 and strict.faults(outcome(relevance=0.15)) == 0


def test_worth_adds_what_has_a_say() -> None:
    own = outcome(1.2, rise=0.1, polarity=0.5, r_emo=-1.0)
    assert Chain(rise_weight=2.0).worth(own) == pytest.approx(0.4)
    assert without("r_emo").worth(own) == pytest.approx(1.3)
    assert without("deficit").worth(own) == pytest.approx(0.2)
    assert without("preference").worth(own) == pytest.approx(-0.9)
    assert Chain(("safety", "r_emo", "polarity")).worth(own) == pytest.approx(-0.5)  # the highest polarity is chosen


@pytest.mark.parametrize(
    ("changes", "stage"),
    [
        ({"tone": 1.0, "toxic": True}, "tone"),
        ({"relevance": -1.0, "toxic": True}, "relevance"),
        ({"toxic": True, "violations": ("toxic_positivity",)}, "toxic_positivity"),
        ({"r_emo": -1.0, "violations": ("blame",)}, "r_emo"),
        ({"handled": 0.1, "rise": -0.4}, "safety"),
        ({"rise": -0.4}, "deficit"),
        ({"polarity": -0.4}, "preference"),
    ],
)
def test_the_first_stage_that_prefers_the_chosen_side_decided(changes: dict[str, Any], stage: str) -> None:
    assert CHAIN.decided(outcome(5.0, handled=0.2), outcome(**{"handled": 0.2, **changes})) == stage
    assert CHAIN.decided(outcome(), outcome()) == ""


def test_verdicts_turn_round_with_the_sides() -> None:
    rng = random.Random(0)
    for _ in range(2000):
        first, second, chain = any_outcome(rng), any_outcome(rng), rng.choice(CHAINS)
        forth, back = chain.verdicts(first, second), chain.verdicts(second, first)
        assert tuple(forth) == chain.stages and set(forth.values()) <= {-1, 0, 1}
        assert forth == {name: -side for name, side in back.items()}


def test_every_pair_of_any_chain_is_decided_and_no_guard_is_against_it() -> None:
    rng = random.Random(1)
    seen = set()
    for _ in range(4000):
        found, chain = any_state(rng), rng.choice(CHAINS)
        for one in choose(found, chain)[0]:
            chosen, rejected = found[one.chosen].outcome, found[one.rejected].outcome
            verdicts = chain.verdicts(chosen, rejected)
            assert verdicts[one.rule] == 1 and one.margin >= chain.margin
            guards = [verdicts[name] for name in (*STAGES[:4], "safety") if name in verdicts]
            assert min(guards) >= 0 and verdicts.get("preference", 1) == 1
            assert not chosen.violations and not safer(rejected, chosen)
            seen.add(one.rule)
    assert seen == set(STAGES) == set(SAYS)


@pytest.mark.parametrize("stage", READS)
def test_a_stage_that_is_switched_off_has_no_say(stage: str) -> None:
    """Whatever it reads is drawn anew: nothing changes where it is off, and something does where it is on."""
    rng = random.Random(2)
    off, told = without(stage), 0
    for _ in range(400):
        found = any_state(rng, 16)
        values = [getattr(any_outcome(rng), READS[stage]) for _ in found]
        other = [
            replace(own, outcome=replace(own.outcome, **{READS[stage]: value}))
            for own, value in zip(found, values, strict=True)
        ]
        assert choose(found, off) == choose(other, off) and ranked(found, off) == ranked(other, off)
        told += choose(found, CHAIN) != choose(other, CHAIN)
    assert told > 10


def test_polarity_alone_is_the_rule_of_the_higher_polarity() -> None:
    chain = Chain(("toxic_positivity", "safety", "polarity"))
    found = [judged(9.0, polarity=0.1), judged(1.0, polarity=0.6), judged(5.0, polarity=0.9, toxic=True)]
    choices, reasons = choose(found, chain)
    assert [(c.chosen, c.rejected, c.rule) for c in choices] == [(1, 0, "polarity")] and reasons == ["small margin"]


def test_groups_rank_by_the_chain() -> None:
    found = [judged(3.0, tone=1.0), judged(1.0), judged(2.0, relevance=-0.1, toxic=True), judged(0.0, r_emo=-1.0)]
    assert ranked(found, CHAIN) == [1, 0, 3, 2]
    assert ranked(found, without("tone")) == [0, 1, 3, 2]


def test_disagreements_are_counted_where_both_have_an_opinion() -> None:
    told = [
        {"tone": 0, "deficit": 1, "polarity": -1},
        {"tone": 1, "deficit": 1, "polarity": 1},
        {"tone": -1, "deficit": 0, "polarity": 1},
    ]
    assert disagreements(told) == {
        ("tone", "deficit"): (1, 0),
        ("tone", "polarity"): (2, 1),
        ("deficit", "polarity"): (2, 1),
    }
    assert disagreements([]) == {}


@pytest.mark.parametrize(
    ("stages", "told"),
    [
        ((), "stages"),
        (("safety", "tonne"), "stages is .*tonne.*expected some of tone, relevance"),
        (("tone", "preference"), "stages is .*expected safety among them"),
        (("safety", "tone"), "stages is .*expected one of deficit, preference, polarity among them"),
        (("safety", "preference", "preference"), "stages is .*expected none twice"),
    ],
)
def test_a_chain_that_is_none_is_refused(stages: tuple[str, ...], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        PairSettings(stages=stages)


@pytest.mark.parametrize("value", [-1.1, 1.1, float("nan")])
def test_relevance_has_a_range(value: float) -> None:
    with pytest.raises(ConfigError, match="least_relevance"):
        PairSettings(least_relevance=value)
