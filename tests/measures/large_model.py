"""What one GRPO update of a large model takes, in memory and seconds, with random weights of its shape.

python -m tests.measures.large_model FOLDER --tokenizer MODEL [--shape 7b] [--preset qlora-24gb] [--set NAME=VALUE ...]

Random weights speak no language, and a patient would walk out after two turns. So each turn is sampled as always, for
its memory and time, and what is kept of it are words that a patient can answer, as long as the longest turn may be.
With ``--limit-gib`` PyTorch is given no more of the GPU's memory than that. Several GPUs: put ``accelerate launch
--config_file RECIPE -m`` before the module, once the weights are made.
"""

import argparse
import json
import random
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

#: Of Qwen2.5's models, and one for a test.
SHAPES: dict[str, dict[str, int]] = {
    "7b": {
        "hidden_size": 3584, "num_hidden_layers": 28, "num_attention_heads": 28, "num_key_value_heads": 4,
        "intermediate_size": 18944, "vocab_size": 152064,
    },
    "1.5b": {
        "hidden_size": 1536, "num_hidden_layers": 28, "num_attention_heads": 12, "num_key_value_heads": 2,
        "intermediate_size": 8960, "vocab_size": 151936,
    },
    "tiny": {
        "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
        "intermediate_size": 128, "vocab_size": 50000,
    },
}  # fmt: skip
SENTENCES = (
    "It sounds as if this week has been heavy, and you have carried most of it alone",
    "You have kept going although nobody noticed what it cost you",
    "I would like to understand what that evening was like for you",
    "Part of you wants to rest and part of you is afraid of what would happen then",
    "You have told me how tired you are of being the strong one",
    "When it came back on Sunday you stayed in the kitchen until it had passed",
    "There was somebody who listened once, and you have not forgotten it",
    "You are not sure yet whether talking about it helps at all",
)


def make(folder: Path, shape: str, tokenizer: Path) -> None:
    """A model of that shape with random weights in bfloat16, made where there is a GPU there."""
    from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig, Qwen2Config

    own = AutoTokenizer.from_pretrained(tokenizer)
    ends = {"bos_token_id": own.bos_token_id, "eos_token_id": own.eos_token_id, "pad_token_id": own.pad_token_id}
    config = Qwen2Config(max_position_embeddings=32768, tie_word_embeddings=False, **SHAPES[shape], **ends)
    with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
        model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    model.generation_config = GenerationConfig(**ends)
    draft = folder.with_name(f"{folder.name}.part")
    model.save_pretrained(draft)
    own.save_pretrained(draft)
    shutil.rmtree(folder, ignore_errors=True)
    draft.rename(folder)


def words_in_place() -> None:
    """From here on, turns are sampled by the model and worded from ``SENTENCES``."""
    from therapysim.train.grpo.trainer import SessionGRPOTrainer

    sample = SessionGRPOTrainer._generate_single_turn

    def said(self: Any, prompts: Sequence[list[int]], *rest: Any) -> tuple[list[list[int]], Any]:
        _, drawn = sample(self, prompts, *rest)
        draw = random.Random(sum(map(len, prompts)))
        return [_words(self, draw) for _ in prompts], drawn

    SessionGRPOTrainer._generate_single_turn = said


def _words(trainer: Any, draw: random.Random) -> list[int]:
    text = ". ".join(draw.sample(SENTENCES, len(SENTENCES))) + ". What is that like?"
    ids = trainer.processing_class(text, add_special_tokens=False)["input_ids"]
    return [*ids[: trainer.rollout_func.settings.max_turn_tokens - 1], trainer.eos_token_ids[0]]


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Makes the model where it is missing, trains, prints what it took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="for the model and the run")
    parser.add_argument("--shape", choices=SHAPES, default="7b")
    parser.add_argument("--tokenizer", type=Path, required=True, help="a folder with a tokenizer and a chat template")
    parser.add_argument("--preset", default="qlora-24gb")
    parser.add_argument("--run", default="run", help="the run's folder, beside the model's")
    parser.add_argument("--steps", type=int, default=1)
    parser.add_argument("--limit-gib", type=float, default=0.0)
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="settings in place of the preset's")
    chosen = parser.parse_args(arguments)
    from therapysim.train.grpo.grpo_settings import load_settings
    from therapysim.train.grpo.run import train

    model, out = chosen.folder / chosen.shape, chosen.folder / chosen.run
    if not model.exists():
        make(model, chosen.shape, chosen.tokenizer)
    if chosen.limit_gib:
        whole = torch.cuda.get_device_properties(0).total_memory / 2**30
        torch.cuda.set_per_process_memory_fraction(chosen.limit_gib / whole)
    own = {name: json.loads(value) for name, _, value in (text.partition("=") for text in chosen.set)}
    fixed = {"model": str(model), "out": str(out), "max_steps": chosen.steps, "save_steps": chosen.steps,
             "validate_every": 0, "transcripts_every": 0}  # fmt: skip
    words_in_place()
    train(load_settings(None, {**fixed, **own}, preset=chosen.preset))
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    names = ("step_time", "memory/peak_gib", "session/turns", "completions/max_length")
    told: dict[str, Any] = {name: rows[-1].get(name) for name in names}
    if torch.cuda.is_available():
        told["reserved_gib"] = torch.cuda.max_memory_reserved() / 2**30
    print(json.dumps({"shape": chosen.shape, "preset": chosen.preset, **own, **told}))
    return told


if __name__ == "__main__":
    main(sys.argv[1:])
