"""The measure of what a large model takes plays whole sessions of the longest turns, and says what they took."""

from pathlib import Path

import pytest

pytest.importorskip("trl")

import torch

from tests.measures.large_model import main
from tests.parts.run_files import rows


def test_it_trains_on_whole_sessions_of_the_longest_turns(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from therapysim.train.grpo.trainer import SessionGRPOTrainer

    monkeypatch.setattr(SessionGRPOTrainer, "_generate_single_turn", SessionGRPOTrainer._generate_single_turn)
    changed = ["max_prompt_tokens=4000", "max_completion_tokens=4000", "groups=1", "generations=2", "batch_size=2"]
    told = main(
        [str(tmp_path), "--shape", "tiny", "--tokenizer", str(tiny_model), "--preset", "smoke", "--set", *changed]
    )
    assert told["session/turns"] == 2.0 and told["step_time"] > 0
    assert (told["memory/peak_gib"] is None) == (not torch.cuda.is_available())
    (row,) = rows(tmp_path / "run")
    assert row["turns/cut"] == 0 and row["grad_norm"] > 0
    assert (tmp_path / "run" / "policy" / "adapter_model.safetensors").is_file()
