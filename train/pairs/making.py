"""The set that is made of the drawn states: which pairs or groups are kept, and what was dropped why."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from therapysim.train.pairs.choosing import Choice, Judged, choose, ranked
from therapysim.train.pairs.drawing import Drawn, patient_of
from therapysim.train.pairs.judges import Chain
from therapysim.train.pairs.likeness import Likeness, Reserved, alike
from therapysim.train.pairs.nearness import Nearness
from therapysim.train.pairs.pair_settings import GROUP, PairSettings
from therapysim.train.pairs.shortcuts import Shortcuts, Sides, balance, measure

__all__ = ["VERDICTS", "Made", "make_groups", "make_pairs"]

#: What a row calls the side that a stage prefers.
VERDICTS = {1: "chosen", -1: "rejected", 0: "none"}


@dataclass
class Made:
    """A set and its story.

    Attributes:
        rows: of the file, in the order of the draw.
        dropped: why -> how many candidates, pairs or states.
        before, after: how far shortcuts went before pairs were dropped for them, and in the set.
    """

    rows: list[dict[str, Any]]
    dropped: Counter[str]
    before: Shortcuts
    after: Shortcuts
    pool: int = 0
    texts: dict[str, list[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class _Pair:
    drawn: Drawn
    choice: Choice

    @property
    def chosen(self) -> Judged:
        return self.drawn.found[self.choice.chosen]

    @property
    def rejected(self) -> Judged:
        return self.drawn.found[self.choice.rejected]

    @property
    def said(self) -> tuple[str, str, str]:
        """The patient's last words and both turns."""
        return _heard(self.drawn), self.chosen.text, self.rejected.text

    @property
    def sides(self) -> Sides:
        return Sides(self.chosen.text, self.rejected.text, patient_of(self.drawn.persona))


def make_pairs(drawn: Sequence[Drawn], settings: PairSettings, reserved: Reserved, versions: Mapping[str, Any]) -> Made:
    """The pairs of the drawn states: judged, kept clear of other files, no two alike, and without shortcuts.

    Args:
        drawn: the states.
        settings: what is kept.
        reserved: what the set must not overlap with.
        versions: told in each row.
    """
    dropped: Counter[str] = Counter()
    chain = Chain.of(settings)
    found: list[_Pair] = []
    for state in drawn:
        choices, reasons = choose(state.found, chain) if state.found else ([], ["no state"])
        dropped.update(reasons)
        found += [_Pair(state, choice) for choice in choices]
    if settings.rejected == "errors":
        dropped["rejected is no error"] = sum(pair.rejected.kind != "error" for pair in found)
        found = [pair for pair in found if pair.rejected.kind == "error"]
    unlike = [pair for pair in found if not alike(pair.chosen.text, pair.rejected.text, settings.near)]
    dropped["sides alike"], found = len(found) - len(unlike), unlike
    pool = len(found)
    clean = _distinct(_uncontaminated(found, reserved, settings, dropped), settings, dropped)
    before = measure([pair.sides for pair in clean])
    kept = _balanced(clean, settings, dropped)
    rows = [_row(pair, settings, chain, versions) for pair in kept]
    texts = {"chosen": [p.chosen.text for p in kept], "rejected": [p.rejected.text for p in kept]}
    return Made(rows, dropped, before, measure([p.sides for p in kept]), pool, texts)


def make_groups(
    drawn: Sequence[Drawn], settings: PairSettings, reserved: Reserved, versions: Mapping[str, Any]
) -> Made:
    """A group of GROUP ranked completions for each drawn state that has as many; arguments as ``make_pairs``.

    Shortcuts are told by the first of a group and its last.
    """
    dropped: Counter[str] = Counter()
    chain, likeness, rows, ends = Chain.of(settings), Likeness(settings.near), [], []
    near = _near(reserved, settings, [text for state in drawn for text in _all_said(state)])
    for state in drawn:
        order = ranked(state.found, chain)[:GROUP]
        texts = [state.found[i].text for i in order]
        if reason := _group_fault(state, texts, likeness, reserved, near):
            dropped[reason] += 1
            continue
        rows.append(_group_row(state, order, settings, chain, versions))
        ends.append(Sides(texts[0], texts[-1], patient_of(state.persona)))
    kept = balance(ends, settings.most_auc)
    dropped["shortcut"] += len(ends) - len(kept)
    before, left = measure(ends), [ends[i] for i in kept]
    said = {"best": [one.chosen for one in left], "worst": [one.rejected for one in left]}
    return Made([rows[i] for i in kept], dropped, before, measure(left), len(drawn), said)


def _group_fault(
    state: Drawn, texts: Sequence[str], likeness: Likeness, reserved: Reserved, near: Collection[str]
) -> str:
    """Why a state gives no group; "" where it gives one."""
    if not state.found:
        return "no state"
    if len(texts) < GROUP:
        return f"fewer than {GROUP} completions"
    if reserved.holds(_heard(state), *texts):
        return "contaminated"
    if any(text in near for text in (_heard(state), *texts)):
        return "near to another file"
    told = likeness.add("\n".join((_heard(state), *texts)))
    return f"{told} duplicate" if told else ""


def _uncontaminated(
    found: Sequence[_Pair], reserved: Reserved, settings: PairSettings, dropped: Counter[str]
) -> list[_Pair]:
    """Without what shares a run of words with a file of ``against``, and what is near to a text there."""
    kept = [p for p in found if not reserved.holds(*p.said)]
    dropped["contaminated"] += len(found) - len(kept)
    near = _near(reserved, settings, [text for pair in kept for text in pair.said])
    clear = [pair for pair in kept if not near & set(pair.said)]
    dropped["near to another file"] += len(kept) - len(clear)
    return clear


def _near(reserved: Reserved, settings: PairSettings, texts: Sequence[str]) -> set[str]:
    """Those of the texts that say nearly the same as one that the set must not overlap with."""
    if not reserved.texts or not settings.against_cosine:
        return set()
    own = list(dict.fromkeys(texts))
    near = Nearness(reserved.texts, settings.against_cosine, settings.against_model).near(own)
    return {text for text, told in zip(own, near, strict=True) if told}


def _distinct(found: Sequence[_Pair], settings: PairSettings, dropped: Counter[str]) -> list[_Pair]:
    """No pair twice, and none that is nearly another."""
    likeness, kept = Likeness(settings.near), []
    for pair in found:
        told = likeness.add("\n".join(pair.said))
        kept += [] if told else [pair]
        dropped.update([f"{told} duplicate"] if told else [])
    return kept


def _balanced(found: Sequence[_Pair], settings: PairSettings, dropped: Counter[str]) -> list[_Pair]:
    """Without shortcuts, and at most so many pairs of a state: first it is chosen which, then what is left is looked
    at again."""
    once = _without_shortcuts(found, settings, dropped)
    few = _few_of_each(once, settings)
    dropped["beyond per_state"] += len(once) - len(few)
    return _without_shortcuts(few, settings, dropped)


def _without_shortcuts(found: Sequence[_Pair], settings: PairSettings, dropped: Counter[str]) -> list[_Pair]:
    kept = [found[i] for i in balance([pair.sides for pair in found], settings.most_auc)]
    dropped["shortcut"] += len(found) - len(kept)
    return kept


def _few_of_each(found: Sequence[_Pair], settings: PairSettings) -> list[_Pair]:
    """At most ``per_state`` pairs of a state, those with a deliberate error first, else drawn by the set's seed."""
    kept: list[_Pair] = []
    by_state: dict[tuple[int, int], list[_Pair]] = {}
    for pair in found:
        by_state.setdefault((pair.drawn.session, pair.drawn.state), []).append(pair)
    for key, own in by_state.items():
        rng = np.random.default_rng(np.random.SeedSequence(settings.seed, spawn_key=(3, *key)))
        order = sorted(rng.permutation(len(own)).tolist(), key=lambda i: own[i].rejected.kind != "error")
        kept += [own[i] for i in sorted(order[: settings.per_state])]
    return kept


def _all_said(state: Drawn) -> tuple[str, ...]:
    return _heard(state), *(own.text for own in state.found)


def _heard(state: Drawn) -> str:
    """The patient's last words, without a header."""
    return state.prompt[-1]["content"].rpartition("\nPatient: ")[2] if state.prompt else ""


def _row(pair: _Pair, settings: PairSettings, chain: Chain, versions: Mapping[str, Any]) -> dict[str, Any]:
    chosen, rejected = pair.chosen, pair.rejected
    verdicts = chain.verdicts(chosen.outcome, rejected.outcome)
    return {
        "prompt": pair.drawn.prompt,
        "prompt_short": pair.drawn.prompt_short,
        "chosen": _said(chosen),
        "rejected": _said(rejected),
        "rule": pair.choice.rule,
        "verdicts": {stage: VERDICTS[side] for stage, side in verdicts.items()},
        "margin": pair.choice.margin,
        "tie_by_polarity": pair.choice.polar,
        "score_chosen": _worth(chosen, chain),
        "score_rejected": _worth(rejected, chain),
        "scores": {"chosen": asdict(chosen.outcome), "rejected": asdict(rejected.outcome)},
        "chosen_style": chosen.style,
        "chosen_source": chosen.source,
        "rejected_style": rejected.style,
        "rejected_source": rejected.source,
        "error": rejected.source if rejected.kind == "error" else None,
        **_where(pair.drawn, settings),
        "versions": dict(versions),
    }


def _group_row(
    state: Drawn, order: Sequence[int], settings: PairSettings, chain: Chain, versions: Mapping[str, Any]
) -> dict[str, Any]:
    found = [state.found[i] for i in order]
    return {
        "prompt": state.prompt,
        "prompt_short": state.prompt_short,
        "completions": [_said(own) for own in found],
        "ranks": list(range(1, len(found) + 1)),
        "scores": [_worth(own, chain) for own in found],
        "outcomes": [asdict(own.outcome) for own in found],
        "styles": [own.style for own in found],
        "sources": [own.source for own in found],
        "errors": [own.source if own.kind == "error" else None for own in found],
        **_where(state, settings),
        "versions": dict(versions),
    }


def _where(state: Drawn, settings: PairSettings) -> dict[str, Any]:
    """Where the state stands, and who spoke."""
    patient = patient_of(state.persona)
    return {
        "persona": state.persona,
        "patient": patient,
        "split": settings.persona(patient).split,
        "seed": state.seed,
        "turn": state.turn,
        "danger": state.danger,
        "teacher": state.teacher,
        "common": settings.common,
    }


def _said(own: Judged) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": own.text}]


def _worth(own: Judged, chain: Chain) -> float:
    return round(chain.worth(own.outcome), 6)
