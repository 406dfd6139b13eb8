"""Two processes on a CPU, started by accelerate and joined by gloo: one run, shared out."""

import json
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("trl")

import torch
import yaml
from accelerate.commands.config.config_args import ClusterConfig, load_config_from_file

from tests.parts.launching import ROOT, launch
from tests.parts.two_processes import SESSIONS, observe, scripted, settings_of
from therapysim.envs.batch import Start
from therapysim.models import checkpoint
from therapysim.train.grpo.advantages import by_turn
from therapysim.train.grpo.generation import redrawn, shared_turns

Done = subprocess.CompletedProcess[str]
RECIPES = sorted((ROOT / "train" / "grpo" / "accelerate").glob("*.yaml"))
# What a clock decides, and what depends on the length of the data.
_OWN = ("step_time", "seconds/run", "seconds/generation", "seconds/environment", "seconds/environment_busy", "epoch")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("processes")


@pytest.fixture(scope="module")
def done(folder: Path, tiny_model: Path) -> Done:
    """The two processes that trained all that stands in ``two_processes.py``."""
    ended = launch("tests.parts.two_processes", str(tiny_model), str(folder))
    assert ended.returncode == 0, ended.stderr[-4000:]
    return ended


@pytest.fixture(scope="module")
def two(done: Done, folder: Path) -> list[dict[str, Any]]:
    """What each of them saw."""
    return [json.loads((folder / f"seen-{rank}.json").read_text()) for rank in range(2)]


def _joined(two: list[dict[str, Any]], run: str) -> list[dict[str, Any]]:
    """The sessions of both processes, generation by generation, in the order of the whole."""
    first, second = (seen[run] for seen in two)
    half = SESSIONS // 2
    assert len(first) == len(second) and len(first) % half == 0
    return [s for i in range(0, len(first), half) for s in (*first[i : i + half], *second[i : i + half])]


def _metrics(run: Path) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in row.items() if name not in _OWN} for row in rows]


@pytest.mark.slow
def test_two_processes_share_out_the_sessions_of_one(
    two: list[dict[str, Any]], tiny_model: Path, tmp_path: Path
) -> None:
    alone = observe(str(tiny_model), tmp_path / "alone", max_steps=3)
    shared = _joined(two, "whole")
    # What is said differs, since a process samples from a seed of its own; whom it is said to does not.
    assert [s["start"] for s in shared] == [s["start"] for s in alone]
    assert set(Counter(tuple(s["start"]) for s in shared).values()) == {4}


@pytest.mark.slow
def test_a_group_on_two_processes_is_compared_as_one(two: list[dict[str, Any]]) -> None:
    played = _joined(two, "whole")
    assert played[5]["start"] == played[6]["start"]  # the last of one process, the first of the other
    for i in range(0, len(played), SESSIONS):
        generation = played[i : i + SESSIONS]
        expected = by_turn([s["rewards"] for s in generation], [False] * SESSIONS, 4).tolist()
        assert [s["advantages"] for s in generation] == [pytest.approx(row, abs=1e-5) for row in expected]
        assert any(abs(value) > 0.1 for row in expected[4:8] for value in row)


@pytest.mark.slow
def test_a_group_on_two_processes_is_drawn_anew_as_one(two: list[dict[str, Any]], folder: Path) -> None:
    """Each group counts as flat: all three are drawn anew, and of four draws the last falls to the first again."""
    settings = settings_of("model", folder)
    played = [[(*session["start"], session["advantages"] is None) for session in seen["redrawn"]] for seen in two]
    drawn = [(redrawn(settings, row, times), row < 1 and times < 2) for row, times in ((0, 1), (1, 1), (2, 1), (0, 2))]
    first, second, third, again = [(start.persona, start.seed, dropped) for start, dropped in drawn]
    assert played[0][6:] == [first] * 4 + [second] * 2 + [again] * 4
    assert played[1][6:] == [second] * 2 + [third] * 4
    assert _metrics(folder / "redrawn")[0]["groups/redrawn"] == 4.0


@pytest.mark.slow
def test_a_group_on_two_processes_parts_from_one_state(two: list[dict[str, Any]], folder: Path) -> None:
    settings = settings_of("model", folder, shared_turns=1)
    played = _joined(two, "parted")
    groups = [played[i : i + 4] for i in range(0, 2 * SESSIONS, 4)]
    expected = [shared_turns(settings, Start(group[0]["start"][1])) for group in groups]
    assert 1 in (expected[1], expected[4])  # of those that sit on both processes
    for group, shared in zip(groups, expected, strict=True):
        assert {session["shared"][0] for session in group} == {shared}
        assert len({session["shared"][1] for session in group}) == (1 if shared else 4)
        own = by_turn([[float("nan")] * shared + s["rewards"][shared:] for s in group], [False] * 4, 4)
        assert [s["advantages"] for s in group] == [pytest.approx(row, abs=1e-5) for row in own[:, shared:].tolist()]


@pytest.mark.slow
def test_equal_words_teach_two_processes_what_they_teach_one(
    two: list[dict[str, Any]], folder: Path, tiny_model: Path, tmp_path: Path
) -> None:
    alone = observe(str(tiny_model), tmp_path / "alone", scripted(str(tiny_model)), max_steps=2)
    shared = _joined(two, "scripted")
    assert [s["rewards"] for s in shared] == [pytest.approx(s["rewards"]) for s in alone]
    for one, other in zip(_metrics(tmp_path / "alone"), _metrics(folder / "scripted"), strict=True):
        assert set(one) == set(other)
        apart = {name: (value, other[name]) for name, value in one.items() if not _close(value, other[name])}
        assert not apart  # means and counts are those of both processes together
    assert _metrics(folder / "scripted")[0]["violation/hostile"] > 0
    old, _ = checkpoint.load(tmp_path / "alone" / "policy")
    new, _ = checkpoint.load(folder / "scripted" / "policy")
    for (name, a), (_, b) in zip(old.named_parameters(), new.named_parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-4, msg=name)


def _close(one: float, other: float) -> bool:
    return bool(other == pytest.approx(one, rel=2e-3, abs=1e-5))


@pytest.mark.slow
def test_a_run_of_two_processes_goes_on_along_its_curve(two: list[dict[str, Any]], folder: Path) -> None:
    assert _joined(two, "rest") == _joined(two, "whole")[2 * SESSIONS :]
    assert _metrics(folder / "parts") == _metrics(folder / "whole")
    old, _ = checkpoint.load(folder / "whole" / "policy")
    new, _ = checkpoint.load(folder / "parts" / "policy")
    for (name, a), (_, b) in zip(old.named_parameters(), new.named_parameters(), strict=True):
        assert torch.equal(a, b), name


@pytest.mark.slow
def test_both_processes_are_told_why_a_run_is_refused(two: list[dict[str, Any]]) -> None:
    for seen in two:
        assert "holds a run already" in seen["taken"]
        # One process learns from 6 sessions in 3 updates of 2; two would need one and a half updates of 4.
        assert "accumulation" in seen["straddles"] and "processes" in seen["straddles"]


@pytest.mark.slow
def test_the_command_line_leaves_one_set_of_files(two: list[dict[str, Any]], done: Done, folder: Path) -> None:
    assert [seen["command"] for seen in two] == [0, 0]
    out = folder / "command"
    assert done.stdout.count("2 updates in") == done.stdout.count("policy in") == 1
    assert [row["step"] for row in _metrics(out)] == [0, 1, 2]
    assert len(list(out.rglob("settings.json"))) == len(list(out.rglob("metrics.jsonl"))) == 1
    told = [json.loads(line) for line in (out / "completions.jsonl").read_text().splitlines()]
    met = Counter((row["step"], row["persona"], row["seed"]) for row in told)
    assert sorted(step for step, _, _ in met) == [0] * 3 + [2] * 3 and set(met.values()) == {1}
    checkpoint.load(out / "policy")


@pytest.mark.slow
def test_a_mistake_in_the_settings_is_told_once_and_ends_both_processes(tiny_model: Path, tmp_path: Path) -> None:
    done = launch(
        "therapysim.cli.main", "train", "grpo", "--model", str(tiny_model), "--out", str(tmp_path), "--batch-size", "5"
    )
    assert done.returncode != 0
    assert done.stderr.count("therapysim: batch_size is 5, expected a divisor of groups x generations = 8") == 1
    assert done.stderr.count("therapysim: ") == 1


@pytest.mark.parametrize("file", RECIPES, ids=lambda file: file.stem)
def test_accelerate_reads_the_recipes(file: Path) -> None:
    config = load_config_from_file(str(file))
    assert isinstance(config, ClusterConfig)
    given = yaml.safe_load(file.read_text())
    assert config.num_processes == given["num_processes"] > 1
    assert str(config.distributed_type.value) == given["distributed_type"]
