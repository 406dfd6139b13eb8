"""The draw: equal seeds, equal files; killed at any moment, it goes on; nothing else can write there."""

import errno
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.parts.own_rubric import MINE, keep_imports, write_mine
from therapysim.agents.bench.folder import locked
from therapysim.agents.therapists.baselines import baseline
from therapysim.agents.therapists.therapist import conversation
from therapysim.cli import main as cli
from therapysim.envs.batch import SessionBatch, SessionConfig
from therapysim.errors import ConfigError, PersonaError
from therapysim.personas.load import personas
from therapysim.train.pairs.drawing import start_of
from therapysim.train.pairs.given import read_draw
from therapysim.train.pairs.pair_settings import STAGES, PairSettings
from therapysim.train.pairs.run import draw_set
from therapysim.train.pairs.set_folder import Kind

SMALL: dict[str, Any] = {
    "personas": ("duncan", "marta"), "sessions": 2, "states": 2, "max_turns": 3, "candidates": 6, "horizon": 1,
    "teachers": ("cbt", "attuned"), "vary": False,
}  # fmt: skip


@pytest.fixture(scope="module")
def batch() -> SessionBatch:
    return SessionBatch(SessionConfig(max_turns=3), rubric="grpo")


def make(batch: SessionBatch, out: Path, kind: Kind = "pairs", **changes: Any) -> dict[str, bytes]:
    """The files of a small set but the settings, which name their folder."""
    draw_set(kind, PairSettings(**{**SMALL, "out": str(out), **changes}), batch)
    return {name: (out / name).read_bytes() for name in ("drawn.jsonl", f"{kind}.jsonl", "sheet.md")}


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_equal_seeds_give_equal_files(batch: SessionBatch, tmp_path: Path) -> None:
    first = make(batch, tmp_path / "a")
    assert first == make(SessionBatch(SessionConfig(max_turns=3), rubric="grpo"), tmp_path / "b")
    assert first["drawn.jsonl"] != make(batch, tmp_path / "c", seed=1)["drawn.jsonl"]
    assert first["pairs.jsonl"]


FOUR = {"sessions": 4, "states": 1}


@pytest.fixture(scope="module")
def as_usual(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of four sessions, played here as many at once as by default."""
    return make(SessionBatch(SessionConfig(max_turns=3), rubric="grpo"), tmp_path_factory.mktemp("usual"), **FOUR)


@pytest.mark.parametrize("how", [{"at_once": 1}, {"at_once": 3}, {"processes": 2}])
def test_however_many_are_played_at_once_the_files_are_the_same(
    as_usual: dict[str, bytes], tmp_path: Path, how: dict[str, int]
) -> None:
    """Sessions one by one, side by side, and with their patients in processes."""
    draw_set("pairs", PairSettings(**{**SMALL, "out": str(tmp_path), **FOUR, **how}))
    assert {name: (tmp_path / name).read_bytes() for name in as_usual} == as_usual


def test_a_killed_draw_goes_on(batch: SessionBatch, tmp_path: Path) -> None:
    whole = make(batch, tmp_path / "a")
    data = whole["drawn.jsonl"]
    ends = [i + 1 for i, byte in enumerate(data) if byte == ord("\n")]
    cuts = [0, *ends, *(end - 7 for end in ends), *(end + 9 for end in ends[:-1])]
    for number, cut in enumerate(sorted(cuts)):
        out = tmp_path / str(number)
        out.mkdir()
        (out / "settings.json").write_bytes((tmp_path / "a" / "settings.json").read_bytes())
        (out / "drawn.jsonl").write_bytes(data[:cut])
        assert make(batch, out) == whole, cut


def test_more_sessions_can_be_added(batch: SessionBatch, tmp_path: Path) -> None:
    make(batch, tmp_path / "a", sessions=1)
    assert make(batch, tmp_path / "a") == make(batch, tmp_path / "b")
    assert len(rows(tmp_path / "a" / "drawn.jsonl")) == 4
    assert b"From 12 candidates in 2 states" in make(batch, tmp_path / "a", sessions=1)["sheet.md"]


def test_a_row_holds_what_a_trainer_needs(batch: SessionBatch, tmp_path: Path) -> None:
    settings = PairSettings(**{**SMALL, "out": str(tmp_path)})
    draw_set("pairs", settings, batch)
    row = rows(tmp_path / "pairs.jsonl")[0]
    numbers = [i for i in range(2) if start_of(i, settings).persona == row["persona"]]
    sessions = batch.reset([start_of(numbers[0], settings)])
    for _ in range(row["turn"]):
        batch.step(baseline(row["teacher"]).respond(batch.sessions))
        sessions = batch.sessions
    assert row["prompt"] == conversation(sessions[0])  # as ChatTherapist is prompted
    assert row["prompt"][-1]["content"].startswith("[USER STATE]\nDiagnosis: ")
    assert row["prompt_short"][-1]["content"].startswith("[STATE: ")
    assert [message["role"] for message in row["chosen"] + row["rejected"]] == ["assistant"] * 2
    assert row["score_chosen"] - row["score_rejected"] == pytest.approx(row["margin"], abs=1e-5)
    assert row["margin"] >= settings.margin and row["split"] == "train" and row["versions"]["form"] == 2


def test_groups_have_eight_ranked_completions(batch: SessionBatch, tmp_path: Path) -> None:
    make(batch, tmp_path, "groups", candidates=10)
    made = rows(tmp_path / "groups.jsonl")
    assert made and all(len(row["completions"]) == len(row["scores"]) == 8 for row in made)
    for row in made:
        safe = [
            s for s, o in zip(row["scores"], row["outcomes"], strict=True) if not o["violations"] and not o["toxic"]
        ]
        assert safe == sorted(safe, reverse=True)


def test_test_patients_are_refused(tmp_path: Path) -> None:
    kept_apart = personas("test")[0].id
    with pytest.raises(PersonaError, match="kept apart"):
        PairSettings(personas=(kept_apart,))
    with pytest.raises(ConfigError, match="split"):
        PairSettings(split="test")
    assert cli.main(["data", "pairs", "--split", "test", "--out", str(tmp_path / "x")]) == 2
    assert not (tmp_path / "x").exists()


def test_dev_patients_are_met_as_they_are() -> None:
    settings = PairSettings(split="dev")
    assert {start_of(i, settings).persona for i in range(8)} == {p.id for p in personas("dev")}
    assert not start_of(0, settings).vary and start_of(0, PairSettings()).vary


@pytest.mark.parametrize("changes", [{"horizon": 0}, {"common": "cbt"}, {"teachers": ("attuned", "cbt")}, {"seed": 4}])
def test_a_set_drawn_otherwise_is_refused(batch: SessionBatch, tmp_path: Path, changes: dict[str, Any]) -> None:
    before = make(batch, tmp_path)
    with pytest.raises(ConfigError, match=f"drawn with drawn_by: {next(iter(changes))}"):
        make(batch, tmp_path, **changes)
    assert (tmp_path / "drawn.jsonl").read_bytes() == before["drawn.jsonl"]


def test_what_is_kept_can_be_changed_without_a_new_draw(batch: SessionBatch, tmp_path: Path) -> None:
    before = make(batch, tmp_path)
    after = make(batch, tmp_path, margin=50.0)
    assert after["drawn.jsonl"] == before["drawn.jsonl"] and after["pairs.jsonl"] == b""
    assert make(batch, tmp_path)["pairs.jsonl"] == before["pairs.jsonl"]
    polar = make(batch, tmp_path, stages=("toxic_positivity", "safety", "polarity"))
    assert polar["drawn.jsonl"] == before["drawn.jsonl"] and polar["pairs.jsonl"] != before["pairs.jsonl"]


def test_each_row_and_the_sheet_tell_what_the_judges_said(batch: SessionBatch, tmp_path: Path) -> None:
    make(batch, tmp_path)
    made, sheet = rows(tmp_path / "pairs.jsonl"), json.loads((tmp_path / "sheet.json").read_text())
    assert made and tuple(sheet["stages"]) == STAGES
    for row in made:
        assert tuple(row["verdicts"]) == STAGES and set(row["verdicts"].values()) <= {"chosen", "rejected", "none"}
        assert row["verdicts"][row["rule"]] == row["verdicts"]["preference"] == "chosen"
    for name, told in sheet["stages"].items():
        said = [row["verdicts"][name] for row in made]
        assert told["opinions"] == len(said) - said.count("none") and told["agreed"] == said.count("chosen")
        assert told["decided"] == [row["rule"] for row in made].count(name)
    assert sum(told["decided"] for told in sheet["stages"].values()) == len(made)
    apart = {(own["first"], own["second"]): own for own in sheet["disagreements"]}[("preference", "polarity")]
    both = [{row["verdicts"][name] for name in ("preference", "polarity")} for row in made]
    both = [said for said in both if "none" not in said]
    assert apart["both_in_set"] == len(both) and apart["disagreed_in_set"] == sum(len(said) == 2 for said in both)
    assert apart["both"] >= apart["both_in_set"] and apart["both"] > apart["disagreed"]
    page = (tmp_path / "sheet.md").read_text()
    assert "| preference | polarity |" in page and "## The judge chain: pairs of the set" in page


def test_a_stage_without_a_say_gives_no_verdict(batch: SessionBatch, tmp_path: Path) -> None:
    make(batch, tmp_path, stages=("preference", "safety"))
    sheet = json.loads((tmp_path / "sheet.json").read_text())
    assert all(tuple(row["verdicts"]) == ("safety", "preference") for row in rows(tmp_path / "pairs.jsonl"))
    assert set(sheet["stages"]) == {"safety", "preference"} and sheet["chosen_by_polarity"] == 0


def test_another_kind_version_or_code_is_refused(batch: SessionBatch, tmp_path: Path) -> None:
    make(batch, tmp_path)
    with pytest.raises(ConfigError, match="holds therapysim-pairs, expected therapysim-groups"):
        make(batch, tmp_path, "groups")
    kept = json.loads((tmp_path / "settings.json").read_text())
    for changed, told in (
        ({"version": 1}, "version is 1, expected 2; name another --out"),
        ({"code": {**kept["code"], "envs": "x"}}, "code: envs"),
    ):
        (tmp_path / "settings.json").write_text(json.dumps({**kept, **changed}))
        with pytest.raises(ConfigError, match=told):
            make(batch, tmp_path)
    (tmp_path / "settings.json").unlink()
    with pytest.raises(ConfigError, match=r"without settings\.json"):
        make(batch, tmp_path)


def test_rows_out_of_order_are_refused(batch: SessionBatch, tmp_path: Path) -> None:
    lines = make(batch, tmp_path)["drawn.jsonl"].splitlines(keepends=True)
    (tmp_path / "drawn.jsonl").write_bytes(b"".join([lines[1], lines[0]]))
    with pytest.raises(ConfigError, match="row 1 is state 1 of session 0, expected state 0"):
        make(batch, tmp_path)
    (tmp_path / "drawn.jsonl").write_bytes(b"{}\n" + lines[1])
    with pytest.raises(ConfigError, match="line 1"):
        make(batch, tmp_path)


def test_two_writers_are_kept_apart(batch: SessionBatch, tmp_path: Path) -> None:
    with locked(tmp_path), pytest.raises(ConfigError, match="another run writes in"):
        make(batch, tmp_path)


def test_a_full_disk_loses_nothing(batch: SessionBatch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = make(batch, tmp_path / "a")
    real, calls = os.fsync, []

    def full(handle: int) -> None:
        calls.append(handle)
        if len(calls) == 3:
            os.ftruncate(handle, os.fstat(handle).st_size - 20)  # the row did not fit
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(handle)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ConfigError, match="No space left on device; what was drawn before is kept"):
        make(batch, tmp_path / "b")
    assert len(rows_there := (tmp_path / "b" / "drawn.jsonl").read_bytes().splitlines()) == 3
    assert rows_there[:2] == whole["drawn.jsonl"].splitlines()[:2]
    assert make(batch, tmp_path / "b") == whole


def test_mistakes_are_told_before_anything_is_played(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = tmp_path / "bad.jsonl"
    bad.write_text("{")
    for options, told in (
        (["--teachers", "cbtt"], "did you mean 'cbt'"),
        (["--common", "nobody-of-this-name"], "unknown"),
        (["--against", str(bad)], "line 1"),
        (["--errors", "rudeness"], "errors"),
        (["--rubric", "nope"], "preset 'nope' is unknown"),
        (["--margin", "0"], "margin"),
    ):
        out = tmp_path / "out"
        assert cli.main(["data", "pairs", "--out", str(out), *options]) == 2
        assert told in capsys.readouterr().err and not out.exists()


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--sessions", "1", "--states", "1", "--max-turns", "1", "--horizon", "0", "--candidates", "4"]
    assert cli.main(["data", "pairs", "--out", str(tmp_path), *options]) == 0
    said = capsys.readouterr().out
    assert "pairs of 1 states" in said and "too few pairs" in said
    assert {"pairs.jsonl", "sheet.md", "sheet.json"} <= {path.name for path in tmp_path.iterdir()}
    sheet = json.loads((tmp_path / "sheet.json").read_text())
    assert sheet["licence"].startswith("Apache-2.0") and sheet["settings"]["sessions"] == 1


def test_a_language_model_teaches(tiny_model: Path, batch: SessionBatch, tmp_path: Path) -> None:
    """Whatever it says: the draw is made, and its identity is kept."""
    changes = {"teachers": (str(tiny_model),), "common": "neutral", "sessions": 1, "states": 1, "max_turn_tokens": 8}
    make(batch, tmp_path, **changes)
    kept = json.loads((tmp_path / "settings.json").read_text())["speakers"]["teachers"][str(tiny_model)]
    assert kept["kind"] == "model" and kept["max_tokens"] == 8
    row = rows(tmp_path / "drawn.jsonl")[0]
    good = [own for own in row["found"] if own["kind"] == "good"]
    assert {own["style"] for own in good} <= {"warm", "direct"} and len(row["found"]) in (0, 6)


class Silent:
    """A therapist of somebody's own that never says anything."""

    def respond(self, sessions: list[Any]) -> list[str]:
        return [""] * len(sessions)


def test_a_teacher_that_says_nothing_gives_no_pair(batch: SessionBatch, tmp_path: Path) -> None:
    changes = {"teachers": (f"{__name__}:Silent",), "styles": ("warm",), "sessions": 1}
    assert make(batch, tmp_path, **changes)["pairs.jsonl"] == b""
    assert b"| no state | 2 |" in (tmp_path / "sheet.md").read_bytes()


def test_a_rubric_of_ones_own_is_kept_and_another_source_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_imports(monkeypatch, tmp_path, "drawn")
    write_mine(tmp_path, "drawn")
    (tmp_path / "mine.yaml").write_text('terms: {thanks: {class: "drawn:Thanks", weight: 0.5}}', encoding="utf-8")
    settings = PairSettings(**{**SMALL, "out": "set", "rubric": "mine.yaml"})
    draw_set("pairs", settings)
    kept = json.loads((tmp_path / "set" / "settings.json").read_text())["speakers"]["rubric"]
    assert kept["preset"] == "mine.yaml" and kept["own"]["thanks"]["class"] == "drawn:Thanks"
    assert read_draw("set").rows
    write_mine(tmp_path, "drawn", MINE + "\n# another\n")
    del sys.modules["drawn"]
    with pytest.raises(ConfigError, match="drawn with speakers: rubric: own: thanks: source"):
        draw_set("pairs", settings)
    with pytest.raises(
        ConfigError, match=r"another rubric 'mine.yaml' than there is now: rubric.own.thanks.source was"
    ):
        read_draw("set")
