"""Kept sessions as chats, pairs and tables: what a row holds, what is refused, and that other trainers take them."""

import csv
import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.parts.bench_parts import SMALL, Mute, found, play_small, scripted
from therapysim.agents.bench.bench_settings import BenchSettings, Simulator
from therapysim.agents.bench.results import read_results, write_results
from therapysim.agents.bench.runner import run
from therapysim.agents.sessions.pay import earned
from therapysim.agents.sessions.session_file import load_session, load_sessions
from therapysim.agents.therapists.baselines import baseline
from therapysim.agents.therapists.policies import Policy
from therapysim.agents.therapists.therapist import conversation
from therapysim.cli.main import main
from therapysim.envs.session import Session
from therapysim.errors import ConfigError
from therapysim.rewards.rubric import Rubric
from therapysim.train.chats.export_chats import export_chats
from therapysim.train.dpo.pairs import Practice, read_pairs
from therapysim.train.pairs.drawing import short_header


class Late:
    """Says what ``cbt`` says, and from its second turn on something else."""

    def __init__(self) -> None:
        self.cbt = baseline("cbt")

    def respond(self, sessions: Sequence[Session]) -> list[str]:
        said = self.cbt.respond(sessions)
        return [f"Go on. {text}" if s.state.turn else text for s, text in zip(sessions, said, strict=True)]


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A benchmark of dev patients with session files: cbt, one that parts from it at its second turn, and a bad one."""
    folder = tmp_path_factory.mktemp("bench") / "played"
    policies = [*found("cbt"), Policy("late", Late, {"kind": "function"}), *found("hostile")]
    run(SMALL, policies, scripted(), folder, sessions=True)
    return folder


@pytest.fixture
def bare(played: Path, tmp_path: Path) -> Path:
    """The same without session files."""
    place = tmp_path / "bare"
    shutil.copytree(played, place)
    shutil.rmtree(place / "sessions")
    return place


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_a_chat_is_what_a_policy_is_prompted_with(played: Path, tmp_path: Path) -> None:
    made = export_chats(played, tmp_path / "x")
    records = {(r.policy, r.persona, r.seed): r for r in load_sessions([played / "sessions"])}
    assert made.rows == len(records) == 12
    for row in rows(made.file):
        record = records[row["policy"], row["persona"], row["seed"]]
        assert row["messages"] == conversation(record)[:-1]  # but for the patient's last words, which nobody answers
        assert [m["role"] for m in row["messages"]] == ["system", *["user", "assistant"] * row["turns"]]
        assert row["return"] == pytest.approx(earned(record, Rubric("default")), abs=1e-4)
        assert (row["split"], row["simulator"]) == ("dev", "scripted")


def test_states_are_rebuilt_where_no_session_file_has_them(played: Path, bare: Path, tmp_path: Path) -> None:
    for header in ("long", "short"):
        one, two = (export_chats(p, tmp_path / f"{header}{i}", header=header) for i, p in enumerate((played, bare)))
        assert one.file.read_bytes() == two.file.read_bytes()
        assert two.told["source"]["states"] == {"from session files": 0, "rebuilt from the results": 12}


def test_headers(played: Path, tmp_path: Path) -> None:
    record = load_sessions([played / "sessions" / "scripted" / "cbt"])[0]
    for header, told in (("short", short_header(record.states[0]) + " Patient: "), ("none", "Patient: ")):
        made = export_chats(played, tmp_path / header, policies=["cbt"], header=header)  # type: ignore[arg-type]
        assert rows(made.file)[0]["messages"][1]["content"] == told + record.messages[0].text


def test_pairs_stand_where_sessions_part_and_nowhere_else(played: Path, tmp_path: Path) -> None:
    made = export_chats(played, tmp_path / "x", "pairs")
    records = {(r.policy, r.persona, r.seed): r for r in load_sessions([played / "sessions"])}
    totals = {(r.policy, r.persona, r.seed): r["total"] for r in read_results(played / "results.jsonl")}
    told = rows(made.file)
    assert {(row["turn"], *sorted([*row["chosen_policies"], *row["rejected_policies"]])) for row in told} == {
        (1, "cbt", "hostile", "late"),
        (2, "cbt", "late"),
    }
    longer = [len(row["chosen"][0]["content"].split()) > len(row["rejected"][0]["content"].split()) for row in told]
    assert made.told["chosen_longer"] == sum(longer) / 8
    assert len(told) == 8 and made.told["dropped"] == dict.fromkeys(made.told["dropped"], 0)
    for row in told:
        sides = [[records[name, row["persona"], row["seed"]] for name in row[f"{side}_policies"]]
                 for side in ("chosen", "rejected")]  # fmt: skip
        for record in (*sides[0], *sides[1]):
            assert conversation(record)[: 2 * row["turn"]] == row["prompt"]
        for side, own in zip(("chosen", "rejected"), sides, strict=True):
            assert {record.messages[2 * row["turn"] - 1].text for record in own} == {row[side][0]["content"]}
            mean = sum(totals[r.policy, r.persona, r.seed] for r in own) / len(own)
            assert row[f"{side}_return"] == pytest.approx(mean, abs=1e-5)
        assert row["margin"] > 0


def test_a_pair_whose_least_return_is_missed_goes_by_its_chosen_side(played: Path, tmp_path: Path) -> None:
    every = rows(export_chats(played, tmp_path / "all", "pairs").file)
    least = sorted(row["chosen_return"] for row in every)[3]
    made = export_chats(played, tmp_path / "some", "pairs", min_return=least)
    assert rows(made.file) == [row for row in every if row["chosen_return"] >= least]
    assert made.told["dropped"]["below the least return"] == len(every) - made.rows > 0


def test_unsafe_and_silent_turns_make_no_chosen_side(tmp_path: Path) -> None:
    play_small(tmp_path / "b", "hostile", "silent")
    lines = read_results(tmp_path / "b" / "results.jsonl")
    better = [replace(r, measures={**r.measures, "total": 50.0}) if r.policy == "hostile" else r for r in lines]
    write_results(tmp_path / "b" / "results.jsonl", better)
    with pytest.raises(ConfigError, match="no pair is left: dropped 4 for one turn is a silence"):
        export_chats(tmp_path / "b", tmp_path / "x", "pairs")
    words = [
        replace(r, turns=(replace(r.turns[0], therapist="Hm."), *r.turns[1:])) if r.policy == "silent" else r
        for r in better
    ]
    write_results(tmp_path / "b" / "results.jsonl", words)
    with pytest.raises(ConfigError, match="4 for the chosen turn unsafe and the other not"):
        export_chats(tmp_path / "b", tmp_path / "x", "pairs")


def test_policies_that_met_nobody_alike_make_no_pair(played: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no pair: the 4 sessions of 1 policies never said two different turns"):
        export_chats(played, tmp_path / "x", "pairs", policies=["cbt"])


def test_a_state_with_equal_words_and_another_mood_is_another_state(bare: Path, tmp_path: Path) -> None:
    lines = read_results(bare / "results.jsonl")
    moved = [replace(r, affect=(0.5, *r.affect[1:])) if r.policy == "hostile" else r for r in lines]
    write_results(bare / "results.jsonl", moved)
    made = export_chats(bare, tmp_path / "x", "pairs")
    assert {row["turn"] for row in rows(made.file)} == {2}


def test_the_table_has_a_row_a_turn(played: Path, tmp_path: Path) -> None:
    made = export_chats(played, tmp_path / "x", "csv", policies=["cbt", "hostile"])
    with made.file.open(encoding="utf-8", newline="") as file:
        told = list(csv.DictReader(file))
    kept = {(r.policy, r.persona, r.seed): r for r in read_results(played / "results.jsonl")}
    assert len(told) == sum(len(kept["cbt", p, s].turns) + len(kept["hostile", p, s].turns)
                            for name, p, s in kept if name == "cbt")  # fmt: skip
    for row in told:
        own = kept[row["policy"], row["persona"], int(row["seed"])]
        turn = own.turns[int(row["turn"]) - 1]
        assert (row["therapist"], row["patient"], row["move"]) == (turn.therapist, turn.patient, turn.move)
        assert float(row["reward"]) == turn.reward and float(row["return"]) == own["total"]
        assert float(row["temper"]) == turn.affect[1] and row["violations"] == "; ".join(turn.violations)


def test_session_files_alone_are_scored_by_one_rubric(played: Path, tmp_path: Path) -> None:
    made = export_chats(played / "sessions", tmp_path / "x")
    by_bench = {(r["policy"], r["persona"], r["seed"]): r for r in rows(export_chats(played, tmp_path / "y").file)}
    for row in rows(made.file):
        other = by_bench[row["policy"], row["persona"], row["seed"]]
        assert row["messages"] == other["messages"] and row["simulator"] == ""
        assert row["return"] == pytest.approx(other["return"], abs=1e-4)
    assert made.told["source"]["kind"] == "session files"


def test_session_files_of_own_patients_and_own_terms_are_paid_and_warned_of(played: Path, tmp_path: Path) -> None:
    known = next(iter(sorted((played / "sessions").rglob("*.json"))))
    content = json.loads(known.read_text(encoding="utf-8"))
    content["persona"] = "anna@59d8"
    for state in content["states"]:
        state["attributes"]["persona"] = "anna@59d8"
    for turn in content["turns"]:
        turn["terms"]["thanks"] = 1.0
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "anna.json").write_text(json.dumps(content), encoding="utf-8")
    made = export_chats(tmp_path / "files", tmp_path / "x")
    [row] = rows(made.file)
    assert row["split"] == "unknown" and row["return"] == pytest.approx(earned(load_session(known), Rubric()), abs=1e-4)
    assert "1 of 1 rows are with patients of your own (anna@59d8), whose split a session file" in made.told["warning"]
    assert "split: train" in (tmp_path / "x" / "README.md").read_text(encoding="utf-8")


def test_equal_exports_have_equal_bytes(played: Path, tmp_path: Path) -> None:
    for form in ("messages", "pairs", "csv"):
        for name in ("one", "two"):
            assert main(["export-sessions", str(played), "--format", form, "--out", str(tmp_path / name / form)]) == 0
    files = [{p.relative_to(tmp_path / n): p.read_bytes() for p in (tmp_path / n).rglob("*.*")} for n in ("one", "two")]
    assert files[0] == files[1] and len(files[0]) == 9


def test_test_patients_are_warned_of_in_terminal_and_card(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(BenchSettings(split="test", people=2, seeds=1, turns=2), found("cbt", "warm"), scripted(), tmp_path / "b")
    for form in ("messages", "pairs"):
        assert main(["export-sessions", str(tmp_path / "b"), "--format", form, "--out", str(tmp_path / form)]) == 0
        warned, card = capsys.readouterr().err, (tmp_path / form / "README.md").read_text(encoding="utf-8")
        assert "therapysim: warning: " in warned and "kept apart for benchmarks" in warned
        assert "**Not for training as it is.**" in card and "split: test" in card
    assert main(["export-sessions", str(tmp_path / "b"), "--format", "csv", "--out", str(tmp_path / "csv")]) == 0
    assert capsys.readouterr().err == ""
    with pytest.raises(ConfigError, match="is a test patient, kept apart for benchmarks"):
        read_pairs([tmp_path / "pairs" / "pairs.jsonl"], Practice(frozenset({"owen"})))


def test_failed_sessions_are_left_out_and_counted(tmp_path: Path) -> None:
    play_small(tmp_path / "b", "cbt")
    mute = [Simulator("mute", Mute, {"kind": "scripted"})]
    run(SMALL, found("cbt"), mute, tmp_path / "b")
    made = export_chats(tmp_path / "b", tmp_path / "x")
    assert made.rows == 4 and made.told["left_out"]["failed or without a turn"] == 4
    run(SMALL, found("cbt"), mute, tmp_path / "m")
    with pytest.raises(ConfigError, match="no session is left: all failed"):
        export_chats(tmp_path / "m", tmp_path / "y")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--policy", "mi"], "policy 'mi' has no session there, expected one of 'cbt', 'late', 'hostile'"),
        (["--min-return", "nan"], "min_return is nan, expected a number"),
        (["--min-return", "1e6"], "no session is left: min_return is 1e+06, and the best of 12 earned"),
        (["--format", "pairs", "--min-return", "1e6"], "no pair is left: dropped 8 for below the least return"),
        (["--format", "csv", "--header", "none"], "--header is for messages and pairs"),
    ],
)
def test_what_leaves_nothing_is_refused_and_leaves_no_folder(
    played: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    assert main(["export-sessions", str(played), "--out", str(tmp_path / "x"), *options]) == 2
    assert message in capsys.readouterr().err and list(tmp_path.iterdir()) == []


def test_results_of_another_version_are_refused(bare: Path, tmp_path: Path) -> None:
    settings = json.loads((bare / "settings.json").read_text())
    for change, message in (
        ({"version": 2}, "version is 2, expected 3"),
        ({"version": 4}, "version is 4"),
        ({"weights": {**settings["weights"], "emotions.onnx": "0" * 64}}, "its sensor had other weights"),
    ):
        (bare / "settings.json").write_text(json.dumps({**settings, **change}))
        with pytest.raises(ConfigError, match=message):
            export_chats(bare, tmp_path / "x")
    assert export_chats(bare, tmp_path / "x", header="none").rows == 12  # whose words need no reading
    (bare / "settings.json").unlink()
    with pytest.raises(ConfigError, match=r"settings\.json beside it is missing"):
        export_chats(bare, tmp_path / "y")


def test_a_place_that_is_none_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no such place, expected a benchmark's folder"):
        export_chats(tmp_path / "none", tmp_path / "x")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="no session file there"):
        export_chats(tmp_path / "empty", tmp_path / "x")
    (tmp_path / "empty" / "visit.json").write_text('{"format": "therapysim-visit", "version": 1}')
    with pytest.raises(ConfigError, match="no session, expected a JSON object"):
        export_chats(tmp_path / "empty", tmp_path / "x")


def test_a_session_file_of_other_words_is_refused(played: Path, tmp_path: Path) -> None:
    shutil.copytree(played, tmp_path / "b")
    file = next((tmp_path / "b" / "sessions" / "scripted" / "cbt").iterdir())
    other = next((tmp_path / "b" / "sessions" / "scripted" / "hostile").glob(file.name))
    file.write_bytes(other.read_bytes())
    with pytest.raises(ConfigError, match="its words are not those of the results beside it"):
        export_chats(tmp_path / "b", tmp_path / "x")


def test_a_folder_that_is_taken_stays_as_it_is(played: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("all of it")
    for force in (False, True):
        with pytest.raises(ConfigError, match="is there already, and is no earlier export"):
            export_chats(played, tmp_path / "mine", force=force)
    export_chats(played, tmp_path / "x")
    with pytest.raises(ConfigError, match="add --force"):
        export_chats(played, tmp_path / "x", "csv")
    export_chats(played, tmp_path / "x", "csv", force=True)
    assert sorted(p.name for p in (tmp_path / "x").iterdir()) == ["README.md", "provenance.json", "turns.csv"]
    with pytest.raises(ConfigError, match="policy 'mi'"):
        export_chats(played, tmp_path / "x", policies=["mi"], force=True)
    assert (tmp_path / "x" / "turns.csv").exists()
    with pytest.raises(ConfigError, match="lie in one another"):
        export_chats(played, played / "x")
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be written"):
        export_chats(played, tmp_path / "file" / "x")


def test_our_own_dpo_reads_the_pairs(played: Path, tmp_path: Path) -> None:
    made = export_chats(played, tmp_path / "x", "pairs")
    people = frozenset(row["persona"] for row in rows(made.file))
    assert len(read_pairs([made.file], Practice(people))) == made.rows
    plain = export_chats(played, tmp_path / "y", "pairs", header="none")
    assert len(read_pairs([plain.file], Practice(people, show_state=False))) == made.rows


def test_datasets_and_trl_take_both_forms(played: Path, tiny_model: Path, tmp_path: Path) -> None:
    trl, datasets = pytest.importorskip("trl"), pytest.importorskip("datasets")
    import transformers

    chats = export_chats(played, tmp_path / "chats", policies=["cbt"]).file
    pairs = export_chats(played, tmp_path / "pairs", "pairs").file
    cache = str(tmp_path / "cache")
    loaded = {
        p: datasets.load_dataset("json", data_files=str(p), split="train", cache_dir=cache) for p in (chats, pairs)
    }
    by_card = datasets.load_dataset(str(tmp_path / "chats"), split="train", cache_dir=cache)
    assert by_card[:] == loaded[chats][:] and by_card.num_rows == 4
    tokenizer = transformers.AutoTokenizer.from_pretrained(tiny_model)
    common: dict[str, Any] = {"max_steps": 1, "per_device_train_batch_size": 2, "report_to": [], "use_cpu": True,
                              "save_strategy": "no", "bf16": False, "gradient_checkpointing": False}  # fmt: skip
    for kind, file in (("SFT", chats), ("DPO", pairs)):
        arguments = getattr(trl, f"{kind}Config")(output_dir=str(tmp_path / kind), **common)
        model = transformers.AutoModelForCausalLM.from_pretrained(tiny_model)
        trainer = getattr(trl, f"{kind}Trainer")(
            model=model, args=arguments, train_dataset=loaded[file], processing_class=tokenizer
        )
        result = trainer.train()
        assert result.global_step == 1 and 0 < result.training_loss < 20
