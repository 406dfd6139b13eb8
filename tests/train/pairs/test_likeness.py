"""Duplicates, near and exact, and overlap with files that a set must keep clear of."""

import random
from pathlib import Path

import pytest

from therapysim.errors import ConfigError
from therapysim.train.pairs.likeness import Likeness, Reserved, alike, grams

TEXT = "I lie awake until four and then the alarm goes and I have slept for an hour at most."


def test_duplicates() -> None:
    seen = Likeness(0.8)
    assert seen.add(TEXT) == ""
    assert seen.add(TEXT.upper().replace(",", "") + " ") == "exact"
    assert seen.add(TEXT + " Really.") == "near"
    assert seen.add("Something else altogether is what I would like to talk about today.") == ""


def test_the_threshold_is_settable() -> None:
    other = TEXT.replace("alarm", "telephone").replace("hour", "evening")
    assert Likeness(0.8).add(TEXT) == "" and _second(0.8, other) == "" and _second(0.3, other) == "near"


def _second(near: float, text: str) -> str:
    seen = Likeness(near)
    seen.add(TEXT)
    return seen.add(text)


def test_runs_of_words() -> None:
    assert grams("One, two; three four", 3) == {("one", "two", "three"), ("two", "three", "four")}
    assert grams("Too short", 3) == {("too", "short")} and not grams(" … ", 3)


def test_overlap_with_files(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(f'{{"x": [{{"content": "{TEXT}"}}], "n": 3}}\n\n{{"y": "Short one"}}\n')
    (tmp_path / "b.txt").write_text("A line of plain text that is long enough to have a run.\n")
    held = Reserved([tmp_path / "a.jsonl", tmp_path / "b.txt"], 8)
    assert held.holds("nothing", f"You say: {TEXT.lower()}")
    assert held.holds("line of plain text that is long enough")
    assert held.holds("short one")
    assert not held.holds("I lie awake until five", "and the alarm goes")
    assert not Reserved([], 8).holds(TEXT)


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.jsonl", b'{"x": "y"}\n{"x": \n', "line 2"),
        ("a.jsonl", b"\xff\xfe\n", "UTF-8"),
        ("a.txt", b"\xff\xfe\n", "UTF-8"),
        ("a.txt", None, "a.txt"),
    ],
)
def test_a_malformed_file_is_named(tmp_path: Path, name: str, content: bytes | None, told: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigError, match=told):
        Reserved([tmp_path / name], 8)


@pytest.mark.parametrize("near", [0.3, 0.5, 0.75, 0.8, 1.0])
def test_near_is_found_as_by_comparing_all_with_all(near: float) -> None:
    draw, said = random.Random(0), set()
    for _ in range(300):
        likeness, kept = Likeness(near), []
        for _ in range(12):
            words = draw.choices("abcdef"[: draw.randint(1, 6)], k=draw.randint(1, 12))
            own, told = grams(" ".join(words), 3), likeness.add(" ".join(words))
            alike = any(len(own & other) / len(own | other) >= near for _, other in kept)
            exact = any(words == other for other, _ in kept)
            assert told == ("exact" if exact else "near" if alike else "")
            kept += [] if told else [(words, own)]
            said.add(told)
    assert said == {"", "exact", "near"}


def test_sides_of_nearly_the_same_words_are_alike() -> None:
    asked = "How often do {} thoughts come, and how strong are they when they do?"
    assert alike(asked.format("these"), asked.format("those"), 0.8)
    assert not alike(asked.format("these"), "What keeps you alive in the worst hours?", 0.3)
    assert alike("How are these?", "how are THOSE", 0.5) and not alike("How are these?", "How are those?", 0.51)
