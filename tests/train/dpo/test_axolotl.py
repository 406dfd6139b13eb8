"""A DPO run in Axolotl's words: its keys, and what it cannot say."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from therapysim.cli import main as cli
from therapysim.errors import ConfigError
from therapysim.train.dpo.axolotl import axolotl_config
from therapysim.train.dpo.dpo_settings import DPOSettings


def config(**changes: Any) -> dict[str, Any]:
    return axolotl_config(DPOSettings(**{"pairs": ("a.jsonl",), **changes}))


def test_the_users_run_in_axolotls_keys(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "run.yaml"
    command = ["train", "dpo", "--preset", "user", "--model", "org/model", "--pairs", "a.jsonl", "b.jsonl"]
    assert cli.main([*command, "--axolotl", str(file)]) == 0
    assert f"axolotl train {file}" in capsys.readouterr().out
    told = yaml.safe_load(file.read_text())
    asked = {
        "base_model": "org/model", "rl": "dpo", "rl_beta": 0.1, "dpo_loss_type": ["sigmoid"], "adapter": "qlora",
        "load_in_4bit": True, "lora_r": 16, "lora_alpha": 16, "lora_dropout": 0.0,
        "lora_target_modules": ["q_proj", "k_proj", "v_proj", "o_proj"], "micro_batch_size": 2,
        "gradient_accumulation_steps": 4, "learning_rate": 5e-5, "max_steps": 1000, "lr_scheduler": "constant",
        "sequence_len": 2048, "chat_template": "tokenizer_default", "output_dir": "runs/dpo", "save_steps": 100,
    }  # fmt: skip
    assert {name: told[name] for name in asked} == asked
    assert told["datasets"] == [
        {
            "path": path, "ds_type": "json", "split": "train", "type": "chat_template.default",
            "field_messages": "prompt", "field_chosen": "chosen", "field_rejected": "rejected",
            "message_property_mappings": {"role": "role", "content": "content"},
        }
        for path in ("a.jsonl", "b.jsonl")
    ]  # fmt: skip
    assert "test_datasets" not in told


def test_other_settings_have_their_keys() -> None:
    learning = {"loss_type": "robust", "label_smoothing": 0.1, "sft_weight": 0.5, "warmup": 10}
    told = config(model="smollm2", dev_pairs=("d",), **learning)
    assert told["base_model"] == "HuggingFaceTB/SmolLM2-135M-Instruct"
    assert (told["adapter"], told["load_in_4bit"]) == ("lora", False)
    assert (told["dpo_loss_type"], told["dpo_loss_weights"]) == (["robust", "sft"], [1.0, 0.5])
    assert (told["dpo_label_smoothing"], told["lr_scheduler"], told["warmup_steps"]) == (
        0.1,
        "constant_with_warmup",
        10,
    )
    assert [own["path"] for own in told["test_datasets"]] == ["d"]


def test_an_adapter_goes_on_from_its_base(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text('{"base_model_name_or_path": "org/model"}')
    told = config(model=str(tmp_path))
    assert (told["base_model"], told["lora_model_dir"]) == ("org/model", str(tmp_path))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pairs": ()}, r"pairs is \[\], expected at least one"),
        ({"beta": "auto"}, "beta is auto, and Axolotl plays no sessions .*give --beta a number"),
        ({"model": "a.gguf"}, r"expected a hub id or a model's folder: Axolotl reads no \.gguf file"),
        ({"unsloth": True}, "Axolotl loads no model with it; give --no-unsloth"),
        ({"chat_template_kwargs": {"enable_thinking": False}}, "chat_template_kwargs is set"),
    ],
)
def test_what_axolotl_cannot_say_is_told(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        config(**changes)


def test_a_file_that_cannot_be_written_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    place = tmp_path / "file" / "run.yaml"
    assert cli.main(["train", "dpo", "--pairs", "a.jsonl", "--axolotl", str(place)]) == 2
    assert "cannot be written" in capsys.readouterr().err
