"""What becomes of a policy that learnt from pairs: it is opened, benchmarked, exported and reported on."""

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("trl")

import torch

from tests.parts.copying import copier
from tests.parts.preferring import made_pairs, preferrer, settings, write_rows
from tests.parts.run_files import rows
from therapysim.agents.therapists.policies import find_policy
from therapysim.agents.therapists.therapist import ChatTherapist
from therapysim.cli import main as cli
from therapysim.models import checkpoint
from therapysim.train.dpo.dpo_settings import DPOSettings
from therapysim.train.dpo.run import train
from therapysim.train.runs.export import export
from therapysim.train.runs.policy_card import card
from therapysim.train.runs.start_up import TrainResult


@pytest.fixture(scope="module")
def bare(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainResult:
    """Two updates, without the header, with two patients."""
    place = tmp_path_factory.mktemp("bare")
    made = write_rows(place / "made.jsonl", made_pairs(show_state=False))
    own = {"max_steps": 2, "save_steps": 1, "show_state": False, "personas": ("marta", "owen")}
    return train(settings(tiny_model, place / "run", made, **own))


def logits(source: Path) -> Any:
    model, tokenizer = checkpoint.load(source)
    with torch.inference_mode():
        return model(input_ids=tokenizer("Patient: I hardly sleep.", return_tensors="pt")["input_ids"]).logits


def test_it_opens_as_it_was_trained(bare: TrainResult) -> None:
    therapist = ChatTherapist.from_run(bare.out)
    assert (therapist.show_state, therapist.sampling.max_tokens) == (False, 96)
    assert find_policy(str(bare.out)).trained_on == {"marta", "owen"}


def test_its_adapter_is_exported(bare: TrainResult, tmp_path: Path) -> None:
    place = export(bare.out, tmp_path / "adapter")
    assert torch.equal(logits(place), logits(bare.policy))
    told = json.loads((place / "export.json").read_text())
    assert (told["step"], told["show_state"], told["max_turn_tokens"]) == (2, False, 96)


def test_benchmark_and_report_read_it(bare: TrainResult, tiny_model: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    bench = ["bench", str(tiny_model), str(bare.out), "--patients", "kenji", "leila", "--seeds", "1", "--turns", "1"]
    assert cli.main([*bench, "--sessions", "--header", "none", "--max-tokens", "96", "--out", str(tmp_path / "b")]) == 0
    learned = ["learned", str(bare.out), "--bench", str(tmp_path / "b"), "--base", f"{tiny_model} (no header)"]
    assert cli.main([*learned, "--out", str(tmp_path / "l")]) == 0
    assert "dpo: run" in (tmp_path / "l" / "LEARNED.md").read_text()


def test_it_goes_on_from_a_copy(tiny_model: Path, tmp_path: Path) -> None:
    copy = copier(tiny_model, tmp_path)("copy", max_steps=1)
    result = preferrer(copy.policy, tmp_path)("onward", max_steps=2, lr=3e-3)
    first, last = rows(result.out)
    assert first["rewards/margins"] == pytest.approx(0.0, abs=1e-6) and last["rewards/margins"] > 0


def test_the_card_has_the_settings_of_dpo_and_tells_files_by_their_names(tmp_path: Path) -> None:
    (tmp_path / "made.jsonl").write_text("")
    own = DPOSettings(pairs=(str(tmp_path / "made.jsonl"),), loss_type="ipo", beta=0.25)
    text = " ".join(card(own, [], 1).split())
    assert "each pair of `made.jsonl` to the rejected one" in text and str(tmp_path) not in text
    assert "β is 0.25." in text and "| `loss_type` | ipo |" in text and "`generations`" not in text
    assert "those of the pairs, any but patients of split `test`" in text
    assert "| who words them | `scripted` in validations; in the pairs, whoever did |" in text
