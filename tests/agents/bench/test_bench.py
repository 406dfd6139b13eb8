"""``therapysim bench``: results written as they finish, resumed with the same bytes, leaks told."""

import json
import os
import signal
import subprocess
import sys
import time
import weakref
from collections.abc import Sequence
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import NoReturn

import pytest

from tests.parts.bench_parts import ROOT, SMALL, Model, Mute, found, play_small, scripted
from tests.parts.own_rubric import MINE, keep_imports, write_mine
from therapysim.agents.bench.bench_settings import BenchSettings, Simulator, whom
from therapysim.agents.bench.benchmark import benchmark
from therapysim.agents.bench.folder import RESULTS, SETTINGS, TIMING, locked
from therapysim.agents.bench.forecast import policy_cost, simulator_cost
from therapysim.agents.bench.progress import Progress
from therapysim.agents.bench.results import read_results
from therapysim.agents.bench.runner import run
from therapysim.agents.sessions.pay import earned
from therapysim.agents.sessions.session_file import load_session, load_sessions
from therapysim.agents.therapists.baselines import BASELINES, baseline
from therapysim.agents.therapists.policies import Policy, find_policy, kind_of
from therapysim.agents.therapists.therapist import ChatTherapist, Therapist
from therapysim.cli.main import main
from therapysim.envs.batch import Session, SessionBatch, SessionConfig
from therapysim.errors import ConfigError, ModelError, TherapySimError
from therapysim.rewards import Rubric, open_rubric


def test_the_folder_says_what_decided_the_results(tmp_path: Path) -> None:
    rows = play_small(tmp_path, "cbt", "neutral")
    assert [r.key for r in rows] == [r.key for r in read_results(tmp_path / RESULTS)] and len(rows) == 8
    kept = json.loads((tmp_path / SETTINGS).read_text())
    assert kept["patients"] == list(whom(SMALL)) and kept["seeds"] == 2 and kept["turns"] == 3
    assert len(kept["library"]) == 64 and all(len(h) == 64 for h in kept["weights"].values())
    assert kept["rubric"]["preset"] == "default" and kept["rubric"]["beliefs"] == 12.0
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
    bench = ["bench", "cbt", "neutral", "warm", "--split", "dev", "--patients", "3", "--seeds", "2", "--turns", "12"]
    assert main([*bench, "--out", str(tmp_path / "whole")]) == 0
    command = [sys.executable, "-m", "therapysim.cli.main", *bench, "--out", str(tmp_path / "cut")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    broken = subprocess.Popen(
        command,
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
    subprocess.run(command, check=True, cwd=ROOT, env=environment, capture_output=True)
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
    with pytest.raises(
        ConfigError, match=r"results\.jsonl: line 5: policy is 'neutral', expected one of cbt; the settings"
    ):
        play_small(tmp_path, "cbt")


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
    assert "| less cbt | pairs | return | p |" in shown.out and "| neutral | 2 | " in shown.out
    assert "cbt with scripted" in shown.err
    assert main([*command, "--out", str(out), "--sessions", "--reference", "neutral"]) == 0
    assert "| less neutral | pairs |" in (again := capsys.readouterr().out) and "\n| cbt | 2 | " in again
    assert main([*command, "--out", str(out), "--reference", "freud"]) == 2
    assert "--reference is 'freud', expected a policy that is played: cbt, neutral" in capsys.readouterr().err
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
    assert simulator_cost(url, settings).calls == 32 * 6 * 3 and policy_cost(find_policy("cbt"), settings).read == 0


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


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("stream", [Terminal, StringIO])
def test_a_terminal_gets_one_bar_and_a_log_a_line_a_policy(stream: type[StringIO]) -> None:
    shown = stream()
    progress = Progress(100, shown)
    for label, spared in (("cbt", 80), ("mi", 0)):
        progress.begin(label, spared + 10)
        progress.take(10)
        progress.drop(spared)
    progress.end()
    if stream is StringIO:
        assert shown.getvalue() == "cbt …\nmi …\n"
    else:
        last = shown.getvalue().rstrip("\n").rsplit("\r", 1)[-1]
        assert shown.getvalue().count("\n") == 1 and last.startswith("mi: 100%") and "20/20" in last


def test_every_baseline_has_a_name_that_the_command_takes() -> None:
    assert all(kind_of(name) == "baseline" for name in BASELINES)


@pytest.mark.parametrize("rubric", ["mine.yaml", "benched:Halved"])
def test_a_rubric_of_ones_own_is_kept_with_its_source_and_another_source_is_refused(
    rubric: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_imports(monkeypatch, tmp_path, "benched")
    write_mine(tmp_path, "benched")
    (tmp_path / "mine.yaml").write_text('terms: {thanks: {class: "benched:Thanks", weight: 0.5}}', encoding="utf-8")
    own = replace(SMALL, rubric=rubric)
    rows = run(own, found("cbt"), scripted(), tmp_path / "out", stream=StringIO(), sessions=True)
    kept = json.loads((tmp_path / "out" / SETTINGS).read_text())["rubric"]
    assert kept["preset"] == rubric and (kept["source"] or kept["own"]["thanks"]["source"])
    assert ("thanks" in rows[0].terms) == (rubric == "mine.yaml")
    write_mine(tmp_path, "benched", MINE + "\n# another\n")
    del sys.modules["benched"]
    with pytest.raises(ConfigError, match=r"other settings: .*rubric\..*source was .* and is "):
        run(own, found("neutral"), scripted(), tmp_path / "out", stream=StringIO())


def test_a_session_is_paid_by_no_term_that_it_was_not_scored_by(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_imports(monkeypatch, tmp_path, "benched")
    write_mine(tmp_path, "benched")
    (tmp_path / "mine.yaml").write_text('terms: {thanks: {class: "benched:Thanks", weight: 0.5}}', encoding="utf-8")
    for name in ("default", "mine.yaml"):
        run(
            replace(SMALL, rubric=name), found("cbt"), scripted(), tmp_path / name[:4], stream=StringIO(), sessions=True
        )
    plain, own = (load_sessions([tmp_path / name / "sessions"])[0] for name in ("defa", "mine"))
    paid = sum(turn.reward for turn in plain.turns)
    assert (
        earned(plain, Rubric()) == earned(own, Rubric()) == pytest.approx(paid)
    )  # a term that is not paid is left out
    assert earned(own, open_rubric("mine.yaml")) == pytest.approx(sum(turn.reward for turn in own.turns))
    with pytest.raises(ConfigError, match="term 'thanks' is missing, by which it is to be paid"):
        earned(plain, open_rubric("mine.yaml"))
    with pytest.raises(ConfigError, match=r"rubric 'benched:Halved' is a class of its own, and a session's file has"):
        earned(plain, open_rubric("benched:Halved"))
    keep_imports(monkeypatch, tmp_path, "other")
    write_mine(tmp_path, "other", MINE + "\n# another\n")
    other = open_rubric({"terms": {"thanks": {"class": "other:Thanks", "weight": 0.5}}})
    older = replace(own, own_sources={})
    for record, rubric in ((own, other), (older, open_rubric("mine.yaml"))):
        with pytest.raises(ConfigError, match="term 'thanks' was scored by another source than the rubric's, or its"):
            earned(record, rubric)
