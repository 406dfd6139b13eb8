"""The model card of the reader."""

from collections.abc import Mapping
from typing import Any

from therapysim.train.reader.reader_data import LEARNT
from therapysim.train.reader.reader_scores import table_of

__all__ = ["reader_card"]

_CARD = """# Model card: the reader of turns

`reader.onnx` ({size:.1f} MB, int8), `reader.json` (names, thresholds, checksums). What an act is: `docs/acts.md`. \
English; turns in
other languages are told apart before (`rewards/reading/language.py`).

| | |
|---|---|
| encoder | MiniLM-L6-v2 (sentence-transformers, Apache-2.0), tuned end to end; mean over what was heard and mean \
over the turn, one linear layer |
| acts and harms ({acts}) | turns of therapists, good and bad, written and coded for this project \
(`train/reader/turns.jsonl`) |
| empathy (6 outputs) | replies written for this project (`train/reader/empathy_levels.jsonl`) and EPITOME's \
training half |
| any, simple, complex reflection | also PAIR's training half |
| `signals_danger` | lines written for this project (`train/reader/danger.jsonl`); questions to doctors from \
DiaSafety as harmless |
| `ignores_risk`, `practises_medicine` | DiaSafety's "Risk Ignorance" and "Unauthorized Expertise" |
| `ties` | whether a turn takes up what these words mean, or misses it in the same words: written for this project \
(`train/reader/meaning.jsonl`); the turns above, and the same beside another patient's words |
| examples | {examples} |
| command | `therapysim train reader --base MINILM --diasafety risk_response_dev.jsonl --exclude dev.jsonl --pair \
pair_train.jsonl --epitome \
epitome_train.jsonl --out rewards/reading/weights` |
| settings | {settings} |
| licence of the weights | Apache-2.0, with the notices below |

Sources and notices:
- EPITOME: Sharma, Miner, Atkins & Althoff 2020, "A Computational Approach to Understanding Empathy Expressed in \
Text-Based Mental Health
  Support"; behavioral-data/Empathy-Mental-Health, University of Washington, used with attribution under its \
licence. These weights
  are derived from it.
- PAIR: Min, Pérez-Rosas, Resnicow & Mihalcea 2022, "PAIR: Prompt-Aware margIn Ranking for Counselor Reflection \
Scoring in Motivational
  Interviewing"; MichiganNLP, Apache-2.0.
- DiaSafety: Sun et al. 2022, "On the Safety of Conversational Models"; thu-coai/DiaSafety, Apache-2.0.
- AnnoMI (Wu et al. 2022) was used to measure and to choose among designs; nothing was fitted to it.

What it is for: the terms of a reward in a simulator, and of a judge of simulated or written turns. It is no \
clinical instrument:
`signals_danger` finds hints in invented lines and must not decide about a real person's safety. The labels follow \
one manual;
clinicians might give others.

## Apart from what was learnt

No patient's words stand on both sides of a fold. {apart}. On turns
of other writers, and on people's: `python -m tests.measures.reading`.

{human}

{table}
"""


def reader_card(report: Mapping[str, Any], size: int) -> str:
    """The card as Markdown.

    Args:
        report: names, thresholds, figures of the folds, how many examples each source gave, settings.
        size: bytes of the network.
    """
    acts = [name for name in report["names"] if name in LEARNT]
    return _CARD.format(
        size=size / 1e6,
        acts=len(acts),
        examples=", ".join(f"{source} {count}" for source, count in report["examples"].items()),
        settings="; then ".join(map(_listed, report["settings"]))
        + "".join(map(_mean_with, report.get("mean_with", []))),
        apart=report["apart"],
        human=_human(report),
        table=table_of(report["folds"]),
    )


def _mean_with(settings: Mapping[str, Any]) -> str:
    return f"; and the mean of its weights with those of a fit whose last settings were: {_listed(settings)}"


def _listed(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in settings.items())


def _human(report: Mapping[str, Any]) -> str:
    told = {"PAIR, pairs told apart": report["pair"], "EPITOME, macro-F1 of three levels": report["epitome"]}
    rows = (", ".join(f"{name} {value:.2f}" for name, value in of.items()) for of in told.values())
    return "; ".join(f"{head}: {row}" for head, row in zip(told, rows, strict=True))
