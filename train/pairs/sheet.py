"""The sheet that goes with a set: what it holds, what was dropped why, how far shortcuts go, licence and limits."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from therapysim.agents.probes.talk_counts import distinct
from therapysim.train.pairs.choosing import choose
from therapysim.train.pairs.drawing import Drawn
from therapysim.train.pairs.judges import SAYS, Chain, disagreements
from therapysim.train.pairs.likeness import words_of
from therapysim.train.pairs.making import VERDICTS, Made
from therapysim.train.pairs.pair_settings import PairSettings
from therapysim.train.pairs.set_folder import Kind
from therapysim.train.pairs.shortcuts import Shortcuts

__all__ = ["LICENCE", "LIMITS", "as_page", "sheet_of"]

LICENCE = (
    "Apache-2.0, as the package, for what scripted patients and teachers say. What a language model says may come "
    "under that model's licence."
)
LIMITS = (
    "Patients are simulated and the judge is the simulator's own rubric: that a side is better is true of the "
    "simulator, not of a person. Not for clinical use.",
    "Errors come from a bank of written lines; a policy may learn the lines and not the kind of error.",
    "A turn is judged by a few turns after it: what harms later than that is not seen.",
    "The regression on surface sees single words and marks; a shortcut it does not know goes unseen.",
)


def sheet_of(kind: Kind, drawn: Sequence[Drawn], made: Made, settings: PairSettings) -> dict[str, Any]:
    """The sheet as plain values, for ``sheet.json``."""
    rows = made.rows
    return {
        "kind": kind,
        "rows": len(rows),
        "states": sum(bool(row.found) for row in drawn),
        "sessions": len({row.session for row in drawn}),
        "candidates": sum(len(row.found) for row in drawn),
        "pool": made.pool,
        "patients": _counts(row["patient"] for row in rows),
        "split": _counts(row["split"] for row in rows),
        "dangers": sum(row["danger"] for row in rows),
        "dropped": dict(sorted((name, n) for name, n in made.dropped.items() if n)),
        **(_of_pairs(rows, drawn, settings) if kind == "pairs" else {}),
        "errors": _by_error(drawn, settings),
        "words": {side: _mean(len(words_of(text)) for text in texts) for side, texts in made.texts.items()},
        "distinct": {side: _distinct(texts) for side, texts in made.texts.items()},
        "shortcuts": {"before": _told(made.before), "after": _told(made.after)},
        "against": list(settings.against),
        "settings": settings.model_dump(mode="json"),
        "licence": LICENCE,
        "limits": list(LIMITS),
    }


def as_page(sheet: Mapping[str, Any]) -> str:
    """The sheet as Markdown, for ``sheet.md``."""
    what = "pairs" if sheet["kind"] == "pairs" else "groups of ranked completions"
    parts = [
        f"# {sheet['rows']} {what}\n",
        f"From {sheet['candidates']} candidates in {sheet['states']} states of {sheet['sessions']} sessions with "
        f"{len(sheet['patients'])} patients ({_listed(sheet['split'])}); {sheet['dangers']} with a danger in play.\n",
        _table("Dropped", ("why", "how many"), sheet["dropped"].items()),
        *_pair_parts(sheet),
        _table(
            "Deliberate errors",
            ("error", "candidates", "worse by the margin", "with a violation"),
            [(name, own["candidates"], own["worse"], own["violations"]) for name, own in sheet["errors"].items()],
        ),
        _table(
            "Shortcuts: AUC by which the sides are told apart",
            ("", "length", "surface", "pairs right by surface"),
            [(when, *(_figure(own[n]) for n in ("length", "surface", "surface_pairs")))
             for when, own in sheet["shortcuts"].items()],
        ),
        _table(
            "Words",
            ("side", "words a turn", "distinct-1", "distinct-2", "distinct-3"),
            [(side, _figure(sheet["words"][side]), *(_figure(own[n]) for n in "123"))
             for side, own in sheet["distinct"].items()],
        ),
        f"## Contamination\n\n{_contamination(sheet)}\n",
        f"## Licence\n\n{sheet['licence']}\n",
        "## Limits\n\n" + "\n".join(f"- {limit}" for limit in sheet["limits"]) + "\n",
    ]  # fmt: skip
    return "\n".join(part for part in parts if part)


def _of_pairs(rows: Sequence[Mapping[str, Any]], drawn: Sequence[Drawn], settings: PairSettings) -> dict[str, Any]:
    margins = [row["margin"] for row in rows]
    levels = (0, 25, 50, 75, 100)
    return {
        "stages": _stages(rows, Chain.of(settings)),
        "disagreements": _disagreements(rows, drawn, Chain.of(settings)),
        "chosen_by_polarity": sum(row["tie_by_polarity"] for row in rows),
        "margins": {str(q): round(float(np.percentile(margins, q)), 4) for q in levels} if margins else {},
        "chosen": _counts(f"{row['chosen_style']}, {row['chosen_source']}" for row in rows),
        "rejected": _counts(row["error"] or f"{row['rejected_style']}, {row['rejected_source']}" for row in rows),
    }


def _stages(rows: Sequence[Mapping[str, Any]], chain: Chain) -> dict[str, dict[str, int]]:
    """Of each stage: in how many pairs of the set it had an opinion, agreed with the pair, and decided it."""
    told = {}
    for name in (name for name in SAYS if chain.has(name)):
        said = Counter(row["verdicts"][name] for row in rows)
        told[name] = {
            "opinions": said["chosen"] + said["rejected"],
            "agreed": said["chosen"],
            "decided": sum(row["rule"] == name for row in rows),
        }
    return told


def _disagreements(
    rows: Sequence[Mapping[str, Any]], drawn: Sequence[Drawn], chain: Chain
) -> list[dict[str, str | int]]:
    """For each two stages that ever had an opinion together: how often, and how often they disagreed."""
    sides = {word: side for side, word in VERDICTS.items()}
    anywhere = disagreements(_compared(drawn, chain))
    kept = disagreements({name: sides[word] for name, word in row["verdicts"].items()} for row in rows)
    told: list[dict[str, str | int]] = []
    for two, (both, apart) in anywhere.items():
        both_kept, apart_kept = kept.get(two, (0, 0))
        told.append(
            {"first": two[0], "second": two[1], "both": both, "disagreed": apart, "both_in_set": both_kept,
             "disagreed_in_set": apart_kept}
        )  # fmt: skip
    return told


def _compared(drawn: Sequence[Drawn], chain: Chain) -> Iterator[dict[str, int]]:
    """The verdicts on any two candidates of a state."""
    for state in drawn:
        outcomes = [own.outcome for own in state.found if not own.outcome.failed]
        yield from (chain.verdicts(*two) for two in combinations(outcomes, 2))


def _pair_parts(sheet: Mapping[str, Any]) -> list[str]:
    if sheet["kind"] != "pairs":
        return []
    stages = [
        (name, *(own[n] for n in ("opinions", "agreed", "decided")), SAYS[name])
        for name, own in sheet["stages"].items()
    ]
    apart = [tuple(own.values()) for own in sheet["disagreements"]]
    quartiles = ", ".join(f"{value:.2f}" for value in sheet["margins"].values())
    return [
        _table(
            "The judge chain: pairs of the set",
            ("stage", "had an opinion", "agreed with the pair", "decided it", "which is to say"),
            stages,
        ),
        _table(
            "Stages that disagreed: any two candidates of a state, and pairs of the set",
            ("stage", "stage", "both had an opinion", "disagreed", "both, in the set", "disagreed, in the set"),
            apart,
        ),
        f"{sheet['chosen_by_polarity']} chosen before one of like worth, for the higher polarity. Margins, least, "
        f"quartiles and most: {quartiles or 'none'}.\n",
        _table("Chosen", ("style, teacher", "pairs"), sheet["chosen"].items()),
        _table("Rejected", ("error, or style and teacher", "pairs"), sheet["rejected"].items()),
    ]


def _by_error(drawn: Sequence[Drawn], settings: PairSettings) -> dict[str, dict[str, int]]:
    """Of each error: how many candidates, how many of them made a pair before any was dropped, and violations."""
    chain = Chain.of(settings)
    told = {name: {"candidates": 0, "worse": 0, "violations": 0} for name in settings.errors}
    for state in drawn:
        for own in state.found:
            if own.kind == "error":
                told[own.source]["candidates"] += 1
                told[own.source]["violations"] += bool(own.outcome.violations)
        for choice in choose(state.found, chain)[0]:
            own = state.found[choice.rejected]
            if own.kind == "error":
                told[own.source]["worse"] += 1
    return told


def _contamination(sheet: Mapping[str, Any]) -> str:
    if not sheet["against"]:
        return "Held against no other file (`--against`)."
    own, dropped = sheet["settings"], sheet["dropped"]
    by = own["against_model"] or "stems of words"
    return (
        f"Held against {', '.join(sheet['against'])}, the patient's last words and each turn: "
        f"{dropped.get('contaminated', 0)} dropped for a run of {own['against_words']} words in common, "
        f"{dropped.get('near to another file', 0)} for a cosine of {own['against_cosine']:g} or more ({by})."
    )


def _told(seen: Shortcuts) -> dict[str, float]:
    own = {"length": seen.length, "surface": seen.surface, "surface_pairs": seen.surface_pairs}
    return {name: round(value, 4) for name, value in own.items()}


def _distinct(texts: Sequence[str]) -> dict[str, float]:
    return {str(n): round(distinct((words_of(text) for text in texts), n), 4) for n in (1, 2, 3)}


def _counts(names: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(names).items(), key=lambda item: (-item[1], item[0])))


def _mean(values: Iterable[float]) -> float:
    own = list(values)
    return round(sum(own) / len(own), 2) if own else float("nan")


def _figure(value: float) -> str:
    return "–" if value != value else f"{value:.2f}"


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{n} of {name}" for name, n in counts.items()) or "none"


def _table(title: str, head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    own = list(rows)
    if not own:
        return ""
    lines = [head, ["---"] * len(head), *own]
    return f"## {title}\n\n" + "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines) + "\n"
