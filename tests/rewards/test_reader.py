"""The reader of turns: what it refuses, broken files, and that a turn's reading hangs on nothing but the turn."""

import copy
import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from therapysim.errors import SensorError
from therapysim.rewards.reading.acts import ACTS, ANY_HARM, ANY_REFLECTION
from therapysim.rewards.reading.emotions import WEIGHTS
from therapysim.rewards.reading.reader import (
    CONTEXT_TOKENS,
    TURN_TOKENS,
    Reader,
    cut_windows,
    open_reader,
    open_vocabulary,
)
from therapysim.rewards.reading.words import content_words, overlap, prose, small_words, word_set

HEARD = "I sit by the phone all evening and nobody rings."
TURNS = [
    (HEARD, "Waiting, and each hour it stays quiet says something about you."),
    ("", "Hello."),
    (HEARD, ""),
    ("I can't sleep.", "You should just try harder! " * 80),
    ("I can't sleep.", "Lying awake again, and dreading it."),
]


def test_the_shipped_reader_tells_every_act_and_group() -> None:
    reader = open_reader()
    assert set(ACTS) - {"silence"} | {ANY_REFLECTION, ANY_HARM, "ties", "signals_danger"} <= set(reader.names)
    assert set(reader.thresholds) == set(reader.names) and all(0 < t < 1 for t in reader.thresholds.values())
    assert (WEIGHTS / "reader.onnx").stat().st_size <= 25e6
    found = reader([heard for heard, _ in TURNS], [text for _, text in TURNS])
    assert found.shape == (5, len(reader.names)) and found.dtype == np.float32
    assert ((found >= 0) & (found <= 1)).all()


def test_a_turn_is_read_alike_in_any_company() -> None:
    reader = Reader(cache_mb=0.0)
    together = reader([heard for heard, _ in TURNS], [text for _, text in TURNS])
    for i, (heard, text) in enumerate(TURNS):
        assert np.array_equal(reader([heard], [text])[0], together[i])
    assert reader([], []).shape == (0, len(reader.names))


def test_windows_hold_the_last_words_heard_and_every_word_of_the_turn() -> None:
    vocabulary = open_vocabulary(WEIGHTS / "tokenizer.json")
    windows = cut_windows(vocabulary, "early " * 200 + "late", "word " * 250)
    assert len(windows) == 3
    turn = [i for w in windows for i, kind in zip(w.ids[:-1], w.types[:-1], strict=True) if kind]
    assert turn == vocabulary.encode("word " * 250, add_special_tokens=False).ids
    assert all(w.types.count(0) == CONTEXT_TOKENS + 2 and w.types.count(1) <= TURN_TOKENS + 1 for w in windows)
    assert vocabulary.decode([windows[0].ids[CONTEXT_TOKENS]]) == "late"
    (alone,) = cut_windows(vocabulary, "", "")
    assert alone.types == [0, 0, 1]


def test_of_a_long_turn_the_greatest_chance_counts() -> None:
    reader = open_reader()
    harm = "Honestly, nothing will ever help you, it runs in the family and that is that."
    long = "Let me say a word about the weather in our town and the buses that go there. " * 12 + harm
    row = dict(zip(reader.names, reader([HEARD], [long])[0], strict=True))
    assert row[ANY_HARM] > 0.5


def test_what_is_no_text_is_refused() -> None:
    with pytest.raises(SensorError, match=r"texts\[0\] is int"):
        open_reader()(["Hello."], [3])  # type: ignore[list-item]
    with pytest.raises(SensorError, match="one string"):
        open_reader()([""] * 5, "Hello")
    with pytest.raises(SensorError, match="2 contexts for 1 turns"):
        open_reader()(["", ""], ["Hello"])


def test_copies_share_it_and_a_pickle_opens_it_again() -> None:
    reader = open_reader()
    assert copy.deepcopy(reader) is reader
    again = pickle.loads(pickle.dumps(reader))
    assert np.array_equal(again([HEARD], ["Go on."]), reader([HEARD], ["Go on."]))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("reader.json", "reader.onnx", "tokenizer.json"):
        shutil.copyfile(WEIGHTS / name, tmp_path / name)
    return tmp_path


def _meta(change: Callable[[Any], object]) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        meta = json.loads((folder / "reader.json").read_text())
        change(meta)
        (folder / "reader.json").write_text(json.dumps(meta))

    return damage


def _one_too_many(meta: Any) -> None:
    meta["names"].append("x")
    meta["thresholds"]["x"] = 0.5


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / "reader.json").unlink(), r"reader\.json is missing or does not describe a reader"),
        (lambda f: (f / "reader.json").write_text("{"), r"reader\.json is missing or does not describe a reader"),
        (lambda f: (f / "reader.onnx").write_bytes(b"no network"), r"reader\.onnx is corrupt: its SHA-256"),
        (lambda f: (f / "reader.onnx").unlink(), r"reader\.onnx cannot be read"),
        (lambda f: (f / "tokenizer.json").write_text("{}"), r"tokenizer\.json is corrupt"),
        (_meta(lambda m: m.pop("thresholds")), "does not describe a reader"),
        (_meta(lambda m: m["names"].remove("blame")), "has no 'blame' among its"),
        (_meta(_one_too_many), r"tells .* things, reader\.json names"),
        (_meta(lambda m: m.update(sha256={})) , None),
    ],
)  # fmt: skip
def test_broken_files_are_named(folder: Path, damage: Callable[[Path], None], message: str | None) -> None:
    damage(folder)
    if message is None:
        with pytest.raises(SensorError, match=r"has no SHA-256 of reader\.onnx"):
            Reader(folder)
        return
    with pytest.raises(SensorError, match=message):
        Reader(folder)


# Words


def test_words_are_stemmed_and_compared() -> None:
    assert word_set("Can’t we go—now? ÉTÉ a 42 snake_case") == {"can", "we", "go", "now", "été", "snake", "case"}
    assert content_words("The stories helped me: walking dogs, wishes, a red bed.") == {
        "stor", "help", "walk", "dog", "wish", "red", "bed"
    }  # fmt: skip
    assert overlap({"a", "b", "c"}, {"b", "c", "d"}) == 0.5 and overlap(set(), set()) == 0.0
    assert small_words("You don’t know the river") == 4


def test_prose_falls_between_its_bounds() -> None:
    assert prose("grief anxiety the shame healing empathy") == pytest.approx((1 / 6 - 0.1) / 0.15)
    assert prose("I am so sad, I am so bad now.") == pytest.approx((6 / 8 - 0.6) / 0.3)
    assert prose("grief anxiety trauma shame healing") == 1.0  # too few words to tell
    assert prose("grief don’t shame trauma healing trust") == pytest.approx((1 / 6 - 0.1) / 0.15)  # don’t is one word
