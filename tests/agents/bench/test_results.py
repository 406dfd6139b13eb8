"""What is measured of a session, and the files that keep it."""

import json
import math
from pathlib import Path

import pytest

from tests.parts.bench_parts import Mute, play_small
from therapysim.agents.bench.benchmark import benchmark
from therapysim.agents.bench.folder import RESULTS, SETTINGS, TIMING
from therapysim.agents.bench.results import MEASURES, read_results, result_of, write_results
from therapysim.agents.sessions.episode import play
from therapysim.agents.therapists.baselines import baseline
from therapysim.cli.main import main
from therapysim.envs.batch import Session, SessionBatch, SessionConfig, Start
from therapysim.errors import ConfigError
from therapysim.personas.load import personas


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
    [
        ("{}\n", "line 1: policy is missing"),
        ("[1]\n", "line 1: the content is .1., expected a mapping of policy"),
        ('{"policy"', "line 1: the file cannot be read as JSON"),
    ],
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
        ({"affect": [0.0, 0.0, 0.0]}, "affect is a list of 3, expected a list of 4 numbers"),
        ({"affect": ["a", 0.0, 0.0, 0.0]}, r"affect\[0\] is 'a', expected .* a finite number"),
        ({"affect": [1.5, 0.0, 0.0, 0.0]}, r"affect\[0\] is 1.5, expected -1.0–1.0"),
        ({"diagnosis": None}, "diagnosis is empty, expected a text"),
        ({"risk": "high"}, "risk is 'high', expected 0–3, a whole number"),
        ({"risk": 4}, "risk is 4, expected 0–3"),
        ({"seed": -1}, "seed is -1, expected a whole number of at least 0"),
        ({"failed": "false"}, "failed is 'false', expected true or false"),
        ({"ending": "bored"}, "ending is 'bored', expected one of"),
        ({"policy": ["cbt"]}, r"policy is .'cbt'., expected a text"),
        ({"terms": {"affect": "x"}}, "terms.affect is 'x'"),
        ({"terms": {"affect": 10**400}}, "terms.affect is 10+.*, expected a finite number"),
        ({"terms": None}, "terms is empty, expected a mapping"),
        ({"measures": {"total": 1.0}}, "measures is something that lacks or adds 'alliance'"),
        ({"measures": {**dict.fromkeys(MEASURES), "safe": 2}}, "measures.safe is 2, expected 0–1"),
        ({"measures": {**dict.fromkeys(MEASURES), "total": True}}, "measures.total is True, expected a finite number"),
        ({"turns": [{"heard": ""}]}, r"turns\[0\]\.heard is an unknown field.* its version is 1, expected 2: play it"),
        ({"surprise": 1}, "surprise is an unknown field"),
    ],
)
def test_a_row_with_a_wrong_entry_is_named(tmp_path: Path, change: dict[str, object], message: str) -> None:
    rows = benchmark(SessionBatch(SessionConfig(max_turns=1)), {"cbt": baseline("cbt")}, ["marta", "owen"], [0])
    write_results(tmp_path / "r.jsonl", rows)
    lines = (tmp_path / "r.jsonl").read_text().splitlines()
    lines[1] = json.dumps(json.loads(lines[1]) | change)
    (tmp_path / "r.jsonl").write_text("\n".join(lines) + "\n")
    with pytest.raises(ConfigError, match=rf"r\.jsonl: line 2: {message}"):
        read_results(tmp_path / "r.jsonl")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b'"marta"', b'"mart\xff"', "byte .* is no UTF-8"),
        (b'"failed": false', b'"failed": false, "failed": true', "'failed' is given twice"),
        (b'"seed": 0', b'"seed": 1e999', "1e999 is no number"),
        (b'"seed": 0', b'"seed": ' + b"9" * 5_000, "cannot be read as JSON"),
        (b'"reward": ', b'"reward": NaN, "x": ', "NaN is no number"),
    ],
)
def test_a_row_that_is_no_json_is_named(tmp_path: Path, old: bytes, new: bytes, message: str) -> None:
    rows = benchmark(SessionBatch(SessionConfig(max_turns=1)), {"cbt": baseline("cbt")}, ["marta"], [0])
    write_results(tmp_path / "r.jsonl", rows)
    data = (tmp_path / "r.jsonl").read_bytes()
    assert old in data
    (tmp_path / "r.jsonl").write_bytes(data.replace(old, new))
    with pytest.raises(ConfigError, match=rf"r\.jsonl: line 1: .*{message}"):
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
