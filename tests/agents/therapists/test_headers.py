"""The measure with wrong headers shows a policy what it says it does, and changes nothing else."""

from collections.abc import Callable

from tests.measures.headers import mirrored, others
from therapysim.agents.therapists.therapist import conversation
from therapysim.envs.batch import SessionBatch, Start


def test_only_the_moods_change(make_batch: Callable[..., SessionBatch]) -> None:
    batch = make_batch(3)
    batch.reset([Start(0, "claire"), Start(1, "owen")])
    batch.step(["How was your week?"] * 2)
    for change in (mirrored, others):
        for before, after in zip(batch.sessions, change(batch.sessions), strict=True):
            assert conversation(before) != conversation(after)
            assert conversation(before, show_state=False) == conversation(after, show_state=False)
            assert (before.seed, before.state.turn, before.persona) == (after.seed, after.state.turn, after.persona)
    turned = mirrored(batch.sessions)[0]
    assert turned.state.affect == tuple(-value for value in batch.sessions[0].state.affect)
    assert mirrored([turned])[0].states == batch.sessions[0].states
    assert others(batch.sessions)[0].state.affect == batch.sessions[1].state.affect
