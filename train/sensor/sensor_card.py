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
| base | MiniLM-L6-v2 (sentence-transformers, Apache-2.0), {layers}, emoji as tokens |
| data | GoEmotions, Demszky et al. 2020, CC BY 4.0: {gold} training texts, {texts} dev texts; Reddit comments, 2005-2019 |
| learnt from | {taught} |
| licence of the weights | Apache-2.0, with attribution of GoEmotions as CC BY 4.0 asks |
| command | `therapysim train emotions --data GOEMOTIONS --base MINILM --out rewards/reading/weights --seed {seed}{teachers}` |
| settings | {settings} |

## Dev numbers

Calibration and thresholds are cross-fitted in {folds} folds: no text is scored with a threshold it helped to choose.
The shipped thresholds are then chosen on all of dev. The GoEmotions test split was not looked at.

| | macro-F1 (95 % interval) | micro-F1 (95 % interval) | expected calibration error |
|---|---|---|---|
| shipped, int8 | {macro:.3f} ({macro_low:.3f} to {macro_high:.3f}) | {micro:.3f} ({micro_low:.3f} to {micro_high:.3f}) | {ece:.4f} |
| before quantisation, fp32 | {macro32:.3f} | {micro32:.3f} | {ece32:.4f} |

| label | precision | recall | F1 | texts |
|---|---|---|---|---|
{rows}

## Not for

Diagnosis, screening, or any decision about a person. Trained on Reddit: it misreads sarcasm, second-person text and what is
past or denied; rare labels (grief, relief, pride, nervousness) rest on a few dozen dev texts; other languages are noise.
Labels were given by English-speaking raters in India and carry their reading of Reddit.
"""
_TAUGHT = (
    "{trained} texts: the training texts, texts that a language model wrote after them, and lines with emoji; labelled by "
    "larger encoders that had not learnt from them (`train/sensor/teacher.py`), mixed with the raters' labels"
)


def write_card(folder: Path, report: dict[str, Any]) -> None:
    """Writes ``report.json`` and ``MODEL_CARD.md`` into ``folder``."""
    (folder / "report.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    config, scores, full = report["config"], report["scores"], report["fp32_dev"]
    taught = report["taught"]
    text = _CARD.format(
        megabytes=report["bytes"] / 1e6,
        layers=f"layers {', '.join(map(str, config['layers']))}" if config["layers"] else "all layers",
        gold=report["gold"],
        texts=report["texts"],
        taught=_TAUGHT.format(trained=report["trained"]) if taught else "the raters' labels alone",
        teachers=" --teachers TEACHERS" if taught else "",
        seed=config["seed"],
        folds=config["folds"],
        settings=", ".join(f"{k} {v}" for k, v in config.items() if k not in ("seed", "folds", "layers")),
        **_bounds(report["interval"]),
        macro=scores["macro_f1"],
        micro=scores["micro_f1"],
        ece=scores["ece"],
        macro32=full["macro_f1"],
        micro32=full["micro_f1"],
        ece32=full["ece"],
        rows=_rows(report["labels"]),
    )
    (folder / "MODEL_CARD.md").write_text(text, encoding="utf-8")


def _bounds(interval: dict[str, list[float]]) -> dict[str, float]:
    ends = {name: interval[f"{name}_f1"] for name in ("macro", "micro")}
    return {f"{name}_{end}": both[i] for name, both in ends.items() for i, end in enumerate(("low", "high"))}


def _rows(labels: dict[str, dict[str, float]]) -> str:
    return "\n".join(
        f"| {label} | {row['precision']:.2f} | {row['recall']:.2f} | {row['f1']:.2f} | {row['n']:.0f} |"
        for label, row in labels.items()
    )
