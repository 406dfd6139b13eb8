"""Texts that say nearly the same in other words are found; what has other words for other things is not."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.parts.tiny_encoder import make_encoder
from therapysim.envs.batch import SessionBatch, SessionConfig
from therapysim.errors import ConfigError
from therapysim.train.pairs.likeness import Reserved, grams
from therapysim.train.pairs.nearness import Nearness, Stems
from therapysim.train.pairs.pair_settings import PairSettings
from therapysim.train.pairs.run import draw_set
from therapysim.train.pairs.set_folder import Kind

ROOT = Path(__file__).parents[3]
# Said, and said again in other words.
SAID = (
    ("My husband goes to our son's every Tuesday so he gets a night off.",
     "Every Tuesday my husband stays at our son's place to have one night off."),
    ("I feel worthless next to people who just chat.",
     "Beside people who simply chat I feel like I am worth nothing."),
    ("It sounds as if this week has been heavy, and you carried most of it alone.",
     "This week sounds heavy, and it seems you carried nearly all of it by yourself."),
    ("How often do these thoughts come, and how strong are they?",
     "How frequent are these thoughts, and how intense are they when they come?"),
    ("Who could be with you tonight, and may we ring them together?",
     "Is there somebody who could stay with you tonight, whom we could call together?"),
)  # fmt: skip
OTHERS = (
    "The bus was late, and the kettle had boiled dry by the time I came in.",
    "What would you say to a friend who thought so?",
    "I have never liked the sea.",
)


def test_what_is_said_in_other_words_is_near() -> None:
    held = Nearness([*(one for one, _ in SAID), *OTHERS], 0.45)
    assert held.near([one for one, _ in SAID]) == [True] * 5
    assert sum(held.near([other for _, other in SAID])) >= 4
    assert held.near(["My sister keeps bees behind the church.", "", "…"]) == [False] * 3


def test_paraphrases_by_a_writer_who_had_not_seen_this() -> None:
    """What docs/pairs.md says of them; each ``other`` is as long as what was said, and about something else."""
    rows = [json.loads(line) for line in (ROOT / "tests/data/paraphrases.jsonl").read_text().splitlines()]
    held = Nearness([row["said"] for row in rows], PairSettings().against_cosine)
    found = held.near([row["again"] for row in rows])
    by_far = [sum(own for own, row in zip(found, rows, strict=True) if row["far"] == far) for far in (1, 2, 3)]
    assert by_far == [13, 0, 0] and sum(held.near([row["other"] for row in rows])) == 0
    runs = {run for row in rows for run in grams(row["said"], PairSettings().against_words)}
    assert not any(runs & grams(row["again"], PairSettings().against_words) for row in rows)
    text = (ROOT / "docs/pairs.md").read_text()
    assert "13 of 20 close paraphrases" in text and "none of 40 freer ones, none of 60 lines" in text


def test_vectors_are_told_by_hand() -> None:
    stems = Stems(["a b", "a c"])
    one, other, same = stems(["b", "c", "b b"])
    assert one @ other == 0.0 and one @ same == pytest.approx(1.0) and np.linalg.norm(one) == pytest.approx(1.0)
    common, rare = stems(["a b"])[0][np.flatnonzero(stems(["a"])[0])[0]], stems(["a b"])[0].max()
    assert 0 < common < rare  # a stands everywhere
    assert not stems([""]).any()


def test_a_single_text_is_held_against_too() -> None:
    text = "I lie awake until four and then the alarm goes."
    held = Nearness([text], 0.45)
    assert held.near([text, f"{text} Today too.", "My sister keeps bees behind the church."]) == [True, True, False]
    assert Nearness([text, *OTHERS], 1.0).near([text]) == [True]


def test_nothing_is_near_to_nothing() -> None:
    assert Nearness([], 0.45).near(["Anything."]) == [False] and Nearness(["", " "], 0.45).near([""]) == [False]


def test_an_encoder_of_ones_own(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    folder = make_encoder(tmp_path / "encoder")
    held = Nearness(["I lie awake."], 0.999, str(folder))
    assert held.near(["I lie awake."]) == [True]
    with pytest.raises(ConfigError, match=r"against_model is .*nowhere"):
        Nearness(["I lie awake."], 0.9, str(tmp_path / "nowhere"))


@pytest.mark.parametrize("kind", ["pairs", "groups"])
def test_a_set_keeps_clear_of_what_is_near(tmp_path: Path, kind: Kind) -> None:
    """A file that says what one of the turns says, in an order that has no run of eight words in common."""
    small: dict[str, Any] = {
        "personas": ("duncan",), "sessions": 1, "states": 2, "max_turns": 3, "candidates": 10, "horizon": 0,
        "teachers": ("cbt", "attuned"), "vary": False, "margin_good": 0.0, "per_state": 8,
    }  # fmt: skip
    batch, settings = SessionBatch(SessionConfig(max_turns=3), rubric="grpo"), PairSettings(out=str(tmp_path), **small)
    draw_set(kind, settings, batch)
    file = tmp_path / f"{kind}.jsonl"
    whole = file.read_text().splitlines()
    row = json.loads(whole[0])
    turn = row["chosen"][0]["content"] if kind == "pairs" else row["completions"][0][0]["content"]
    words = turn.split()
    mixed = " ".join(words[1::2] + words[::2])
    (tmp_path / "held.txt").write_text(f"{mixed}\n")
    assert not Reserved([tmp_path / "held.txt"], 8).holds(turn)
    sheet = draw_set(kind, settings.changed(against=(str(tmp_path / "held.txt"),)), batch).sheet
    assert sheet["dropped"]["near to another file"] >= 1
    assert whole[0] not in file.read_text().splitlines()
    assert "for a cosine of 0.45 or more (stems of words)" in (tmp_path / "sheet.md").read_text()
    with pytest.raises(ConfigError, match="against_model is 'nowhere'"):  # before anything is played
        draw_set(kind, settings.changed(out="never", against=("/dev/null",), against_model="nowhere"), batch)
    off = draw_set(kind, settings.changed(against=(str(tmp_path / "held.txt"),), against_cosine=0.0), batch)
    assert off.sheet["rows"] == len(whole)
