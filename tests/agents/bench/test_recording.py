"""``bench --record`` and ``--replay``: the same bytes without the model, and what differs named where it first does."""

import json
import re
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.parts.bench_parts import SMALL, Model, scripted
from tests.parts.chat_server import serving, stats
from tests.parts.recorded import Thinking, lines, policy, record
from therapysim.agents.bench.record_book import CALLS, HEAD, TOKENS
from therapysim.agents.bench.recording import recording, require_recorded
from therapysim.agents.bench.replaying import replay_of
from therapysim.agents.bench.runner import run
from therapysim.cli.main import main
from therapysim.errors import ConfigError, ModelError
from therapysim.models.chat import Sampling
from therapysim.rewards.reading.emotions import shipped_sensor

BENCH = ["--split", "dev", "--patients", "2", "--seeds", "2", "--turns", "3"]


def bench(*arguments: object) -> int:
    return main(["bench", *map(str, arguments)])


def replay(place: Path, out: str = "again") -> bytes:
    held = replay_of(place / "record", shipped_sensor().affect)
    run(held.settings, held.policies, held.simulators, place / out)
    return (place / out / "results.jsonl").read_bytes()


def test_a_replay_is_the_same_to_the_byte_reasoning_and_tokens_too(tmp_path: Path) -> None:
    model = Thinking()
    first = record(model, tmp_path)
    asked = model.asked
    assert replay(tmp_path) == first and model.asked == asked
    settings = [json.loads((tmp_path / name / "settings.json").read_text()) for name in ("out", "again")]
    assert settings[0] == settings[1] and settings[1]["policies"]["mine"]["model"] == "m"
    held = replay_of(tmp_path / "record", shipped_sensor().affect)
    assert held.settings == SMALL and held.policies[0].trained_on == {"owen"}
    calls = lines(tmp_path / "record" / CALLS)
    assert len(calls) == asked and {call["turn"] for call in calls} == {1, 2, 3}
    assert all("sampled" in m for call in calls for m in call["messages"] if m["role"] == "assistant")
    assert json.loads(first.splitlines()[0])["measures"]["tokens_read"] == 7 * (2 + 4 + 6)


def test_a_recording_that_broke_off_asks_no_call_twice(tmp_path: Path) -> None:
    model = Thinking(fail_at=6)
    with pytest.raises(ModelError, match="the machine is off"):
        record(model, tmp_path)
    kept = (tmp_path / "record" / CALLS).read_bytes()
    assert kept.count(b"\n") == 4  # the first turn of each session
    (tmp_path / "record" / CALLS).write_bytes(kept + kept[:300])  # half a row, as a killed run leaves it
    model.asked = 100
    first = record(model, tmp_path)
    assert model.asked == 100 + 8 and (tmp_path / "record" / CALLS).read_bytes().startswith(kept)
    assert replay(tmp_path) == first


def test_what_a_failing_call_did_answer_is_kept(tmp_path: Path) -> None:
    class Half(Model):
        def reply(self, chats: Sequence[object], sampling: Sampling, seeds: Sequence[int]) -> list[str]:
            raise ModelError(
                "one is lost", [None if i == 1 else f"<think>so</think>Turn {i}." for i in range(len(chats))]
            )

    with pytest.raises(ModelError, match="one is lost"):
        record(Half(""), tmp_path)
    assert [call["reply"]["content"] for call in lines(tmp_path / "record" / CALLS)] == [
        "Turn 0.",
        "Turn 2.",
        "Turn 3.",
    ]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("messages", -1, "content"), "seed 0, turn 2: message 4 of the prompt (user) was "),
        (("messages", 2, "content"), "seed 0, turn 2: message 3 of the prompt (assistant) was "),
        (("messages", 2, "sampled"), "message 3 of the prompt (assistant)'s sampled was "),
        (("turn", 9), "seed 0, turn 2: no such call was recorded, which has patients "),
    ],
)
def test_the_first_difference_is_told(tmp_path: Path, change: tuple[Any, ...], told: str) -> None:
    record(Thinking(), tmp_path)
    path = tmp_path / "record" / CALLS
    rows = lines(path)
    first = next(row for row in rows if row["turn"] == 2 and row["seed"] == 0)
    if change[0] == "turn":
        first["turn"] = 9
    else:
        message = first["messages"][change[1]]
        message[change[2]] = message[change[2]][:-3] + "XYZ"
    _sign(rows)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(ConfigError) as caught:
        replay(tmp_path)
    said = str(caught.value)
    assert f"policy 'mine' with patient '{first['patient']}'" in said and told in said
    assert change[0] == "turn" or re.search(r"XYZ[^']*['\"] and is ", said)


def _sign(rows: list[dict[str, Any]]) -> None:
    """Checksums anew: what was recorded is otherwise, and no damage."""
    from therapysim.agents.bench.record_book import Call, checksum

    for row in rows:
        row["checksum"] = checksum(Call(**row))


def test_damage_is_told_before_anything_is_played(tmp_path: Path) -> None:
    record(Thinking(), tmp_path)
    path = tmp_path / "record" / CALLS
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b"number 5", b"number 6", 1))
    with pytest.raises(ConfigError, match="call 5 is damaged"):
        replay(tmp_path)
    path.write_bytes(whole.replace(b'"turn": 2', b'"turn": "two"', 1))
    with pytest.raises(ConfigError, match=r"calls\.jsonl: line 5: turn is"):
        replay(tmp_path)
    path.write_bytes(whole)
    (tmp_path / "record" / TOKENS).unlink()
    with pytest.raises(ConfigError, match="was broken off before the session's end"):
        replay(tmp_path)
    (tmp_path / "record" / HEAD).write_text('{"format": "therapysim-record", "version": 2}')
    with pytest.raises(ConfigError, match=r"record\.json: version is 2"):
        replay(tmp_path)
    assert (
        not (tmp_path / "again" / "settings.json").exists() or not (tmp_path / "again" / "results.jsonl").read_bytes()
    )


def test_another_benchmark_does_not_join_a_recording(tmp_path: Path) -> None:
    record(Thinking(), tmp_path)
    before = {path: path.read_bytes() for path in (tmp_path / "record").iterdir()}
    with pytest.raises(ConfigError, match=r"of another benchmark: policies\.mine\.temperature was 0\.8 and is 0\.1; "):
        record(Thinking(), tmp_path, "new", temperature=0.1)
    other = type(SMALL)(split="dev", people=2, seeds=3, turns=3)
    with (
        pytest.raises(ConfigError, match=r"settings.seeds was 2 and is 3"),
        recording(tmp_path / "record", other, [policy(Thinking())], scripted()),
    ):
        pass
    assert before == {path: path.read_bytes() for path in (tmp_path / "record").iterdir()}


def test_a_rubric_that_changed_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    rubric, model = tmp_path / "mine.yaml", Thinking()
    rubric.write_text("{preset: grpo, weights: {mood: 2}}", encoding="utf-8")
    settings = replace(SMALL, rubric="mine.yaml")
    with recording("record", settings, [policy(model)], scripted()) as policies:
        run(settings, policies, scripted(), tmp_path / "out")
    rubric.write_text("{preset: grpo, weights: {mood: 3}}", encoding="utf-8")
    with (
        pytest.raises(ConfigError, match=r"record record is of another benchmark: rubric.mood was 2 and is 3; "),
        recording("record", settings, [policy(model)], scripted()),
    ):
        pass
    assert bench("--replay", "record", "--out", "again") == 2
    assert "replay record: rubric.mood was 2 and is 3; set that back, or give --rubric" in capsys.readouterr().err
    assert not Path("again").exists()
    assert bench("--replay", "record", "--out", "again", "--rubric", "mine.yaml") == 0


def test_sessions_that_were_there_before_are_told(tmp_path: Path) -> None:
    run(SMALL, [policy(Thinking())], scripted(), tmp_path / "out")
    with recording(tmp_path / "record", SMALL, [policy(Thinking())], scripted()) as policies:
        results = run(SMALL, policies, scripted(), tmp_path / "out")
    with pytest.raises(ConfigError, match="4 of 4 sessions were played before without --record, such as 'mine' with"):
        require_recorded(tmp_path / "record", results)


def test_the_command_records_a_server_and_replays_it_when_it_is_gone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("aiohttp")
    one, two, held = tmp_path / "one", tmp_path / "two", tmp_path / "held"
    with serving() as url:
        name = f"{url}#tiny"
        options = ["--header", "both", "--temperature", "0.3", "--patient", "scripted", "--patient", name]
        assert bench(name, "cbt", *BENCH, *options, "--record", held, "--out", one) == 0
        assert f"therapysim bench --replay {held}\n" in capsys.readouterr().out and stats(url)["requests"] > 24
    assert bench("cbt", "--replay", held, "--out", two) == 0  # a baseline alone is no part of the recording
    assert {row["policy"] for row in lines(two / "results.jsonl")} == {"cbt"}
    assert bench(name, "cbt", "--replay", held, "--out", two) == 0
    rows = [
        {(r["policy"], r["simulator"], r["persona"], r["seed"]): r for r in lines(p / "results.jsonl")}
        for p in (one, two)
    ]
    assert rows[0] == rows[1] and {key[0] for key in rows[0]} == {name, f"{name} (no header)", "cbt"}
    assert {key[1] for key in rows[0]} == {"scripted", name}
    assert any(turn["source"] == "llm" for row in rows[1].values() for turn in row["turns"])
    kept = json.loads((two / "settings.json").read_text())
    assert kept["policies"][name]["temperature"] == 0.3 and kept["seeds"] == 2 and kept["turns"] == 3
    capsys.readouterr()
    for arguments, message in (
        ([name, "--seeds", 3], "seed 2, turn 1: no such call was recorded, which has patients"),
        (["smollm2"], "policy 'smollm2' was not recorded, expected one of"),
        (["--patient", "llm"], "patient 'llm' was not recorded, expected one of scripted"),
        (["--temperature", 0.3], "--temperature is given, and a replay has the models as they were recorded"),
        (["--record", tmp_path / "x"], "--record and --replay are both given"),
    ):
        assert bench(*arguments, "--replay", held, "--out", tmp_path / "three") == 2
        assert message in capsys.readouterr().err
    shutil.rmtree(held / "patients")
    assert bench(name, "--patient", name, "--replay", held, "--out", tmp_path / "four") == 2
    assert f"no reply of patient {name!r} was kept; the same" in capsys.readouterr().err


def test_what_a_patients_model_said_before_is_told_and_a_recording_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("aiohttp")
    with serving() as url:
        given = ["cbt", *BENCH, "--seeds", 1, "--turns", 1, "--patient", f"{url}#tiny"]
        assert bench(*given, "--out", tmp_path / "out") == 0
        assert bench(*given, "--out", tmp_path / "out", "--record", tmp_path / "held") == 2
        heard = capsys.readouterr()
        assert "2 of 2 sessions were played before without --record, such as 'cbt' with" in heard.err
        assert "recorded in" not in heard.out and not (tmp_path / "held" / HEAD).exists()
        for _ in range(2):
            assert bench(*given, "--out", tmp_path / "new", "--record", tmp_path / "held") == 0
            assert f"therapysim bench --replay {tmp_path / 'held'}\n" in capsys.readouterr().out


def test_a_patients_model_that_is_asked_something_else_ends_the_replay(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("aiohttp")
    held = tmp_path / "held"
    with serving() as url:
        patient = ["--patient", f"{url}#tiny"]
        assert bench("cbt", *BENCH, *patient, "--record", held, "--out", tmp_path / "one") == 0
    assert bench("cbt", "--replay", held, "--out", tmp_path / "two") == 0
    assert (tmp_path / "one/results.jsonl").read_bytes() == (tmp_path / "two/results.jsonl").read_bytes()
    capsys.readouterr()
    assert bench("attuned", "--replay", held, "--out", tmp_path / "three") == 2
    assert "replay of a patient's model: " in capsys.readouterr().err


def test_a_model_in_this_process_is_replayed_without_its_folder(tmp_path: Path, tiny_model: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_model, folder)
    assert bench(folder, *BENCH, "--max-tokens", 8, "--record", tmp_path / "held", "--out", tmp_path / "one") == 0
    shutil.rmtree(folder)
    assert bench("--replay", tmp_path / "held", "--out", tmp_path / "two") == 0
    assert (tmp_path / "one/results.jsonl").read_bytes() == (tmp_path / "two/results.jsonl").read_bytes()


def test_results_and_recording_do_not_share_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "new" / ".." / "one"
    assert bench("http://127.0.0.1:1#tiny", *BENCH, "--record", tmp_path / "one", "--out", out) == 2
    assert "expected two folders" in capsys.readouterr().err and list(tmp_path.iterdir()) == []


def test_without_a_model_there_is_nothing_to_record(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench("cbt", *BENCH, "--record", tmp_path / "held", "--out", tmp_path / "one") == 2
    assert "there is nothing to record" in capsys.readouterr().err and list(tmp_path.iterdir()) == []
    assert bench("--replay", tmp_path / "held", "--out", tmp_path / "one") == 2
    assert "it holds no recording" in capsys.readouterr().err
