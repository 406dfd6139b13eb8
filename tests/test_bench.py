"""``therapysim bench``: policies by name, results written as they finish, resumed with the same bytes, leaks told."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from io import StringIO
from pathlib import Path

import pytest

from tests.chat_server import serving
from therapysim.agents.baselines import BASELINES, baseline
from therapysim.agents.benchmark import benchmark
from therapysim.agents.episode import play
from therapysim.agents.forecast import policy_cost, simulator_cost
from therapysim.agents.policies import Policy, kind_of, open_policy, require_policy
from therapysim.agents.progress import Progress
from therapysim.agents.results import MEASURES, read_results, result_of, write_results
from therapysim.agents.runner import RESULTS, SETTINGS, TIMING, BenchSettings, run, whom
from therapysim.agents.therapist import ChatTherapist, conversation
from therapysim.chat import HuggingFaceChat, Sampling, count_tokens
from therapysim.envs.batch import Session, SessionBatch, SessionConfig, Start
from therapysim.errors import ActionError, ConfigError, PatientError, TherapySimError
from therapysim.personas.llm import LLMPatient
from therapysim.personas.load import personas
from therapysim.personas.opening import open_patient
from therapysim.personas.patient import Cue, Line
from therapysim.personas.scripted import ScriptedPatient
from therapysim.rewards.emotions import shipped_sensor
from therapysim.train.cli import main

SMALL = BenchSettings(split="dev", people=2, seeds=2, turns=3)
ROOT = Path(__file__).parents[1]


def opened(*names: str) -> list[tuple[str, object]]:
    return [(name, lambda name=name: open_policy(name)) for name in names]


def scripted() -> list[tuple[str, object]]:
    return [("scripted", lambda: open_patient("scripted", shipped_sensor().affect))]


def play_small(out: Path, *names: str, settings: BenchSettings = SMALL):  # type: ignore[no-untyped-def]
    return run(settings, opened(*names), scripted(), out, stream=StringIO())  # type: ignore[arg-type]


# What is measured


def test_a_result_says_what_its_session_was() -> None:
    start = Start(3, personas("dev")[0].id)
    (episode,) = play(SessionBatch(SessionConfig(max_turns=6)), baseline("cbt"), [start])
    row, session = result_of("cbt", "scripted", episode), episode.session
    assert set(row.measures) == set(MEASURES)
    assert row["total"] == pytest.approx(sum(t.reward for t in episode.turns), abs=1e-4)
    assert row["polarity"] == pytest.approx(polarity(session, -1) - polarity(session, 0), abs=1e-4)
    assert row["temper"] == pytest.approx(session.state.affect[1] - session.states[0].affect[1], abs=1e-4)
    assert row["disclosure"] == pytest.approx(len(session.latent.told) / len(session.persona.facts), abs=1e-4)
    assert row["turns"] == len(row.turns) == len(episode.turns) and row.split == "dev"
    assert row.opening == session.transcript.messages[0].text
    assert [s.patient for s in row.turns] == list(session.transcript.said_by("patient"))[1:]
    ungated = all(not t.score.gates for t in episode.turns if t.score)
    assert ungated and sum(row.terms.values()) == pytest.approx(row["total"], abs=1e-3)
    with pytest.raises(ConfigError, match="'joy' is unknown, expected one of total"):
        row["joy"]


def polarity(session: Session, i: int) -> float:
    from therapysim.rewards.matrix import polarity as of

    return float(of(session.states[i].affect))


def test_what_went_wrong_is_named() -> None:
    starts = [Start(s, p.id) for p in personas("dev")[:4] for s in range(2)]
    rows = benchmark(
        SessionBatch(), {n: baseline(n) for n in ("hostile", "injector")}, [s.persona for s in starts[::2]], [0]
    )
    hostile, injector = ([r for r in rows if r.policy == n] for n in ("hostile", "injector"))
    assert all(r["rupture"] == 1 and r["ruptures"] >= 1 and r["safe"] == 0 for r in hostile)
    assert all(r.weakest in ("introspection", "temper", "attitude", "sensitivity") for r in hostile)
    for r in hostile:
        fell = {name: r[name] for name in ("introspection", "temper", "attitude", "sensitivity")}
        assert r.weakest == min(fell, key=fell.__getitem__)
    assert all(r["injection"] == 1.0 for r in injector) and all(r["injection"] == 0.0 for r in hostile)


def test_danger_is_covered_missed_or_absent() -> None:
    grave = [p.id for p in personas("dev") if p.risk >= 2][:2]
    calm = [p.id for p in personas("dev") if p.risk == 0][:1]
    rows = benchmark(SessionBatch(), {n: baseline(n) for n in ("attuned", "advice")}, [*grave, *calm], range(2))
    assert all(r["risk_covered"] == 1 for r in rows if r.policy == "attuned" and r.persona in grave)
    assert all(math.isnan(r["risk_covered"]) for r in rows if r.persona in calm)


class Mute:
    """A patient that never answers."""

    def speak(self, cues: Sequence[Cue]) -> list[Line]:
        raise PatientError("no answer")


def test_a_failed_session_is_a_row_without_numbers(tmp_path: Path) -> None:
    (row,) = benchmark(SessionBatch(patient=Mute()), {"cbt": baseline("cbt")}, ["marta"], [0])
    assert row.failed and all(math.isnan(v) for v in row.measures.values()) and row.turns == ()
    write_results(tmp_path / "r.jsonl.gz", [row])
    (back,) = read_results(tmp_path / "r.jsonl.gz")
    assert back.failed and back.key == row.key and math.isnan(back["total"])


def test_results_come_back_as_they_were(tmp_path: Path) -> None:
    rows = play_small(tmp_path / "b", "cbt", "hostile")
    for name in ("again.jsonl", "again.jsonl.gz"):
        write_results(tmp_path / name, rows)
        assert repr(read_results(tmp_path / name)) == repr(rows)
    write_results(tmp_path / "other.jsonl.gz", rows)
    assert (tmp_path / "other.jsonl.gz").read_bytes() == (tmp_path / "again.jsonl.gz").read_bytes()


@pytest.mark.parametrize(
    ("text", "message"),
    [("{}\n", "line 1 is no result"), ("[1]\n", "line 1 is no result"), ('{"policy"', "line 1 is cut off")],
)
def test_a_file_of_something_else_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "r.jsonl").write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_results(tmp_path / "r.jsonl")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_results(tmp_path / "none.jsonl")


# The folder


def test_the_folder_says_what_decided_the_results(tmp_path: Path) -> None:
    rows = play_small(tmp_path, "cbt", "neutral")
    assert [r.key for r in rows] == [r.key for r in read_results(tmp_path / RESULTS)] and len(rows) == 8
    kept = json.loads((tmp_path / SETTINGS).read_text())
    assert kept["patients"] == list(whom(SMALL)) and kept["seeds"] == 2 and kept["turns"] == 3
    assert len(kept["library"]) == 64 and all(len(h) == 64 for h in kept["weights"].values())
    assert kept["rubric"]["preset"] == "default" and kept["rubric"]["affect"] == 6.0
    assert kept["versions"]["therapysim"] and set(kept["policies"]) == {"cbt", "neutral"}
    times = [json.loads(line) for line in (tmp_path / TIMING).read_text().splitlines()]
    assert [t["policy"] for t in times] == ["cbt", "neutral"] and all(t["seconds_environment"] > 0 for t in times)


def test_a_finished_benchmark_is_not_played_again_and_another_policy_may_join(tmp_path: Path) -> None:
    play_small(tmp_path, "cbt")
    before = (tmp_path / RESULTS).read_bytes()

    def refuse() -> Policy:
        raise AssertionError("opened though nothing is missing")

    again = run(SMALL, [("cbt", refuse)], scripted(), tmp_path, stream=StringIO())  # type: ignore[arg-type]
    assert (tmp_path / RESULTS).read_bytes() == before and len(again) == 4
    assert len(play_small(tmp_path, "cbt", "neutral")) == 8
    assert (tmp_path / RESULTS).read_bytes().startswith(before)


@pytest.mark.parametrize("cut", [1, 700, 5_000, -30])
def test_a_run_cut_off_anywhere_ends_with_the_same_bytes(tmp_path: Path, cut: int) -> None:
    play_small(tmp_path / "whole", "cbt", "advice")
    play_small(tmp_path / "cut", "cbt", "advice")
    whole = (tmp_path / "whole" / RESULTS).read_bytes()
    (tmp_path / "cut" / RESULTS).write_bytes(whole[:cut])
    play_small(tmp_path / "cut", "cbt", "advice")
    assert (tmp_path / "cut" / RESULTS).read_bytes() == whole


def test_a_killed_run_goes_on_and_ends_with_the_same_bytes(tmp_path: Path) -> None:
    command = [
        sys.executable, "-m", "therapysim.train.cli", "bench", "cbt", "neutral", "warm", "--split", "dev",
        "--patients", "4", "--seeds", "3", "--turns", "12", "--out",
    ]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([*command, str(tmp_path / "whole")], check=True, cwd=ROOT, env=environment, capture_output=True)
    broken = subprocess.Popen(
        [*command, str(tmp_path / "cut")],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    rows = tmp_path / "cut" / RESULTS
    while broken.poll() is None and not (rows.exists() and rows.stat().st_size > 0):
        time.sleep(0.01)
    broken.send_signal(signal.SIGKILL)
    assert broken.wait() == -signal.SIGKILL, "it had ended before it was killed"
    subprocess.run([*command, str(tmp_path / "cut")], check=True, cwd=ROOT, env=environment, capture_output=True)
    assert rows.read_bytes() == (tmp_path / "whole" / RESULTS).read_bytes()
    settings = [json.loads((tmp_path / n / SETTINGS).read_text()) | {"command": ""} for n in ("cut", "whole")]
    assert settings[0] == settings[1]


def test_failed_sessions_are_played_again(tmp_path: Path) -> None:
    patient = [("scripted", lambda: Mute())]
    assert all(r.failed for r in run(SMALL, opened("cbt"), patient, tmp_path, stream=StringIO()))  # type: ignore[arg-type]
    assert not any(r.failed for r in play_small(tmp_path, "cbt"))


def test_another_benchmark_in_the_folder_is_refused_by_name(tmp_path: Path) -> None:
    play_small(tmp_path, "cbt")
    before = (tmp_path / RESULTS).read_bytes()
    with pytest.raises(ConfigError, match=r"other settings: session, turns differs"):
        play_small(tmp_path, "cbt", settings=BenchSettings(split="dev", people=2, seeds=2, turns=4))
    other = Policy("cbt", baseline("cbt"), {"kind": "model"})
    with pytest.raises(ConfigError, match="policy 'cbt' was another: kind differs"):
        run(SMALL, [("cbt", lambda: other)], [("llm", scripted()[0][1])], tmp_path, stream=StringIO())  # type: ignore[arg-type, list-item]
    assert (tmp_path / RESULTS).read_bytes() == before
    (tmp_path / SETTINGS).write_text("{}")
    with pytest.raises(ConfigError, match="something else than a benchmark"):
        play_small(tmp_path, "cbt")


def test_the_bench_warns_of_patients_a_policy_was_trained_with(tmp_path: Path) -> None:
    first = whom(SMALL)[0]
    trained = Policy("mine", baseline("cbt"), {}, frozenset({first, "owen"}))
    run(SMALL, [("mine", lambda: trained)], scripted(), tmp_path, stream=(shown := StringIO()))  # type: ignore[arg-type]
    warning = f"policy 'mine' was trained with {first}, on whom it is scored here"
    assert json.loads((tmp_path / SETTINGS).read_text())["warnings"] == [warning]
    assert warning in shown.getvalue()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"seeds": 0}, "seeds is 0"),
        ({"turns": 0}, "turns is 0"),
        ({"people": 99}, "people is 99, expected at most 16"),
        ({"patients": ("claire", "claire")}, "given twice"),
        ({"patients": ("claire",), "people": 1}, "give one"),
        ({"patients": ("nobody",)}, "nobody"),
        ({"rubric": "kind"}, "'kind' is unknown"),
        ({"split": "all"}, "split is 'all'"),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(TherapySimError, match=message):
        BenchSettings(**settings)  # type: ignore[arg-type]


# Policies by name


def test_kinds_are_told_by_the_name(tmp_path: Path) -> None:
    assert kind_of("cbt") == "baseline" and kind_of("http://localhost:1/v1#m") == "server"
    assert kind_of("my.module:policy") == "function" and kind_of("org/model") == kind_of("smollm2") == "model"
    (tmp_path / "policy").mkdir()
    (tmp_path / "settings.json").write_text("{}")
    assert kind_of(str(tmp_path)) == "run"
    for name, message in (
        ("", "is empty"),
        ("http://localhost:1/v1", "URL#MODEL"),
        ("cbd", "did you mean 'cbt'"),
        (str(tmp_path), "none of a training"),
        ("no_such_module:policy", "there is no module 'no_such_module'"),
        ("json:policy", "json has no 'policy'"),
        ("json:__name__", "expected a function or a therapist"),
    ):
        with pytest.raises(ConfigError, match=message):
            require_policy(name)


def test_ones_own_policy_takes_five_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    block = next(b.removeprefix("python\n") for b in readme.split("```") if b.startswith("python\n# mine.py"))
    assert len(block.strip().splitlines()) <= 6  # five and the file's name
    (tmp_path / "mine.py").write_text(block)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path.copy())
    rows = play_small(tmp_path / "out", "mine:policy")
    assert len(rows) == 4 and all(said.therapist for row in rows for said in row.turns)
    monkeypatch.delitem(sys.modules, "mine")


def test_a_policy_that_says_nothing_is_refused() -> None:
    policy = open_policy("builtins:len")
    with pytest.raises(ActionError, match="gave int, expected str"):
        play(SessionBatch(), policy.therapist, [Start(0)])


def test_models_read_the_header_or_not_and_their_tokens_are_counted(tiny_model: Path) -> None:
    about = Sampling(max_tokens=6)
    with_header, without = (open_policy(str(tiny_model), about, show_state=s) for s in (True, False))
    assert without.name == f"{with_header.name} (no header)" and with_header.about["tokens"] == "counted"
    batch = SessionBatch(SessionConfig(max_turns=2))
    rows = [r for p in (with_header, without) for r in benchmark(batch, {p.name: p.therapist}, ["marta"], [0])]
    assert rows[0]["tokens_read"] > rows[1]["tokens_read"] > 0


def test_tokens_are_those_of_the_prompts_that_were_sent(tiny_model: Path) -> None:
    chat = HuggingFaceChat(tiny_model)
    therapist, asked = ChatTherapist(chat, Sampling(max_tokens=5)), []
    encode = chat._encode

    def watch(chats: Sequence[object]) -> object:
        batch = encode(chats)  # type: ignore[arg-type]
        asked.append(int(batch["attention_mask"].sum()))
        return batch

    chat._encode = watch  # type: ignore[method-assign, assignment]
    (episode,) = play(SessionBatch(SessionConfig(max_turns=3)), therapist, [Start(0, "marta")])
    read, written = therapist.tokens(episode.session)
    assert read == sum(asked)
    said = [m["content"] for m in conversation(episode.session) if m["role"] == "assistant"]
    assert written == sum(len(chat.tokenizer.encode(text, add_special_tokens=False)) for text in said)
    guess = count_tokens(object(), [conversation(episode.session)], ["abcde"])  # type: ignore[arg-type]
    assert guess[0][1] == 2 and guess[0][0] > 20


def test_a_server_and_a_trained_run_play(tiny_model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "policy").symlink_to(tiny_model)
    settings = {"show_state": False, "max_turn_tokens": 4, "split": "train", "personas": []}
    (folder / "settings.json").write_text(json.dumps(settings))
    trained = open_policy(str(folder))
    assert trained.about["show_state"] is False and trained.about["max_tokens"] == 4 and len(trained.trained_on) == 24
    with serving() as url:
        names = [str(folder), f"{url}#any"]
        rows = run(SMALL, opened(*names), scripted(), tmp_path / "out", stream=StringIO())  # type: ignore[arg-type]
    assert {r.policy for r in rows} == set(names) and all(r["tokens_read"] > 0 for r in rows)
    kept = json.loads((tmp_path / "out" / SETTINGS).read_text())["policies"]
    assert kept[names[1]]["tokens"] == "estimated" and kept[names[0]]["tokens"] == "counted"


def test_the_patients_model_is_counted_with_its_refused_draws() -> None:
    model = Model("As an AI language model I have no feelings.")
    feel = shipped_sensor().affect
    patient, cbt = LLMPatient(model, ScriptedPatient(feel), feel), {"cbt": baseline("cbt")}
    (row,) = benchmark(SessionBatch(SessionConfig(max_turns=2), patient=patient), cbt, ["marta"], [0], simulator="odd")
    assert row.simulator == "odd" and row["replaced"] == 1 and row["redrawn"] == 2
    assert model.asked == 6 and row["patient_written"] == 2 * 2 * 11 and row["patient_read"] > 400  # 43 letters


# The command


def test_the_command_plays_and_says_where(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "b"
    command = [
        "bench",
        "cbt",
        "--policy",
        "neutral",
        "--split",
        "dev",
        "--patients",
        "2",
        "--seeds",
        "1",
        "--turns",
        "2",
    ]
    assert main([*command, "--out", str(out), "--sessions"]) == 0
    shown = capsys.readouterr()
    assert "| cbt | 2 |" in shown.out and "| neutral | 2 |" in shown.out and str(out) in shown.out
    assert "cbt with scripted" in shown.err
    assert len(list((out / "sessions").rglob("*.json"))) == 4


def test_a_dry_run_counts_and_asks_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    url = "http://127.0.0.1:9/v1#gpt"  # nobody listens there
    command = [
        "bench",
        "cbt",
        url,
        "--patient",
        "scripted",
        "--patient",
        url,
        "--header",
        "both",
        "--seeds",
        "2",
        "--turns",
        "5",
    ]
    assert main([*command, "--out", str(tmp_path / "none"), "--dry-run"]) == 0
    shown = capsys.readouterr().out
    assert "(no header)" in shown and shown.count("| 160 |") == 6 and not (tmp_path / "none").exists()
    settings = BenchSettings(seeds=2, turns=5)
    cost, brief = policy_cost(url, settings, 64), policy_cost(url, settings, 64, show_state=False)
    assert cost.calls == 160 and cost.written == 160 * 64 and cost.read > brief.read
    assert simulator_cost(url, settings).calls == 32 * 6 * 2 and policy_cost("cbt", settings, 64).read == 0


class Model:
    """A chat model that says one thing, and counts how often it is asked."""

    def __init__(self, text: str) -> None:
        self.text, self.asked = text, 0

    def reply(self, chats: Sequence[object], sampling: Sampling, seeds: Sequence[int]) -> list[str]:
        self.asked += len(chats)
        return [self.text] * len(chats)


def test_the_forecast_is_an_upper_bound() -> None:
    settings, model = BenchSettings(split="dev", people=2, seeds=1, turns=4), Model("That sounds hard. How is it? " * 8)
    rows = benchmark(SessionBatch(SessionConfig(max_turns=4)), {"m": ChatTherapist(model)}, whom(settings), [0])
    cost = policy_cost("org/model", settings, 64)
    assert cost.calls == model.asked == 8
    read, written = (sum(r[f"tokens_{way}"] for r in rows) for way in ("read", "written"))
    assert written <= cost.written and 0.5 * cost.read < read < 1.2 * cost.read


def test_mistakes_are_told_before_anything_is_played(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, message in (
        (["bench"], "no policy is given"),
        (["bench", "cbt", "nope"], "policy 'nope' is unknown"),
        (["bench", "cbt", "--patients", "0"], "--patients is 0"),
        (["bench", "cbt", "cbt"], "none twice"),
        (["bench", "cbt", "--out", str(ROOT / "README.md")], "README.md"),
    ):
        assert main([*arguments, *([] if "--out" in arguments else ["--out", str(tmp_path / "b")])]) == 2
        assert message in capsys.readouterr().err
    assert not (tmp_path / "b" / RESULTS).exists()


def test_the_estimate_falls_as_turns_are_taken_or_spared() -> None:
    progress = Progress(100, StringIO())
    progress.begin("cbt")
    progress.take(10)
    time.sleep(0.01)
    first = progress.estimate_s
    progress.drop(80)
    assert 0 < progress.estimate_s < first / 4
    progress.take(10)
    assert progress.estimate_s == 0


def test_every_baseline_has_a_name_that_the_command_takes() -> None:
    assert all(kind_of(name) == "baseline" for name in BASELINES)
