"""Two processes of which one meets a fault: the other does not learn without it, wait for ever, or lose anything."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

pytest.importorskip("trl")

import torch
from safetensors.torch import load_file

from tests.parts.launching import launch
from tests.parts.run_files import rows

pytestmark = pytest.mark.slow
# What a longer run is told of, and tokens spent, those of broken-off updates too.
_APART = ("epoch", "num_tokens")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("disturbed")


@dataclass
class Ended:
    """How a run ended, before it went on.

    Attributes:
        told: its error, by process.
        checkpoints: their names.
        policy: whether it has one.
    """

    told: dict[int, str]
    checkpoints: set[str]
    policy: bool


@dataclass
class Played:
    """What became of the runs: one without a fault, some that went on by themselves, and some that ended too early.

    Attributes:
        wrote: what both processes wrote of the first two kinds.
        ended: the third kind, by name; all of them have gone on since, each by ``resume``.
    """

    wrote: str
    ended: dict[str, Ended]


@pytest.fixture(scope="module")
def played(folder: Path, tiny_model: Path) -> Played:
    """Every run. A process that is lost takes a launch with it, so that it is the last of its launch.

    How long one is waited for is set as the processes meet: the one that hangs has a launch to itself, beside the rest.
    """
    with ThreadPoolExecutor(1) as aside:
        hung = aside.submit(play, folder, tiny_model, "hung:stop:1")
        calm = ("calm", "outage:outage:1", "nan:nan:1", "one:sigterm:1", "both:sigterm")
        code, wrote = play(folder, tiny_model, *calm, "killed-0:kill:0")
        ended = {run: _ended(folder, run) for run in ("one", "both", "killed-0")}
        assert code != 0 and all((folder / run / "policy").exists() for run in ("calm", "outage", "nan")), wrote[-4000:]
        code, stderr = play(folder, tiny_model, *ended, "killed-1:kill:1")
        assert code != 0 and all((folder / run / "policy").exists() for run in ended), stderr[-4000:]
        assert hung.result()[0] != 0
    ended |= {run: _ended(folder, run) for run in ("killed-1", "hung")}
    code, stderr = play(folder, tiny_model, "killed-1", "hung")
    assert code == 0, stderr[-4000:]
    return Played(wrote, ended)


def _ended(folder: Path, run: str) -> Ended:
    files = {rank: folder / f"{run}-{rank}.txt" for rank in range(2)}
    told = {rank: file.read_text(encoding="utf-8") for rank, file in files.items() if file.exists()}
    checkpoints = {place.name for place in (folder / run / "checkpoints").iterdir()}
    return Ended(told, checkpoints, (folder / run / "policy").exists())


def play(folder: Path, model: Path, *runs: str) -> tuple[int, str]:
    """The exit code of two processes that play these runs, and what they wrote."""
    done = launch("tests.parts.disturbed_processes", str(model), str(folder), *runs)
    return done.returncode, done.stderr


def same(folder: Path, run: str) -> bool:
    """Whether a run went as the one without a fault did, session by session, and ended with the same policy."""
    one, other = folder / run, folder / "calm"
    a, b = (load_file(out / "policy" / "adapter_model.safetensors") for out in (one, other))
    sessions = [(out / "completions.jsonl").read_text(encoding="utf-8") for out in (one, other)]
    equal = rows(one, *_APART) == rows(other, *_APART) and sessions[0] == sessions[1]
    return equal and all(torch.equal(a[name], b[name]) for name in a)


def test_an_outage_in_one_process_sends_both_back_to_the_same_rows(played: Played, folder: Path) -> None:
    assert played.wrote.count("update 3: the patient failed in 1 of 2 sessions; the same rows again in 30 s") == 1
    assert same(folder, "outage")


def test_a_loss_that_is_no_number_in_one_process_makes_no_update_in_either(played: Played, folder: Path) -> None:
    assert played.wrote.count("update 3: the gradient is no finite number (nan); the same rows again in 0 s") == 1
    assert same(folder, "nan")


@pytest.mark.parametrize("run", ["one", "both"])
def test_sigterm_to_one_process_or_both_ends_the_run_after_its_generation(
    played: Played, folder: Path, run: str
) -> None:
    end = f"run {folder / run} was stopped by SIGTERM after 3 updates; go on with --resume"
    assert played.ended[run] == Ended({0: end, 1: end}, {"checkpoint-2", "checkpoint-3"}, policy=False)
    assert same(folder, run)


@pytest.mark.parametrize("rank", [0, 1])
def test_a_process_that_is_killed_ends_the_other_and_the_run_goes_on_later(
    played: Played, folder: Path, rank: int
) -> None:
    found = played.ended[f"killed-{rank}"]
    assert list(found.told) == [1 - rank] and (found.checkpoints, found.policy) == ({"checkpoint-2"}, False)
    assert "stopped after 2 updates: another of its processes has ended" in found.told[1 - rank]
    assert same(folder, f"killed-{rank}")


def test_a_process_that_hangs_is_waited_for_as_long_as_set(played: Played, folder: Path) -> None:
    found = played.ended["hung"]
    assert list(found.told) == [0] and (found.checkpoints, found.policy) == ({"checkpoint-2"}, False)
    assert "not heard of for process_timeout_s (Timed out waiting 90000ms" in found.told[0]
    assert found.told[0].startswith(f"run {folder / 'hung'} stopped after 2 updates")
    assert found.told[0].endswith("go on with --resume, on as many processes")
    assert same(folder, "hung")
