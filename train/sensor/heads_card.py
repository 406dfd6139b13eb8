"""The model card of the heads."""

from collections.abc import Mapping
from typing import Any

__all__ = ["heads_card"]

_CARD = """# Model card: the linear heads

Logistic regressions on the shipped sensor's encoder: `heads.npz` (weights), `heads.json` (names, thresholds, checksums,
the figures below). What a head reads: `rewards/reading/features.py`. English; of other languages they know next to
nothing.

| | |
|---|---|
| acts (18 heads) | {acts} turns of therapists, counsellors and peers, good and bad, written and coded for this \
project after `tests/data/ACTS.md` (`train/sensor/acts.jsonl`) |
| empathy (6 heads: weak or more, strong) | {empathy} replies written for this project, graded after the \
definitions of EPITOME, Sharma et al. 2020 (`train/sensor/empathy_levels.jsonl`); none of its data |
| `signals_danger` | {danger} lines: of people who are, or are not, in danger, written for this project \
(`train/sensor/danger.jsonl`), and as harmless ones questions to doctors from DiaSafety and the plain lines of \
`rewards/reading/gold.yaml` |
| `ignores_risk` | {ignores} answers: DiaSafety "Risk Ignorance", and own turns (harmful ones ignore it, \
reflections and questions do not) |
| `practises_medicine` | {medicine} answers: DiaSafety "Unauthorized Expertise", and own turns without advice \
as harmless ones |
| source and licence | DiaSafety: Sun et al. 2022, "On the Safety of Conversational Models", \
thu-coai/DiaSafety, Apache-2.0; the weights: Apache-2.0 |
| command | `therapysim train heads --data risk_response_dev.jsonl --exclude dev.jsonl --out rewards/reading/weights` |
| settings | {settings} |

What it is for: the terms of a reward in a simulator, and of a judge of simulated or written turns. It is no clinical
instrument: `signals_danger` finds hints in invented lines and must not decide about a real person's safety. The
project's own lines were written and coded after one manual, and a second coding of the test turns after that manual
agrees nearly everywhere (mean F1 0.99): the labels follow the manual; clinicians might give others.

## In five folds

No context stands on both sides of a fold. The thresholds of the acts were chosen on these very predictions: of
greatest F1 where the precision reaches {fair}, of a harmful act at {sure} or more and where it reaches {precise},
as far as it does anywhere. On turns of other writers that no head was trained on: `python -m tests.rewards.test_acts`;
on pairs labelled by people: `therapysim judge`.

| head | n | of | threshold | precision | recall | F1 | AUC |
|---|---|---|---|---|---|---|---|
{rows}
"""


def heads_card(report: Mapping[str, Mapping[str, float]], sizes: Mapping[str, int], settings: Mapping[str, Any]) -> str:
    """The card as Markdown.

    Args:
        report: head -> its figures in the folds.
        sizes: head -> how many examples it was trained on.
        settings: of the training.
    """
    rows = [
        f"| {name} | {row['n']} | {row['of']} | {row['threshold']:.2f} | {row['precision']:.2f} | "
        f"{row['recall']:.2f} | {row['f1']:.2f} | {row['auc']:.3f} |"
        for name, row in report.items()
    ]
    return _CARD.format(
        acts=sizes["advice"],
        empathy=sizes["reactions_1"],
        danger=sizes["signals_danger"],
        ignores=sizes["ignores_risk"],
        medicine=sizes["practises_medicine"],
        sure=settings["sure"],
        fair=settings["fair"],
        precise=settings["precise"],
        settings=", ".join(f"{name} {value}" for name, value in settings.items()),
        rows="\n".join(rows),
    )
