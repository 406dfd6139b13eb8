"""``session.key``, and the page's policy that remembers: no two sessions are mixed, however many are played at once."""

import re
from collections.abc import Sequence
from typing import Any

import pytest

from tests.parts.bench_parts import ROOT
from therapysim.agents import Memory, play
from therapysim.envs import Session, SessionBatch, SessionConfig, Start

PAGE = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
STARTS = [Start(seed, who) for who in ("marta", "owen", "ingrid") for seed in (0, 1)]


def remembering() -> Any:
    """The policy of the page, made anew."""
    names: dict[str, Any] = {}
    (code,) = re.findall(r"```python\n# remembers.py\n(.*?)```", PAGE, re.DOTALL)
    exec(code, names)
    return names["Remembers"]()


def batch(turns: int = 5) -> SessionBatch:
    return SessionBatch(SessionConfig(max_turns=turns))


def said(session: Session) -> list[str]:
    return session.transcript.said_by("therapist")


def test_many_at_once_are_as_each_alone() -> None:
    together = [said(episode.session) for episode in play(batch(), remembering(), [*STARTS, *STARTS[:2]])]
    alone = [said(play(batch(), remembering(), [start])[0].session) for start in [*STARTS, *STARTS[:2]]]
    assert together == alone
    for own in together:
        assert len(set(own[:4])) == len(own[:4]) and own[0] == "Are you afraid when that happens?"


def test_one_policy_plays_the_same_starts_again() -> None:
    policy = remembering()
    first, second = ([said(e.session) for e in play(batch(), policy, STARTS)] for _ in range(2))
    assert first == second


def test_branches_do_not_share_what_is_kept() -> None:
    policy, playing = remembering(), batch()
    playing.reset([Start(0, "marta")])
    playing.step(policy.respond(playing.sessions))
    parted = playing.sessions
    courses = []
    for _ in range(2):  # from the same state, twice
        playing.restore(parted * 3)
        for _ in range(2):
            playing.step(policy.respond(playing.sessions))
        courses.append([said(session) for session in playing.sessions])
    asked = [f"Are you {feeling} when that happens?" for feeling in ("afraid", "sad", "angry")]
    assert courses == [[asked] * 3] * 2


@pytest.mark.parametrize("text", ["\nHello.\r\nHow are you?", " Hello. How are you?", "He\u00adllo there.", "x" * 2500])
def test_what_the_screen_changes_is_recalled_all_the_same(text: str) -> None:
    memory, playing = Memory[int](), batch()
    playing.reset([Start(0, "marta")])
    memory.keep(playing.sessions[0], text, 7)
    playing.step([text])
    assert memory.recall(playing.sessions[0]) == 7
    playing.reset([Start(0, "marta")])
    playing.step(["I see."])
    assert memory.recall(playing.sessions[0]) is None


class Watching:
    """Says "Mm." and notes who was met in which turn."""

    def __init__(self) -> None:
        self.met: list[list[tuple[str, int, int]]] = []

    def respond(self, sessions: Sequence[Session]) -> list[str]:
        self.met.append([session.key for session in sessions])
        return ["What is that like for you?"] * len(sessions)


def test_a_key_stays_and_no_two_sessions_have_the_same() -> None:
    watching = Watching()
    play(batch(3), watching, [*STARTS, *STARTS])
    first = watching.met[0]
    assert len(set(first)) == len(first) == 2 * len(STARTS) and first[:2] == [("marta", 0, 0), ("marta", 1, 0)]
    assert first[len(STARTS)] == ("marta", 0, 1)
    assert all([key for key in first if key in turn] == turn for turn in watching.met)


def test_copies_are_equal_sessions() -> None:
    one, other = batch().reset([Start(0, "marta"), Start(0, "marta")])
    assert str(one) == str(other) and one.transcript == other.transcript and one.key != other.key


def test_nothing_is_recalled_of_other_words() -> None:
    memory: Memory[int] = Memory()
    playing = batch()
    (begun,) = playing.reset([Start(0, "marta")])
    assert memory.recall(begun) is None
    assert memory.keep(begun, "What is that like for you?", 1) == "What is that like for you?"
    assert memory.recall(begun) is None  # not in the same turn
    playing.step(["What is that like for you?"])
    assert memory.recall(playing.sessions[0]) == 1
    playing.restore([begun])
    playing.step(["Since when is it so?"])
    assert memory.recall(playing.sessions[0]) is None
    playing.restore([begun])
    memory.keep(begun, "long " * 1_000, 2)
    playing.step(["long " * 1_000])  # the screen cuts it
    assert memory.recall(playing.sessions[0]) == 2
