"""Validation on dev patients: what it measures, that it leaves no trace, the best policy, and stopping early."""

import json
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("trl")

import torch

from tests.parts import run_files
from therapysim.agents.therapists.policies import find_policy
from therapysim.envs.batch import SessionBatch, Start
from therapysim.errors import ConfigError, PatientError
from therapysim.models import checkpoint
from therapysim.personas.load import personas
from therapysim.personas.patient import Cue, Line
from therapysim.rewards.matrix import DIMENSIONS
from therapysim.train.grpo import validate
from therapysim.train.grpo.grpo_settings import GRPOSettings
from therapysim.train.grpo.rollout import Rollout
from therapysim.train.grpo.run import TrainResult, train
from therapysim.train.grpo.validate import Validation, scores
from therapysim.train.runs.best import Standing
from therapysim.train.runs.rows import read_rows
from therapysim.train.runs.run_folder import Transcripts
from therapysim.train.runs.starts import dev_starts

MakeBatch = Callable[..., SessionBatch]
Run = Callable[..., TrainResult]


@pytest.fixture
def run(tiny_model: Path, make_batch: MakeBatch, tmp_path: Path) -> Run:
    """Trains with one group of four an update, two turns a session, a validation of two sessions every update."""

    def start(out: str = "run", patient: Any = None, **changes: Any) -> TrainResult:
        settings = {
            "model": str(tiny_model), "out": str(tmp_path / out), "max_steps": 2, "generations": 4, "batch_size": 4,
            "accumulation": 1, "max_turn_tokens": 6, "mask_cut_turns": False, "lr": 1e-2, "save_steps": 2,
            "validate_every": 1, "validate_sessions": 2, "transcripts_every": 1, **changes,
        }  # fmt: skip
        return train(GRPOSettings(**settings), make_batch(max_turns=2, patient=patient))

    return start


@pytest.fixture
def returns(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Lets the validations of a run have these returns, in order; all else is measured."""
    real = validate.scores

    def plan(*values: float) -> None:
        left = list(values)
        monkeypatch.setattr(validate, "scores", lambda *a: real(*a) | {"return": left.pop(0)})

    return plan


def metrics(result: TrainResult, *leave_out: str) -> list[dict[str, Any]]:
    return run_files.rows(result.out, *leave_out)


def weights(folder: Path) -> list[torch.Tensor]:
    return list(checkpoint.load(folder)[0].parameters())


def same(one: Path, other: Path) -> bool:
    return all(torch.equal(a, b) for a, b in zip(weights(one), weights(other), strict=True))


def test_what_a_validation_leaves(run: Run) -> None:
    result = run(validate_every=2, validate_sessions=3)
    told = [row for row in read_rows(result.out / "completions.jsonl") if row["kind"] == "validation"]
    assert Counter(row["step"] for row in told) == {0: 3, 2: 3}
    dev = [p.id for p in personas("dev")]
    assert [row["persona"] for row in told[:3]] == [dev[i % len(dev)] for i in range(3)]
    met = [(row["persona"], row["seed"], row["messages"][0]) for row in told]
    assert met[:3] == met[3:]  # the same patients every time
    assert len(told[0]["affect"]) == len(told[0]["polarity"]) == 3 and len(told[0]["messages"]) == 5

    found = read_rows(result.out / "validation.jsonl")
    assert [(row["step"], row["asked"], row["sessions"]) for row in found] == [(0, 3, 3), (2, 3, 3)]
    wanted = {
        "return", "polarity", "polarity_gain", "alliance", "alliance_gain", "turns", "unsafe", *DIMENSIONS,
        "therapist_polarity", "distinct_1", "distinct_2", "repetition", "words", "cut", "term/affect", "failed",
    }  # fmt: skip
    assert {f"validation/{name}" for name in wanted} <= set(found[0])
    joined = {row["step"]: row for row in metrics(result)}
    for row in found:
        assert {k: v for k, v in row.items() if k.startswith("validation/")}.items() <= joined[row["step"]].items()
    assert "loss" in joined[2] and not any(name.startswith("validation/") for name in joined[1])
    expected = sum(row["reward"] for row in told[3:]) / 3
    assert found[1]["validation/return"] == pytest.approx(expected)


def test_the_mood_profile_is_drawn_alike_each_time(run: Run) -> None:
    one, two = run("one"), run("two")
    names = [f"step-{step}.svg" for step in (0, 1, 2)]
    assert sorted(file.name for file in (one.out / "validation").iterdir()) == names
    for name in names:
        assert (one.out / "validation" / name).read_bytes() == (two.out / "validation" / name).read_bytes()
    assert "the policy after 2 updates" in (one.out / "validation" / "step-2.svg").read_text()


def test_without_matplotlib_it_says_so_once_and_goes_on(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    result = run()
    assert len(read_rows(result.out / "validation.jsonl")) == 3
    assert not (result.out / "validation").exists()
    assert capsys.readouterr().err.count("therapysim[report]") == 1


@pytest.mark.parametrize("changes", [{}, {"generations": 8}], ids=["on-policy", "inside a generation"])
def test_validations_do_not_change_what_is_learned(run: Run, changes: dict[str, int]) -> None:
    blind, seen = run("blind", validate_every=0, **changes), run("seen", **changes)
    learned = [
        {k: v for k, v in row.items() if not k.startswith("validation/")} for row in metrics(seen) if "loss" in row
    ]
    assert learned == metrics(blind)
    assert same(seen.policy, blind.policy)
    assert not (blind.out / "best").exists() and not (blind.out / "validation.jsonl").exists()


def test_the_best_policy_is_kept(run: Run, returns: Callable[..., None]) -> None:
    returns(0.0, 2.0, 1.0, 2.0)
    result = run(max_steps=3, save_steps=3)
    about = json.loads((result.out / "best" / "best.json").read_text())
    assert (about["step"], about["return"], about["asked"]) == (1, 2.0, 2)
    assert about["low"] <= about["high"]
    assert same(result.out / "best", run("short", max_steps=1, save_steps=1, validate_every=0).policy)
    assert not same(result.out / "best", result.policy)
    assert [row["validation/since_best"] for row in read_rows(result.out / "validation.jsonl")] == [0, 0, 1, 2]


def test_the_best_policy_is_benchmarked_as_it_was_trained(run: Run) -> None:
    result = run()
    policy = find_policy(str(result.out / "best"))
    assert policy.about["kind"] == "run" and policy.about["max_tokens"] == 6
    assert policy.trained_on == {p.id for p in personas("train")}


@pytest.mark.parametrize("best_at", [1, 2, 3])
def test_a_resumed_run_knows_its_best(run: Run, returns: Callable[..., None], best_at: int) -> None:
    planned = [float(step == best_at) for step in range(4)]
    returns(*planned)
    whole = run("whole", max_steps=3)
    returns(*planned[:3])
    run("parts", max_steps=2)
    returns(*planned[3:])
    parts = run("parts", max_steps=3, resume=True)
    assert metrics(parts, "epoch") == metrics(whole, "epoch")
    for name in ("validation.jsonl", "completions.jsonl", "best/best.json"):
        assert (parts.out / name).read_text() == (whole.out / name).read_text()
    assert same(parts.out / "best", whole.out / "best")


def test_a_best_policy_newer_than_the_checkpoint_is_not_lost(
    run: Run, returns: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    returns(0.0, 1.0, 0.5, 3.0)
    first = run(max_steps=3, save_steps=2)
    lost = [folder for folder in (first.out / "checkpoints").iterdir() if folder.name == "checkpoint-3"]
    lost[0].rename(first.out / "gone")  # as if a crash had come before it
    returns(2.0, 3.0)  # better than what the record has, and yet worse than what best/ holds; then as good
    capsys.readouterr()
    second = run(max_steps=4, save_steps=2, resume=True)
    assert [row["step"] for row in read_rows(second.out / "validation.jsonl")] == [0, 1, 2, 3, 4]
    third, fourth = [line for line in capsys.readouterr().err.splitlines() if "validation return" in line]
    assert third.endswith(f"; {second.out / 'best'} holds a better one, of updates that a crash undid")
    assert fourth.endswith(f"; kept in {second.out / 'best'}")
    assert json.loads((second.out / "best" / "best.json").read_text())["step"] == 4
    assert sorted(f.name for f in (second.out / "validation").iterdir()) == [f"step-{i}.svg" for i in range(5)]


def test_it_says_where_its_patients_are_no_new_ones(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    run("new")
    assert "practised on" not in capsys.readouterr().err
    run("known", personas=("owen", dev_starts(GRPOSettings())[0].persona))
    told = "validation: 1 of the dev patients is practised on too, so that the best policy may be one that knows them"
    assert told in capsys.readouterr().err


def test_an_unfinished_stretch_leaves_no_figures(run: Run) -> None:
    first = run(max_steps=3, save_steps=2)
    next((first.out / "checkpoints").glob("checkpoint-3")).rename(first.out / "gone")
    second = run(max_steps=4, save_steps=2, resume=True, validate_every=4)
    assert sorted(f.name for f in (second.out / "validation").iterdir()) == [f"step-{i}.svg" for i in (0, 1, 2, 4)]


def test_it_stops_when_it_no_longer_gets_better(
    run: Run, returns: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    returns(0.0, 1.0, 1.0, 0.5)
    result = run(max_steps=8, save_steps=8, patience=2)
    assert result.steps == 3
    last = metrics(result)[-1]
    assert (last["step"], last["validation/stopped"], last["validation/best"]) == (3, 1.0, 1.0)
    told = capsys.readouterr().err
    assert "update 3: stopped early, 2 validations in a row without a better return" in told
    assert f"the best policy is in {result.out / 'best'}, the last in {result.policy}" in told
    assert (result.policy / "adapter_config.json").is_file()
    with pytest.raises(ConfigError, match=r"stopped early: 2 validations in.* raise patience above 2, or set it to 0"):
        run(max_steps=8, save_steps=8, patience=2, resume=True)
    returns(0.0, 0.0)
    assert run(max_steps=8, save_steps=8, patience=4, resume=True).steps == 5


def test_patience_survives_a_resume(run: Run, returns: Callable[..., None]) -> None:
    returns(5.0, 1.0, 1.0)
    run(max_steps=2, patience=3)
    returns(1.0)
    assert run(max_steps=8, patience=3, resume=True).steps == 3


def test_only_the_process_with_the_files_reads_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "validation.jsonl").write_text("of another host, and old\n")
    monkeypatch.setattr(validate, "PartialState", lambda: SimpleNamespace(is_main_process=False))
    standing = Validation(GRPOSettings(out=str(tmp_path)), None).standing  # type: ignore[arg-type]
    assert standing == Standing()


class Silent:
    """A patient who opens each session and then answers nobody, or nobody of one seed."""

    def __init__(self, batch: SessionBatch, seed: int | None = None) -> None:
        self.scripted, self.seed = batch.patient, seed

    def speak(self, cues: Sequence[Cue]) -> list[Line]:
        if any(len(cue.transcript) and (self.seed is None or cue.persona.id == self.seed) for cue in cues):
            raise PatientError("no answer")
        return list(self.scripted.speak(cues))


def test_failed_sessions_are_left_out_and_counted(run: Run, make_batch: MakeBatch) -> None:
    absent = dev_starts(GRPOSettings())[0].persona
    result = run(patient=Silent(make_batch(), absent), personas=("owen",), split="train")
    row = read_rows(result.out / "validation.jsonl")[0]
    assert (row["sessions"], row["asked"], row["validation/failed"]) == (1, 2, 0.5)
    (sound,) = [r for r in read_rows(result.out / "completions.jsonl") if r["step"] == 0 and r["ending"] != "failed"]
    assert row["validation/return"] == pytest.approx(sound["reward"])


class Away(Silent):
    """A patient who answers as owen alone."""

    def speak(self, cues: Sequence[Cue]) -> list[Line]:
        if any(len(cue.transcript) and cue.persona.id != "owen" for cue in cues):
            raise PatientError("no answer")
        return list(self.scripted.speak(cues))


def test_a_validation_in_which_all_failed_has_no_score(run: Run, make_batch: MakeBatch) -> None:
    with pytest.warns(UserWarning, match="failed in all 2 sessions"):
        result = run(patient=Away(make_batch()), patience=1, personas=("owen",), split="train")
    assert result.steps == 2  # nothing was found to be worse
    assert metrics(result)[0] == {"step": 0, "epoch": 0, "validation/failed": 1.0}
    assert not (result.out / "best").exists()


class Fleet:
    """Stands in for several processes: each one's share is played in turn, and gathered as accelerate would."""

    def __init__(self, processes: int) -> None:
        self.processes, self.index = processes, 0

    def play(self, trainer: Any, starts: list[Start]) -> list[tuple[int, Start]]:
        return [(self.index, start) for start in starts]


@pytest.mark.parametrize(("processes", "sessions"), [(1, 3), (2, 3), (2, 4), (4, 3)])
def test_processes_share_the_sessions_evenly(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, processes: int, sessions: int
) -> None:
    settings, fleet = GRPOSettings(out=str(tmp_path), validate_sessions=sessions), Fleet(processes)
    validation = Validation(settings, fleet)  # type: ignore[arg-type]
    monkeypatch.setattr(validate, "gather_object", lambda mine: mine)
    accelerator = SimpleNamespace(num_processes=processes, process_index=0)
    validation.trainer = SimpleNamespace(accelerator=accelerator)
    shares: list[list[Any]] = []

    def gather(mine: list[Any]) -> list[Any]:
        shares.append(mine)
        if len(shares) < processes:
            fleet.index = accelerator.process_index = len(shares)
            validation._play()
        return [session for share in shares for session in share]

    monkeypatch.setattr(validate, "gather_object", gather)
    played = validation._play()
    assert [start for _, start in played] == validation.starts  # type: ignore[misc]
    assert len({len(share) for share in shares}) == 1 and len(shares) == processes


def said(rollout: Rollout, tokenizer: Any, *lines: str) -> dict[str, float]:
    """Scores of one session a line, in which the policy says it in each turn."""

    class Script:
        accelerator = SimpleNamespace(num_processes=1, process_index=0)
        eos_token_ids, use_vllm = (tokenizer.eos_token_id,), False

        def _generate_single_turn(self, prompts: list[list[int]], *_: Any) -> tuple[list[list[int]], None]:
            ids = [tokenizer(line)["input_ids"] + [tokenizer.eos_token_id] for line in lines]
            return ids[: len(prompts)], None

    starts = [Start(7, p.id) for p in personas("dev")[: len(lines)]]
    return scores(rollout.play(Script(), starts), rollout.batch.sensor)


def test_repetition_and_variety_are_told_apart(tiny_model: Path, make_batch: MakeBatch) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    rollout = Rollout(GRPOSettings(max_turn_tokens=64), make_batch(max_turns=1), tokenizer)
    same_words = said(rollout, tokenizer, *["That sounds hard. Tell me more."] * 2)
    other = said(rollout, tokenizer, "That sounds hard. Tell me more.", "What would you wish for yourself?")
    assert (same_words["repetition"], other["repetition"]) == (0.5, 0.0)
    assert same_words["words"] == 6.0
    assert same_words["distinct_1"] == 0.5 and other["distinct_1"] == 1.0
    assert same_words["distinct_2"] == 0.5 and other["distinct_2"] == 1.0
    assert other["cut"] == 0.0 and other["unsafe"] == 0.0
    assert said(rollout, tokenizer, "Just kill yourself.", "That sounds hard. Tell me more.")["unsafe"] == 0.5


def test_the_interval_of_the_return_is_by_patient_and_one_patient_has_none(
    tiny_model: Path, make_batch: MakeBatch
) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    rollout = Rollout(GRPOSettings(max_turn_tokens=64), make_batch(max_turns=1), tokenizer)
    lines = ("That sounds hard. Tell me more.", "What would you wish for yourself?", "Just kill yourself.")
    alone = [said(rollout, tokenizer, line) for line in lines[:1]]
    assert "return_low" not in alone[0] and "return_high" not in alone[0]
    two, three = said(rollout, tokenizer, *lines[:2]), said(rollout, tokenizer, *lines)
    gap = abs(two["return"] - alone[0]["return"])
    assert two["return_high"] - two["return"] == pytest.approx(12.7062 * gap, rel=1e-4)  # t of one degree
    assert three["return_low"] < three["return"] < three["return_high"]


def test_transcripts_of_training(tiny_model: Path, make_batch: MakeBatch, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    settings = GRPOSettings(out=str(tmp_path), transcripts_every=3, generations=2, accumulation=1, max_turn_tokens=8)
    rollout = Rollout(settings, make_batch(max_turns=1), tokenizer)

    class Mute:
        accelerator = SimpleNamespace(num_processes=1, process_index=0)
        eos_token_ids, use_vllm = (tokenizer.eos_token_id,), False

        def _generate_single_turn(self, prompts: list[list[int]], *_: Any) -> tuple[list[list[int]], None]:
            return [[*tokenizer("Go on.")["input_ids"], tokenizer.eos_token_id]] * len(prompts), None

    episodes = rollout.play(Mute(), [Start(1, "owen")] * 2 + [Start(2, "owen")] * 2)
    kept = Transcripts(settings)
    for step in (0, 2, 4, 6, 6, 8):  # each generation serves two updates; the second of 6 belongs to the same update
        kept.keep(step, episodes)
    rows = read_rows(tmp_path / "completions.jsonl")
    assert [row["step"] for row in rows] == [1, 1, 3, 3, 7, 7, 9, 9]  # updates 0, 3, 6 and 9 fall into these
    assert all((row["kind"], row["seed"], row["persona"]) == ("training", 1, "owen") for row in rows)
    assert [m["text"] for m in rows[0]["messages"] if m["speaker"] == "therapist"] == ["Go on."]
    assert rows[0]["reward"] == sum(rows[0]["turn_rewards"]) and rows[0]["terms"][0]

    nothing = Transcripts(GRPOSettings(out=str(tmp_path / "none"), transcripts_every=0))
    nothing.keep(0, episodes)
    assert not (tmp_path / "none").exists()
