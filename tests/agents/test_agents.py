"""Therapists, prompts, and the benchmark."""

from collections.abc import Sequence

import numpy as np
import pytest

from tests.parts.made import made
from therapysim.agents.bench.benchmark import benchmark, paired, results_table
from therapysim.agents.sessions.episode import play
from therapysim.agents.sessions.text_profile import mood_profile
from therapysim.agents.therapists.baselines import BASELINES, NEUTRAL, WARM, baseline
from therapysim.agents.therapists.therapist import ChatTherapist, conversation, state_header
from therapysim.danger_talk import DANGER
from therapysim.envs.batch import SessionBatch, SessionConfig, Start
from therapysim.errors import ConfigError
from therapysim.models.chat import ChatMessage, Sampling
from therapysim.personas.load import personas
from therapysim.rewards.reading.patterns import spot
from therapysim.state import Attributes, State

SHORT = SessionConfig(max_turns=3)


def test_the_header_is_the_given_one() -> None:
    u = Attributes("x", "Panic disorder", "moderate", 30)
    text = state_header(State(u, (-0.5, -0.6), (-0.1, 0.25, 0.0, -0.7), 1))
    assert text.splitlines() == [
        "[USER STATE]",
        "Diagnosis: Panic disorder (moderate)",
        "Current Affect (e_t): Introspection -0.10, Temper +0.25, Attitude +0.00, Sensitivity -0.70",
        "Recent Trend (h_t): Declining",
        "---",
    ]


@pytest.mark.parametrize(
    ("history", "told"),
    [
        ((), "–"),
        ((-0.5,), "–"),
        ((-0.5, -0.6), "Declining"),
        ((-0.5, -0.5), "Improving"),
        ((0.1, -0.2, 0.2), "Improving"),
    ],
)
def test_a_trend_takes_two_readings(history: tuple[float, ...], told: str) -> None:
    state = State(Attributes("x", "Panic disorder", "moderate", 30), history, (0.0, 0.0, 0.0, 0.0))
    assert state.trend == told and f"\nRecent Trend (h_t): {told}\n" in state_header(state)


def test_the_conversation_only_grows_at_its_end() -> None:
    batch = SessionBatch(SHORT)
    (session,) = batch.reset([Start(0)])
    before = conversation(session)
    batch.step(["That sounds hard. What is it like?"])
    after = conversation(batch.sessions[0])
    assert after[: len(before)] == before and [m["role"] for m in after] == ["system", "user", "assistant", "user"]
    assert after[1]["content"].startswith("[USER STATE]\n") and "\n---\nPatient: " in after[1]["content"]
    assert "[USER STATE]" not in conversation(session, show_state=False)[1]["content"]


@pytest.mark.parametrize("name", BASELINES)
def test_every_baseline_plays_and_is_repeatable(name: str) -> None:
    starts = [Start(seed) for seed in range(2)]
    first, second = (play(SessionBatch(SHORT), baseline(name), starts) for _ in range(2))
    assert [e.session.transcript for e in first] == [e.session.transcript for e in second]
    assert all(len(e.turns) <= 3 and np.isfinite(e.total) for e in first)


def test_an_unknown_baseline_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"'freud' is unknown.*attuned"):
        baseline("freud")


class Recorder:
    """A chat model that answers with its seed and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[list[ChatMessage]] = []
        self.seeds: list[int] = []

    def reply(self, chats: Sequence[Sequence[ChatMessage]], sampling: Sampling, seeds: Sequence[int]) -> list[str]:
        self.asked += [list(c) for c in chats]
        self.seeds += seeds
        return [f"I hear you, and I wonder what number {seed} is like for you?" for seed in seeds]


def test_a_chat_model_takes_the_chair_with_seeds_of_its_own() -> None:
    model = Recorder()
    play(SessionBatch(SHORT), ChatTherapist(model), [Start(1), Start(2)])
    assert len(model.asked) == 6 and len(set(model.seeds)) == 6
    assert all(chat[-1]["role"] == "user" for chat in model.asked)


def test_differences_are_paired_by_patient_and_seed() -> None:
    people = ["w", "x", "y", "z"]
    rows = [made("a", p, s, i + s) for i, p in enumerate(people) for s in range(3)]
    rows += [made("b", p, s, i + s + 1.0) for i, p in reversed(list(enumerate(people))) for s in (2, 1, 0)]
    change = paired(rows, "a", "b", "total")
    assert (change.interval.mean, change.interval.low, change.interval.high) == (1.0, 1.0, 1.0)
    assert (change.n_sessions, change.n_patients) == (12, 4)


def test_failed_sessions_stay_out_of_every_mean() -> None:
    rows = [made("a", p, 0, 1.0) for p in ("x", "y")] + [made("a", "z", 1, float("nan"), failed=True)]
    assert "| a | 2 | +1.00 [+1.00, +1.00] |" in results_table(rows, ("total",))
    assert "| a | 1 | +1.00 [-∞, +∞] |" in results_table(rows[:1], ("total",))


def test_the_benchmark_plays_everyone_under_the_same_seeds() -> None:
    who = [p.id for p in personas("test")][:8]
    rows = benchmark(SessionBatch(SHORT), {n: baseline(n) for n in ("silent", "attuned")}, who, [5, 6])
    assert len(rows) == 32 and {(r.persona, r.seed) for r in rows} == {(w, s) for w in who for s in (5, 6)}
    assert paired(rows, "silent", "attuned", "total").interval.low > 0
    with pytest.raises(ConfigError, match="at least one policy"):
        benchmark(SessionBatch(SHORT), {}, who, [1])
    with pytest.raises(ConfigError, match="'joy'"):
        results_table(rows, ("joy",))


def test_the_mood_profile_shows_every_turn() -> None:
    (episode,) = play(SessionBatch(SHORT), baseline("cbt"), [Start(0)])
    lines = mood_profile(episode.session).splitlines()
    assert len(lines) == 1 + len(episode.session.states) and lines[0].split() == [
        "turn", "introspection", "temper", "attitude", "sensitivity", "polarity",
    ]  # fmt: skip
    assert all(line.count("|") == 4 and line.count("*") == 1 for line in lines[1:])


def test_the_plain_and_the_warm_therapist_do_no_more_than_they_say() -> None:
    for lines in (NEUTRAL, WARM):
        acts = frozenset[str]().union(*(spot(line) for line in lines))
        assert len(set(lines)) >= 16 and acts <= {"closed_question"}
        # None so like another that it would count as a repetition.
        batch = SessionBatch()
        batch.reset([Start(0)])
        turns = [batch.step([line])[0] for line in lines[:16]]
        assert not any(t.transition.appraisal.repeats for t in turns if t is not None and t.transition is not None)


def test_the_attuned_therapist_knows_a_danger_in_plain_words() -> None:
    told = [(fact.risk, line) for p in personas() if p.split != "test" for fact in p.facts for line in fact.lines]
    found = {risk: [bool(DANGER.search(line.lower())) for r, line in told if r is risk] for risk in (True, False)}
    assert np.mean(found[True]) > 0.9 and np.mean(found[False]) < 0.03


def test_the_attuned_therapist_hands_over_those_at_grave_risk() -> None:
    starts = [Start(seed, p.id) for p in personas("dev") if p.risk >= 2 for seed in range(3)]
    assert {e.session.ending for e in play(SessionBatch(), baseline("attuned"), starts)} == {"crisis"}


def test_the_attuned_therapist_never_sounds_harsh_in_a_patients_own_words() -> None:
    episodes = play(SessionBatch(), baseline("attuned"), [Start(0, p.id) for p in personas("dev")])
    harsh = {"confrontation", "invalidation", "incitement", "toxic_positivity", "advice"}
    acts = [t.transition.appraisal.acts for e in episodes for t in e.turns if t.transition is not None]
    assert len(acts) > 50 and not any(a & harsh for a in acts)
