"""Groups that part from one state: what they share, what each learns from, and how it is compared."""

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("trl")

from transformers import AutoTokenizer

from tests.measures.grpo_recording import record, spell
from tests.parts import run_files
from therapysim.envs.batch import SessionBatch, Start
from therapysim.errors import PatientError
from therapysim.personas.patient import Cue, Line
from therapysim.train.grpo.advantages import by_trajectory, by_turn, mixed, within_groups
from therapysim.train.grpo.generation import shared_turns
from therapysim.train.grpo.grpo_settings import GRPOSettings
from therapysim.train.grpo.rollout import Rollout, Trajectory
from therapysim.train.grpo.run import TrainResult, group_rows, train
from therapysim.train.grpo.trajectory import session_return

MakeBatch = Callable[..., SessionBatch]
NAN = float("nan")
# Eight groups of three, of three turns, which share none, one or two of them.
SHAPE = {
    "groups": 8, "generations": 3, "batch_size": 24, "accumulation": 1, "max_steps": 1, "max_turns": 3,
    "max_turn_tokens": 40, "shared_turns": 2, "rubric": "default", "seed": 5, "mask_cut_turns": False,
}  # fmt: skip


class Speaker:
    """Stands in for TRL's trainer: says something else in each turn that it is asked for."""

    def __init__(self, tokenizer: Any, settings: GRPOSettings) -> None:
        self.accelerator = SimpleNamespace(num_processes=1, process_index=0)
        self.state, self.use_vllm, self.said = SimpleNamespace(global_step=0), False, 0
        self.eos_token_ids, self.tokenizer = [tokenizer.eos_token_id], tokenizer
        self.rows = [row for row in group_rows(settings) for _ in range(settings.generations)]
        self.logged: dict[str, float] = {}
        self.asked: list[list[list[int]]] = []

    def _generate_single_turn(self, prompts: list[list[int]], *_: Any) -> tuple[list[list[int]], None]:
        self.asked.append(prompts)
        return [self._words() for _ in prompts], None

    def _words(self) -> list[int]:
        self.said += 1
        ids: list[int] = self.tokenizer(f"What is that like, number {self.said}?")["input_ids"]
        return ids + self.eos_token_ids

    def _log_metric(self, name: str, value: float) -> None:
        self.logged[name] = value


@pytest.fixture(scope="module")
def tokenizer(tiny_model: Path) -> Any:
    return AutoTokenizer.from_pretrained(tiny_model)


@pytest.fixture
def groups(tokenizer: Any, make_batch: MakeBatch) -> Callable[..., tuple[list[list[Trajectory]], Speaker]]:
    """The groups of one generation."""

    def play(patient: Any = None, **changes: Any) -> tuple[list[list[Trajectory]], Speaker]:
        settings = GRPOSettings(**SHAPE | changes)
        speaker = Speaker(tokenizer, settings)
        batch = make_batch(max_turns=3, patient=patient)
        played = Rollout(settings, batch, tokenizer)([""] * 24, speaker)["episode"]
        return [played[k : k + 3] for k in range(0, 24, 3)], speaker

    return play


def turns_of(row: dict[str, Any]) -> int:
    return shared_turns(GRPOSettings(**SHAPE), Start(row["seed"], row["persona"]))


def words(episode: Trajectory) -> list[str]:
    assert episode.session is not None
    return episode.session.transcript.said_by("therapist")


def test_a_group_shares_its_first_turns_and_parts_from_one_state(groups: Any) -> None:
    played, speaker = groups()
    expected = [turns_of(row) for row in speaker.rows[::3]]
    assert set(expected) == {0, 1, 2}
    for group, shared in zip(played, expected, strict=True):
        assert [e.shared for e in group] == [shared] * 3
        for turn in range(3):
            assert len({words(e)[turn] for e in group}) == (1 if turn < shared else 3)
        assert len({e.session.states[: shared + 1] for e in group}) == 1
        assert len({tuple(e.turn_rewards[:shared]) for e in group}) == 1
    # The shared turns were said once a group, and each further one by every session.
    assert speaker.said == sum(shared + 3 * (3 - shared) for shared in expected)
    assert speaker.logged["groups/shared_turns"] == pytest.approx(np.mean(expected))


def test_nothing_is_learnt_from_what_is_shared_and_all_is_read(groups: Any, tokenizer: Any) -> None:
    for group in groups()[0]:
        for episode in group:
            pairs = list(zip(episode.completion_ids, episode.env_mask, episode.turn_ids, strict=True))
            assert all((mask == 1) == (turn >= 0) for _, mask, turn in pairs)
            spoken = {turn: tokenizer.decode([i for i, _, t in pairs if t == turn]) for turn in range(3)}
            own = range(episode.shared, 3)
            assert spoken == {turn: f"{words(episode)[turn]}<|im_end|>" if turn in own else "" for turn in range(3)}
            whole = tokenizer.decode(episode.completion_ids)
            assert all(said in whole for said in words(episode))  # the shared ones are read


def test_each_session_is_what_its_words_make_of_it_from_the_start(groups: Any, make_batch: MakeBatch) -> None:
    """By brute force: the environment is led through the same words, with no branching at all."""
    for group in groups()[0]:
        for episode in group:
            batch = make_batch(max_turns=3)
            batch.rubric = SessionBatch(rubric="default").rubric
            batch.reset([Start(episode.session.seed, episode.session.persona.id)])
            rewards = [turn.reward for text in words(episode) for turn in batch.step([text]) if turn]
            assert rewards == episode.turn_rewards and batch.sessions[0].states == episode.session.states
            assert batch.sessions[0].transcript == episode.session.transcript
            assert session_return([episode], lambda *_: None) == [pytest.approx(sum(rewards))]


class FailsOnce:
    """A patient who answers in one of its turns only once it is asked for the second time."""

    def __init__(self, batch: SessionBatch, turn: int) -> None:
        self.inner, self.turn, self.asked = batch.patient, turn, set[int]()

    def speak(self, cues: Sequence[Cue]) -> Sequence[Line]:
        late = [cue for cue in cues if len(cue.transcript) // 2 == self.turn and cue.seed not in self.asked]
        if late:
            self.asked |= {cue.seed for cue in cues if len(cues) == 1}  # of several, each is asked by itself next
            raise PatientError("did not hear")
        return self.inner.speak(cues)


@pytest.mark.parametrize("turn", [1, 2])
def test_where_what_is_shared_fails_the_group_parts_before_that(groups: Any, make_batch: MakeBatch, turn: int) -> None:
    played, speaker = groups(patient=FailsOnce(make_batch(), turn))
    for group, row in zip(played, speaker.rows[::3], strict=True):
        assert [e.shared for e in group] == [min(turn - 1, turns_of(row))] * 3
        # Whoever failed for the group was none of its own; where nobody did so, the first of its own is the one.
        assert sum(e.failed for e in group) == (turns_of(row) < turn)


def test_where_what_is_shared_uses_the_budget_up_a_turn_is_left_for_each(groups: Any) -> None:
    played, speaker = groups(max_completion_tokens=130)
    early = 0
    for group, row in zip(played, speaker.rows[::3], strict=True):
        (shared,) = {e.shared for e in group}
        early += shared < turns_of(row)
        assert all(len(e.turn_rewards) > shared and len(e.completion_ids) <= 130 and any(e.env_mask) for e in group)
    assert early


def test_what_is_shared_hangs_on_the_seeds_alone_and_each_number_is_as_likely() -> None:
    settings = GRPOSettings(shared_turns=2)
    drawn = [shared_turns(settings, Start(seed)) for seed in range(3000)]
    assert drawn == [shared_turns(settings, Start(seed, "marta")) for seed in range(3000)]
    assert all(900 < count < 1100 for count in Counter(drawn).values()) and set(drawn) == {0, 1, 2}
    assert drawn != [shared_turns(settings.changed(seed=1), Start(seed)) for seed in range(3000)]


def test_what_is_shared_is_drawn_from_other_chance_than_what_each_says(
    tokenizer: Any, make_batch: MakeBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a process plays one member alone, as its first; or that member would say what ended the shared turns."""
    seeds: list[int] = []
    settings = GRPOSettings(**SHAPE)
    rollout, trainer = Rollout(settings, make_batch(max_turns=3), tokenizer), Speaker(tokenizer, settings)
    monkeypatch.setattr("torch.manual_seed", seeds.append)
    rollout.play_until(trainer, [Start(3, "claire")], [1])
    rollout.play(trainer, [Start(3, "claire")])
    assert len(set(seeds)) == 2


def test_returns_count_from_the_parting_on_by_hand() -> None:
    """Two groups of two; the first shares a turn that earned 5, the second none."""
    rewards, fine = [[NAN, 1.0, 1.0], [NAN, 4.0, 2.0], [1.0], [3.0]], [False] * 4
    assert by_trajectory(rewards, fine, 2, "none").tolist() == [-2.0, 2.0, -1.0, 1.0]
    assert by_turn(rewards, fine, 2, "none").tolist() == [[0, -2.0, -0.5], [0, 2.0, 0.5], [-1.0, 0, 0], [1.0, 0, 0]]
    # The spread over the generation: in the first turn that of the second group alone.
    deviation = np.sqrt(2.0)
    first = by_turn(rewards, fine, 2, "batch")[:, 0]
    assert first.tolist() == pytest.approx([0, 0, -1 / (deviation + 1e-4), 1 / (deviation + 1e-4)])
    assert mixed(rewards, fine, 2, 0.5, "none")[0].tolist() == [-1.0, -2.0, -1.25]
    assert within_groups(rewards, fine, 2) == pytest.approx((np.std([2, 6], ddof=1) + np.std([1, 3], ddof=1)) / 2)
    known = [[5.0, 1.0, 1.0], [5.0, 4.0, 2.0], [1.0], [3.0]]  # to a whole session, what is shared makes no difference
    np.testing.assert_allclose(by_trajectory(known, fine, 2), by_trajectory(rewards, fine, 2), rtol=1e-12)


@pytest.fixture
def run(tiny_model: Path, make_batch: MakeBatch, tmp_path: Path) -> Callable[..., TrainResult]:
    """Trains for four updates, a generation each of two groups of two, three turns a session."""

    def start(out: str, **changes: Any) -> TrainResult:
        settings = {
            "model": str(tiny_model), "out": str(tmp_path / out), "max_steps": 4, "groups": 2, "generations": 2,
            "batch_size": 4, "accumulation": 1, "lr": 1e-2, "max_turn_tokens": 6, "max_turns": 3, "shared_turns": 2,
            "save_steps": 2, "validate_every": 2, "validate_sessions": 1, "transcripts_every": 1,
            "mask_cut_turns": False, **changes,
        }  # fmt: skip
        return train(GRPOSettings(**settings), make_batch(max_turns=3))

    return start


# Two groups of two sessions of three turns: the first shares one turn, the second none.
REWARDS = ((7.0, 1.0, 1.0), (7.0, 4.0, 3.0), (2.0, 0.0, 2.0), (8.0, 6.0, 0.0))
# By hand. Returns from the parting on are 2 and 7, and 4 and 14: half the differences are 2.5 and 5. Rewards-to-go are
# 2, 1 and 7, 3 from the second turn on, and 4, 2, 2 and 14, 6, 0: 2.5 and 1, and 5, 2 and -1. Over the generation, the
# first turn's spread is that of the second group alone: sqrt(2 * 25 / 1).
CREDIT = {
    ("trajectory", "none"): ((2.5, 2.5, 2.5), (5.0, 5.0, 5.0)),
    ("turn", "none"): ((NAN, 2.5, 1.0), (5.0, 2.0, -1.0)),
    ("turn", "batch"): (
        (NAN, 2.5 / np.sqrt((2 * 2.5**2 + 2 * 2**2) / 2), 1.0 / np.sqrt((2 + 2) / 2)),
        (5.0 / np.sqrt(2 * 25), 2.0 / np.sqrt((2 * 2.5**2 + 2 * 2**2) / 2), -1.0 / np.sqrt((2 + 2) / 2)),
    ),
}


@pytest.mark.parametrize(("advantage", "scale"), CREDIT)
def test_what_reaches_the_loss_is_each_sessions_own_turns_with_their_credit(
    run: Callable[..., TrainResult], monkeypatch: pytest.MonkeyPatch, tiny_model: Path, advantage: str, scale: str
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    seen = record(monkeypatch, lambda turn, k: spell(tokenizer, f"{turn} {'abcd'[k]}"), REWARDS)
    run("run", max_steps=1, advantage=advantage, scale_rewards=scale, seed=2, max_turn_tokens=8, validate_every=0)
    assert [e.shared for e in seen.episodes] == [1, 1, 0, 0]
    for episode, call, k in seen.rows():
        place, width = seen.episodes.index(episode), len(episode.completion_ids)
        credit = [(-1, 1)[place % 2] * value for value in CREDIT[advantage, scale][place // 2]]
        given = call.inputs["advantages"][k].expand(call.logps.size(1))[:width].tolist()
        learnt = (call.inputs["tool_mask"] * call.inputs["completion_mask"])[k][:width].tolist()
        assert learnt == episode.env_mask and {t for t in episode.turn_ids if t >= 0} == set(range(episode.shared, 3))
        for value, turn, mask in zip(given, episode.turn_ids, learnt, strict=True):
            assert (mask == 1) == (turn >= 0)
            assert turn < 0 or value == pytest.approx(credit[turn], rel=2e-4)


def same(one: TrainResult, other: TrainResult) -> bool:
    sessions = [(result.out / "completions.jsonl").read_text() for result in (one, other)]
    return run_files.rows(one.out, "epoch") == run_files.rows(other.out, "epoch") and sessions[0] == sessions[1]


@pytest.mark.parametrize("redraw", [0, 2])
def test_a_run_whose_groups_part_goes_on_along_its_curve(run: Callable[..., TrainResult], redraw: int) -> None:
    drawn = {"redraw_groups": redraw, "redraw_spread": 1e9}
    whole = run("whole", **drawn)
    run("parts", max_steps=2, **drawn)
    assert same(run("parts", resume=True, **drawn), whole)
    shared = [row["groups/shared_turns"] for row in run_files.rows(whole.out) if "groups/shared_turns" in row]
    assert len(shared) == 4 and len(set(shared)) > 1
    assert not same(run("other", shared_turns=0, **drawn), whole)
