"""The card of an export, its ``README.md``: what it holds, where it comes from, and what to beware of."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from therapysim.agents.therapists.baselines import BASELINES
from therapysim.train.pairs.card import CARD, features_of

__all__ = ["CARD", "FILES", "chats_card", "test_warning"]

#: Form -> the file that holds its rows.
FILES = {"messages": "messages.jsonl", "pairs": "pairs.jsonl", "csv": "turns.csv"}

_SIZES = (("n<1K", 10**3), ("1K<n<10K", 10**4), ("10K<n<100K", 10**5), ("100K<n<1M", 10**6))
_WHAT = {
    "messages": "Each row is a simulated therapy session as a chat: `messages` with roles system, user (the patient) "
    "and assistant (the therapist), to the therapist's last turn.",
    "pairs": "Each row is a state of a simulated therapy session in which two different turns were said: `prompt`, "
    "`chosen`, `rejected` in TRL's conversational form. The chosen turn is the one whose sessions earned more.",
    "csv": "Each row is a therapist's turn of a simulated therapy session: its words, its reward, and the patient "
    "after it.",
}
_HEADERS = {
    "long": "each of the patient's messages begins with the `[USER STATE]` header that policies are trained with",
    "short": "each of the patient's messages begins with the short state, such as `[STATE: MDD, Low-Temper]`",
    "none": "the patient's messages are words alone, without a state",
}
_LIMITS = (
    "Patients are simulated, and a return is the simulator's own rubric: that a session or a turn is better is true of "
    "the simulator, not of a person. Not for clinical use.",
    "A return is of one session under one seed: another continuation of the same turn may earn otherwise.",
    "Bad therapists are in it where bad therapists played: choose by `--policy` and `--min-return`.",
)


def test_warning(sessions: Sequence[Mapping[str, Any]]) -> str:
    """What to say where rows are of test patients, or may be; "" where none is.

    Args:
        sessions: rows with ``persona`` and ``split``.
    """
    told = []
    if met := Counter(row["persona"] for row in sessions if row["split"] == "test"):
        told.append(
            f"{sum(met.values())} of {len(sessions)} rows are with test patients ({', '.join(sorted(met))}), who are "
            "kept apart for benchmarks: whatever is trained on them can no longer be scored on them. Export sessions "
            "with patients of train (bench --split train) to train"
        )
    if met := Counter(row["persona"] for row in sessions if row["split"] == "unknown"):
        told.append(
            f"{sum(met.values())} of {len(sessions)} rows are with patients of your own ({', '.join(sorted(met))}), "
            "whose split a session file does not say: train on them only if none is a test patient, or export the "
            "benchmark's folder, which says it"
        )
    return ". ".join(told)


def chats_card(form: str, rows: Sequence[Mapping[str, Any]], told: Mapping[str, Any]) -> str:
    """The card as Markdown, with the front matter that a hub and ``datasets`` read.

    Args:
        form: of ``FILES``.
        rows: of it, at least one.
        told: as ``provenance.json`` has it.
    """
    front = yaml.safe_dump(_front(form, rows, told), sort_keys=False, allow_unicode=True)
    return f"---\n{front}---\n\n{_body(form, rows, told)}"


def _front(form: str, rows: Sequence[Mapping[str, Any]], told: Mapping[str, Any]) -> dict[str, Any]:
    tags = ["dialogue", "simulation", "synthetic", "therapy", *(["dpo"] if form == "pairs" else [])]
    split = "test" if form != "csv" and any(row["split"] == "test" for row in rows) else "train"
    typed = {} if form == "csv" else {"dataset_info": {"features": features_of(rows)}}
    return {
        "license": "apache-2.0" if _scripted(told) else "other",
        "language": ["en"],
        "pretty_name": f"TherapySim sessions as {form}",
        "task_categories": ["text-generation"],
        "tags": tags,
        "size_categories": [next((name for name, most in _SIZES if len(rows) < most), "1M<n<10M")],
        "configs": [{"config_name": "default", "data_files": [{"split": split, "path": FILES[form]}]}],
        **typed,
    }


def _scripted(told: Mapping[str, Any]) -> bool:
    return set(told["policies"]) <= set(BASELINES) and set(told["simulators"]) <= {"scripted"}


def _body(form: str, rows: Sequence[Mapping[str, Any]], told: Mapping[str, Any]) -> str:
    loader = "csv" if form == "csv" else "json"
    warning = f"> **Not for training as it is.** {told['warning']}.\n\n" if told["warning"] else ""
    return (
        f"# TherapySim sessions as {form}\n\n{_WHAT[form]}\n\n{warning}"
        f'```python\nfrom datasets import load_dataset\n\nrows = load_dataset("{loader}", data_files="{FILES[form]}", '
        'split="train")\n```\n\n'
        "| | |\n|---|---|\n" + "".join(f"| {name} | {value} |\n" for name, value in _figures(rows, told).items()) + "\n"
        f"`provenance.json` has all that decided them.\n\n## Licence\n\n{_licence(told)}\n\n"
        "## Limits\n\n" + "\n".join(f"- {limit}" for limit in _LIMITS) + "\n"
    )


def _licence(told: Mapping[str, Any]) -> str:
    if _scripted(told):
        return "Apache-2.0, as the package: scripted patients and therapists said all of it."
    return (
        "What a language model says may come under that model's licence, and what a person typed is theirs: ask them "
        "before you share it."
    )


def _figures(rows: Sequence[Mapping[str, Any]], told: Mapping[str, Any]) -> dict[str, Any]:
    source = told["source"]
    versions = source["settings"].get("versions", {})
    return {
        "rows, sessions": f"{len(rows)}, {told['sessions']}",
        "policies": _listed(told["policies"]),
        "patients worded by": _listed({name or "not told": n for name, n in told["simulators"].items()}),
        "split": _listed(told["splits"]),
        "mean return": f"{told['mean_return']:.2f}",
        **({"state": _HEADERS[told["header"]]} if told["header"] else {}),
        **(_of_pairs(told) if "dropped" in told else {}),
        "left out": _listed(told["left_out"]),
        "from": f"{source['kind']} {source['name']}, SHA-256 {source['sha256'][:16]}…",
        "played with, scored by": f"therapysim {versions.get('therapysim', 'not told')}, rubric {_rubric(source)}",
    }


def _of_pairs(told: Mapping[str, Any]) -> dict[str, Any]:
    share = f"{told['chosen_longer']:.2f}; far from 0.5, length is what is learned"
    return {"pairs dropped": _listed(told["dropped"]), "pairs whose chosen turn is the longer one": share}


def _rubric(source: Mapping[str, Any]) -> str:
    rubric = source["settings"].get("rubric", {})
    return str(rubric.get("preset", "not told"))


def _listed(counts: Mapping[str, int]) -> str:
    """Names with their numbers, in a cell of a table."""
    told = ", ".join(f"{' '.join(name.split()) or 'nobody'} {n}" for name, n in counts.items() if n)
    return told.replace("|", "\\|") or "none"
