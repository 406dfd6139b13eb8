"""The acts of a turn, by heads and patterns together, on turns that no head was trained on.

``tests/data/acts_test.jsonl``: 520 turns with the patient's words before them, by two writers who saw neither the
training turns nor the classifier, coded after ``tests/data/ACTS.md``; ``second`` is a second coding, made without
sight of the first. ``python -m tests.rewards.test_acts`` prints the table; ``--errors`` also the turns not coded
exactly so.
"""

import json
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from therapysim.rewards.reading.acts import ACTS, chance, decide
from therapysim.rewards.reading.appraisal import Appraiser
from therapysim.rewards.reading.emotions import shipped_sensor
from therapysim.rewards.reading.patterns import PATTERNS, spot
from therapysim.state import Appraisal

DATA = Path(__file__).parents[1] / "data" / "acts_test.jsonl"
TRAIN = Path(__file__).parents[2] / "train" / "sensor" / "acts.jsonl"

#: act -> the least F1 on the test turns, a little below what was measured.
FLOORS = {
    "open_question": 0.91, "closed_question": 0.88, "simple_reflection": 0.60, "complex_reflection": 0.69,
    "validation": 0.71, "affirmation": 0.73, "information": 0.71, "advice": 0.73, "confrontation": 0.40,
    "invalidation": 0.64, "toxic_positivity": 0.92, "reassurance": 0.88, "self_disclosure": 0.77, "risk_inquiry":
    0.80, "signposting": 0.87, "apology": 0.76, "farewell": 0.87, "incitement": 0.51,
}  # fmt: skip


class Turn(NamedTuple):
    heard: str
    text: str
    acts: frozenset[str]
    second: frozenset[str]


def read(path: Path) -> list[Turn]:
    rows = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    return [Turn(row["patient"], row["text"], *(frozenset(row.get(k, ())) for k in ("acts", "second"))) for row in rows]


@cache
def appraiser() -> Appraiser:
    return Appraiser(shipped_sensor())


def classify(heard: Sequence[str], texts: Sequence[str]) -> list[frozenset[str]]:
    """The acts as a session sees them."""
    read = shipped_sensor().read
    return [found.acts for found in appraiser()(read(texts), read(heard), [()] * len(texts))]


@cache
def coded() -> tuple[list[Turn], list[frozenset[str]]]:
    turns = read(DATA)
    return turns, classify([t.heard for t in turns], [t.text for t in turns])


def f1(act: str, picks: Sequence[int] | None = None) -> float:
    turns, found = coded()
    rows = range(len(turns)) if picks is None else picks
    return agreement(act, [turns[i].acts for i in rows], [found[i] for i in rows])


def agreement(act: str, first: Sequence[frozenset[str]], second: Sequence[frozenset[str]]) -> float:
    """F1 of one coding by the other; the same either way round."""
    true, said = [act in acts for acts in first], [act in acts for acts in second]
    both = sum(t and s for t, s in zip(true, said, strict=True))
    return 2 * both / max(1, sum(true) + sum(said))


def table(errors: bool) -> None:
    """Prints precision, recall and F1 of each act, and the macro-F1 with its bootstrap interval over turns."""
    turns, found = coded()
    alone = [spot(turn.text) for turn in turns]
    print("| act | n | precision | recall | F1 | patterns alone, F1 |\n|---|---|---|---|---|---|")
    for act in ACTS[:-1]:
        true, said = [act in t.acts for t in turns], [act in a for a in found]
        both = sum(t and s for t, s in zip(true, said, strict=True))
        by_pattern = f"{agreement(act, [t.acts for t in turns], alone):.2f}" if act in PATTERNS else ""
        print(
            f"| {act} | {sum(true)} | {both / max(1, sum(said)):.2f} | {both / sum(true):.2f} | {f1(act):.2f} | "
            f"{by_pattern} |"
        )
    rng = np.random.default_rng(0)
    draws = [np.mean([f1(act, rows) for act in ACTS[:-1]]) for rows in rng.integers(len(turns), size=(300, len(turns)))]
    low, high = np.percentile(draws, [2.5, 97.5])
    print(f"| macro | {len(turns)} | | | {np.mean([f1(act) for act in ACTS[:-1]]):.3f} [{low:.3f}, {high:.3f}] | |")
    both_know = [act for act in ACTS[:-1] if act in PATTERNS]
    means = (
        np.mean([f1(a) for a in both_know]),
        np.mean([agreement(a, [t.acts for t in turns], alone) for a in both_know]),
    )
    print(f"\nthe {len(both_know)} acts that the patterns know too: {means[0]:.3f}, patterns alone {means[1]:.3f}")
    codings = [t.acts for t in turns], [t.second for t in turns]
    print(f"\nthe two codings by each other: macro-F1 {np.mean([agreement(act, *codings) for act in ACTS[:-1]]):.3f}")
    for turn, acts in zip(turns, found, strict=True) if errors else ():
        if acts != turn.acts:
            print(f"{sorted(turn.acts)}, found {sorted(acts)}: {turn.text!r}")


@pytest.mark.parametrize("act", ACTS[:-1])
def test_each_act_is_found(act: str) -> None:
    assert f1(act) >= FLOORS[act]


def test_the_turns_are_enough_and_apart_from_the_training() -> None:
    plain = {"".join(c for c in t.text.lower() if c.isalnum()) for t in read(TRAIN)}
    turns, _ = coded()
    assert len(turns) >= 400 and len({t.text for t in turns}) == len(turns)
    assert not [t.text for t in turns if "".join(c for c in t.text.lower() if c.isalnum()) in plain]
    assert {act for t in turns for act in t.acts} == set(ACTS) - {"silence"}


def test_a_turn_is_coded_alike_in_any_company() -> None:
    turns, found = coded()
    for i in (0, 17, 400):
        assert classify([turns[i].heard], [turns[i].text]) == [found[i]]


@pytest.mark.parametrize("text", ["", " \n\t", "\u200b"])
def test_blank_text_is_silence_alone(text: str) -> None:
    assert classify(["Hello."], [text]) == [frozenset({"silence"})]


def test_what_is_sure_enough_holds() -> None:
    thresholds = {"advice": 0.4, "simple_reflection": 0.5, "complex_reflection": 0.5, "incitement": 0.5}
    assert decide(frozenset(), {"advice": 0.4}, thresholds) == {"advice"}
    assert decide(frozenset(), {"advice": 0.39}, thresholds) == frozenset()
    both = {"simple_reflection": 0.9, "complex_reflection": 0.6}
    assert decide(frozenset(), both, thresholds) == {"complex_reflection"}
    assert decide(frozenset({"invalidation", "advice"}), {}, thresholds) == {"invalidation"}
    assert decide(frozenset({"confrontation"}), {"advice": 1.0, "incitement": 0.9}, thresholds) == {
        "confrontation",
        "incitement",
    }


def test_a_question_about_danger_must_name_one() -> None:
    dark = "Some nights I lie there and think it would be easier not to wake up."
    named, unnamed = classify(
        [dark] * 2, ["Are you thinking of ending your life?", "Are you thinking of anything else?"]
    )
    assert "risk_inquiry" in named and "risk_inquiry" not in unnamed
    (judged,) = appraiser()(*(shipped_sensor().read([t]) for t in ("Would you like to add anything?", dark)), [()])
    assert judged.chances["risk_inquiry"] == 0.0


def test_chance_falls_back_on_the_acts() -> None:
    assert chance(Appraisal(frozenset({"advice"}), 0.0, 3), "advice") == 1.0
    assert chance(Appraisal(frozenset({"advice"}), 0.0, 3, chances={"advice": 0.3}), "advice") == 0.3
    assert chance(Appraisal(frozenset(), 0.0, 3), "advice") == 0.0


if __name__ == "__main__":
    table("--errors" in sys.argv)
