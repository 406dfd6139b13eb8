"""The measure of the implicit reward: what the adapter added to an answer's probability, and how it ranks answers."""

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("peft")

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.measures.implicit_reward import main, read, right, scores
from therapysim.agents.therapists.therapist import SYSTEM_PROMPT
from therapysim.models.chat_template import TurnTemplate

ANSWERS = ("What was that like for you?", "You should go to bed early.", "It sounds as if you are worn out by it.")


@pytest.fixture(scope="module")
def policy(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter that changes the tiny model."""
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(tiny_model), LoraConfig(r=4, target_modules=["q_proj"]))
    torch.manual_seed(1)
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.5)
    folder = tmp_path_factory.mktemp("policy")
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(tiny_model).save_pretrained(folder)
    return folder


def test_what_the_adapter_added_is_told_as_one_answer_at_a_time(policy: Path, tiny_model: Path) -> None:
    from therapysim.models.checkpoint import load

    model, tokenizer = load(str(policy), dtype="float32")
    model.eval()
    found = scores(model, tokenizer, [("I am tired.", answer) for answer in ANSWERS], 3)
    template, base = TurnTemplate(tokenizer, {}), AutoModelForCausalLM.from_pretrained(tiny_model).eval()
    prompt = template.prompt([
        {"role": "system", "content": SYSTEM_PROMPT}, {"role": "user", "content": "Patient: I am tired."}
    ])  # fmt: skip
    for answer, (whole, mean) in zip(ANSWERS, found, strict=True):
        turn = template.turn(answer)
        ids = torch.tensor([prompt + turn])
        with torch.no_grad():
            told = [own(input_ids=ids).logits[0, len(prompt) - 1 : -1].log_softmax(-1) for own in (model, base)]
        added = sum(float(told[0][k, i] - told[1][k, i]) for k, i in enumerate(turn))
        assert whole == pytest.approx(added, abs=1e-3) and mean == pytest.approx(whole / len(turn))
    assert np.abs(found).min() > 0


def test_both_kinds_of_lines_are_read(tmp_path: Path) -> None:
    rows = [
        {"context": "a", "better": "b", "worse": "c"},
        {"context": "a", "better": "b", "worse": "c", "worse_context": "d"},
        {"context": "e", "responses": [{"kind": k, "text": k} for k in ("complex", "simple", "advice", "other")]},
    ]
    (tmp_path / "x.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert read(tmp_path / "x.jsonl") == [
        ("a", ("a", "b"), ("a", "c")), ("a", ("a", "b"), ("d", "c")),
        ("e", ("e", "complex"), ("e", "advice")), ("e", ("e", "simple"), ("e", "advice")),
    ]  # fmt: skip


def test_a_tie_counts_one_half() -> None:
    told = right(np.array([2.0, 1.0, 1.0, 0.0]), np.array([1.0, 1.0, 2.0, -1.0]), ["a", "a", "b", "b"])
    assert told["right"] == 0.625 and told["low"] <= 0.625 <= told["high"]


def test_a_line_a_policy_and_file(policy: Path, tmp_path: Path, tiny_model: Path) -> None:
    (tmp_path / "x.jsonl").write_text(json.dumps({"context": "I am tired.", "better": ANSWERS[0], "worse": ANSWERS[1]}))
    (told,) = main([str(policy), "--data", str(tmp_path / "x.jsonl")])
    assert told["pairs"] == 1 and told["sum"]["right"] in (0.0, 1.0) and told["longer"]["right"] == 0.5
    with pytest.raises(SystemExit):  # no adapter
        main([str(tiny_model), "--data", str(tmp_path / "x.jsonl")])
