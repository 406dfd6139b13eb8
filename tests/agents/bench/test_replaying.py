"""What a replay plays: fewer turns, the order that is given, who played beside a model, and where a recording stops."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.parts.bench_parts import SMALL, found, scripted
from tests.parts.chat_server import serving
from tests.parts.recorded import Thinking, lines, policy, record
from therapysim.agents.bench.record_book import HEAD, TOKENS
from therapysim.agents.bench.recording import recording
from therapysim.agents.bench.runner import run
from therapysim.cli.main import main
from therapysim.errors import ConfigError, ModelError

SHORT = replace(SMALL, turns=2)


def bench(*arguments: object) -> int:
    return main(["bench", *map(str, arguments)])


def order(out: Path) -> list[str]:
    return list(dict.fromkeys(row["policy"] for row in lines(out / "results.jsonl")))


def measured(out: Path, measure: str) -> list[Any]:
    return [row["measures"][measure] for row in lines(out / "results.jsonl")]


def test_fewer_turns_are_played_with_the_tokens_of_just_these(tmp_path: Path) -> None:
    record(Thinking(), tmp_path)
    assert bench("--replay", tmp_path / "record", "--turns", 2, "--out", tmp_path / "again") == 0
    run(SHORT, [policy(Thinking())], scripted(), tmp_path / "short")  # the model itself, in as many turns
    names = ("again", "short")
    assert measured(tmp_path / "again", "turns") == [2] * 4
    assert measured(tmp_path / "again", "tokens_read") == [7 * (2 + 4)] * 4
    again, short = ((tmp_path / name / "results.jsonl").read_bytes() for name in names)
    assert again == short


def test_tokens_that_were_not_kept_are_unknown_and_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record(Thinking(), tmp_path)
    path = tmp_path / "record" / TOKENS
    rows = path.read_text().splitlines(keepends=True)
    assert len(rows) == 3 * 4
    path.write_text("".join(rows[2::3]))  # a row a whole session, as recordings of earlier versions have
    assert bench("--replay", tmp_path / "record", "--turns", 2, "--out", tmp_path / "again") == 0
    assert measured(tmp_path / "again", "tokens_read") == measured(tmp_path / "again", "tokens_written") == [None] * 4
    assert "mine: the tokens of 4 of 4 sessions are unknown" in capsys.readouterr().out
    assert main(["report", str(tmp_path / "again"), "--out", str(tmp_path / "report.html"), "--price", "mine=1/2"]) == 0
    assert bench("--replay", tmp_path / "record", "--out", tmp_path / "whole") == 0
    assert measured(tmp_path / "whole", "tokens_read") == [7 * (2 + 4 + 6)] * 4
    assert "unknown" not in capsys.readouterr().out


def test_a_recording_that_broke_off_says_what_goes_on_and_plays_as_far_as_it_reaches(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ModelError):
        record(Thinking(fail_at=6), tmp_path)  # at the second turn
    held = tmp_path / "record"
    assert bench("--replay", held, "--out", tmp_path / "again") == 2
    told = capsys.readouterr().err
    assert "turn 2: the recording was broken off before it" in told
    assert f"the same `therapysim bench … --record {held}` goes on there" in told and "another folder" not in told
    assert bench("--replay", held, "--turns", 1, "--out", tmp_path / "one") == 0
    assert measured(tmp_path / "one", "tokens_read") == [None] * 4
    record(Thinking(), tmp_path)
    assert bench("--replay", held, "--turns", 5, "--out", tmp_path / "more") == 2  # beyond what was ever asked for
    assert "turn 4: no such call was recorded, which has patients" in capsys.readouterr().err


def test_policies_play_in_the_order_given_and_else_as_recorded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = record(Thinking(), tmp_path, beside=found("cbt", "attuned"))
    held = tmp_path / "record"
    assert bench("--replay", held, "--out", tmp_path / "bare") == 0
    assert (tmp_path / "bare/results.jsonl").read_bytes() == first and "less cbt" in capsys.readouterr().out
    for i, names in enumerate((["mine", "cbt"], ["cbt", "mine"], ["neutral", "mine", "attuned"])):
        assert bench(*names, "--replay", held, "--out", tmp_path / str(i)) == 0
        assert order(tmp_path / str(i)) == names and f"less {names[0]}" in capsys.readouterr().out
    with recording(held, SMALL, [*found("neutral"), policy(Thinking())], scripted()) as policies:
        run(SMALL, policies, scripted(), tmp_path / "joined")
    assert bench("--replay", held, "--out", tmp_path / "all") == 0
    assert order(tmp_path / "all") == ["cbt", "attuned", "mine", "neutral"]


def test_an_earlier_recording_replays_its_models(tmp_path: Path) -> None:
    record(Thinking(), tmp_path, beside=found("cbt"))
    head = json.loads((tmp_path / "record" / HEAD).read_text())
    del head["played"]
    (tmp_path / "record" / HEAD).write_text(json.dumps(head))
    assert bench("--replay", tmp_path / "record", "--out", tmp_path / "again") == 0
    assert order(tmp_path / "again") == ["mine"]
    record(Thinking(), tmp_path, "more", beside=found("cbt"))  # which joins it
    assert bench("--replay", tmp_path / "record", "--out", tmp_path / "all") == 0
    assert order(tmp_path / "all") == ["mine", "cbt"]


def test_a_function_that_changed_or_is_gone_is_told_unless_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    Path("asks_played.py").write_text("def ask(observation):\n    return 'How is that?'\n", encoding="utf-8")
    first = record(Thinking(), tmp_path, beside=found("asks_played:ask"))
    assert bench("--replay", "record", "--out", "again") == 0
    assert Path("again/results.jsonl").read_bytes() == first
    head = json.loads(Path("record", HEAD).read_text())
    source = head["played"]["asks_played:ask"]["source"]
    head["played"]["asks_played:ask"]["source"] = "another"
    Path("record", HEAD).write_text(json.dumps(head))
    assert bench("--replay", "record", "--out", "other") == 2
    assert f'asks_played:ask.source was "another" and is "{source[:5]}' in capsys.readouterr().err
    assert bench("asks_played:ask", "mine", "--replay", "record", "--out", "named") == 0
    head["played"] = {"gone_module:ask": {"kind": "function", "source": "x"}, "mine": head["policies"]["mine"]}
    Path("record", HEAD).write_text(json.dumps(head))
    assert bench("--replay", "record", "--out", "gone") == 2
    told = capsys.readouterr().err
    assert "gone_module" in told and "name the policies to play" in told and not Path("gone").exists()
    assert bench("mine", "--replay", "record", "--out", "mine") == 0


def test_what_differs_in_a_recording_is_named_by_entry(tmp_path: Path) -> None:
    record(Thinking(), tmp_path)
    with pytest.raises(ConfigError) as caught:
        record(Thinking(), tmp_path, "new", temperature=0.3, max_tokens=32)
    assert str(caught.value) == (
        f"record {tmp_path / 'record'} is of another benchmark: policies.mine.max_tokens was 64 and is 32; "
        "policies.mine.temperature was 0.8 and is 0.3; name another folder"
    )


def test_a_patients_model_broken_off_says_what_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("aiohttp")
    held = tmp_path / "held"
    small = ["--split", "dev", "--patients", 1, "--seeds", 1, "--turns", 1]
    with serving() as url:
        assert bench("cbt", *small, "--patient", f"{url}#tiny", "--record", held, "--out", tmp_path / "one") == 0
    for entry in (held / "patients").rglob("*.json"):
        entry.unlink()
    assert bench("--replay", held, "--out", tmp_path / "two") == 2
    assert f"the same `therapysim bench … --record {held}` goes on" in capsys.readouterr().err
