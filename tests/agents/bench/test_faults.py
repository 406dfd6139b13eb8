"""A benchmark whose patient's server misbehaves: what went wrong is told on the terminal, in results and report.

Every test asks a real server over HTTP.
"""

from collections.abc import Iterator
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest

pytest.importorskip("aiohttp")

from tests.parts.bench_parts import found
from tests.parts.chat_server import serving
from therapysim.agents.bench.bench_settings import BenchSettings, Simulator
from therapysim.agents.bench.benchmark import results_table
from therapysim.agents.bench.faults import failures, replaced_lines, replacements
from therapysim.agents.bench.report.latex import latex_tables
from therapysim.agents.bench.report.page import report_page
from therapysim.agents.bench.report.runs import read_runs
from therapysim.agents.bench.report.summary import summarise
from therapysim.agents.bench.report.tables import markdown_tables
from therapysim.agents.bench.results import SessionResult, read_results
from therapysim.agents.bench.runner import run
from therapysim.cli.main import main
from therapysim.models.chat import estimate_tokens
from therapysim.models.remote import RemoteChat, RemoteSettings
from therapysim.personas.llm.llm_patient import LLMPatient, LLMPatientSettings
from therapysim.personas.opening import open_patient
from therapysim.rewards.reading.emotions import shipped_sensor

KEY = "sk-tell-nobody-0123456789"
OTHERS = "hf_aBcDeFgHiJkLmNoPqRsT0123456789"
SMALL = BenchSettings(split="dev", people=2, seeds=1, turns=2)


def play(url: str, out: Path, stream: StringIO | None = None, *policies: str) -> list[SessionResult]:
    feel = shipped_sensor().affect
    model = RemoteChat(url, "tiny", api_key=KEY, settings=RemoteSettings(retries=1, backoff_s=0.0, timeout_s=60))
    patient = LLMPatient(model, open_patient("scripted", feel), feel)
    about = {"kind": "server"}
    names = policies or ("neutral",)
    return run(SMALL, found(*names), [Simulator("tiny", lambda: patient, about)], out, stream=stream or StringIO())


TROUBLES = [
    ("401 no such key", "status 401: no such key"),
    ("429", "status 429: told to fail"),
    ("500 GPU lost", "status 500: GPU lost"),
    ("malformed", "malformed JSON: "),
    ("nothing", "an answer without choices: "),
    ("cut", "the connection was cut: "),
]


@pytest.mark.parametrize(("plan", "told"), TROUBLES)
def test_a_failed_patient_says_why_everywhere(plan: str, told: str, tmp_path: Path) -> None:
    shown = StringIO()
    with serving("--always", plan) as url:
        rows = play(url, tmp_path, shown)
    assert all(row.failed and row.failure.startswith(told) for row in rows) and len(rows) == 2
    assert shown.getvalue().count("warning: patient ") == 1 and f" failed: {told}" in shown.getvalue()
    assert [row.failure for row in read_results(tmp_path / "results.jsonl")] == [row.failure for row in rows]
    runs = read_runs([tmp_path])
    summary = summarise(runs)
    (line,) = failures(rows)
    assert line.startswith(f"{rows[0].persona}, {rows[1].persona} (2 sessions with tiny): {told}")
    assert f"Failed: {line}." in summary.warnings and told.strip() in report_page(runs, summary)
    assert told.strip() in markdown_tables(summary, runs.told)


def test_the_first_trouble_is_the_one_that_is_told(tmp_path: Path) -> None:
    with serving("--always", "503 first; 500 second") as url:
        reasons = {row.failure.partition(". Next: ")[0] for row in play(url, tmp_path)}
    assert reasons <= {"status 503: first", "status 500: second"}, "a server counts over all sessions"
    assert "status 503: first" in reasons


def test_the_command_prints_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with serving("--always", "403 not for you.") as url:
        command = ["bench", "neutral", "--patient", f"{url}#tiny", "--split", "dev", "--patients", "2", "--seeds", "1"]
        assert main([*command, "--turns", "1", "--out", str(tmp_path)]) == 2
    shown = capsys.readouterr()
    assert (
        "2 of 2 sessions failed" in shown.out
        and f"(2 sessions with {url}#tiny): status 403: not for you. Next: check what the API key may do" in shown.out
    )
    assert "every session failed" in shown.err


def test_no_secret_reaches_a_file_or_the_terminal(tmp_path: Path) -> None:
    shown = StringIO()
    said = f"Authorization: Bearer {KEY}, token={OTHERS}, {OTHERS}"
    with serving("--always", f"400 {said}") as url:
        rows = play(url, tmp_path, shown)
    files = "".join(file.read_text() for file in tmp_path.iterdir() if file.is_file())
    page = report_page(read_runs([tmp_path]), summarise(read_runs([tmp_path])))
    for text in (shown.getvalue(), files, page, "".join(failures(rows))):
        assert KEY not in text and OTHERS not in text and KEY[3:12] not in text
    assert rows[0].failure.startswith("status 400: Authorization: [hidden]")


def test_a_long_body_is_told_in_a_line(tmp_path: Path) -> None:
    with serving("--always", f"400 {'all of a page ' * 5_000}") as url:
        rows = play(url, tmp_path)
    assert rows[0].failure.startswith("status 400: all of a page all of") and len(rows[0].failure) < 400


# Lines that the script put in the place of a model's.


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    out = tmp_path_factory.mktemp("empty")
    with serving("--always", "empty") as url:
        play(url, out, None, "neutral", "warm")
    yield out


def test_an_all_empty_server_does_not_pass_for_a_model(empty: Path) -> None:
    rows = read_results(empty / "results.jsonl")
    assert not any(row.failed for row in rows) and replaced_lines(rows) == (8, 8)
    table = results_table(rows).splitlines()
    assert table[0].startswith("| policy | lines replaced | n |")
    assert [row.split(" | ")[1] for row in table[2:]] == ["100 % (4 of 4)"] * 2
    (warning,) = replacements(rows)
    assert warning.startswith("The script spoke for tiny") and "100 % (4 of 4) with neutral" in warning


def test_a_therapists_server_that_says_nothing_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with serving("--always", "empty") as url:
        small = ["--split", "dev", "--patients", "1", "--seeds", "1", "--turns", "2"]
        assert main(["bench", f"{url}#tiny", "silent", *small, "--out", "out"]) == 0
    told = f"{url}#tiny said nothing in 2 of 2 turns, which count as silence"
    shown = capsys.readouterr().out
    assert shown.count(told) == 1 and "silent said nothing" not in shown
    assert any(told in warning for warning in summarise(read_runs([Path("out")])).warnings)


def test_every_table_of_the_report_says_so(empty: Path) -> None:
    runs = read_runs([empty])
    summary = summarise(runs)
    page = report_page(runs, summary)
    assert any(text.startswith("The script spoke for tiny") for text in summary.warnings)
    for table in page.split("<table")[1:]:
        head, policies = table.split("</thead>")[0], "data-policy=" in table.split("</table>")[0]
        assert ("lines replaced" in head) or not policies
    assert page.count("Lines replaced by the script: 100 % (4 of 4) with neutral") == 3  # terms, groups, mood
    text = markdown_tables(summary, runs.told)
    assert "| lines replaced |" in text and text.count("100 % (4 of 4) |") == 2 and "The script spoke for tiny" in text
    tables = latex_tables(summary, runs.told).split(r"\toprule")[1:]
    assert len(tables) > 3
    assert all(t.count("& lines replaced &") == 1 and t.count(r"& 100 \% (4 of 4) &") == 2 for t in tables)


@pytest.mark.parametrize(("replaced", "told"), [(0, False), (1, False), (2, True)])
def test_a_tenth_is_no_reason_to_warn_and_more_is(replaced: int, told: bool, empty: Path) -> None:
    first = read_results(empty / "results.jsonl")[0]
    sources = ["replaced"] * replaced + ["llm"] * (10 - replaced)
    row = replace(first, turns=tuple(replace(first.turns[0], source=source) for source in sources))
    assert bool(list(replacements([row]))) == ("lines replaced" in results_table([row])) == told


# Replies without an end.


@pytest.mark.parametrize("word", ["word", "no.", "*", "(sigh", "[a", "é"])
def test_a_reply_of_280_000_characters_is_cut_before_it_is_worked_on(word: str, tmp_path: Path) -> None:
    """Read to its end, each took minutes."""
    with serving("--always", f"long 280000 {word}") as url:
        rows = play(url, tmp_path)
    limit = LLMPatientSettings()
    draws = 2 * limit.max_draws  # of two turns
    assert [row["patient_written"] for row in rows] == [draws * estimate_tokens("x" * limit.max_chars)] * 2
    assert not any(row.failed for row in rows) and all(turn.source == "replaced" for row in rows for turn in row.turns)
