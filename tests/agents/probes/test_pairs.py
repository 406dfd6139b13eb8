"""Pairs of turns: how they are read, how judges are compared on them, the surface baselines, and the command."""

import csv
import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from therapysim.agents.probes.pair_files import read_pairs
from therapysim.agents.probes.pairs import Pair, Row, Share, alone, assess, by_pair, compare, pasts, sides
from therapysim.agents.statistics.intervals import mean_interval, proportion
from therapysim.cli.main import main
from therapysim.errors import ConfigError

pytest.importorskip("vaderSentiment")

from therapysim.agents.probes.surface import (
    FEATURES,
    FOLDS,
    Surface,
    cross_fit,
    features,
    fit_apart,
    length,
    unseen,
    vader,
)

GOOD = {"context": "I can't sleep.", "better": "What keeps you awake?", "worse": "Take a pill."}


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def assistant(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


def write(path: Path, *lines: Any) -> Path:
    path.write_text("\n".join(own if isinstance(own, str) else json.dumps(own) for own in lines), encoding="utf-8")
    return path


def known(table: dict[str, float]) -> Any:
    return lambda contexts, responses: np.array([table[text] for text in responses])


def row(rows: list[Row], source: str) -> Row:
    return next(own for own in rows if own.source == source)


def noise(n: int, seed: int, groups: int = 0, source: str = "") -> list[Pair]:
    """Pairs whose better turn is chosen by a coin."""
    rng = np.random.default_rng(seed)
    words = "i you sorry hear good bad Never 7 what? no! together difficult a pill try".split()

    def turn() -> str:
        return " ".join(rng.choice(words, rng.integers(1, 20)))

    return [Pair(f"context {i}", turn(), turn(), source=source, group=f"g{i % (groups or n)}") for i in range(n)]


def planted(n: int, seed: int, source: str, longer: bool) -> list[Pair]:
    """Pairs whose better turn is the longer one, or the shorter one."""
    pairs = [p for p in noise(2 * n, seed, source=source) if len(p.better.split()) != len(p.worse.split())][:n]
    wrong = [(len(p.better.split()) > len(p.worse.split())) != longer for p in pairs]
    return [replace(p, better=p.worse, worse=p.better) if w else p for p, w in zip(pairs, wrong, strict=True)]


# Reading


def test_a_pair_is_read_with_what_it_leaves_out(tmp_path: Path) -> None:
    full = {**GOOD, "worse_context": "I ache.", "source": "made", "group": "g", "dim": 3}
    empty = {**GOOD, "worse_context": None, "source": None, "group": None}
    found = read_pairs(write(tmp_path / "p", GOOD, "", full, empty))
    plain = Pair(GOOD["context"], GOOD["better"], GOOD["worse"])
    assert found.pairs == (plain, Pair(*GOOD.values(), "I ache.", "made", "g"), plain)
    assert (plain.group, found.lines, found.faults) == ("I can't sleep.", (1, 3, 4), ())


def test_pairs_without_context_are_not_one_group() -> None:
    assert Pair("", "a", "b").group != Pair(" ", "c", "d").group


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ([GOOD], "a list, expected an object"),
        ({"context": "a", "worse": "b"}, "better is missing, expected text"),
        ({**GOOD, "worse": None}, "worse is null, expected text"),
        ({**GOOD, "context": 3}, "context is a number, expected text"),
        ({**GOOD, "group": 17}, "group is a number, expected text"),
        ({**GOOD, "better": " ", "worse": ""}, "better and worse are both blank, expected words"),
        ({**GOOD, "worse": " \n"}, "worse is blank, expected words"),
        ({**GOOD, "better": ""}, "better is blank, expected words"),
        ({**GOOD, "context": ["a", "b"]}, None),
        ({**GOOD, "context": []}, "context is of nothing, expected patient and therapist in turn, the patient last"),
        ({**GOOD, "context": ["a", " ", "c"]}, "turn 2 of context is blank, expected words"),
        (
            {**GOOD, "context": [user("a"), assistant("b")]},
            "context is of user, assistant, expected patient and therapist in turn, the patient last",
        ),
        (
            {**GOOD, "context": [user("a"), user("b")]},
            "context is of user, user, expected patient and therapist in turn, the patient last",
        ),
        (
            {**GOOD, "context": [{"role": "tool", "content": "x"}]},
            "a message has no role of system, user, assistant with a text as content",
        ),
        ({"prompt": "a", "chosen": "b"}, "rejected is missing, expected text"),
        ({"chosen": "b", "rejected": "c"}, "prompt is missing, expected text or a list of messages"),
        (
            {"prompt": "a", "chosen": "b", "rejected": ["c"]},
            "a message has no role of system, user, assistant with a text as content",
        ),
        ({"prompt": "a", "chosen": "b", "rejected": []}, "rejected is 0 messages, expected text or one message"),
        (
            {"prompt": "a", "chosen": "b", "rejected": [user("c")]},
            "rejected is a message of user, expected one of assistant",
        ),
        ({"prompt": "a", "chosen": "", "rejected": "b"}, "chosen is blank, expected words"),
        (
            {"prompt": "a", "chosen": " ", "rejected": [assistant("")]},
            "chosen and rejected are both blank, expected words",
        ),
        (
            {"prompt": "a", "chosn": "b", "rejected": "c"},
            "chosen is missing, expected text; found 'chosn'; did you mean 'chosen'?",
        ),
        (
            {"contxt": "a", "better": "b", "worse": "c"},
            "context is missing, expected text; found 'contxt'; did you mean 'context'?",
        ),
        (
            {"prompt": "a", "chosen": "b ", "rejected": "b"},
            "chosen and rejected are the same turn in the same context, expected two that differ",
        ),
        ({**GOOD, "source": "all"}, "source is 'all', the name of all sources together, expected another"),
        (
            {**GOOD, "worse": GOOD["better"] + " ", "worse_context": GOOD["context"]},
            "better and worse are the same turn in the same context, expected two that differ",
        ),
    ],
)
def test_a_line_that_is_no_pair_is_told_by_its_number(tmp_path: Path, line: Any, reason: str) -> None:
    found = read_pairs(write(tmp_path / "p", GOOD, "", line, GOOD))
    assert list(map(str, found.faults)) == ([f"line 3: {reason}"] if reason else [])
    assert found.lines == ((1, 4) if reason else (1, 3, 4))


@pytest.mark.parametrize(
    "line",
    [
        '{"context": "secret", "better"',
        "[" * 100_000,
        '{"group": ' + "1" * 5_000 + "}",
        {**GOOD, "worse": "half \ud800"},
    ],
    ids=["cut", "deep", "long", "half"],
)
def test_a_line_that_is_no_json_is_told_without_its_words(tmp_path: Path, line: Any) -> None:
    (fault,) = read_pairs(write(tmp_path / "p", GOOD, line)).faults
    assert re.fullmatch(r"line 2: not JSON \(.* at line 1 column \d+\), expected one object", str(fault))
    assert "secret" not in str(fault) and "half" not in str(fault)


def test_lines_end_at_line_feeds_alone_and_bytes_that_are_no_text_are_a_fault(tmp_path: Path) -> None:
    odd = json.dumps({**GOOD, "better": "one\u2028two"}, ensure_ascii=False).encode()
    (tmp_path / "p").write_bytes(b"\xef\xbb\xbf" + odd + b"\r\n\xff\n" + odd)
    found = read_pairs(tmp_path / "p")
    assert [pair.better for pair in found.pairs] == ["one\u2028two"] * 2
    assert list(map(str, found.faults)) == ["line 2: not UTF-8 at byte 1, expected one JSON object"]


def test_one_turn_may_stand_in_two_contexts_and_a_context_may_be_unknown(tmp_path: Path) -> None:
    blank, moved = {**GOOD, "context": ""}, {**GOOD, "worse": GOOD["better"], "worse_context": "I want to die."}
    assert read_pairs(write(tmp_path / "p", blank, moved)).faults == ()


def test_a_file_without_a_pair_is_refused_with_its_faults(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no usable line \(line 1: not JSON .*line 2: better is null"):
        read_pairs(write(tmp_path / "p", "x", {**GOOD, "better": None}))
    with pytest.raises(ConfigError, match="it is empty"):
        read_pairs(write(tmp_path / "p", ""))
    with pytest.raises(ConfigError, match="No such file"):
        read_pairs(tmp_path / "none")
    with pytest.raises(ConfigError, match="directory"):
        read_pairs(tmp_path)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"prompt": "a", "chosn": "b", "rejected": "c"},
         "no 'chosen', found 'prompt', 'chosn', 'rejected'; did you mean 'chosen' by 'chosn'?"),
        ({"promt": "a", "chosen": "b", "rejected": "c"},
         "no 'prompt', found 'promt', 'chosen', 'rejected'; did you mean 'prompt' by 'promt'?"),
        ({"contxt": "a", "beter": "b", "worse": "c"},
         "no 'context', no 'better', found 'contxt', 'beter', 'worse'; did you mean 'context' by 'contxt', "
         "'better' by 'beter'?"),
        ({"question": "a", "good": "b"}, "no 'context', no 'better', no 'worse', found 'question', 'good'; expected "),
    ],
)  # fmt: skip
@pytest.mark.parametrize("ending", ["jsonl", "csv"])
def test_a_name_that_the_whole_file_lacks_is_told_once(
    tmp_path: Path, row: dict[str, str], said: str, ending: str
) -> None:
    file = write(tmp_path / f"p.{ending}", *[row] * 9)
    if ending == "csv":
        with file.open("w", encoding="utf-8", newline="") as out:
            csv.writer(out).writerows([row, *[row.values()] * 9])
    with pytest.raises(ConfigError) as error:
        read_pairs(file)
    assert f"p.{ending}': {said}" in str(error.value) and "line 2" not in str(error.value)


def test_a_broken_line_is_told_beside_the_name_that_all_others_lack(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no 'better', no 'worse', found 'context'; .*; and line 1: not JSON"):
        read_pairs(write(tmp_path / "p", "x", {"context": "a"}))


@pytest.mark.parametrize("indent", [None, 1])
def test_one_list_of_rows_is_told_once(tmp_path: Path, indent: int | None) -> None:
    for cut in (0, 9):
        text = json.dumps([GOOD, {**GOOD, "worse": "Sleep."}], indent=indent)
        with pytest.raises(ConfigError, match=r"p': this is one list, expected one JSON object a line; write a row a"):
            read_pairs(write(tmp_path / "p", text[: len(text) - cut]))


def test_a_file_may_hold_both_forms(tmp_path: Path) -> None:
    theirs = {"prompt": "I ache.", "chosen": "Where?", "rejected": "No."}
    found = read_pairs(write(tmp_path / "p", GOOD, theirs, {**theirs, "better": "Where, then?"}))
    assert [pair.better for pair in found.pairs] == [GOOD["better"], "Where?", "Where?"]


# Other forms


def test_preference_data_is_read_as_trl_reads_it(tmp_path: Path) -> None:
    plain = Pair("I ache.", "What aches?", "Never mind.")
    system, talk = {"role": "system", "content": "Speak."}, [user("Hello."), assistant("What is it?"), user("I ache.")]
    long = [system, user("[USER STATE]\nDiagnosis: x (mild)\n---\nPatient: Hello."), assistant("What is it?"),
            user("[STATE: MDD, Low-Temper] Patient: I ache.")]  # fmt: skip
    rows = [
        {"prompt": "I ache.", "chosen": plain.better, "rejected": plain.worse},
        {"prompt": "Patient: I ache.", "chosen": [assistant(plain.better)], "rejected": [assistant(plain.worse)]},
        {"prompt": talk, "chosen": [assistant(plain.better)], "rejected": [assistant(plain.worse)], "patient": "owen"},
        {"prompt": long, "chosen": plain.better, "rejected": plain.worse, "persona": "owen", "source": "ours"},
        {"chosen": [*talk, assistant(plain.better)], "rejected": [*talk, assistant(plain.worse)], "group": "g"},
    ]
    found = read_pairs(write(tmp_path / "p.jsonl", *rows))
    assert found.faults == () and found.pairs[:2] == (plain, plain)
    before = ("Hello.", "What is it?")
    assert found.pairs[2:] == tuple(
        replace(plain, before=before, group=group, source=source)
        for group, source in (("owen", ""), ("owen", "ours"), ("g", ""))
    )


@pytest.mark.parametrize("name", ["patient", "persona"])
def test_a_patients_variants_are_one_group(tmp_path: Path, name: str) -> None:
    ids = ("marta~1", "marta~2", "marta", "anna@0123456789ab~3", "~4")
    rows = [{"prompt": "I ache.", "chosen": f"Where, {i}?", "rejected": "No.", name: who} for i, who in enumerate(ids)]
    rows.append({"prompt": "I ache.", "chosen": "Where?", "rejected": "No.", name: "owen", "group": "g~1"})
    found = read_pairs(write(tmp_path / "p.jsonl", *rows))
    assert [pair.group for pair in found.pairs] == ["marta", "marta", "marta", "anna", "~4", "g~1"]


def test_our_own_pairs_are_read() -> None:
    """As ``data pairs`` writes them: the patient's words without a header, grouped by patient."""
    file = Path(__file__).parents[3] / "train/results/pairs/sample.jsonl"
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    found = read_pairs(file)
    assert found.faults == () and len(found.pairs) == len(rows) == 200
    for pair, row in zip(found.pairs, rows, strict=True):
        assert row["prompt"][-1]["content"].endswith(f"---\nPatient: {pair.context}")
        assert len(pair.before) == len(row["prompt"]) - 2 and not any("[USER STATE]" in text for text in pair.before)
        assert (pair.better, pair.worse) == (row["chosen"][0]["content"], row["rejected"][0]["content"])
        assert pair.group == row["patient"]


@pytest.mark.parametrize(("ending", "sign"), [("csv", ","), ("csv", ";"), ("tsv", "\t"), ("txt", "|")])
def test_a_table_is_read_whatever_parts_its_cells(tmp_path: Path, ending: str, sign: str) -> None:
    head = ["context", "better", "worse", "group", "worse_context"]
    rows = [["Long, and; with\tall | signs\nand lines", "What?", "No.", "g", ""], ["", "Go on.", "Stop.", "", "It is."],
            ["x", "", "y", "", ""], ["x", "y"]]  # fmt: skip
    with (tmp_path / f"p.{ending}").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, delimiter=sign).writerows([head, *rows])
    found = read_pairs(tmp_path / f"p.{ending}")
    assert found.pairs == (Pair(rows[0][0], "What?", "No.", group="g"), Pair("", "Go on.", "Stop.", "It is."))
    assert list(map(str, found.faults)) == ["line 5: better is blank, expected words", "line 6: 2 cells, expected 5"]


def test_several_turns_are_several_contexts_and_the_judge_reads_them() -> None:
    from therapysim.rewards.judge import Judge

    last, line = "I do not know.", "It sounds lonely in that house."
    once, again = ((f"I sit in {name} house all day.", line) for name in ("that", "my"))
    pairs = [Pair(last, "a", "b", before=once), Pair(last, "a", "b", before=again), Pair(last, "a", "b", "moved")]
    assert len({pair.group for pair in pairs}) == 3 and Pair(last, "a", "b").group == last
    assert pasts(pairs) == [once, again, (), once, again, ()]
    judge = Judge("default")
    fresh, stale = judge.score([last] * 2, [line] * 2, [("My house is empty.", "How is that?"), once]).turns
    assert fresh.terms["repetition"] != stale.terms["repetition"]  # it was said before
    assert judge.score([last], [line]).scores == judge.score([last], [line], [()]).scores
    with pytest.raises(ConfigError, match="1 pasts for 2 contexts"):
        judge.score([last] * 2, [line] * 2, [once])


# Comparing


def test_accuracy_counts_a_tie_one_half() -> None:
    pairs = [Pair("1", "a", "b", source="x"), Pair("2", "a", "c", source="x"), Pair("3", "b", "c", source="y"),
             Pair("4", "c", "a", source="y"), Pair("5", "c", "b", source="y")]  # fmt: skip
    rows = compare(pairs, {"judge": known({"a": 2, "b": 2, "c": 1}), "other": known({"a": 0, "b": 1, "c": 1})})
    assert [(r.source, r.pairs, r.groups) for r in rows] == [("x", 2, 2), ("y", 3, 3), ("all", 5, 5)]
    assert [r.accuracy["judge"].mean for r in rows] == pytest.approx([1.5 / 2, 1 / 3, 2.5 / 5])
    assert [r.accuracy["other"].mean for r in rows] == pytest.approx([0.0, 2 / 3, 2 / 5])
    assert [r.ahead["other"].mean for r in rows] == pytest.approx([0.75, -1 / 3, 0.1])
    assert rows[0].ahead.keys() == {"other"}
    assert [r.ties for r in rows] == [{"judge": 1, "other": 0}, {"judge": 0, "other": 2}, {"judge": 1, "other": 2}]


def test_differences_are_taken_pair_by_pair() -> None:
    """Two judges that err alike differ by exactly nothing, however wide their own intervals."""
    pairs = noise(40, 1)
    only = compare(pairs, {"judge": length, "other": lambda c, r: 2 * length(c, r)})[-1]
    assert only.accuracy["judge"].high - only.accuracy["judge"].low > 0.1
    assert (only.ahead["other"].low, only.ahead["other"].high) == (0.0, 0.0)


def test_the_worse_turn_is_judged_in_its_own_context() -> None:
    pairs = [Pair("calm", "a", "a", worse_context="danger"), Pair("calm", "a", "b")]
    assert sides(pairs) == (["calm", "calm", "danger", "calm"], ["a", "a", "a", "b"])

    def wary(contexts: Sequence[str], responses: Sequence[str]) -> Any:
        return np.array([-float(context == "danger") for context in contexts])

    assert compare(pairs, {"judge": wary})[-1].accuracy["judge"].mean == 0.75


def test_one_that_knows_the_answer_is_always_right() -> None:
    pairs = noise(30, 2)
    right = {pair.better for pair in pairs}
    only = compare(pairs, {"judge": lambda c, r: np.array([float(text in right) for text in r])})[-1]
    assert only.accuracy["judge"].mean == 1.0 and 0.8 < only.accuracy["judge"].low < 0.9  # of 30 groups not certain


def test_groups_that_repeat_themselves_widen_the_interval() -> None:
    once = noise(30, 3)
    grouped = [pair for pair in once for _ in range(6)]
    apart = [replace(pair, group=f"{i}") for i, pair in enumerate(grouped)]
    found = {name: compare(pairs, {"judge": length})[-1] for name, pairs in
             (("once", once), ("grouped", grouped), ("apart", apart))}  # fmt: skip
    width = {name: own.accuracy["judge"].high - own.accuracy["judge"].low for name, own in found.items()}
    assert (found["grouped"].pairs, found["grouped"].groups, found["apart"].groups) == (180, 30, 180)
    assert width["grouped"] > 1.8 * width["apart"]
    assert width["grouped"] == pytest.approx(width["once"], rel=0.01)


def test_the_interval_is_that_of_the_groups_whatever_the_order_of_the_lines() -> None:
    pairs = noise(40, 4, groups=9)
    found, turned = (compare(own, {"judge": length})[-1].accuracy["judge"] for own in (pairs, pairs[::-1]))
    right = np.array([float(np.sign(len(p.better.split()) - len(p.worse.split()))) / 2 + 0.5 for p in pairs])
    assert found == proportion(right, [p.group for p in pairs])
    assert (turned.mean, turned.low, turned.high) == pytest.approx((found.mean, found.low, found.high))


def test_one_group_has_no_interval() -> None:
    found = compare(noise(8, 5, groups=1), {"judge": length, "other": length})[-1]
    assert (found.accuracy["judge"].low, found.accuracy["judge"].high) == (0.0, 1.0)
    assert (found.ahead["other"].low, found.ahead["other"].high) == (-np.inf, np.inf)


def test_the_lead_of_the_first_judge_has_its_interval_by_group_too() -> None:
    pairs = noise(40, 4, groups=9)
    found = compare(pairs, {"judge": length, "still": lambda c, r: np.zeros(len(r))})[-1].ahead["still"]
    right = [float(np.sign(len(p.better.split()) - len(p.worse.split()))) / 2 for p in pairs]
    assert found == mean_interval(right, [p.group for p in pairs])


def test_scores_that_are_no_scores_are_refused_by_the_judges_name() -> None:
    pairs = noise(3, 6)
    for bad in (np.full(6, np.nan), np.zeros(5), np.zeros((6, 1)), np.zeros(4)):
        with pytest.raises(ConfigError, match="mine"):
            compare(pairs, {"mine": lambda contexts, responses, bad=bad: bad})
    with pytest.raises(ConfigError, match="0 pairs"):
        compare([], {"mine": length})


def test_a_term_alone_counts_where_it_differs() -> None:
    pairs = [Pair("1", "a", "b", source="x"), Pair("2", "c", "d", source="x"), Pair("3", "e", "f", source="y")]
    terms = {"praise": by_pair(np.array([1.0, 0.5, 0.0, 0.0, 0.5, 0.0])), "none": np.zeros((3, 2))}
    found = alone(pairs, terms)
    assert found["praise"] == {"x": Share(0.75, 1), "y": Share(0.5, 0), "all": Share(pytest.approx(4 / 6), 1)}
    assert found["none"]["all"] == Share(0.5, 0)


# Surface


def test_length_and_sentiment_are_what_they_say() -> None:
    turns = ["", "One two three", "Wonderful, I am so happy for you!", "That is horrible and hopeless."]
    assert length([""] * 4, turns).tolist() == [0, 3, 7, 5]
    scores = vader([""] * 4, turns)
    assert scores[2] > 0.5 > 0.0 == scores[0] > -0.5 > scores[3]


def test_features_are_counted_by_hand() -> None:
    found = dict(zip(FEATURES, features(["I\u2019m sorry YOU had 12!! Why?"])[0], strict=True))
    assert found["log_words"] == pytest.approx(np.log(7))
    assert (found["questions"], found["exclamations"]) == pytest.approx((np.log(2), np.log(3)))
    assert (found["first_person"], found["second_person"]) == pytest.approx((1 / 5, 1 / 5))
    assert found["word_length"] == pytest.approx((3 + 5 + 3 + 3 + 3) / 5)
    assert found["capitals"] == pytest.approx(5 / 16) and found["digits"] == pytest.approx(2 / 27)
    assert (found["starts_with_i"], found["sorry"]) == (1.0, 1.0)
    assert features(["It is said."])[0][8] == 0.0 and np.isfinite(features(["", "?!", "12"])).all()


def test_the_regression_is_at_its_optimum() -> None:
    drawn = np.random.default_rng(7).normal(size=(60, 2, len(FEATURES)))
    drawn[:, 0, 2] += 3.0
    scale = drawn.reshape(-1, len(FEATURES)).std(axis=0)
    weights, z = Surface.fit(drawn, ridge=2.0).weights * scale, (drawn[:, 0] - drawn[:, 1]) / scale
    slope = 2.0 * weights - (1.0 / (1.0 + np.exp(z @ weights))) @ z
    assert np.abs(slope).max() < 1e-8 and weights.argmax() == 2


def test_a_planted_length_is_found_in_each_source_by_itself() -> None:
    """The same feature speaks for the better turn in one source and against it in the other; one fit loses both."""
    pairs = planted(60, 8, "long", True) + planted(60, 9, "short", False)
    rows = assess(pairs, {"surface": cross_fit(pairs), "length": by_pair(length(*sides(pairs)))})
    assert min(row(rows, name).accuracy["surface"].mean for name in ("long", "short")) > 0.9
    assert [row(rows, name).accuracy["length"].mean for name in ("long", "short", "all")] == [1.0, 0.0, 0.5]


def test_a_small_source_is_fitted_on_all() -> None:
    small = planted(19, 10, "few", False)
    pairs = planted(120, 11, "many", True) + small
    assert row(assess(pairs, {"s": cross_fit(pairs)}), "few").accuracy["s"].mean < 0.35
    more = pairs + planted(1, 12, "few", False)
    assert row(assess(more, {"s": cross_fit(more)}), "few").accuracy["s"].mean > 0.65


def test_noise_is_no_better_than_a_coin_cross_fitted_and_better_where_it_was_fitted() -> None:
    pairs = noise(60, 13)
    held = assess(pairs, {"s": cross_fit(pairs)})[-1].accuracy["s"].mean
    seen = assess(pairs, {"s": fit_apart(pairs, pairs)})[-1].accuracy["s"].mean
    many = np.mean([assess(own, {"s": cross_fit(own)})[-1].accuracy["s"].mean for own in
                    (noise(60, seed) for seed in range(20, 40))])  # fmt: skip
    assert seen > 0.58 and held < seen - 0.05
    assert abs(many - 0.5) < 0.05


def test_no_pair_is_scored_by_a_regression_that_saw_its_group() -> None:
    """Turning a group's pairs about must leave its own scores as they were, but for the two sides' places."""
    pairs = noise(60, 14, groups=12)
    turned = [replace(p, better=p.worse, worse=p.better) if p.group == "g3" else p for p in pairs]
    own = np.array([p.group == "g3" for p in pairs])
    before, after = cross_fit(pairs), cross_fit(turned)
    assert np.array_equal(before[own], after[own][:, ::-1])
    assert not np.array_equal(before[~own], after[~own])


def test_scores_do_not_hang_on_the_order_of_the_lines_and_equal_turns_tie() -> None:
    pairs = [*noise(50, 15, groups=20), Pair("x", "You try.", "You try.", worse_context="y", group="g1")]
    once, again, back = cross_fit(pairs), cross_fit(pairs), cross_fit(pairs[::-1])[::-1]
    assert np.array_equal(once, again) and np.allclose(once, back, rtol=1e-9, atol=1e-9)
    assert once[-1, 0] == once[-1, 1]


def test_a_turn_scores_the_same_wherever_it_stands() -> None:
    rng = np.random.default_rng(18)
    for n in range(2, 60):
        scores = Surface(rng.normal(size=len(FEATURES)))([""] * n, ["I'm sorry, YOU tried 7 times! Why?"] * n)
        assert len(set(scores.tolist())) == 1


def test_few_groups_make_few_folds_and_one_is_refused() -> None:
    assert FOLDS > 2 and np.isfinite(cross_fit(noise(30, 16, groups=2))).all()
    with pytest.raises(ConfigError, match="one group"):
        cross_fit(noise(30, 16, groups=1))
    with pytest.raises(ConfigError, match="no pair to fit"):
        fit_apart([], noise(3, 16))


def test_pairs_that_share_a_text_are_not_fitted_on() -> None:
    pairs = [Pair("I ache.", "Where?", "Oh."), Pair("", "Since when?", "")]
    others = [Pair("i  ACHE.", "a", "b"), Pair("c", "d", "oh."), Pair("e", "f", "g", worse_context="I ache."),
              Pair("", "h", "")]  # fmt: skip
    assert unseen(others, pairs) == others[3:]


# The command


def run(*arguments: str | Path) -> int:
    return main(["judge", *map(str, arguments)])


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """Eight pairs, and one line that is none."""
    kind = {**GOOD, "source": "a|b"}
    risky = {"context": "I want to die.", "better": "Are you thinking of killing yourself?", "worse": "Get over it."}
    more = [{**kind, "context": f"I can't sleep, {i}.", "group": f"g{i % 3}"} for i in range(6)]
    return write(tmp_path / "pairs.jsonl", kind, {"context": "secret", "worse": "b"}, risky, *more)


def test_the_command_prints_and_keeps_every_figure_and_no_text(
    small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from therapysim.rewards.judge import Judge
    from therapysim.rewards.rubric_settings import PRESETS, TERMS

    out = tmp_path / "found" / "judge.json"
    assert run(small, "--terms", "--out", out) == 2 and not out.exists()
    assert "1 of 9 lines are no pair: line 2: better is missing, expected text; mend them, or leave them out with" in (
        capsys.readouterr().err
    )
    assert run(small, "--terms", "--drop-missing", "--out", out) == 0
    shown, kept = capsys.readouterr().out, out.read_text(encoding="utf-8")
    told = json.loads(kept, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert "8 pairs in 5 groups, 1 lines skipped\n  line 2: better is missing, expected text" in shown
    assert (
        "| a\\|b | 7 | 4 |" in shown
        and "| surface | ties |" in shown
        and "| (no source) | 1 | 1 |" in shown
        and "| judge - surface |" in shown
    )
    assert "| affect | - | - | - |" in shown and all(f"\n| {name} |" in shown for name in TERMS)
    assert told["rubric"]["weights"] == PRESETS["judge"].weights
    assert told["files"][0]["skipped"] == [{"line": 2, "reason": "better is missing, expected text"}]
    assert [own["line"] for own in told["pairs"]] == [1, 3, 4, 5, 6, 7, 8, 9]
    risk = Judge("judge").score(["I want to die."] * 2, ["Are you thinking of killing yourself?", "Get over it."])
    assert told["pairs"][1]["judge"] == risk.scores.tolist() and told["pairs"][1]["length"] == [6.0, 3.0]
    assert told["pairs"][1]["gates"] == [[], list(risk.turns[1].gates)] != [[], []]
    assert [own["source"] for own in told["results"]] == ["", "a|b", "all"]
    assert told["results"][0]["ahead"]["length"]["low"] is None and "[-]" in shown
    assert told["terms"]["affect"]["all"] == {"accuracy": 0.5, "differs": 0}
    assert not any(word in kept for word in ("sleep", "die", "awake", "pill", "over it", "secret"))


def test_the_command_says_the_same_twice(small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [tmp_path / name for name in ("one.json", "two.json")]
    shown = [(run(small, "--drop-missing", "--out", file), capsys.readouterr().out) for file in files]
    assert shown[0] == shown[1] and files[0].read_bytes() == files[1].read_bytes()
    assert "term alone" not in shown[0][1]


def test_a_judge_no_better_than_a_coin_is_warned_of_and_ties_are_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    right = [{"context": f"I want to die {i}.", "better": "Are you thinking of killing yourself?",
              "worse": "Get over it."} for i in range(12)]  # fmt: skip
    wrong = [{**row, "better": row["worse"], "worse": row["better"], "context": f"{row['context']}!"} for row in right]
    same = {"context": "Hm.", "better": "Mm.", "worse": "mm."}
    assert run(write(tmp_path / "right.jsonl", *right)) == 0 and capsys.readouterr().err == ""
    assert run(write(tmp_path / "both.jsonl", *right, *wrong, same)) == 0
    shown = capsys.readouterr()
    assert "therapysim: warning: the judge is no better than a coin on these pairs: 0.500 [" in shown.err
    assert "judge 1, length 1" in shown.out


def test_the_rubric_chosen_is_the_one_that_judges(small: Path, tmp_path: Path) -> None:
    from therapysim.rewards.judge import Judge

    out = tmp_path / "user.json"
    assert run(small, "--drop-missing", "--rubric", "user", "--out", out) == 0
    told = json.loads(out.read_text(encoding="utf-8"))
    user = Judge("user").score([GOOD["context"]] * 2, [GOOD["better"], GOOD["worse"]])
    assert told["rubric"]["name"] == "user" and told["pairs"][0]["judge"] == user.scores.tolist()


def test_other_pairs_are_fitted_on_without_those_that_are_evaluated(
    small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = [{"context": f"c{i}", "better": f"What {i}?", "worse": f"No {i}."} for i in range(4)]
    assert run(small, "--drop-missing", "--fit", write(tmp_path / "fit", GOOD, *other)) == 0
    assert "fitted on 4 other pairs; 1 that share a text were left out" in capsys.readouterr().out
    assert run(small, "--drop-missing", "--fit", small) == 2
    assert "leave --fit out to cross-fit" in capsys.readouterr().err


def test_one_group_leaves_the_regression_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(write(tmp_path / "p", GOOD, {**GOOD, "worse": "Sleep."})) == 0
    shown = capsys.readouterr().out
    assert "surface left out: pairs of one group" in shown and "| judge | length | vader | ties |\n" in shown


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["none.jsonl"], "No such file"),
        (["broken.jsonl"], "no usable line"),
        (["pairs.jsonl", "--rubric", "kind"], "rubric preset 'kind' is unknown"),
        (["pairs.jsonl", "--rubric", "mine.yaml"],
         "is unknown, expected one of default, grpo, judge, user; judge takes presets alone, no file and no class"),
        (["pairs.jsonl", "--rubric", "juge"], "no file and no class; did you mean 'judge'?"),
        (["pairs.jsonl", "--rubric", ""], "rubric preset '' is unknown"),
        (["pairs.jsonl", "--fit", "broken.jsonl"], "no usable line"),
        (["pairs.jsonl", "--out", "pairs.jsonl"], "which holds the pairs"),
        (["pairs.jsonl", "--out", "pairs.jsonl/x.json"], "cannot be written"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_explained(
    small: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    monkeypatch.chdir(write(small.parent / "broken.jsonl", "{").parent)
    before = small.read_bytes()
    assert run(*arguments) == 2
    assert said in capsys.readouterr().err and small.read_bytes() == before


def test_a_missing_vader_is_named_before_the_work(
    small: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "vaderSentiment", None)
    assert run(small) == 2
    assert 'needs vaderSentiment, which is not installed; run: pip install "therapysim[report]"' in (
        capsys.readouterr().err
    )
