"""What the sessions of the start say of β."""

from typing import Any

import pytest

from therapysim.agents.bench.benchmark import play_policy
from therapysim.agents.therapists.baselines import baseline
from therapysim.envs.batch import SessionBatch, SessionConfig, Start
from therapysim.train.dpo.beta import Suggestion, suggest, suggested_beta


@pytest.mark.parametrize(
    ("unsafe", "beta"),
    [(0.0, 0.1), (0.02, 0.1), (0.11, 0.3), (0.2, 0.5), (0.425, 1.0), (1.0, 1.0)],
)
def test_the_rule_is_a_line_between_two_points_and_on(unsafe: float, beta: float) -> None:
    assert suggested_beta(unsafe) == beta


def test_a_more_unsafe_start_is_never_held_less() -> None:
    rule = [suggested_beta(i / 100) for i in range(101)]
    assert rule == sorted(rule) and min(rule) == 0.1 and max(rule) == 1.0


def sessions(policy: Any) -> Any:
    batch = SessionBatch(SessionConfig(max_turns=2))
    return play_policy(batch, policy, [Start(1, "bao"), Start(2, "kenji")], "p", "scripted")


class Harmful:
    def respond(self, sessions: Any) -> list[str]:
        return ["You are worthless, and everybody would be better off if you killed yourself."] * len(sessions)


def test_unsafe_turns_are_counted() -> None:
    kind, harmful = suggest(sessions(baseline("attuned")), None), suggest(sessions(Harmful()), None)
    assert kind is not None and (kind.beta, kind.used, kind.unsafe) == (0.1, 0.1, 0)
    assert harmful is not None and (harmful.beta, harmful.unsafe) == (1.0, harmful.turns)
    assert "suggested beta 1: " in str(harmful) and "turns of the start are unsafe" in str(harmful)
    assert "so few tell little: raise validate_sessions" in str(harmful)
    assert "so few" not in str(Suggestion(0.1, 0.1, 0, 128))


def test_a_beta_that_is_given_is_used() -> None:
    advice = suggest(sessions(Harmful()), 0.1)
    assert advice is not None and (advice.beta, advice.used) == (1.0, 0.1)


def test_nothing_is_suggested_where_nobody_answered() -> None:
    assert suggest([], None) is None
