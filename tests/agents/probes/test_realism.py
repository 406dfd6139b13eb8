"""How the patients talk: figures on hand-made talks, the report's files, the shipped patients beside their sources."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from therapysim.agents.probes.talk_counts import Figures, Talk, backchannel, grouped, log_distance, measure, play_talks
from therapysim.agents.probes.talk_figures import compare, read_reference, talk_table, write
from therapysim.agents.statistics.intervals import mean_interval, proportion
from therapysim.agents.therapists.baselines import baseline
from therapysim.cli.main import build_parser
from therapysim.envs.batch import SessionBatch, SessionConfig
from therapysim.errors import ConfigError
from therapysim.personas.load import personas

HAND = [
    Talk("a", "terse", "attuned", ("Yeah.", "I am so sad about it all.", "Yeah.", "Is that normal?")),
    Talk("b", "plain", "cbt", ("Yeah.", "Maybe it was my fault.", "Thank you.", "word " * 50)),
]

#: What the sources' own files say, in short: enough for the bands below (lengths at 5, 10, 25, 50, 75, 90, 95, 99 %).
ANNOMI = dict(zip(("5", "10", "25", "50", "75", "90", "95", "99"), (1, 1, 2, 8, 20, 39, 56, 98), strict=True))
ESCONV = dict(zip(ANNOMI, (3, 4, 9, 16, 27, 41, 51, 80), strict=True))


def statistics() -> dict[str, Any]:
    """A reference of the right shape."""
    shares = ("le3", "ge50", "backchannel", "question_rate", "hedge_rate", "first_person_rate", "thanks_rate")
    one: dict[str, Any] = {
        **dict.fromkeys((*shares, "emotion_word_rate"), 0.1), "words_mean": 12.0, "turns": 100, "words_q": ANNOMI,
        "vader": {"neg": 0.2, "neu": 0.3, "pos": 0.5, "mean": 0.1}, "vader_by_third": [0.0, 0.1, 0.2],
        "words_by_third": [10.0, 12.0, 11.0], "splithalf_W1_logwords": {"mean": 0.05, "p95": 0.1},
    }  # fmt: skip
    return {"annomi": one, "esconv": {**one, "words_q": ESCONV}}


def written(folder: Path, data: Any) -> Path:
    path = folder / "stats.json"
    path.write_text(data if isinstance(data, str) else json.dumps(data), encoding="utf-8")
    return path


def by_length(text: str) -> float:
    """A stand-in score of sentiment that can be told by hand: half a word in ten."""
    return min(1.0, len(text.split()) / 20)


@pytest.fixture(scope="module")
def played() -> dict[str, Figures]:
    """Each style over some 300 turns, with four therapists."""
    batch = SessionBatch(SessionConfig(max_turns=12))
    policies = {name: baseline(name) for name in ("attuned", "cbt", "eliza", "advice")}
    talks = []
    for style in ("terse", "plain", "talkative"):
        talks += play_talks(batch, policies, [p for p in personas() if p.style == style], 24)
    return {name: measure(own, by_length) for name, own in grouped(talks).items()}


# --- figures by hand ------------------------------------------------------------------------------


def test_rates_on_hand_made_talks() -> None:
    found = measure(HAND, by_length)
    assert (found.sessions, found.turns) == (2, 8)
    means = {name: own.mean for name, own in found.means.items()}
    assert means["words_mean"] == pytest.approx((1 + 7 + 1 + 3 + 1 + 5 + 2 + 50) / 8)
    assert means["le3"] == 5 / 8 and means["ge50"] == 1 / 8
    assert means["backchannel"] == 3 / 8 and means["question_rate"] == 1 / 8
    assert means["hedge_rate"] == 1 / 8 and means["first_person_rate"] == 2 / 8
    assert means["thanks_rate"] == 1 / 8 and means["emotion_word_rate"] == 1 / 8
    assert found.words["50"] == 2.5


def test_repeats_across_and_within_sessions() -> None:
    found = measure(HAND, by_length).repeats
    assert found["within"] == 1 / 8
    assert found["across"] == 3 / 8  # "Yeah." twice and once
    assert found["across_long"] == 0.0
    talks = [
        Talk("a", "plain", "cbt", ("I am sad. It hurts.",)),
        Talk("b", "plain", "cbt", ("It hurts.", "It is Monday again.")),
    ]
    assert measure(talks, by_length).repeats == {"across": 0, "across_long": 0, "within": 0, "sentences": 0.5}


def test_distinct_counts_runs_inside_turns() -> None:
    found = measure([Talk("a", "plain", "cbt", ("a b a b", "a b"))], by_length).distinct
    assert found == {"1": 2 / 6, "2": 2 / 4, "3": 2 / 2}


def test_thirds_follow_the_session() -> None:
    talk = Talk("a", "plain", "cbt", tuple("word " * n for n in (2, 2, 2, 10, 10, 10, 20, 20, 20)))
    found = measure([talk], by_length)
    assert [own.mean for own in found.words_thirds] == [2, 10, 20]
    assert [own.mean for own in found.vader_thirds] == pytest.approx([0.1, 0.5, 1.0])


@pytest.mark.parametrize("turn", ["Yeah.", "Mm-hmm.", "Uh-huh.", "Yeah, exactly.", "I guess so.", "OK", "That's it."])
def test_an_acknowledgement(turn: str) -> None:
    assert backchannel(turn)


@pytest.mark.parametrize("turn", ["", "I am sad.", "Okay?", "I", "Yeah, okay, sure, right.", "No idea.", "..."])
def test_no_acknowledgement(turn: str) -> None:
    assert not backchannel(turn)


def test_what_one_patient_says_is_not_independent_in_whatever_session() -> None:
    talks = [Talk(f"p{i % 6}", "plain", "cbt", ("a b",) * (i % 3) + ("a b c d e",) * (1 + i % 2)) for i in range(24)]
    found, who = measure(talks, by_length).means, [talk.persona for talk in talks for _ in talk.turns]
    words = [float(len(turn.split())) for talk in talks for turn in talk.turns]
    assert found["words_mean"] == mean_interval(words, who)
    assert found["le3"] == proportion([n <= 3 for n in words], who)


def test_log_distance() -> None:
    assert log_distance(ANNOMI, ANNOMI) == 0.0
    assert log_distance(ANNOMI, {k: 2 * v for k, v in ANNOMI.items()}) == pytest.approx(np.log(2))
    assert log_distance(ANNOMI, ESCONV) == pytest.approx(log_distance(ESCONV, ANNOMI))


def test_nothing_to_count() -> None:
    with pytest.raises(ConfigError, match="no turn"):
        measure([Talk("a", "plain", "cbt", ())], by_length)
    with pytest.raises(ConfigError, match="0 policies"):
        play_talks(SessionBatch(), {}, personas(), 1)


# --- the reference and the report -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("keys", "value", "part"),
    [
        (("annomi",), None, "annomi is NoneType"),
        (("esconv", "le3"), "many", r"esconv\.le3 is 'many'"),
        (("annomi", "words_q", "50"), None, r"annomi\.words_q\.50 is None"),
        (("annomi", "words_q", "5"), 0, "below 1"),
        (("esconv", "vader"), [], r"esconv\.vader\.neg is None"),
        (("annomi", "vader_by_third"), [0.1], r"annomi\.vader_by_third\.0 is None"),
    ],
)
def test_a_bad_reference_is_named(tmp_path: Path, keys: tuple[str, ...], value: Any, part: str) -> None:
    data = json.loads(json.dumps(statistics()))
    node = data
    for key in keys[:-1]:
        node = node[key]
    node[keys[-1]] = value
    with pytest.raises(ConfigError, match=part) as error:
        read_reference(written(tmp_path, data))
    assert "stats.json" in str(error.value)


@pytest.mark.parametrize("text", ["", "{", "[1, 2]", "null"])
def test_an_unreadable_reference_is_named(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match=r"reference .*stats\.json"):
        read_reference(written(tmp_path, text))
    with pytest.raises(ConfigError, match=r"reference .*nobody\.json"):
        read_reference(tmp_path / "nobody.json")


def test_the_report_is_written(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    groups = {name: measure(own, by_length) for name, own in grouped(HAND).items()}
    reference = read_reference(written(tmp_path, statistics()))
    for name, used in (("with", reference), ("without", None)):
        write(tmp_path / name, groups, used, {"sessions": 2})
        files = {path.name for path in (tmp_path / name).iterdir()}
        assert files == {"realism.json", "realism.md", "lengths.png", "sentiment.png", "repeats.png"}
        kept = json.loads((tmp_path / name / "realism.json").read_text())
        assert kept["groups"]["terse"]["means"]["le3"]["mean"] == 0.75 and kept["settings"] == {"sessions": 2}
        assert ("length" in kept) == (used is not None)


def test_the_table_sets_styles_beside_their_sources() -> None:
    groups = {name: measure(own, by_length) for name, own in grouped(HAND).items()}
    head = talk_table(groups, statistics()).splitlines()[0]
    assert head.index("annomi") < head.index("terse") < head.index("esconv") < head.index("with attuned")
    assert "annomi" not in talk_table(groups, None)
    distance = compare(groups, statistics())["length"]["terse"]
    assert distance["source"] == "annomi" and distance["w1_log_words"] > distance["split_half_p95"]


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    groups = {name: measure(own, by_length) for name, own in grouped(HAND).items()}
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be written"):
        write(tmp_path / "file", groups, None, {})


def test_the_command_refuses_a_bad_reference_before_it_plays(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    pytest.importorskip("vaderSentiment")
    chosen = build_parser().parse_args(
        ["realism", "--reference", str(written(tmp_path, "{")), "--out", str(tmp_path / "out")]
    )
    with pytest.raises(ConfigError, match=r"stats\.json"):
        chosen.run(chosen)
    assert not (tmp_path / "out").exists()


# --- the shipped patients -------------------------------------------------------------------------


def test_spoken_styles_come_near_annomi(played: dict[str, Figures]) -> None:
    found = played["terse and plain"]
    assert 0.05 <= found.means["le3"].mean <= 0.44  # AnnoMI 0.34: who is asked something answers it
    assert found.words["50"] <= 15 and 13 <= found.words["75"] <= 25 and 27 <= found.words["90"] <= 46  # 8, 20, 39
    assert 0.02 <= found.means["question_rate"].mean <= 0.12  # 0.07
    assert log_distance(found.words, ANNOMI) < 0.75


def test_the_typed_style_comes_near_esconv(played: dict[str, Figures]) -> None:
    found = played["talkative"]
    assert 0.02 <= found.means["le3"].mean <= 0.12  # ESConv 0.066
    assert 14 <= found.words["50"] <= 26 and 22 <= found.words["75"] <= 38 and 32 <= found.words["90"] <= 55
    assert 0.02 <= found.means["question_rate"].mean <= 0.19  # 0.13
    assert log_distance(found.words, ESCONV) < 0.6


def test_styles_stand_apart_and_no_turn_repeats_in_a_session(played: dict[str, Figures]) -> None:
    words = [played[style].means["words_mean"].mean for style in ("terse", "plain", "talkative")]
    assert words == sorted(words)
    assert played["all"].repeats["within"] == 0.0
    assert played["all"].repeats["across_long"] < 0.6
