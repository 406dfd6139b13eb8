"""The rubric: presets, breakdown, and a gate that no term can outbid."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.rewards.test_rewards import NOBODY, reading, turn
from therapysim.envs.batch import SessionBatch, Start
from therapysim.errors import ConfigError
from therapysim.rewards.reading.acts import ACTS
from therapysim.rewards.reading.reader import open_reader
from therapysim.rewards.rubric import Rubric
from therapysim.rewards.rubric_settings import PRESETS, TERMS, RubricSettings
from therapysim.rewards.terms.safety import GATES, violations
from therapysim.state import Appraisal, State, Transition

#: term -> the greatest value that it can have, far beyond what a session brings where there is no bound.
GREATEST = dict.fromkeys(TERMS, 1.0) | {
    "mood": 2.0, "beliefs": 1.5, "affect": 2.0, "deficit_rise": 2.0, "polarity": 2.0, "disclosure": 100.0,
    "saved": 100.0, "lost": 0.0,
}  # fmt: skip
GATED = [name for name, settings in PRESETS.items() if settings.gates]


@pytest.mark.parametrize("name", GATED)
def test_no_point_of_the_term_space_outbids_the_gate(name: str) -> None:
    """Corners and inner points: an unsafe turn has safety at -2 and unsafe at -1, every other term any value."""
    rubric, rng = Rubric(name), np.random.default_rng(0)
    names = [term for term in TERMS if term not in ("safety", "unsafe")]
    highs = np.array([GREATEST[term] for term in names])
    points = np.vstack([rng.uniform(-1, 1, (2_000, len(names))), rng.integers(-1, 2, (2_000, len(names)))]) * highs
    floor = -2.0 * rubric.settings.safety - rubric.settings.unsafe
    for point in (*points, highs):
        terms = dict(zip(names, map(float, point), strict=True)) | {"safety": -2.0, "unsafe": -1.0}
        assert rubric.total(terms, shut=True) <= floor
        assert rubric.total(terms, shut=True) <= rubric.total(terms, shut=False)
    # Climbing term by term from the worst point ends at the floor and no higher.
    climbing = dict(zip(names, map(float, -highs), strict=True)) | {"safety": -2.0, "unsafe": -1.0}
    for term in names:
        climbing[term] = max(
            (-GREATEST[term], 0.0, GREATEST[term]), key=lambda v: rubric.total(climbing | {term: v}, shut=True)
        )
    assert rubric.total(climbing, shut=True) == pytest.approx(floor)


@pytest.mark.parametrize("name", GATED)
def test_no_unsafe_turn_is_paid(name: str) -> None:
    """The same over turns: whatever acts, moods, chances and endings come with it, an unsafe turn earns nothing."""
    rubric, rng = Rubric(name), np.random.default_rng(1)
    unsafe = 0
    for _ in range(1_500):
        found = rubric(anything(rng))
        if found.gates:
            unsafe += 1
            assert found.reward <= -2.0 * rubric.settings.safety - rubric.settings.unsafe
    assert unsafe > 300


def anything(rng: np.random.Generator) -> Transition:
    names = open_reader().names
    acts = frozenset(str(act) for act in rng.choice(ACTS, int(rng.integers(4)), replace=False))
    chances = dict(zip(names, map(float, rng.random(len(names))), strict=True))
    mood = lambda: tuple(float(x) for x in rng.uniform(-1, 1, 4))  # noqa: E731
    flags = ("injection",) if rng.random() < 0.2 else ()
    return turn(
        before=State(NOBODY, (0.0,), mood()),  # type: ignore[arg-type]
        after=State(NOBODY, (0.0,), mood(), 1),  # type: ignore[arg-type]
        therapist=reading("Take half the dose.", mood(), float(rng.uniform(-1, 1))),  # type: ignore[arg-type]
        appraisal=Appraisal(acts, float(rng.random()), int(rng.integers(80)), relevance=1.0, chances=chances),
        flags=flags,
        risk_open=bool(rng.random() < 0.3),
        disclosed=("a", "b", "c"),
        alliance_after=1.0,
        mood_after=mood(),  # type: ignore[arg-type]
        held_after=float(rng.uniform(0.2, 1.5)),
        handled_after=float(rng.random()),
        risk=int(rng.integers(4)),
        repaired=1.0,
        ending=str(rng.choice(["", "goal", "crisis"])),
    )


def test_the_gate_forfeits_every_gain() -> None:
    good, bad = Rubric()(turn()), Rubric()(turn(flags=("injection",)))
    assert (
        good.reward == pytest.approx(sum(good.weights[name] * value for name, value in good.terms.items()))
        and good.reward > 0
    )
    assert bad.violations == bad.gates == ("injection",) and sum(v > 0 for v in bad.terms.values()) > 3
    assert bad.reward == pytest.approx(-1.0 - 1.0)  # unsafe and the injection term; no gain of the turn counts


def test_a_violation_that_is_no_gate_is_told_and_leaves_it_open() -> None:
    flagged = turn(flags=("injection",))
    found = Rubric(RubricSettings(gates=("incitement",)))(flagged)
    assert found.violations == ("injection",) and found.gates == ()
    assert found.reward > Rubric()(flagged).reward


def test_the_user_preset_is_the_two_functions_alone() -> None:
    moved = turn(after=State(NOBODY, (-0.4, -0.3), (-0.2, -0.9, -0.2, -0.3), 1))
    assert Rubric("user")(moved).reward == pytest.approx(0.3 + 1.0)
    short = replace(moved, appraisal=Appraisal(frozenset(), 0.0, 2))
    assert Rubric("user")(short).reward == pytest.approx(0.3 - 2.0)


def test_what_is_paid_is_what_became_of_the_patient_and_words_only_cost() -> None:
    wordy = ("reactions", "interpretations", "explorations", "inquiry", "reflection", "reflection_ratio", "relevance",
             "uptake", "addition", "safety", "saved", "risk")  # fmt: skip
    for name in ("default", "grpo"):
        weights = PRESETS[name].weights
        assert not any(weights[term] for term in wordy) and PRESETS[name].gates == GATES
        assert all(weights[term] > 0 for term in ("mood", "beliefs", "alliance", "danger", "goal", "unsafe"))
    assert PRESETS["grpo"].affect == 0.0 and PRESETS["default"].affect > 0.0


def test_no_end_pays_for_the_turns_it_leaves() -> None:
    """An early goal brings no more than a late one, and breaking off is no way to cut losses."""
    for name in ("default", "grpo"):
        early, late = (Rubric(name)(turn(ending="goal", turns_left=left)).reward for left in (12, 0))
        assert early == late > Rubric(name)(turn()).reward
        weights = PRESETS[name].weights
        assert weights["lost"] >= weights["unsafe"]


def test_terms_and_weights_share_their_names() -> None:
    assert [*TERMS, "gates", "own"] == list(RubricSettings.__dataclass_fields__)


def test_every_term_says_range_and_example_or_source() -> None:
    for name, term in TERMS.items():
        told = term.__doc__ or ""
        assert re.search(r"Example|Source|After", told), name
        assert re.search(r"\d", told), f"{name} gives no range"


def test_the_breakdown_reaches_info_whole() -> None:
    batch = SessionBatch(rubric="grpo")
    batch.reset([Start(0)])
    (played,) = batch.step(["That sounds frightening. What is it like for you?"])
    assert played is not None and played.score is not None
    told = played.score.told()
    assert told["weights"] == PRESETS["grpo"].weights and told["terms"] == played.terms
    assert played.transition is not None and told["violations"] == violations(played.transition)


@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf"), "1", True])
def test_bad_weights_are_refused(value: object) -> None:
    with pytest.raises(ConfigError, match="weight of 'safety'"):
        RubricSettings(safety=value)  # type: ignore[arg-type]


@pytest.mark.parametrize("settings", [123, ["default"], {"affect": 1.0}])
def test_what_is_no_rubric_is_refused(settings: object) -> None:
    with pytest.raises(ConfigError, match=f"rubric is {type(settings).__name__}"):
        Rubric(settings)  # type: ignore[arg-type]


def test_a_broken_term_makes_no_turn_free() -> None:
    with pytest.raises(ValueError, match="term 'tone' is nan"):
        Rubric().total({"safety": -2.0, "tone": float("nan")}, shut=True)


def test_bad_gates_and_presets_are_refused() -> None:
    with pytest.raises(ConfigError, match="gate 'rudeness' is unknown"):
        RubricSettings(gates=("rudeness",))
    with pytest.raises(ConfigError, match="gates is NoneType, expected a tuple"):
        RubricSettings(gates=None)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="weights of 'safety' and 'unsafe' are 0 while"):
        RubricSettings(unsafe=0.0)
    with pytest.raises(ConfigError, match="preset 'kind' is unknown, expected one of default"):
        Rubric("kind")


def test_the_page_of_the_reward_says_what_the_presets_weigh() -> None:
    page = (Path(__file__).parents[2] / "docs" / "rewards.md").read_text(encoding="utf-8")
    for name, term in TERMS.items():
        row = next(line for line in page.splitlines() if line.startswith(f"| `{name}` |"))
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        assert cells[1] == f"`{term.__module__.rsplit('.', 1)[1]}.py`", name
        told = [float(cell or 0) for cell in cells[-4:]]
        assert told == [PRESETS[preset].weights[name] for preset in ("default", "grpo", "judge", "user")], name


def test_a_turn_in_another_language_loses_what_needs_no_reading_and_earns_nothing() -> None:
    foreign = Appraisal(frozenset(), 0.0, 6, language="zh")
    better = {"mood_before": (-0.5,) * 4, "mood_after": (0.5,) * 4, "alliance_after": 0.9}
    rubric = Rubric()
    assert rubric(turn(appraisal=foreign, **better)).reward == 0.0
    broken = rubric(turn(appraisal=foreign, ending="rupture", **better))
    assert broken.reward == rubric.settings.lost * broken.terms["lost"] < -1.0
    assert not any(value for name, value in broken.terms.items() if name != "lost")
