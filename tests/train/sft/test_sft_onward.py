"""What becomes of a copy: GRPO and SFT go on from it; it is benchmarked, talked with, exported and reported on."""

import io
import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("trl")

import torch
from safetensors.torch import load_file

from tests.parts.copying import copier, weights
from tests.parts.run_files import rows
from therapysim.agents.bench.results import read_results
from therapysim.agents.therapists.policies import find_policy
from therapysim.agents.therapists.therapist import ChatTherapist
from therapysim.cli import main as cli
from therapysim.errors import ConfigError
from therapysim.models import checkpoint
from therapysim.train.runs.export import export
from therapysim.train.runs.policy_card import Merge, card
from therapysim.train.runs.start_up import TrainResult
from therapysim.train.sft.sft_settings import SFTSettings

TEXT = "Patient: I am afraid, and I hardly sleep. It is my heart."
GRPO = [
    "--generations", "4", "--max-turns", "2", "--max-turn-tokens", "6", "--no-mask-cut-turns", "--validate-every", "0",
    "--steps", "1", "--save-steps", "1", "--lr", "1e-2",
]  # fmt: skip


@pytest.fixture(scope="module")
def copied(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainResult:
    """Two updates, a checkpoint after each, validated; without the header, with two patients."""
    start = copier(tiny_model, tmp_path_factory.mktemp("copied"))
    return start(max_steps=2, save_steps=1, validate_every=2, show_state=False, personas=("marta", "owen"))


def logits(source: Path) -> Any:
    model, tokenizer = checkpoint.load(source)
    with torch.inference_mode():
        return model(input_ids=tokenizer(TEXT, return_tensors="pt")["input_ids"]).logits


def test_grpo_goes_on_from_it(copied: TrainResult, tmp_path: Path, tiny_model: Path) -> None:
    out = tmp_path / "grpo"
    assert cli.main(["train", "grpo", "--model", str(copied.policy), "--out", str(out), *GRPO]) == 0
    (row,) = rows(out)
    assert row["kl"] == pytest.approx(0.0, abs=1e-6)  # measured from the copy, not from its base
    before, after = weights(copied), load_file(out / "policy" / "adapter_model.safetensors")
    assert set(before) == set(after) and any(not torch.equal(before[name], after[name]) for name in before)
    moved = max(float((after[name] - before[name]).abs().max()) for name in before)
    assert moved < 0.02  # one step of lr 1e-2 away from where the copy ended
    text = (out / "policy" / "README.md").read_text()
    assert f"`{tiny_model.name}`, an adapter folder that it went on from" in text


def test_sft_goes_on_from_it(copied: TrainResult, tmp_path: Path) -> None:
    first = rows(copied.out)
    second = copier(copied.policy, tmp_path)(max_steps=1, personas=("marta", "owen"), show_state=False)
    assert rows(second.out)[0]["loss"] < first[1]["loss"]
    before, after = weights(copied), weights(second)
    assert max(float((after[name] - before[name]).abs().max()) for name in before) <= 3e-2 + 1e-6  # one step of lr


def test_each_training_refuses_to_resume_the_other(copied: TrainResult, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["train", "grpo", "--model", "nowhere", "--out", str(copied.out), "--resume"]) == 2
    assert "training is 'sft', expected 'grpo'; read it by `therapysim train sft`" in capsys.readouterr().err
    assert cli.main(["train", "grpo", "--model", "nowhere", "--out", str(copied.out)]) == 2
    assert "holds a run already" in capsys.readouterr().err


def test_it_opens_as_it_was_trained(copied: TrainResult) -> None:
    therapist = ChatTherapist.from_run(copied.out)
    assert (therapist.show_state, therapist.sampling.max_tokens) == (False, 96)
    policy = find_policy(str(copied.out))
    assert policy.trained_on == {"marta", "owen"} and policy.about["kind"] == "run"
    assert find_policy(str(copied.out / "checkpoints" / "checkpoint-1")).trained_on == policy.trained_on


def test_the_benchmark_plays_it(copied: TrainResult, tmp_path: Path) -> None:
    command = ["bench", str(copied.out), "--patients", "kenji", "--seeds", "1", "--turns", "2", "--out", str(tmp_path)]
    assert cli.main(command) == 0
    (result,) = read_results(tmp_path / "results.jsonl")
    assert result.policy == str(copied.out) and len(result.turns) == 2 and not result.failed
    told = json.loads((tmp_path / "settings.json").read_text())
    assert str(copied.out) in json.dumps(told) and '"show_state": false' in json.dumps(told)


def test_one_can_look_on_while_it_talks(
    copied: TrainResult, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("\n\n/quit\n"))
    assert cli.main(["chat", "--policy", str(copied.out), "--patient", "marta", "--turns", "2", "--plain"]) == 0
    said = capsys.readouterr().out
    assert "was trained with marta: what you see is practice" in said and "The turns are used up" in said


@pytest.mark.parametrize("inside", ["", "policy", "checkpoints/checkpoint-2"])
def test_its_adapter_is_exported(copied: TrainResult, tmp_path: Path, inside: str) -> None:
    place = export(copied.out / inside, tmp_path / "adapter")
    assert torch.equal(logits(place), logits(copied.policy))
    told = json.loads((place / "export.json").read_text())
    assert (told["step"], told["merged"], told["show_state"], told["max_turn_tokens"]) == (2, False, False, 96)
    assert str(copied.out) not in (place / "export.json").read_text() + (place / "README.md").read_text()


def test_it_is_exported_merged(copied: TrainResult, tmp_path: Path) -> None:
    assert cli.main(["export", str(copied.out), "--out", str(tmp_path / "merged"), "--merged"]) == 0
    torch.testing.assert_close(logits(tmp_path / "merged"), logits(copied.policy), rtol=1e-5, atol=1e-5)
    assert "to copy what other therapists said" in (tmp_path / "merged" / "README.md").read_text()
    with pytest.raises(ConfigError, match=r"no adapter in checkpoints/checkpoint-7 \(checkpoints: 1, 2\)"):
        export(copied.out, tmp_path / "other", checkpoint=7)


def test_the_report_on_trainings_reads_it(copied: TrainResult, tiny_model: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    bench = ["bench", str(tiny_model), str(copied.out), "--patients", "kenji", "leila", "--seeds", "2", "--turns", "2"]
    assert cli.main([*bench, "--sessions", "--header", "none", "--max-tokens", "96", "--out", str(tmp_path / "b")]) == 0
    learned = ["learned", str(copied.out), "--bench", str(tmp_path / "b"), "--base", f"{tiny_model} (no header)"]
    assert cli.main([*learned, "--out", str(tmp_path / "l")]) == 0
    assert "sft: run" in (tmp_path / "l" / "LEARNED.md").read_text()


# The card


def told(settings: SFTSettings, *found: dict[str, Any], merge: Merge | None = None) -> str:
    return " ".join(card(settings, found, 2, merge).split())


def test_the_card_says_what_it_copied_and_what_it_is_not_for(copied: TrainResult) -> None:
    text = " ".join((copied.policy / "README.md").read_text().split())
    for words in (
        "Not a clinical device, and not fit to talk with a person in distress",
        "No clinical outcome was measured",
        "emergency services, a crisis line",
        "It was fine-tuned (SFT) to copy what other therapists said to **simulated** patients",
        "Sessions of `cbt`, `attuned`: of those with each patient the share 1 that earned most",
        "says what they would say, where they would be wrong too",
        "chosen, a new variant of one each time: `marta`, `owen`",
        "updates | 2, each from 3 sessions a device, of at most 2048 tokens",
        "training, update 2",
        "validation, update 2 | update 0",
        "`validation/loss`",
        "without the `[USER STATE]` header, at most 96 tokens a turn",
    ):
        assert words in text, words
    assert "reinforcement learning" not in text.partition("## Use")[0] and "## Reward" not in text
    assert "- sft" in (copied.policy / "README.md").read_text()
    assert (copied.out / "checkpoints" / "checkpoint-2" / "README.md").read_text() == (
        copied.policy / "README.md"
    ).read_text()


def test_the_card_tells_of_session_files_by_their_names(tmp_path: Path) -> None:
    (tmp_path / "sessions").mkdir()
    files = told(SFTSettings(therapists=(), sessions=(str(tmp_path / "sessions"),), best=0.25))
    assert "Sessions of the files in `sessions`: of those with each patient the share 0.25" in files
    assert str(tmp_path) not in files and "those of the files, among these: `beverley`" in files
    assert "| who words them | `scripted`; in the files, whoever did |" in files
    both = told(SFTSettings(therapists=("mi",), sessions=(str(tmp_path / "sessions"),)))
    assert "Sessions of `mi`, the files in `sessions`" in both and "a new variant of one each time" in both


def test_the_card_has_the_settings_of_sft_and_none_of_grpo() -> None:
    text = card(SFTSettings(lr=0.125, warmup=7, draws=33), [], 1)
    assert "| `lr` | 0.125 |" in text and "| `warmup` | 7 |" in text and "| `draws` | 33 |" in text
    assert "`beta`" not in text and "`generations`" not in text and "`vllm`" not in text
    assert "A LoRA adapter." in text
    assert "with its adapter merged in." in card(SFTSettings(), [], 1, Merge("float32"))


def test_what_a_resume_may_change_is_not_in_the_card() -> None:
    own = SFTSettings()
    other = own.changed(out="elsewhere", resume=True, max_steps=999, save_steps=7, threads=1, validate_every=7)
    assert card(own, [], 2) == card(other, [], 2) != card(own.changed(draws=1), [], 2)


def test_the_cards_numbers_are_the_newest_up_to_the_step() -> None:
    found = (
        {"step": 1, "loss": 3.5, "mean_token_accuracy": 0.125},
        {"step": 2, "loss": 2.5, "mean_token_accuracy": 0.25, "validation/loss": 4.5},
        {"step": 3, "loss": 9.75},
    )
    text = told(SFTSettings(), *found)
    assert (
        "| | training, update 2 |" in text and "| `loss` | 2.5 |" in text and "| `mean_token_accuracy` | 0.25 |" in text
    )
    assert "| `validation/loss` | 4.5 |" in text and "9.75" not in text
