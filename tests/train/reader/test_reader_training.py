"""The reader's recipe: what is learnt, what is made, the thresholds by hand, and the whole of it on a tiny encoder."""

import json
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from therapysim.errors import ConfigError  # noqa: E402
from therapysim.personas.items import KINDS  # noqa: E402
from therapysim.rewards.reading.acts import ANY_HARM, ANY_REFLECTION, ASKS, QUESTIONS  # noqa: E402
from therapysim.rewards.reading.emotions import WEIGHTS  # noqa: E402
from therapysim.rewards.reading.reader import Reader, open_vocabulary  # noqa: E402
from therapysim.rewards.reading.uptake import echo  # noqa: E402
from therapysim.rewards.terms.empathy import MECHANISMS  # noqa: E402
from therapysim.train.reader import reader_data  # noqa: E402
from therapysim.train.reader.fit_reader import folds_of, train  # noqa: E402
from therapysim.train.reader.made_turns import Made, echoed, heaped, mixed, roughened, scattered, second_person  # noqa: E402
from therapysim.train.reader.reader_data import ASKED, NAMES, TIE, Example, gather, labels_of, own_turns  # noqa: E402
from therapysim.train.reader.reader_network import build, load_weights, save_weights, targets_of  # noqa: E402
from therapysim.train.reader.reader_scores import level_f1, pair_accuracy, pick_thresholds, scores_of  # noqa: E402
from therapysim.train.reader.reader_settings import ReaderConfig  # noqa: E402

PATIENTS = [
    "My sister has not rung since the funeral.",
    "I count the steps to the bus.",
    "The pills are in the drawer.",
]


def lines(path: Path, rows: list[dict[str, object]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ReaderConfig:
    """A few rows of every source, and a tiny encoder with the shipped vocabulary."""
    monkeypatch.setattr(reader_data, "HERE", tmp_path / "here")
    return small_recipe(tmp_path)


@dataclass(frozen=True)
class Fitted:
    """What the whole recipe left: ``out/`` is the reader, ``kept/`` the network that it was exported from."""

    place: Path
    report: dict[str, Any]

    def kept(self, copy: Path) -> str:
        """A copy of the network's folder that a test may change."""
        return str(shutil.copytree(self.place / "kept", copy))


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Fitted:
    """Fitted once, with the settings that ``config`` has."""
    place = tmp_path_factory.mktemp("fitted")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reader_data, "HERE", place / "here")
        return Fitted(place, train(small_recipe(place), str(place / "kept")))


def small_recipe(place: Path) -> ReaderConfig:
    """Writes the sources and the encoder into a folder."""
    from transformers import BertConfig, BertModel

    here = place / "here"
    here.mkdir()
    turns = [
        {"patient": words, "text": f"{act} at hand {i}.", "acts": [act], "writer": "ab"[i % 2], "earlier": ["Hello."]}
        for act in reader_data.LEARNT
        for i, words in enumerate(PATIENTS)
    ]
    lines(here / "turns.jsonl", turns)
    levels = [
        {"context": f"post {i % 4}", "response": f"reply {i}", "reactions": i % 3, "interpretations": (i + 1) % 3,
         "explorations": (i + 2) % 3}
        for i in range(12)
    ]  # fmt: skip
    lines(here / "empathy_levels.jsonl", levels)
    lines(here / "danger.jsonl", [{"text": f"line {i}", "danger": i % 2 == 0} for i in range(6)])
    asks = [{"kind": kind, "text": f"What of {kind}?", "writer": "q"} for kind in (*KINDS, "none")]
    lines(here / "asks.jsonl", asks)
    meant = [{"patient": w, "text": f"{how} {w}", "takes": not how, "how": how, "writer": "m"}
             for w in PATIENTS for how in ("", "wrong", "trivia")]  # fmt: skip
    lines(here / "meaning.jsonl", meant)
    kinds = ("complex", "simple", "question", "advice", "other")
    pair = [{"context": w, "responses": [{"kind": k, "text": f"a {k}"} for k in kinds]} for w in PATIENTS]
    harms = [
        {
            "context": f"post {i}",
            "response": f"answer {i}",
            "category": category,
            "label": "Unsafe" if i % 2 else "Safe",
        }
        for category in reader_data.DIASAFETY.values()
        for i in range(6)
    ]
    torch.manual_seed(0)
    vocabulary = open_vocabulary(WEIGHTS / "tokenizer.json").get_vocab_size()
    tiny = BertConfig(vocab_size=vocabulary, hidden_size=8, num_hidden_layers=1, num_attention_heads=2,
                      intermediate_size=8)  # fmt: skip
    BertModel(tiny).save_pretrained(place / "base")
    return ReaderConfig(
        base=str(place / "base"), out=str(place / "out"), epochs=1, folds=2, batch_size=32,
        diasafety=lines(place / "diasafety.jsonl", harms), pair=lines(place / "pair.jsonl", pair),
        epitome=lines(place / "epitome.jsonl", levels),
    )  # fmt: skip


# What is learnt


def test_every_source_tells_its_own_labels_and_no_others(config: ReaderConfig) -> None:
    by_source: dict[str, list[Example]] = {}
    for example in gather(config):
        by_source.setdefault(example.source, []).append(example)
    assert set(by_source) == {
        "own/a", "own/b", "own/levels", "own/danger", "own/asks", "meaning/m", "epitome", "diasafety",
        *(f"pair/{kind}" for kind in ("complex", "simple", "question", "advice", "other")),
    }  # fmt: skip
    own = by_source["own/a"][0]
    assert own.heard == f"Hello. {PATIENTS[0]}" and set(reader_data.LEARNT) < set(own.labels)
    assert by_source["pair/simple"][0].labels == {
        "simple_reflection": True, "complex_reflection": False, ANY_REFLECTION: True,
    }  # fmt: skip
    assert set(by_source["pair/question"][0].labels.values()) == {False}
    assert by_source["epitome"][1].labels["reactions_1"] and not by_source["epitome"][1].labels["reactions_2"]
    takes, wrong, trivia = by_source["meaning/m"][:3]
    assert takes.labels == {TIE: True, ANY_REFLECTION: False} and not any(wrong.labels.values())
    assert ANY_REFLECTION in wrong.labels and ANY_REFLECTION not in trivia.labels and trivia.labels[TIE] is False
    assert by_source["own/danger"][0].text == "" and by_source["own/danger"][0].labels == {"signals_danger": True}


def test_a_question_asks_for_its_kind_and_a_turn_without_one_for_nothing(config: ReaderConfig) -> None:
    examples = gather(config)
    asked = {e.text: e.labels for e in examples if e.source == "own/asks"}
    assert len(asked) == len(KINDS) + 1 and all(set(labels) == set(ASKED) for labels in asked.values())
    for kind in ("sleep", "work", "d_intent"):
        assert [name for name, holds in asked[f"What of {kind}?"].items() if holds] == [f"{ASKS}{kind}"]
    assert not any(asked["What of none?"].values())
    for turn in (e for e in examples if e.source in ("own/a", "own/b")):
        known = {name: holds for name, holds in turn.labels.items() if name in ASKED}
        assert known == ({} if any(turn.labels[act] for act in QUESTIONS) else dict.fromkeys(ASKED, False))


def test_groups_come_from_the_acts() -> None:
    assert labels_of(["summary"])[ANY_REFLECTION] and not labels_of(["summary"])[ANY_HARM]
    assert labels_of(["blame", "open_question"])[ANY_HARM] and not labels_of([])[ANY_REFLECTION]


def test_the_projects_own_turns_are_enough() -> None:
    turns = own_turns(Path(reader_data.__file__).parent / "turns.jsonl")
    assert len(turns) >= 8_000 and len({(t.heard, t.text) for t in turns}) == len(turns)
    few = {act: n for act in reader_data.LEARNT if (n := sum(t.labels[act] for t in turns)) < 200}
    assert not few


def test_no_test_turn_is_learnt_from() -> None:
    def plain(text: str) -> str:
        return "".join(c for c in text.lower() if c.isalnum())

    path = Path(__file__).parents[2] / "data" / "turns_test.jsonl"
    apart = {plain(json.loads(line)["text"]) for line in path.read_text(encoding="utf-8").splitlines()}
    turns = own_turns(Path(reader_data.__file__).parent / "turns.jsonl")
    assert not [t.text for t in turns if len(plain(t.text)) > 20 and plain(t.text) in apart]


@pytest.mark.parametrize(
    ("name", "damage", "message"),
    [
        ("pair.jsonl", lambda p: p.write_text(""), r"pair\.jsonl has no example, expected JSON lines"),
        ("pair.jsonl", lambda p: p.write_text('{"context": "x"}\n'), "responses is missing"),
        ("epitome.jsonl", lambda p: p.write_text("not json\n"), "cannot be read as JSON"),
        ("epitome.jsonl", lambda p: p.write_text(p.read_text().replace('"reactions": 2', '"reactions": 3')), "2"),
        ("diasafety.jsonl", lambda p: p.write_text(p.read_text().replace("Unsafe", "Safe")),
         "has 6 lines of 'Risk Ignorance', expected Safe and Unsafe ones"),
        ("diasafety.jsonl", Path.unlink, r"diasafety\.jsonl: the file cannot be read"),
        ("here/turns.jsonl", lambda p: p.write_text(""), "has no turn"),
        ("here/turns.jsonl", lambda p: p.write_text(p.read_text().replace('["blame"]', '["shame"]')),
         "act 'shame' is unknown, expected some of open_question"),
        ("here/turns.jsonl", lambda p: p.write_text(p.read_text().replace('["blame"]', "[]")),
         "'blame': 0 of .* examples have it"),
        ("here/asks.jsonl", lambda p: p.write_text(""), r"asks\.jsonl has no example"),
        ("here/asks.jsonl", lambda p: p.write_text(p.read_text().replace('"sleep"', '"dozing"')),
         "kind 'dozing' is unknown, expected none, age"),
        ("here/asks.jsonl", lambda p: p.write_text(p.read_text().replace('"sleep"', '"none"')),
         "'asks_sleep': 0 of .* examples have it"),
    ],
)  # fmt: skip
def test_data_that_cannot_be_learnt_from_is_named(
    config: ReaderConfig, tmp_path: Path, name: str, damage: Callable[[Path], object], message: str
) -> None:
    damage(tmp_path / name)
    with pytest.raises(ConfigError, match=message):
        train(config)
    assert not Path(config.out).exists()


# What is made


def test_pronouns_are_swapped_and_an_echo_is_one() -> None:
    assert second_person("I told my boss I'm ill.") == "you told your boss you're ill"
    example = Example("I told my boss that I was ill. He did not even look up from his desk.", "x", {}, "own/a")
    for seed in range(8):
        made = echoed(example, random.Random(seed))
        assert echo(made.text, [example.heard]) > 0.5 and made.labels["complex_reflection"] is False


def test_scattered_words_fit_nobody_and_need_three() -> None:
    made = scattered(Example("The garden gate squeaks whenever somebody leaves.", "x", {}, "own/a"), random.Random(0))
    assert made is not None and made.labels[TIE] is False
    assert scattered(Example("I am so low.", "x", {}, "own/a"), random.Random(0)) is None


def test_rough_speech_keeps_the_words() -> None:
    text = "You waited by the phone, and nobody rang."
    rough = {roughened(text, random.Random(seed)) for seed in range(40)}
    assert len(rough) > 10
    assert all("phone" in r.lower() and "nobody" in r.lower() for r in rough)


def test_each_pass_has_every_example_and_as_many_apart_as_together(config: ReaderConfig) -> None:
    examples = gather(config)
    made = Made(examples, spoken=0.0, alone=0.0, before=0.0, both=0.0, after=0.0)(random.Random(0))
    assert made[: len(examples)] == examples
    sources = [e.source for e in made[len(examples) :]]
    assert sources.count("made/apart") == sources.count("made/tied") > 0
    assert all(set(e.labels) == {TIE} for e in made if e.source in ("made/apart", "made/tied"))


def test_two_turns_in_one_do_what_either_does() -> None:
    kind = Example("w", "You waited.", labels_of(["simple_reflection"]), "own/a")
    sly = Example("w", "Only I would.", labels_of(["complex_reflection", "dependence"]), "own/a")
    made = mixed(kind, sly)
    assert made.text == "You waited. Only I would."
    assert {n for n, holds in made.labels.items() if holds} == {
        "complex_reflection", "dependence", ANY_HARM, ANY_REFLECTION,
    }  # fmt: skip


def test_a_heap_of_words_does_nothing() -> None:
    rng = random.Random(2)
    one, two = (Example("w", f"You waited for him by the gate {i}", {"advice": True}, "own/a") for i in (1, 2))
    heaps = [heaped(one, two, rng) for _ in range(20)]
    assert all(heap.text not in (one.text, two.text) and not any(heap.labels.values()) for heap in heaps)
    assert all({"advice", ANY_HARM, TIE} <= set(heap.labels) for heap in heaps) and len({h.text for h in heaps}) > 10


def test_what_people_labelled_is_seen_more_often() -> None:
    own = [Example("w", f"turn {i}", {"advice": i % 2 == 0}, "own/a") for i in range(4)]
    people = Example("post", "reply", {"advice": False}, "epitome")
    made = Made([*own, people], 0.0, 0.0, both=0.0, apart=0.0, before=0.0, people=3)(random.Random(0))
    assert made.count(people) == 3 and all(made.count(turn) == 1 for turn in own)


# Targets, folds, thresholds


def test_what_nobody_knows_is_left_out() -> None:
    example = Example("a", "b", {"advice": True, "apology": False}, "own/a")
    bare = targets_of([example])[0]
    assert np.isnan(bare).sum() == len(NAMES) - 2 and bare[NAMES.index("advice")] == 1.0
    assert bare[NAMES.index("apology")] == 0.0


def test_what_answers_the_same_words_shares_a_fold() -> None:
    examples = [Example(f"words {i % 7}", f"turn {i}", {}, "own/a") for i in range(70)]
    folds = folds_of(examples, 3, 0)
    assert set(folds) == {0, 1, 2} and all(folds[i] == folds[i % 7] for i in range(70))


def test_thresholds_and_figures_by_hand() -> None:
    column, harm = NAMES.index("advice"), NAMES.index(ANY_HARM)
    p = np.full((100, len(NAMES)), 0.1, dtype=np.float32)
    p[:20, column], p[20:, column] = 0.9, 0.2
    p[:, harm] = np.linspace(0.0, 0.99, 100)
    examples = [Example("", str(i), {"advice": i < 20, ANY_HARM: False}, "own/a") for i in range(100)]
    found = pick_thresholds(p, examples, 0.05)
    assert 0.2 < found["advice"] <= 0.9 and (p[:, harm] >= found[ANY_HARM]).mean() <= 0.05
    scores = scores_of(p, examples, found)
    assert set(scores) == {"advice"}  # of the others all are of one kind
    assert {k: scores["advice"][k] for k in ("n", "of", "precision", "recall", "f1", "auc")} == {
        "n": 20, "of": 100, "precision": 1.0, "recall": 1.0, "f1": 1.0, "auc": 1.0,
    }  # fmt: skip


def test_pairs_and_levels_by_hand() -> None:
    column = NAMES.index(ANY_REFLECTION)
    p = np.zeros((4, len(NAMES)), dtype=np.float32)
    p[:, column] = [0.9, 0.4, 0.5, 0.1]
    rows = [
        Example("w", str(i), {}, f"pair/{kind}") for i, kind in enumerate(("complex", "simple", "question", "advice"))
    ]
    assert pair_accuracy(p, rows) == {"reflection over question": 0.5, "reflection over advice": 1.0}
    levels = [0, 1, 2] * 20
    q = np.zeros((60, len(NAMES)), dtype=np.float32)
    for name in ("reactions", "interpretations", "explorations"):
        q[:, NAMES.index(f"{name}_1")] = [0.9 * (k > 0) for k in levels]
        q[:, NAMES.index(f"{name}_2")] = [0.9 * (k > 1) for k in levels]
    told = [
        Example(f"post {i}", "r", {f"{m}_{n}": k >= n for m in MECHANISMS for n in (1, 2)}, "epitome")
        for i, k in enumerate(levels)
    ]
    assert level_f1(q, told) == {"reactions": 1.0, "interpretations": 1.0, "explorations": 1.0}


# The whole


def test_the_recipe_writes_a_reader_that_opens_and_can_be_exported_again(
    fitted: Fitted, config: ReaderConfig, tmp_path: Path
) -> None:
    report, out = fitted.report, fitted.place / "out"
    reader = Reader(out)
    assert reader.names == NAMES and reader(["Hello."], ["Go on."]).shape == (1, len(NAMES))
    card, first = (out / "READER.md").read_text(), (out / "reader.json").read_bytes()
    assert "EPITOME" in card and str(fitted.place) not in card + first.decode()
    assert report["settings"][0]["folds"] == 2 and set(report["thresholds"]) == set(NAMES)
    train(config, fitted.kept(tmp_path / "kept"))  # exports what is kept
    assert (Path(config.out) / "reader.json").read_bytes() == first


def test_the_mean_of_kept_networks_is_exported(fitted: Fitted, config: ReaderConfig, tmp_path: Path) -> None:
    kept = fitted.kept(tmp_path / "a")
    train(config.changed(out=str(tmp_path / "out-b"), seed=1), str(tmp_path / "b"))
    both = f"{kept},{tmp_path / 'b'}"
    report = train(config.changed(out=str(tmp_path / "out-mean")), both)
    assert [settings["seed"] for settings in report["mean_with"]] == [1]
    places = fitted.place / "out", tmp_path / "out-b", tmp_path / "out-mean"
    alone, other, mean = (Reader(place)(["Hello."], ["Go on."]) for place in places)
    assert not np.array_equal(alone, mean) and not np.array_equal(other, mean)
    assert "the mean of its weights" in (tmp_path / "out-mean" / "READER.md").read_text()
    with pytest.raises(ConfigError, match="expected one folder, or several that hold a fitted reader each"):
        train(config, f"{kept},{tmp_path / 'none'}")


def test_a_fit_goes_on_from_a_kept_network(fitted: Fitted, config: ReaderConfig, tmp_path: Path) -> None:
    first = fitted.report
    fitted.kept(tmp_path / "kept")
    start = str(tmp_path / "kept" / "reader.pt")
    weights = torch.load(start, weights_only=True)
    torch.save(weights | {"settings": weights["settings"] | {"base": "/a/place/of/a/machine"}}, start)
    then = config.changed(start=start, out=str(tmp_path / "out-2"), max_steps=2, both=1.0, half=True)
    second = train(then, str(tmp_path / "kept-2"))
    assert second["thresholds"] == first["thresholds"] and len(second["settings"]) == 2
    assert second["settings"][1]["max_steps"] == 2 and "start" not in second["settings"][1]
    assert "/a/place" not in (tmp_path / "out-2" / "READER.md").read_text()
    (tmp_path / "kept" / "report.json").write_text("{}")
    with pytest.raises(ConfigError, match="is no report of a fitted reader"):
        train(then.changed(out=str(tmp_path / "out-3")))


def test_equal_seeds_give_equal_networks(fitted: Fitted, config: ReaderConfig, tmp_path: Path) -> None:
    train(config, str(tmp_path / "kept"))
    places = fitted.place / "kept", tmp_path / "kept"
    first, second = (torch.load(place / "reader.pt", weights_only=True)["weights"] for place in places)
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_kept_weights_of_another_shape_or_label_set_are_refused(config: ReaderConfig, tmp_path: Path) -> None:
    vocabulary = open_vocabulary(WEIGHTS / "tokenizer.json")
    model = build(config, vocabulary)
    save_weights(model, tmp_path / "reader.pt", config)
    assert load_weights(model, tmp_path / "reader.pt")["epochs"] == 1
    kept = torch.load(tmp_path / "reader.pt", weights_only=True)
    torch.save({**kept, "names": ["advice"]}, tmp_path / "other.pt")
    (tmp_path / "broken.pt").write_bytes(b"none")
    for name, why in (
        ("other.pt", "another edition"),
        ("broken.pt", "holds no reader"),
        ("none.pt", "holds no reader"),
    ):
        with pytest.raises(ConfigError, match=why):
            load_weights(model, tmp_path / name)


@pytest.mark.parametrize(
    ("setting", "message"),
    [({"epochs": 0}, "epochs"), ({"spoken": 1.5}, "spoken"), ({"folds": 1}, "folds"), ({"lr": -1.0}, "lr")],
)
def test_settings_are_checked(config: ReaderConfig, setting: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        config.changed(**setting)
