"""``therapysim bench``: policies by name, results written as they finish, resumed with the same bytes, leaks told."""

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
import weakref
from collections.abc import Sequence
from io import StringIO
from pathlib import Path
from typing import NoReturn

import pytest

from tests.chat_server import serving
from therapysim.agents.baselines import BASELINES, baseline
from therapysim.agents.bench_folder import RESULTS, SETTINGS, TIMING, locked
from therapysim.agents.bench_settings import BenchSettings, Simulator, whom
from therapysim.agents.benchmark import benchmark
from therapysim.agents.episode import play
from therapysim.agents.forecast import policy_cost, simulator_cost
from therapysim.agents.policies import Policy, find_policy, kind_of
from therapysim.agents.progress import Progress
from therapysim.agents.record import load_session
from therapysim.agents.results import MEASURES, read_results, result_of, write_results
from therapysim.agents.runner import run
from therapysim.agents.therapist import ChatTherapist, Therapist, conversation
from therapysim.chat import HuggingFaceChat, Sampling, count_tokens
from therapysim.envs.batch import Session, SessionBatch, SessionConfig, Start
from therapysim.errors import ActionError, ConfigError, ModelError, PatientError, TherapySimError
from therapysim.personas.llm import LLMPatient
from therapysim.personas.load import personas
from therapysim.personas.opening import open_patient
from therapysim.personas.patient import Cue, Line
from therapysim.personas.scripted import ScriptedPatient
from therapysim.rewards.emotions import shipped_sensor
from therapysim.train.cli import main

SMALL = BenchSettings(split="dev", people=2, seeds=2, turns=3)
ROOT = Path(__file__).parents[1]


def found(*names: str) -> list[Policy]:
    return [find_policy(name) for name in names]


def scripted(name: str = "scripted") -> list[Simulator]:
    return [Simulator(name, lambda: open_patient("scripted", shipped_sensor().affect), {"kind": "scripted"})]


def play_small(out: Path, *names: str, settings: BenchSettings = SMALL):  # type: ignore[no-untyped-def]
    return run(settings, found(*names), scripted(), out, stream=StringIO())


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


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"affect": [0.0, 0.0, 0.0]}, "affect has not 4 numbers"),
        ({"affect": ["a", 0.0, 0.0, 0.0]}, "affect is 'a', expected a number"),
        ({"diagnosis": None}, "diagnosis is None, expected str"),
        ({"risk": "high"}, "risk is 'high', expected int"),
        ({"failed": "false"}, "failed is 'false', expected bool"),
        ({"policy": ["cbt"]}, r"policy is .'cbt'., expected str"),
        ({"terms": {"affect": "x"}}, "terms.affect is 'x'"),
        ({"terms": None}, "NoneType"),
        ({"measures": {"total": 1.0}}, "measures lack or add"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_a_row_with_a_wrong_entry_is_named(tmp_path: Path, change: dict[str, object], message: str) -> None:
    rows = benchmark(SessionBatch(SessionConfig(max_turns=1)), {"cbt": baseline("cbt")}, ["marta", "owen"], [0])
    write_results(tmp_path / "r.jsonl", rows)
    lines = (tmp_path / "r.jsonl").read_text().splitlines()
    lines[1] = json.dumps(json.loads(lines[1]) | change)
    (tmp_path / "r.jsonl").write_text("\n".join(lines) + "\n")
    with pytest.raises(ConfigError, match=rf"r\.jsonl: line 2 is no result.*{message}"):
        read_results(tmp_path / "r.jsonl")


def test_a_broken_gzip_is_named(tmp_path: Path) -> None:
    write_results(tmp_path / "r.jsonl.gz", [])
    data = bytearray((tmp_path / "r.jsonl.gz").read_bytes())
    data[12:14] = b"\xff\xff"
    (tmp_path / "r.jsonl.gz").write_bytes(bytes(data))
    with pytest.raises(ConfigError, match="cannot be read"):
        read_results(tmp_path / "r.jsonl.gz")


def test_a_report_never_replaces_what_it_reads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    play_small(tmp_path, "cbt", "neutral")
    for name in (RESULTS, SETTINGS, TIMING):
        before = (tmp_path / name).read_bytes()
        assert main(["report", str(tmp_path), "--out", str(tmp_path / name), "--force"]) == 2
        assert "belongs to the results" in capsys.readouterr().err and (tmp_path / name).read_bytes() == before


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

    def refuse() -> NoReturn:
        raise AssertionError("opened though nothing is missing")

    same = Policy("cbt", refuse, found("cbt")[0].about)
    again = run(SMALL, [same], scripted(), tmp_path, stream=StringIO())
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
    settings = [json.loads((tmp_path / n / SETTINGS).read_text()) | {"commands": []} for n in ("cut", "whole")]
    assert settings[0] == settings[1]


def test_failed_sessions_are_played_again(tmp_path: Path) -> None:
    patient = [Simulator("scripted", Mute, {"kind": "scripted"})]
    assert all(r.failed for r in run(SMALL, found("cbt"), patient, tmp_path, stream=StringIO()))
    assert not any(r.failed for r in play_small(tmp_path, "cbt"))


def test_another_benchmark_in_the_folder_is_refused_by_name(tmp_path: Path) -> None:
    play_small(tmp_path, "cbt")
    before = (tmp_path / RESULTS).read_bytes()
    with pytest.raises(ConfigError, match=r"other settings: session.max_turns was 3 and is 4; turns was 3 and is 4"):
        play_small(tmp_path, "cbt", settings=BenchSettings(split="dev", people=2, seeds=2, turns=4))
    other = Policy("cbt", lambda: baseline("cbt"), {"kind": "model"})
    with pytest.raises(ConfigError, match="'cbt' was another among the policies: kind was 'baseline' and is 'model'"):
        run(SMALL, [other], scripted(), tmp_path, stream=StringIO())
    mute = Simulator("scripted", Mute, {"kind": "model", "model": "1234"})
    with pytest.raises(ConfigError, match="'scripted' was another among the simulators: kind was 'scripted'"):
        run(SMALL, found("cbt"), [mute], tmp_path, stream=StringIO())
    assert (tmp_path / RESULTS).read_bytes() == before
    (tmp_path / SETTINGS).write_text("{}")
    with pytest.raises(ConfigError, match="something else than a benchmark"):
        play_small(tmp_path, "cbt")


def test_the_bench_warns_of_patients_a_policy_was_trained_with(tmp_path: Path) -> None:
    first = whom(SMALL)[0]
    trained = Policy("mine", lambda: baseline("cbt"), {}, frozenset({first, "owen"}))
    run(SMALL, [trained], scripted(), tmp_path, stream=(shown := StringIO()))
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


def test_two_runs_do_not_write_in_one_folder(tmp_path: Path) -> None:
    with locked(tmp_path), pytest.raises(ConfigError, match="another run writes in"):
        play_small(tmp_path, "cbt")
    assert len(play_small(tmp_path, "cbt")) == 4


def test_rows_stand_in_the_order_of_joining(tmp_path: Path) -> None:
    play_small(tmp_path, "neutral")
    play_small(tmp_path, "cbt", "neutral")
    before = (tmp_path / RESULTS).read_bytes()
    assert [r.policy for r in play_small(tmp_path, "cbt")][::4] == ["neutral", "cbt"]
    assert (tmp_path / RESULTS).read_bytes() == before


def test_session_files_are_those_of_the_rows(tmp_path: Path) -> None:
    both = [*scripted(), *scripted("again")]
    rows = run(SMALL, found("cbt"), both, tmp_path, stream=StringIO(), sessions=True)
    files = {(p.parts[-3], p.name): load_session(p) for p in (tmp_path / "sessions").rglob("*.json")}
    assert len(files) == len(rows) == 8
    for row in rows:
        kept = files[row.simulator, f"{row.persona}-{row.seed}.json"]
        assert sum(turn.reward for turn in kept.turns) == pytest.approx(row["total"], abs=1e-5)
    play_small(tmp_path / "without", "cbt")
    with pytest.raises(ConfigError, match="4 sessions that were played without --sessions"):
        run(SMALL, found("cbt"), scripted(), tmp_path / "without", stream=StringIO(), sessions=True)


class Moody:
    """A therapist that never says the same twice, as a server may not; and counts its sessions."""

    def __init__(self) -> None:
        self.count, self.met = 0, set[tuple[str, int]]()

    def respond(self, sessions: Sequence[Session]) -> list[str]:
        self.met |= {(s.persona.id, s.seed) for s in sessions}
        self.count += 1
        return [f"What is number {self.count} like for you?"] * len(sessions)


@pytest.mark.parametrize(("kind", "played"), [("server", 1), ("model", 4)])
def test_what_hangs_together_is_played_together_and_kept_rows_stay(tmp_path: Path, kind: str, played: int) -> None:
    moody = Moody()
    policy = Policy("moody", lambda: moody, {"kind": kind})
    run(SMALL, [policy], scripted(), tmp_path, stream=StringIO())
    kept = (tmp_path / RESULTS).read_bytes().splitlines(keepends=True)[:3]
    (tmp_path / RESULTS).write_bytes(b"".join(kept))
    moody.met.clear()
    run(SMALL, [policy], scripted(), tmp_path, stream=StringIO())
    assert len(moody.met) == played
    assert (tmp_path / RESULTS).read_bytes().startswith(b"".join(kept))


def test_one_therapist_is_held_at_a_time(tmp_path: Path) -> None:
    alive: list[weakref.ref[object]] = []

    def make() -> Therapist:
        assert not any(ref() for ref in alive), "an earlier therapist is still held"
        therapist = Moody()
        alive.append(weakref.ref(therapist))
        return therapist

    policies = [Policy(name, make, {"kind": "function"}) for name in "abc"]
    assert len(run(SMALL, policies, scripted(), tmp_path, stream=StringIO())) == 12


def test_what_was_never_played_binds_nothing(tmp_path: Path) -> None:
    def fail() -> NoReturn:
        raise ModelError("no such model")

    with pytest.raises(ModelError):
        run(SMALL, [Policy("mine", fail, {"kind": "function", "source": "1"})], scripted(), tmp_path, stream=StringIO())
    mended = Policy("mine", lambda: baseline("cbt"), {"kind": "function", "source": "2"})
    longer = BenchSettings(split="dev", people=2, seeds=2, turns=4)
    assert len(run(longer, [mended], scripted(), tmp_path, stream=StringIO())) == 4
    assert json.loads((tmp_path / SETTINGS).read_text())["policies"]["mine"]["source"] == "2"


def test_failed_sessions_of_others_stay_counted(tmp_path: Path) -> None:
    mute = [Simulator("mute", Mute, {"kind": "server"})]
    run(SMALL, found("cbt"), mute, tmp_path, stream=StringIO())
    rows = run(SMALL, found("cbt"), scripted(), tmp_path, stream=StringIO())
    assert sum(r.failed for r in rows) == 4 and len(rows) == 8


def test_rows_that_the_settings_do_not_know_are_refused(tmp_path: Path) -> None:
    play_small(tmp_path, "cbt", "neutral")
    kept = json.loads((tmp_path / SETTINGS).read_text())
    del kept["policies"]["neutral"]
    (tmp_path / SETTINGS).write_text(json.dumps(kept))
    with pytest.raises(ConfigError, match=r"settings.json says nothing of neutral"):
        play_small(tmp_path, "cbt")


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
        ("json:policy", "cannot be had: AttributeError"),
        ("json:__name__", "expected a function or a therapist"),
    ):
        with pytest.raises(ConfigError, match=message):
            find_policy(name)


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
    with pytest.raises(ActionError, match=r"gave int with .*, seed 0, turn 1, expected str"):
        play(SessionBatch(), find_policy("builtins:len").open(), [Start(0)])
    with pytest.raises(ActionError, match=r"the policy failed with .*, seed 0, turn 1: TypeError"):
        play(SessionBatch(), find_policy("operator:index").open(), [Start(0)])


def test_an_edited_function_is_another_policy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path.copy())
    (tmp_path / "edited.py").write_text("def policy(seen):\n    return 'What is that like?'\n")
    play_small(tmp_path / "out", "edited:policy")
    (tmp_path / "edited.py").write_text("def policy(seen):\n    return 'You are stupid.'\n")
    monkeypatch.delitem(sys.modules, "edited")
    with pytest.raises(ConfigError, match="'edited:policy' was another among the policies: source was"):
        play_small(tmp_path / "out", "edited:policy")


@pytest.mark.parametrize(
    ("body", "message"),
    [("raise RuntimeError('boom')", "failed with 4 sessions: RuntimeError"), ("return None", "gave None, expected"),
     ("return [1, 2, 3, 4]", r"gave \[1, 2, 3, 4\]"), ("return 'abcd'", "gave 'abcd'")],
)  # fmt: skip
def test_a_therapist_of_ones_own_is_named_when_it_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path.copy())
    name = f"own{len(body)}"
    (tmp_path / f"{name}.py").write_text(f"class Policy:\n    def respond(self, sessions):\n        {body}\n")
    with pytest.raises(ActionError, match=f"policy '{name}:Policy' {message}"):
        play_small(tmp_path / "out", f"{name}:Policy")


@pytest.mark.parametrize("code", ["import nothing_of_that_name", "def broken(:", "1 / 0", "import sys\nsys.exit(3)"])
def test_a_module_with_a_mistake_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path.copy())
    (tmp_path / f"wrong{len(code)}.py").write_text(code)
    with pytest.raises(ConfigError, match=f"policy 'wrong{len(code)}:policy' cannot be had: .*; mend wrong"):
        find_policy(f"wrong{len(code)}:policy")


def test_a_folder_within_a_run_is_of_that_run(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(tiny_model, tmp_path / "policy")
    (tmp_path / "checkpoints").mkdir()
    shutil.copytree(tiny_model, tmp_path / "checkpoints" / "checkpoint-5")
    settings = {"show_state": True, "max_turn_tokens": 200, "split": "train", "personas": ["marta"]}
    (tmp_path / "settings.json").write_text(json.dumps(settings))
    for name in ("policy", "checkpoints/checkpoint-5", ""):
        policy = find_policy(str(tmp_path / name))
        assert policy.trained_on == {"marta"} and policy_cost(policy, SMALL).written == 4 * 3 * 200
    monkeypatch.chdir(tmp_path)
    assert kind_of("cbt") == "baseline" and kind_of("mine:policy") == "function" and kind_of("smollm2") == "model"


def test_a_list_of_answers_is_wanted(tmp_path: Path) -> None:
    class One:
        def respond(self, sessions: Sequence[Session]) -> str:
            return "abcd"

    with pytest.raises(ActionError, match="One gave str for 4 sessions"):
        run(SMALL, [Policy("one", One, {})], scripted(), tmp_path, stream=StringIO())  # type: ignore[arg-type]


def test_models_read_the_header_or_not_and_their_tokens_are_counted(tiny_model: Path) -> None:
    about = Sampling(max_tokens=6)
    with_header, without = (find_policy(str(tiny_model), about, show_state=s) for s in (True, False))
    assert without.name == f"{with_header.name} (no header)" and with_header.about["tokens"] == "counted"
    batch = SessionBatch(SessionConfig(max_turns=2))
    rows = [r for p in (with_header, without) for r in benchmark(batch, {p.name: p.open()}, ["marta"], [0])]
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
    trained = find_policy(str(folder))
    assert trained.about["show_state"] is False and trained.about["max_tokens"] == 4 and len(trained.trained_on) == 24
    with serving() as url:
        names = [str(folder), f"{url}#any"]
        rows = run(SMALL, found(*names), scripted(), tmp_path / "out", stream=StringIO())
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
    cost, brief = (policy_cost(find_policy(url, show_state=state), settings) for state in (True, False))
    assert cost.calls == 160 and cost.written == 160 * 64 and cost.read > brief.read
    assert simulator_cost(url, settings).calls == 32 * 6 * 2 and policy_cost(find_policy("cbt"), settings).read == 0


class Model:
    """A chat model that says one thing, and counts how often it is asked."""

    def __init__(self, text: str) -> None:
        self.text, self.asked = text, 0

    def reply(self, chats: Sequence[object], sampling: Sampling, seeds: Sequence[int]) -> list[str]:
        self.asked += len(chats)
        return [self.text] * len(chats)


def test_the_forecast_is_about_what_is_asked() -> None:
    settings, model = BenchSettings(split="dev", people=2, seeds=1, turns=4), Model("That sounds hard. How is it? " * 8)
    rows = benchmark(SessionBatch(SessionConfig(max_turns=4)), {"m": ChatTherapist(model)}, whom(settings), [0])
    cost = policy_cost(find_policy("org/model"), settings)
    assert cost.calls == model.asked == 8
    read, written = (sum(r[f"tokens_{way}"] for r in rows) for way in ("read", "written"))
    assert written <= cost.written and 0.5 * cost.read < read < 1.2 * cost.read


def test_mistakes_are_told_before_anything_is_played(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, message in (
        (["bench"], "no policy is given"),
        (["bench", "cbt", "nope"], "policy 'nope' is unknown"),
        (["bench", "cbt", "--patients", "0"], "--patients is 0"),
        (["bench", "cbt", "--patients", "2", "neutral"], "policies go before the options"),
        (["bench", "cbt", "--patients", "²"], "persona '²' is unknown"),
        (["bench", "cbt", "--patient", "scripted", "--patient", "lmm"], "patient 'lmm' is unknown"),
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
