"""New texts for the sensor to learn from: a small language model, tuned to write comments that show given emotions.

Whether a text shows what it was asked for does not matter much: the teachers label it anew
(``train/sensor/teacher.py``).
"""

import json
import random
from pathlib import Path
from typing import Any

import torch
from torch import nn

from therapysim.files import whole
from therapysim.models.checkpoint import load
from therapysim.rewards.matrix import LABELS
from therapysim.train.sensor.corpus import Matrix, length_batches, read_split
from therapysim.train.sensor.sensor_settings import TextSettings

__all__ = ["write_texts"]


def write_texts(settings: TextSettings) -> int:
    """Tunes the model, draws the texts, and writes them. Returns how many were kept."""
    Path(settings.out).parent.mkdir(parents=True, exist_ok=True)  # before hours of work, not after
    torch.manual_seed(settings.seed)
    model, tokenizer = load(settings.model)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model.to(device)
    texts, targets = read_split(Path(settings.data), "train")
    names = [_ask(row) for row in targets]
    tune(model, tokenizer, [f"{n}: {t}" for n, t in zip(names, texts, strict=True)], settings)
    rng = random.Random(settings.seed)
    asked = [rng.choice(LABELS) if rng.random() < settings.rare else rng.choice(names) for _ in range(settings.n)]
    drawn = draw(model.eval(), tokenizer, [f"{a}:" for a in asked], settings)
    known = set(texts) | set(read_split(Path(settings.data), "dev")[0])
    kept = [t for t in dict.fromkeys(drawn) if t and t not in known]
    with whole(Path(settings.out)) as part:
        part.write_text(json.dumps(kept, ensure_ascii=False), encoding="utf-8")
    return len(kept)


def _ask(row: Matrix) -> str:
    return ", ".join(label for label, on in zip(LABELS, row, strict=True) if on)


def tune(model: Any, tokenizer: Any, lines: list[str], settings: TextSettings) -> None:
    """Next-token cross-entropy on the lines, each closed by the end token."""
    device, end = model.device, tokenizer.eos_token_id
    ids = [[*row[: settings.max_tokens], end] for row in tokenizer(lines)["input_ids"]]
    optimizer = torch.optim.AdamW(model.parameters(), lr=settings.lr)
    rng = random.Random(settings.seed)
    model.train()
    for _ in range(settings.epochs):
        for batch in length_batches([len(i) for i in ids], settings.batch_size, rng):
            width = max(len(ids[i]) for i in batch)
            inputs = torch.tensor([ids[i] + [end] * (width - len(ids[i])) for i in batch], device=device)
            lengths = torch.tensor([len(ids[i]) for i in batch], device=device)
            targets = inputs.masked_fill(torch.arange(width, device=device) >= lengths[:, None], -100)[:, 1:]
            with torch.autocast(device.type, dtype=torch.bfloat16, enabled=device.type == "cuda"):
                logits = model(input_ids=inputs).logits[:, :-1]
            loss = nn.functional.cross_entropy(logits.float().flatten(0, 1), targets.flatten(), ignore_index=-100)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()


@torch.no_grad()
def draw(model: Any, tokenizer: Any, prompts: list[str], settings: TextSettings) -> list[str]:
    """One text for each prompt, in another order: those of one length are drawn together."""
    model = model.to(torch.bfloat16) if model.device.type == "cuda" else model
    ordered = sorted(prompts, key=lambda p: (len(tokenizer(p)["input_ids"]), p))
    found = []
    for start in range(0, len(ordered), settings.draw_at_once):
        batch = tokenizer(ordered[start : start + settings.draw_at_once], return_tensors="pt", padding=True)
        batch = batch.to(model.device)
        tokens = model.generate(
            **batch,
            max_new_tokens=settings.max_tokens,
            do_sample=True,
            temperature=settings.temperature,
            top_p=settings.top_p,
            top_k=0,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
        new = tokenizer.batch_decode(tokens[:, batch["input_ids"].shape[1] :], skip_special_tokens=True)
        found += [" ".join(text.split()) for text in new]
    return found
