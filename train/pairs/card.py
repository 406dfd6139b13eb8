"""The card of a set, its ``README.md``: a front matter that a hub and ``datasets`` read, and the main figures.

The front matter names the one file that holds rows, and the type of each column, so that a set without a single
violation or error loads with the same columns as any other.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from therapysim.agents.therapists.baselines import BASELINES
from therapysim.train.pairs.set_folder import Kind

__all__ = ["CARD", "card_of", "features_of"]

#: The card's file.
CARD = "README.md"

_SIZES = (("n<1K", 10**3), ("1K<n<10K", 10**4), ("10K<n<100K", 10**5), ("100K<n<1M", 10**6))
_TAGS = ["dialogue", "preference", "simulation", "synthetic", "therapy"]
_WHAT = {
    "pairs": "Each row is a state of a simulated therapy session, and a better and a worse turn of the therapist's in "
    "that state: `prompt`, `chosen`, `rejected` in TRL's conversational form.",
    "groups": "Each row is a state of a simulated therapy session, and turns of the therapist's in that state: "
    "`prompt`, and `completions` with `ranks` and `scores`, the best first.",
}


def card_of(kind: Kind, rows: Sequence[Mapping[str, Any]], sheet: Mapping[str, Any]) -> str:
    """The card as Markdown with its front matter.

    Args:
        kind: of the set; ``KIND.jsonl`` beside the card holds the rows.
        rows: of the set.
        sheet: as ``sheet.sheet_of`` gives it.
    """
    front = yaml.safe_dump(_front(kind, rows, sheet), sort_keys=False, allow_unicode=True)
    return f"---\n{front}---\n\n{_body(kind, sheet)}"


def features_of(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The columns of rows and their types, in the form of a card's ``dataset_info``; none for no rows.

    A column that is None in every row counts as text, and so do the entries of lists that are all empty.

    Example: ``[{"turn": 1}]`` gives ``[{"name": "turn", "dtype": "int64"}]``.
    """
    names = list(dict.fromkeys(name for row in rows for name in row))
    return [{"name": name, **_type_of([row.get(name) for row in rows])} for name in names]


def _type_of(values: Sequence[Any]) -> dict[str, Any]:
    known = [value for value in values if value is not None]
    if known and all(isinstance(value, Mapping) for value in known):
        return {"struct": features_of(known)}
    if known and all(isinstance(value, list | tuple) for value in known):
        inner = _type_of([entry for value in known for entry in value])
        return {"list": inner.get("struct") or inner.get("dtype") or inner}
    for kind, named in ((bool, "bool"), (int, "int64"), (int | float, "float64")):
        if known and all(isinstance(value, kind) for value in known):
            return {"dtype": named}
    return {"dtype": "string"}


def _front(kind: Kind, rows: Sequence[Mapping[str, Any]], sheet: Mapping[str, Any]) -> dict[str, Any]:
    settings = sheet["settings"]
    scripted = {*settings["teachers"], settings["common"]} <= set(BASELINES)
    info = {"dataset_info": {"features": features_of(rows)}} if rows else {}
    split = "train" if settings["split"] == "train" else "validation"
    return {
        "license": "apache-2.0" if scripted else "other",
        "language": ["en"],
        "pretty_name": f"TherapySim {kind}",
        "task_categories": ["text-generation", "reinforcement-learning"],
        "tags": [*_TAGS, "dpo" if kind == "pairs" else "ranking"],
        "size_categories": [next((name for name, most in _SIZES if len(rows) < most), "1M<n<10M")],
        "configs": [{"config_name": "default", "data_files": [{"split": split, "path": f"{kind}.jsonl"}]}],
        **info,
    }


def _body(kind: Kind, sheet: Mapping[str, Any]) -> str:
    seen = sheet["shortcuts"]["after"]
    decided = {name: own["decided"] for name, own in sheet.get("stages", {}).items() if own["decided"]}
    figures = {
        "rows": sheet["rows"],
        "states, sessions, patients": f"{sheet['states']}, {sheet['sessions']}, {len(sheet['patients'])}",
        "rows with a danger in play": sheet["dangers"],
        "candidates that were judged": sheet["candidates"],
        "dropped": _listed(sheet["dropped"]),
        **({"what decided": _listed(decided)} if kind == "pairs" else {}),
        "AUC by which length, surface tell the sides apart": f"{_figure(seen['length'])}, {_figure(seen['surface'])}",
        "teachers": ", ".join(sheet["settings"]["teachers"]),
        "seed": sheet["settings"]["seed"],
    }
    return (
        f"# TherapySim {kind}\n\n{_WHAT[kind]}\n\n"
        f'```python\nfrom datasets import load_dataset\n\nrows = load_dataset("json", data_files="{kind}.jsonl", '
        'split="train")  # or load_dataset("FOLDER")\n```\n\n'
        "| | |\n|---|---|\n" + "".join(f"| {name} | {value} |\n" for name, value in figures.items()) + "\n"
        "`sheet.md` says more. Both are written anew with the set.\n\n"
        f"## Licence\n\n{sheet['licence']}\n\n"
        "## Limits\n\n" + "\n".join(f"- {limit}" for limit in sheet["limits"]) + "\n"
    )


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {n}" for name, n in counts.items()) or "none"


def _figure(value: float) -> str:
    return "–" if value != value else f"{value:.2f}"
