"""What could be said in a state: teachers in two styles, and errors that sound as good."""

import re
from string import Formatter

import numpy as np
import pytest

from therapysim.agents.therapists.baselines import baseline
from therapysim.agents.therapists.policies import Policy, find_policy
from therapysim.agents.therapists.therapist import ChatTherapist
from therapysim.envs.batch import Session, SessionBatch, SessionConfig, Start
from therapysim.models.chat import Sampling
from therapysim.train.pairs.candidates import MISTAKES, STYLES, Candidate, Teacher, bank, candidates, fill
from therapysim.train.pairs.pair_settings import ERRORS, PairSettings

SETTINGS = PairSettings(candidates=12)


@pytest.fixture(scope="module")
def batch() -> SessionBatch:
    return SessionBatch(SessionConfig(max_turns=6), rubric="grpo")


@pytest.fixture(scope="module")
def told(batch: SessionBatch) -> list[Session]:
    """A patient's opening, and one who has just told of a danger."""
    calm = batch.reset([Start(0, "marta")])[0]
    told: list[Session] = []
    batch.reset([Start(seed, who) for who in ("duncan", "paige", "tegan") for seed in range(2)])
    for _ in range(5):
        said = iter(baseline("cbt").respond([s for s in batch.sessions if not s.done]))
        batch.step([None if s.done else next(said) for s in batch.sessions])
        told += [s for s in batch.sessions if s.latent.danger and not s.done]
    return [calm, told[0]]


def drawn(session: Session, seed: int = 0) -> list[Candidate]:
    teachers = [Teacher(find_policy(name)) for name in SETTINGS.teachers]
    return candidates([session], teachers, SETTINGS, [np.random.default_rng(seed)])[0]


def test_the_bank() -> None:
    lines = bank()
    assert set(lines) == {"openings", "direct", "direct_danger", *ERRORS}
    assert all(len(lines[error]) >= 12 for error in ERRORS)
    every = [line for own in lines.values() for line in own]
    assert len(every) == len(set(every))
    for line in every:
        assert {name for _, name, _, _ in Formatter().parse(line) if name} <= {"words", "mood"}
        assert re.fullmatch(r"[A-Z][^!]+[.?]", line), line
        assert not re.search(r"(?:^|\b(?:that|and|so|but|because) )\{words\} (?:is|are|has|have|was|were)\b", line), (
            line
        )
        assert not re.search(r"\b(?:pills?|overdose|rope|knife|blade|cut|gun|bridge|jump|hang)\b", line), line


def test_errors_are_as_long_as_good_turns() -> None:
    lines = bank()
    good = np.mean([len(line.split()) for line in lines["direct"]])
    for error in ERRORS:
        own = [len(line.split()) for line in lines[error]]
        assert abs(np.mean(own) - good) < 5 and min(own) >= 9 and max(own) <= 24, error


def test_both_styles_and_errors_of_many_kinds(told: list[Session]) -> None:
    found = drawn(told[0])
    assert len(found) == 12 and len({c.text for c in found}) == 12
    assert {c.style for c in found if c.kind == "good"} == {"warm", "direct"}
    errors = [c.source for c in found if c.kind == "error"]
    assert len(set(errors)) >= 4 and "missed_risk" not in errors  # nothing stands open


def test_an_open_danger_is_missed_by_one(told: list[Session]) -> None:
    assert told[1].latent.danger
    assert "missed_risk" in [c.source for c in drawn(told[1]) if c.kind == "error"]


def test_equal_seeds_equal_candidates(told: list[Session]) -> None:
    assert drawn(told[0]) == drawn(told[0]) != drawn(told[0], seed=1)


def test_slots_are_filled_with_what_the_patient_spoke_of(batch: SessionBatch) -> None:
    session = batch.reset([Start(0, "marta")])[0]
    assert fill("About {words}, {mood}.", session).startswith("About ") and "{" not in fill("{words}{mood}", session)


class Model:
    """A chat model that says which style it was asked for."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def reply(self, chats: list[list[dict[str, str]]], sampling: Sampling, seeds: list[int]) -> list[str]:
        self.seen += [chat[0]["content"] for chat in chats]
        return [next(name for name, told in STYLES.items() if told in chat[0]["content"]) for chat in chats]


def test_a_language_model_is_told_the_style(told: list[Session]) -> None:
    model = Model()
    teacher = Teacher(Policy("model", lambda: ChatTherapist(model)))  # type: ignore[arg-type]
    rng = np.random.default_rng(0)
    assert [teacher.say(told, style, [rng, rng]) for style in ("warm", "direct")] == [["warm"] * 2, ["direct"] * 2]
    assert all(seen.startswith("You are a psychotherapist") for seen in model.seen)


class Counting(Model):
    """A chat model that tells the seed of each reply."""

    def reply(self, chats: list[list[dict[str, str]]], sampling: Sampling, seeds: list[int]) -> list[str]:
        return [f"It weighs on you. {seed}" for seed in seeds]


def test_each_sample_of_a_language_model_has_a_seed_of_its_own(told: list[Session]) -> None:
    teacher = Teacher(Policy("model", lambda: ChatTherapist(Counting())))  # type: ignore[arg-type]
    settings = PairSettings(samples=2, errors=("collusion",), candidates=6)
    found = candidates(told, [teacher], settings, [np.random.default_rng(i) for i in range(2)])
    good = [[own.text for own in state if own.kind == "good"] for state in found]
    assert [len(set(own)) for own in good] == [4, 4] and not set(good[0]) & set(good[1])
    assert [own.style for own in found[0][:4]] == ["warm", "direct"] * 2


class Erring(Model):
    """A chat model that says which mistake it was told to make, and with which seed."""

    def reply(self, chats: list[list[dict[str, str]]], sampling: Sampling, seeds: list[int]) -> list[str]:
        self.seen += [str(seed) for seed in seeds]
        found = [[name for name, told in MISTAKES.items() if told in chat[0]["content"]] for chat in chats]
        return [f"{' '.join(own) or 'good'} {seed}" for own, seed in zip(found, seeds, strict=True)]


def test_a_language_model_makes_the_mistakes_that_it_is_told(told: list[Session]) -> None:
    model = Erring()
    teachers = [Teacher(Policy("model", lambda: ChatTherapist(model))), Teacher(find_policy("cbt"))]  # type: ignore[arg-type]
    rngs = [np.random.default_rng(i) for i in range(2)]
    found = candidates(told, teachers, PairSettings(model_errors=True, candidates=10), rngs)
    for state in found:
        assert len(state) == 10
        own = [c for c in state if c.kind == "error" and c.text.split()[0] == c.source]  # its words name its kind
        assert len(own) == 2 and all(c.source in MISTAKES for c in own)  # of four, each other one; the bank fills up
        assert sum(c.kind == "error" for c in state) >= 4
    assert "missed_risk" in {c.source for c in found[1]} and len(model.seen) == len(set(model.seen))


def test_scripts_take_their_errors_from_the_bank_all_the_same(told: list[Session]) -> None:
    teachers = [Teacher(find_policy("cbt"))]
    lines = {line.partition("{")[0] for kind in ERRORS for line in bank()[kind]}
    found = candidates(told, teachers, PairSettings(model_errors=True), [np.random.default_rng(i) for i in range(2)])
    errors = [c.text for state in found for c in state if c.kind == "error"]
    assert errors and all(any(line in text for line in lines) for text in errors)


def test_where_no_danger_stands_open_none_is_missed_by_a_language_model(told: list[Session]) -> None:
    teachers = [Teacher(Policy("model", lambda: ChatTherapist(Erring())))]  # type: ignore[arg-type]
    settings = PairSettings(model_errors=True, errors=("missed_risk",))
    found = candidates(told, teachers, settings, [np.random.default_rng(i) for i in range(2)])
    assert [{c.source for c in state if c.kind == "error"} for state in found] == [set(), {"missed_risk"}]
