"""Generations: groups that fared alike meet other patients, as many as allowed, and a resumed run the same ones."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("trl")

from transformers import AutoTokenizer

from tests.parts import run_files
from therapysim.envs.batch import SessionBatch, Start
from therapysim.personas.vary import MARK
from therapysim.train.grpo.advantages import flat_groups, rewards_to_go
from therapysim.train.grpo.generation import redrawn
from therapysim.train.grpo.grpo_settings import GRPOSettings
from therapysim.train.grpo.rollout import Rollout, Trajectory
from therapysim.train.grpo.run import TrainResult, group_rows, train

MakeBatch = Callable[..., SessionBatch]
# What the members of a group say where they are to fare differently.
WORDS = ("Shut up, you are a burden.", "What is that like for you?", "I see.")
#: So wide that any group counts as flat.
ANY = 1e9


class Speaker:
    """Stands in for TRL's trainer: two groups of three; ``alike`` says in which plays, by size, whose words are one."""

    def __init__(self, tokenizer: Any, settings: GRPOSettings, alike: Callable[[int, int], bool]) -> None:
        self.accelerator = SimpleNamespace(num_processes=1, process_index=0)
        self.state, self.use_vllm = SimpleNamespace(global_step=0), False
        self.eos_token_ids, self.tokenizer, self.alike = [tokenizer.eos_token_id], tokenizer, alike
        self.rows = [row for row in group_rows(settings) for _ in range(settings.generations)]
        self.logged: dict[str, float] = {}

    def _generate_single_turn(self, prompts: list[list[int]], *_: Any) -> tuple[list[list[int]], None]:
        said = [WORDS[1] if self.alike(len(prompts), k) else WORDS[k % 3] for k in range(len(prompts))]
        return [self.tokenizer(words)["input_ids"] + self.eos_token_ids for words in said], None

    def _log_metric(self, name: str, value: float) -> None:
        self.logged[name] = value


@pytest.fixture(scope="module")
def tokenizer(tiny_model: Path) -> Any:
    return AutoTokenizer.from_pretrained(tiny_model)


@pytest.fixture
def generation(tokenizer: Any, make_batch: MakeBatch) -> Callable[..., tuple[list[Trajectory], Speaker, GRPOSettings]]:
    """One generation of two groups of three sessions of two turns."""

    def play(alike: Callable[[int, int], bool], **changes: Any) -> tuple[list[Trajectory], Speaker, GRPOSettings]:
        shape = {"groups": 2, "generations": 3, "batch_size": 6, "accumulation": 1, "max_steps": 1, "max_turns": 2}
        settings = GRPOSettings(**shape | {"rubric": "default", "max_turn_tokens": 32} | changes)
        speaker = Speaker(tokenizer, settings, alike)
        played = Rollout(settings, make_batch(max_turns=2), tokenizer)([""] * 6, speaker)["episode"]
        return played, speaker, settings

    return play


def met(episodes: list[Trajectory]) -> list[Start]:
    """Whom each group met; all of its members the same."""
    starts = [Start(e.session.seed, e.session.persona.id) for e in episodes if e.session]
    assert all(starts[k] == starts[k // 3 * 3] for k in range(6))
    return starts[::3]


def test_a_group_that_fared_alike_meets_somebody_else_and_no_other_group_does(generation: Any) -> None:
    rows = group_rows(GRPOSettings(groups=2, generations=3, batch_size=6, accumulation=1, max_steps=1))
    episodes, speaker, settings = generation(lambda size, k: size == 6 and k < 3, redraw_groups=4)
    assert met(episodes) == [redrawn(settings, 0, 1), Start(rows[1]["seed"], rows[1]["persona"])]
    assert len({e.session.transcript for e in episodes if e.session}) == 6
    assert speaker.logged["groups/redrawn"] == 1.0
    assert speaker.logged["tokens/sampled"] > sum(t >= 0 for e in episodes for t in e.turn_ids)  # the first group's too


def test_no_more_groups_are_drawn_anew_than_allowed(generation: Any) -> None:
    """All fare alike: first both groups, then the first alone, since one draw is left."""
    episodes, speaker, settings = generation(lambda size, k: True, redraw_groups=3)
    assert met(episodes) == [redrawn(settings, 0, 2), redrawn(settings, 1, 1)]
    assert speaker.logged["groups/redrawn"] == 3.0


def test_none_is_drawn_anew_unless_asked_for_or_needed(generation: Any) -> None:
    off, speaker, settings = generation(lambda size, k: True)
    assert "groups/redrawn" not in speaker.logged
    needless, told, _ = generation(lambda size, k: False, redraw_groups=3)
    assert told.logged["groups/redrawn"] == 0.0
    rows = [Start(row["seed"], row["persona"]) for row in group_rows(settings)]
    assert met(off) == met(needless) == rows


def test_what_is_drawn_hangs_on_seed_row_and_number_alone() -> None:
    settings = GRPOSettings(personas=("marta", "owen", "ingrid"))
    drawn = [redrawn(settings, row, times) for row in range(20) for times in (1, 2)]
    assert drawn == [redrawn(settings, row, times) for row in range(20) for times in (1, 2)]
    assert len({start.seed for start in drawn}) == 40 and {start.persona for start in drawn} == set(settings.personas)
    assert not {start.seed for start in drawn} & {row["seed"] for row in group_rows(settings)}
    assert drawn != [redrawn(settings.changed(seed=1), row, times) for row in range(20) for times in (1, 2)]
    varied = redrawn(settings.changed(vary=True), 0, 1)
    assert varied.persona == f"{drawn[0].persona}{MARK}{varied.seed}"


def test_flat_is_what_has_no_spread_by_hand() -> None:
    rewards = [[1.0, 2.0], [3.0, 0.0], [5.0], [9.0], [1.0], [1.02]]
    fine = [False] * 6
    assert flat_groups(rewards, fine, 2, 0.01) == [0]  # 3 and 3; 5 and 9; 1 and 1.02 with a deviation of .0141
    assert flat_groups(rewards, fine, 2, 0.015) == [0, 2]
    assert flat_groups(rewards, fine, 2, 0.01, by_turn=True) == []  # the second turns earned 2 and 0
    assert flat_groups(rewards, [False, True, *fine[2:]], 2, 0.01) == []  # one alone is compared with nothing
    assert flat_groups([[], []], [True, True], 2, 0.01, by_turn=True) == []


def test_flat_is_what_has_no_spread_by_brute_force() -> None:
    chance = np.random.default_rng(0)
    for _ in range(200):
        rewards = [list(chance.integers(0, 2, chance.integers(1, 4)).astype(float)) for _ in range(12)]
        failed = list(chance.random(12) < 0.3)
        for by_turn in (False, True):
            found = flat_groups(rewards, failed, 4, 0.6, by_turn=by_turn)
            assert found == [g for g in range(3) if _alike(rewards, failed, range(4 * g, 4 * g + 4), by_turn)]


def _alike(rewards: list[list[float]], failed: list[bool], members: range, by_turn: bool) -> bool:
    sound = [rewards[i] for i in members if not failed[i]]
    turns = rewards_to_go(sound).T if by_turn else [np.array([sum(own) for own in sound])]
    spreads = [np.std(turn[~np.isnan(turn)], ddof=1) for turn in turns if (~np.isnan(turn)).sum() > 1]
    return len(sound) > 1 and max(spreads) < 0.6


@pytest.fixture
def run(tiny_model: Path, make_batch: MakeBatch, tmp_path: Path) -> Callable[..., TrainResult]:
    """Trains for four updates, a generation each of one group of four, two turns a session."""

    def start(out: str, **changes: Any) -> TrainResult:
        settings = {
            "model": str(tiny_model), "out": str(tmp_path / out), "max_steps": 4, "generations": 4, "lr": 1e-2,
            "max_turn_tokens": 6, "save_steps": 2, "validate_every": 2, "validate_sessions": 1, "transcripts_every": 1,
            "mask_cut_turns": False, **changes,
        }  # fmt: skip
        return train(GRPOSettings(**settings), make_batch(max_turns=2))

    return start


def same(one: TrainResult, other: TrainResult) -> bool:
    transcripts = [(result.out / "completions.jsonl").read_text() for result in (one, other)]
    return run_files.rows(one.out, "epoch") == run_files.rows(other.out, "epoch") and transcripts[0] == transcripts[1]


def test_a_run_that_draws_anew_goes_on_along_its_curve(run: Callable[..., TrainResult]) -> None:
    settings = {"redraw_groups": 2, "redraw_spread": ANY}
    whole = run("whole", **settings)
    run("parts", max_steps=2, **settings)
    assert same(run("parts", resume=True, **settings), whole)
    assert all(row["groups/redrawn"] == 2.0 for row in run_files.rows(whole.out) if "loss" in row)
    assert not same(run("off"), whole)
