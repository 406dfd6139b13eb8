"""Rewards of one's own: by file and by class, their sources, their ranges, and all mistakes of a file at once."""

import json
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest
from gymnasium.envs.registration import EnvSpec

from tests.parts.own_rubric import MINE, working, write_mine
from tests.rewards.test_rewards import reading, turn
from therapysim.envs.batch import SessionBatch, Start
from therapysim.envs.therapy import TherapySimEnv
from therapysim.errors import ConfigError, RewardError
from therapysim.own_code import find_own
from therapysim.rewards import OwnTerm, Rubric, RubricSettings, open_rubric
from therapysim.rewards.rubric_settings import PRESETS, TERMS
from therapysim.state import Appraisal

FILE = """
preset: grpo
weights: {reassurance: 0.5}
terms:
  thanks: {class: "mine:Thanks", weight: 0.25, range: [0, 1]}
  shout: {class: "mine:shout", weight: 2, range: [-1, 0]}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return working(monkeypatch, tmp_path, "mine", FILE)


def said(text: str) -> Any:
    return turn(therapist=reading(text, (0.0, 0.0, 0.0, 0.0), 0.0))


def test_a_file_changes_weights_and_adds_terms_that_are_paid_and_shown(folder: Path) -> None:
    own, plain = open_rubric("mine.yaml"), Rubric("grpo")
    heard = said("Thank you for telling me. WHAT happened?")
    share = -5 / 32
    found, before = own(heard), plain(heard)
    assert found.terms["thanks"] == 1.0 and found.terms["shout"] == pytest.approx(share)
    assert found.weights == {**PRESETS["grpo"].weights, "reassurance": 0.5, "thanks": 0.25, "shout": 2}
    assert found.reward == pytest.approx(before.reward + 0.25 + 2 * share)


def test_the_gate_holds_for_terms_of_ones_own(folder: Path) -> None:
    unsafe = turn(therapist=reading("thank you", (0.0,) * 4, 0.0), flags=("injection",))
    assert open_rubric("mine.yaml")(unsafe).reward == Rubric("grpo")(unsafe).reward  # the gain is forfeited
    loud = turn(therapist=reading("THANK YOU", (0.0,) * 4, 0.0), flags=("injection",))
    assert open_rubric("mine.yaml")(loud).reward == pytest.approx(Rubric("grpo")(loud).reward - 2)  # the loss is kept


def test_a_turn_in_another_language_has_no_term_of_ones_own(folder: Path) -> None:
    foreign = turn(
        therapist=reading("thank you", (0.0,) * 4, 0.0), appraisal=Appraisal(frozenset(), 0.0, 6, language="zh")
    )
    found = open_rubric("mine.yaml")(foreign)
    assert found.terms["thanks"] == 0.0 and found.reward == 0.0 and set(found.terms) == set(found.weights)


def test_json_and_the_preset_none(folder: Path) -> None:
    told = {"preset": "none", "terms": {"thanks": {"class": "mine:Thanks"}}}
    (folder / "only.json").write_text(json.dumps(told), encoding="utf-8")
    only = open_rubric("only.json")
    assert only.settings.weights == {**dict.fromkeys(TERMS, 0.0), "thanks": 1.0} and only.settings.gates == ()
    assert only(said("Thank you.")).reward == 1.0


def test_a_class_of_ones_own_scores_and_is_told(folder: Path) -> None:
    batch = SessionBatch(rubric="mine:Halved")
    batch.reset([Start(1, "marta")])
    (found,) = batch.step(["What is the hardest part of the day?"])
    plain = SessionBatch(rubric="grpo")
    plain.reset([Start(1, "marta")])
    (before,) = plain.step(["What is the hardest part of the day?"])
    assert found is not None and before is not None and found.reward == pytest.approx(before.reward / 2) != 0
    record = batch.rubric.record()
    assert record["preset"] == "mine:Halved" and record["class"] == "mine:Halved" and len(record["source"]) == 64
    assert Rubric("grpo").record()["source"] == "" and not Rubric("grpo").is_own and batch.rubric.is_own


def test_a_class_that_was_typed_in_has_no_file_and_works() -> None:
    typed = "from therapysim.rewards import Rubric\nclass Mine(Rubric):\n    pass\nprint(Mine().record()['class'])"
    told = subprocess.run([sys.executable, "-c", typed], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "__main__:Mine"


def test_settings_of_ones_own_may_be_named(folder: Path) -> None:
    assert open_rubric("mine:kept").settings == RubricSettings(affect=0.0, tone=0.0)


@pytest.mark.parametrize("name", ["mine.yaml", "mine:Halved"])
def test_another_source_is_another_record(folder: Path, name: str) -> None:
    first = open_rubric(name).record()
    assert open_rubric(name).record() == first
    write_mine(folder, "mine", MINE + "\n# another\n")
    del sys.modules["mine"]
    assert open_rubric(name).record() != first


@pytest.mark.parametrize("name", ["mine.yaml", "mine:Halved"])
def test_a_rubric_travels_and_is_refused_where_its_source_changed(folder: Path, name: str) -> None:
    rubric = open_rubric(name)
    packed, heard = pickle.dumps(rubric), said("Thank you for telling me.")
    again = pickle.loads(packed)
    assert again.record() == rubric.record() and again(heard) == rubric(heard)
    write_mine(folder, "mine", MINE + "\n# another\n")
    with pytest.raises(ConfigError, match=r"source"):
        pickle.loads(packed)


def test_an_environment_takes_them_and_its_spec_survives_json(folder: Path) -> None:
    for rubric in ("mine.yaml", "mine:Halved", {"preset": "user", "terms": {"thanks": {"class": "mine:Thanks"}}},
                   RubricSettings(own=(OwnTerm("thanks", "mine:Thanks", 0.5, 0.0, 1.0),))):  # fmt: skip
        env = gym.make("therapysim:TherapySim-v0", persona="marta", rubric=rubric)
        env.reset(seed=3)
        told = env.step("Thank you. What is it like?")[4]["reward"]
        assert env.spec is not None
        other = gym.make(EnvSpec.from_json(env.spec.to_json())).unwrapped
        assert isinstance(other, TherapySimEnv) and isinstance(env.unwrapped, TherapySimEnv)
        assert other.batch.rubric.record() == env.unwrapped.batch.rubric.record()
        assert rubric == "mine:Halved" or told["terms"]["thanks"] == 1.0


def test_all_mistakes_of_a_file_are_told_at_once(folder: Path) -> None:
    (folder / "wrong.yaml").write_text(
        """
preset: grop
wights: {}
weights: {moood: 1, tone: -1}
gates: [rudeness]
terms:
  mood: {class: "mine:Thanks"}
  Big: {class: "mine:Thanks"}
  first: {weight: many}
  second: {class: "mine:Thanks", range: [1, 0], wait: 2}
""",
        encoding="utf-8",
    )
    with pytest.raises(ConfigError) as told:
        open_rubric("wrong.yaml")
    lines = str(told.value).splitlines()
    assert lines[0] == "rubric file wrong.yaml: 11 mistakes"
    for line, says in zip(lines[1:], (
        "wights: no such field, expected some of preset, weights, gates, terms; did you mean 'weights'?",
        "preset: found 'grop', expected one of default, grpo, judge, user, none; did you mean 'grpo'?",
        "weights.moood: no such term, expected a name of docs/rewards.md; did you mean 'mood'?",
        "weights.tone: found -1, expected a finite number of at least 0",
        "gates: found 'rudeness', expected some of ",
        "terms.mood: this is taken, expected another",
        "terms.Big: this is no name, expected another of small letters, digits and _",
        "terms.first.class: found empty, expected package.module:Name, in quotes",
        "terms.first.weight: found 'many', expected a finite number of at least 0",
        "terms.second.wait: no such field, expected some of class, weight, range",
        "terms.second.range: found [1, 0], expected two numbers, the lower first",
    ), strict=True):  # fmt: skip
        assert line.strip().startswith(says), line


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("- a", "is .*, expected a mapping of some of preset"),
        ("", "is empty, expected a mapping"),
        ("weights: 3", "weights: found 3, expected a mapping of terms"),
        ("terms: {a: 3, b: {class: mine:Thanks, weight: .inf}}", "terms.a: found 3, expected a mapping of class"),
        ("terms: {a: {class: 'mine:Thank'}, b: {class: 'yours:X'}}", "2 mistakes\n.*'Thank'.*\n.*no module 'yours'"),
        ("terms: {a: {class: 'mine:three'}}", r"terms.a.class: term 'a' \(mine:three\) is int, expected a function"),
        ("weights: {unsafe: 0}", "weights of 'safety' and 'unsafe' are 0 while"),
        ("weights: {mood: 1, mood: 2}", "line 1, .*'mood' is given twice"),
    ],
)
def test_wrong_files_are_refused(folder: Path, text: str, says: str) -> None:
    (folder / "wrong.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=rf"^rubric file wrong.yaml(?s:.*){says}"):
        open_rubric("wrong.yaml")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("nowhere.yaml", "rubric file nowhere.yaml: the file cannot be read: No such file"),
        ("grop", r"rubric preset 'grop' is unknown, expected one of default, grpo, judge, user, a file \(.yaml"),
        ("yours:Reward", "rubric 'yours:Reward': there is no module 'yours'; expected one of default"),
        ("mine:Nothing", "rubric 'mine:Nothing' cannot be had: mine has no 'Nothing'"),
        ("mine:Thanks", "rubric 'mine:Thanks' is Thanks, expected a subclass of .*; a single term .* under terms"),
        ("mine:shout", "rubric 'mine:shout' is function, expected a subclass"),
    ],
)
def test_names_that_are_no_rubric_are_refused(folder: Path, name: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        open_rubric(name)


@pytest.mark.parametrize(
    ("place", "says"),
    [
        ("mine:wild", r"term 'a' \(mine:wild\), turn 1 with .*: its value is 2.0, expected a number from -1 to 1"),
        ("mine:fails", r"term 'a' .*: it failed: KeyError\('no'\); mend it"),
    ],
)
def test_a_term_that_fails_or_leaves_its_range_is_named(folder: Path, place: str, says: str) -> None:
    with pytest.raises(RewardError, match=says):
        Rubric(RubricSettings(own=(OwnTerm("a", place),)))(turn())
    assert Rubric(RubricSettings(own=(OwnTerm("a", "mine:wild", high=2.0),)))(turn()).terms["a"] == 2.0


@pytest.mark.parametrize("name", ["mine.yaml", "mine:Halved"])
def test_a_file_that_changed_while_its_older_code_runs_is_refused(folder: Path, name: str) -> None:
    before = open_rubric(name).record()
    write_mine(folder, "mine", MINE + "\n# another\n")
    with pytest.raises(ConfigError, match=r"source .*mine\.py has changed since it was imported, .*; start anew"):
        open_rubric(name)
    write_mine(folder, "mine")
    assert open_rubric(name).record() == before


def test_a_module_whose_own_import_is_missing_is_there(folder: Path) -> None:
    write_mine(folder, "mine", "import mi")
    with pytest.raises(ConfigError, match=r"cannot be had: ModuleNotFoundError\(.*mi.*; mend mine"):
        open_rubric("mine:Halved")


def test_a_weight_beyond_every_float_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"weights.mood: found 10*.*, expected a finite number of at least 0"):
        open_rubric({"weights": {"mood": 10**400}})


def test_a_class_that_does_not_make_its_base_is_refused(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"rubric 'mine:Bare' has no 'settings', .* call super\(\).__init__"):
        open_rubric("mine:Bare")
    bare = type("Bare", (Rubric,), {"__init__": lambda self: None})()
    with pytest.raises(ConfigError, match=r"rubric 'Bare' has no 'settings', .* call super\(\).__init__"):
        SessionBatch(rubric=bare)


def test_a_rubric_that_gives_no_score_is_named(folder: Path) -> None:
    batch = SessionBatch(rubric="mine:Odd")
    batch.reset([Start(0, "marta")])
    with pytest.raises(RewardError, match=r"rubric 'mine:Odd', turn 1: it gave 3.0, expected a Score"):
        batch.step(["Hello there."])


@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        ({"name": "A"}, "the name of a term is 'A'"),
        ({"place": "mine"}, "class is 'mine', expected package.module:Name"),
        ({"weight": -1.0}, "weight is -1.0, expected at least 0"),
        ({"high": float("nan")}, "high is nan, expected a finite number"),
        ({"low": 2.0}, "range is 2 to 1, expected the lower first"),
    ],
)
def test_bad_terms_are_refused(wanted: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        OwnTerm(**{"name": "a", "place": "mine:shout", **wanted})


def test_two_terms_of_a_name_are_refused() -> None:
    for name in ("mood", "reward"):
        with pytest.raises(ConfigError, match=f"term of one's own is '{name}', which is taken"):
            RubricSettings(own=(OwnTerm(name, "mine:shout"),))
    with pytest.raises(ConfigError, match="'a', which is taken"):
        RubricSettings(own=(OwnTerm("a", "mine:shout"), OwnTerm("a", "mine:wild")))


def test_what_an_object_of_a_class_was_set_to_stands_in_its_record(folder: Path) -> None:
    kind, _ = find_own("mine:Set", "rubric", "a class")
    once, again, twice = (kind(pay).record() for pay in (1.0, 1.0, 2.0))
    assert once == again and once != twice
    assert twice["attributes"] == {"pay": 2.0, "told": "builtins:dict"}  # a dict that JSON cannot hold
    assert json.loads(json.dumps(once)) == once
    assert Rubric("grpo").record()["attributes"] == open_rubric("mine.yaml").record()["attributes"] == {}
