"""A copy's validation: it measures the policy as it stands, leaves no trace, and loses nothing of what was learnt."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("trl")

import torch

from tests.parts.bench_parts import Mute
from tests.parts.copying import Copy, copier, patients, settings, weights
from tests.parts.run_files import rows
from therapysim.agents.bench.benchmark import play_policy
from therapysim.agents.therapists.therapist import ChatTherapist
from therapysim.errors import ModelError, PatientError
from therapysim.models.chat import HuggingFaceChat, Sampling
from therapysim.personas.load import personas
from therapysim.personas.patient import Cue, Line
from therapysim.train.runs.rows import read_rows
from therapysim.train.runs.start_up import TrainResult
from therapysim.train.runs.starts import dev_starts
from therapysim.train.sft import validate
from therapysim.train.sft.validate import scores


@pytest.fixture
def run(tiny_model: Path, tmp_path: Path) -> Copy:
    return copier(tiny_model, tmp_path)


@pytest.fixture(scope="module")
def validated(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainResult:
    """Three updates, with dropout; validated before them, after two, and at the end."""
    start = copier(tiny_model, tmp_path_factory.mktemp("validated"))
    return start(max_steps=3, save_steps=3, validate_every=2, lora_dropout=0.2)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    lines: list[str] = []
    monkeypatch.setattr(validate, "announce", lines.append)
    return lines


def trained(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if not name.startswith("validation/")}


def test_it_leaves_no_trace_in_the_training(run: Copy, validated: TrainResult) -> None:
    plain = run(max_steps=3, save_steps=3, lora_dropout=0.2)
    with_it = [trained(row) for row in rows(validated.out)]
    assert with_it[1:] == rows(plain.out) and set(with_it[0]) == {"step", "epoch"}
    own = weights(validated)
    assert all(torch.equal(own[name], other) for name, other in weights(plain).items())


def test_it_comes_before_the_first_update_every_so_often_and_at_the_end(validated: TrainResult) -> None:
    told = read_rows(validated.out / "validation.jsonl")
    assert [row["step"] for row in told] == [0, 2, 3]
    assert all((row["asked"], row["sessions"], row["validation/failed"]) == (2, 2, 0.0) for row in told)
    joined = {row["step"]: row for row in rows(validated.out)}
    for row in told:  # the row of an update tells of its validation too
        assert {n: v for n, v in joined[row["step"]].items() if n.startswith("validation/")} == {
            n: v for n, v in row.items() if n.startswith("validation/")
        }


def test_none_is_made_where_none_is_asked_for(run: Copy) -> None:
    result = run(max_steps=2)
    assert not any("validation/return" in row for row in rows(result.out))
    for name in ("validation.jsonl", "completions.jsonl", "dev_examples.jsonl"):
        assert not (result.out / name).exists()


def test_it_plays_the_policy_as_a_benchmark_would_open_it(validated: TrainResult, tiny_model: Path) -> None:
    """The last validation, against the saved policy with the same patients."""
    own = settings(tiny_model, validated.out)
    chat = ChatTherapist(HuggingFaceChat(validated.policy, device="cpu"), Sampling(96, 1.0, 1.0))
    results = play_policy(patients(), chat, dev_starts(own), "policy", "scripted")
    last = read_rows(validated.out / "validation.jsonl")[-1]
    for name, value in scores(results).items():
        assert last[f"validation/{name}"] == pytest.approx(value, abs=1e-6), name
    kept = [row for row in read_rows(validated.out / "completions.jsonl") if row["step"] == 3]
    said = [[m["text"] for m in row["messages"] if m["speaker"] == "therapist"] for row in kept]
    assert said == [[turn.therapist for turn in result.turns] for result in results]


def test_it_meets_dev_patients_the_same_each_time(validated: TrainResult, tiny_model: Path) -> None:
    kept = read_rows(validated.out / "completions.jsonl")
    met = {step: [(row["persona"], row["seed"]) for row in kept if row["step"] == step] for step in (0, 2, 3)}
    own = settings(tiny_model, validated.out)
    assert met[0] == met[2] == met[3] == [(start.persona, start.seed) for start in dev_starts(own)]
    assert {who for who, _ in met[0]} <= {p.id for p in personas("dev")}
    for row in kept:
        assert row["kind"] == "validation" and row["ending"] == "turns"
        assert [m["speaker"] for m in row["messages"]] == ["patient", "therapist"] * 2 + ["patient"]
    assert all(np.isfinite(row["reward"]) for row in kept)
    means = {step: np.mean([row["reward"] for row in kept if row["step"] == step]) for step in met}
    assert [row["validation/return"] for row in read_rows(validated.out / "validation.jsonl")] == pytest.approx(
        list(means.values())
    )


def refuse(self: HuggingFaceChat, width: int, max_tokens: int) -> None:
    raise ModelError(f"the longest chat has {width} tokens; shorten the session")


def test_a_session_that_does_not_fit_the_context_costs_no_update(
    run: Copy, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(HuggingFaceChat, "_check_context", refuse)
    result = run(max_steps=2, validate_every=2)
    assert result.steps == 2 and (result.policy / "adapter_config.json").exists()
    found = read_rows(result.out / "validation.jsonl")
    assert [(row["sessions"], row["validation/failed"]) for row in found] == [(0, 1.0)] * 2
    assert all("validation/loss" in row and "validation/return" not in row for row in found)
    assert any("sessions broke off, and the run goes on: the longest chat" in line for line in told)


class SomeAnswer:
    """A patient who answers in training, and of the dev patients only kenji."""

    def __init__(self) -> None:
        self.inner = patients().patient

    def speak(self, cues: Sequence[Cue]) -> Sequence[Line]:
        if any(cue.persona.split == "dev" and cue.persona.id != "kenji" and len(cue.transcript) for cue in cues):
            raise PatientError("nobody is there")
        return self.inner.speak(cues)


def test_failed_sessions_are_counted_and_stay_out_of_the_means(run: Copy) -> None:
    result = run(patient=SomeAnswer(), max_steps=1, validate_every=1)
    for row in read_rows(result.out / "validation.jsonl"):
        assert (row["asked"], row["sessions"], row["validation/failed"]) == (2, 1, 0.5)
        assert np.isfinite(row["validation/return"]) and "validation/return_low" not in row  # of one patient
    kept = read_rows(result.out / "completions.jsonl")
    assert [(row["persona"], row["ending"], row["reward"] is None) for row in kept[:2]] == [
        ("bao", "failed", True), ("kenji", "turns", False)
    ]  # fmt: skip


def test_where_nobody_answers_there_is_no_score(run: Copy, told: list[str]) -> None:
    batch = patients()

    class InTraining(Mute):
        def speak(self, cues: Sequence[Cue]) -> list[Line]:
            return list(batch.patient.speak(cues)) if cues[0].persona.split == "train" else super().speak(cues)

    result = run(patient=InTraining(), max_steps=1, validate_every=1)
    found = read_rows(result.out / "validation.jsonl")
    assert [set(row) for row in found] == [{"step", "asked", "sessions", "validation/failed"}] * 2
    assert told == ["update 0: validation failed 1.000", "update 1: validation failed 1.000"]


def test_a_line_tells_how_it_went(validated: TrainResult, run: Copy, told: list[str]) -> None:
    run(max_steps=1, validate_every=1)
    assert [line.partition(":")[0] for line in told] == ["update 0", "update 1"]
    first = json.loads((validated.out / "validation.jsonl").read_text().splitlines()[0])
    assert told[0] == (
        f"update 0: validation loss {first['validation/loss']:.3f}, return {first['validation/return']:.3f}, "
        f"alliance {first['validation/alliance']:.3f}, failed 0.000"
    )
