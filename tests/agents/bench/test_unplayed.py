"""A benchmark one of whose models fails: what can be played is, the reason is kept, and the same command goes on.

Every server is asked over HTTP.
"""

import json
from collections.abc import Sequence
from io import StringIO
from pathlib import Path
from typing import NoReturn

import pytest

pytest.importorskip("aiohttp")

from tests.parts.bench_parts import SMALL, Mute, found, scripted
from tests.parts.chat_server import serving, stats
from therapysim.agents.bench.bench_settings import Simulator
from therapysim.agents.bench.folder import FAILURES, RESULTS, SETTINGS
from therapysim.agents.bench.progress import Progress
from therapysim.agents.bench.report.runs import read_runs
from therapysim.agents.bench.report.summary import summarise
from therapysim.agents.bench.results import read_results
from therapysim.agents.bench.runner import Unplayed, run
from therapysim.agents.therapists.policies import Policy
from therapysim.agents.therapists.therapist import ChatTherapist
from therapysim.cli.main import main
from therapysim.errors import ActionError, ConfigError, ModelError, PatientError
from therapysim.models.remote import RemoteChat, RemoteSettings
from therapysim.personas.llm.llm_patient import LLMPatient
from therapysim.personas.opening import open_patient
from therapysim.personas.patient import Cue, Line, Patient
from therapysim.rewards.reading.emotions import shipped_sensor

KEY = "sk-tell-nobody-0123456789"
BENCH = ["--split", "dev", "--patients", "2", "--seeds", "1", "--turns", "2"]


def asked(url: str) -> RemoteChat:
    return RemoteChat(url, "tiny", settings=RemoteSettings(retries=0, timeout_s=60))


def therapist(url: str, name: str = "mine") -> Policy:
    return Policy(name, lambda: ChatTherapist(asked(url)), {"kind": "server"})


def patient(url: str, name: str = "tiny") -> Simulator:
    feel = shipped_sensor().affect
    opened = LLMPatient(asked(url), open_patient("scripted", feel), feel)
    return Simulator(name, lambda: opened, {"kind": "server"})


def kept(out: Path) -> dict[str, dict[str, str]]:
    place = out / FAILURES
    return json.loads(place.read_text(encoding="utf-8")) if place.exists() else {}


def refuse() -> NoReturn:
    raise ModelError("no such model")


# A policy's model


def test_the_others_are_played_and_the_same_command_goes_on_with_a_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("THE_KEY", KEY)
    out = tmp_path / "out"
    with serving("--key", KEY) as url:
        command = ["bench", f"{url}#tiny", "neutral", *BENCH, "--out", str(out), "--record", str(tmp_path / "words")]
        assert main(command) == 2
        shown = capsys.readouterr()
        why = "status 401: Incorrect API key provided: none. Next: check the API key"
        line = f"0 of 2 sessions of {url}#tiny with scripted were played: {why}"
        assert "| neutral | 2 |" in shown.out and f"results in {out}" in shown.out
        assert "to play it again" not in shown.out
        assert shown.err.rstrip().endswith(line) and shown.err.count(why) == 2  # at once, and at the end
        assert kept(out) == {f"{url}#tiny": {"scripted": why}} and len(read_results(out / RESULTS)) == 2
        (told,) = (text for text in summarise(read_runs([out])).warnings if "not complete" in text)
        assert told.endswith(f"{line}.")
        assert main([*command, "--api-key-env", "THE_KEY"]) == 0
    again = capsys.readouterr().out
    assert f"| {url}#tiny | 2 |" in again and "to play it again" in again and not (out / FAILURES).exists()
    assert not any("not complete" in told for told in summarise(read_runs([out])).warnings)


def test_every_block_of_the_others_is_played_and_rows_are_those_of_an_unbroken_run(tmp_path: Path) -> None:
    both = [*scripted(), *scripted("again")]
    with serving("--always", "500 GPU lost") as url, pytest.raises(Unplayed) as caught:
        run(SMALL, [*found("cbt"), therapist(url), *found("warm")], both, tmp_path / "a", stream=StringIO())
    whole = run(SMALL, found("cbt", "warm"), both, tmp_path / "b", stream=StringIO())
    assert [row.key for row in caught.value.results] == [row.key for row in whole]
    assert (tmp_path / "a" / RESULTS).read_bytes() == (tmp_path / "b" / RESULTS).read_bytes()
    assert str(caught.value).count("0 of 4 sessions of mine with ") == 2
    assert set(kept(tmp_path / "a")["mine"]) == {"scripted", "again"}


def test_a_model_that_cannot_be_opened_fails_likewise(tmp_path: Path) -> None:
    with pytest.raises(Unplayed, match="0 of 4 sessions of mine with scripted were played: no such model"):
        run(SMALL, [Policy("mine", refuse), *found("cbt")], scripted(), tmp_path, stream=StringIO())
    assert len(read_results(tmp_path / RESULTS)) == 4


def test_mistakes_and_code_of_the_users_own_end_the_run_at_once(tmp_path: Path) -> None:
    for error in (ConfigError("a wrong setting"), ActionError("the policy failed")):

        def fail(wrong: Exception = error) -> NoReturn:
            raise wrong

        with pytest.raises(type(error), match=str(error)):
            run(SMALL, [Policy("mine", fail), *found("cbt")], scripted(), tmp_path, stream=StringIO())
        assert not read_results(tmp_path / RESULTS) and not kept(tmp_path)


def test_a_report_of_nothing_says_why_nothing_was_played(tmp_path: Path) -> None:
    with pytest.raises(Unplayed):
        run(SMALL, [Policy("mine", refuse)], scripted(), tmp_path, stream=StringIO())
    with pytest.raises(ConfigError, match=r"hold no session, .* 0 of 4 sessions of mine with scripted were .*no such"):
        read_runs([tmp_path])


def test_a_reason_is_kept_without_secrets_and_shuts_out_no_report(tmp_path: Path) -> None:
    said = f"Bearer {KEY}, see http://me:word@there/?api_key={KEY}&token=hf_aBcDeFgHiJkLmNoPqRsT0123456789"
    shown = StringIO()
    with serving("--always", f"400 {said}") as url, pytest.raises(Unplayed) as caught:
        run(SMALL, [therapist(url), *found("cbt")], scripted(), tmp_path, stream=shown)
    files = "".join(file.read_text() for file in tmp_path.iterdir() if file.is_file())
    for text in (files, shown.getvalue(), str(caught.value), *summarise(read_runs([tmp_path])).warnings):
        assert KEY not in text and "hf_aBc" not in text and "word@" not in text
    assert kept(tmp_path)["mine"]["scripted"].startswith("status 400: Bearer [hidden]")


def test_a_reason_goes_with_the_policy_that_it_was_of(tmp_path: Path) -> None:
    with pytest.raises(Unplayed):
        run(SMALL, [Policy("mine", refuse), Policy("other", refuse)], scripted(), tmp_path, stream=StringIO())
    run(SMALL, found("cbt"), scripted(), tmp_path, stream=StringIO())
    assert not kept(tmp_path), "nothing of either was played, and the settings know neither"
    assert set(json.loads((tmp_path / SETTINGS).read_text())["policies"]) == {"cbt"}


def test_what_was_given_up_is_no_part_of_the_progress() -> None:
    class Terminal(StringIO):
        def isatty(self) -> bool:
            return True

    progress = Progress(30, shown := Terminal())
    progress.begin("a", 20)
    progress.take(3)
    progress.drop(2)
    progress.give_up()
    progress.begin("b", 10)
    progress.take(10)
    progress.end()
    assert "13/13" in shown.getvalue().rstrip("\n").rsplit("\r", 1)[-1]


# A patient's model


def test_a_patient_that_answers_nobody_is_not_asked_for_every_policy(tmp_path: Path) -> None:
    shown = StringIO()
    with serving("--always", "403 not for you") as url:
        with pytest.raises(Unplayed) as caught:
            run(SMALL, found("neutral", "cbt", "warm"), [patient(url), *scripted()], tmp_path, stream=shown)
        assert stats(url)["requests"] == 4, "one a session of the first policy"
    why = "not begun, since every session of neutral failed: status 403: not for you"
    line = f"0 of 4 sessions of each of cbt, warm with tiny were played: {why}"
    assert line in str(caught.value) and f"cbt, warm with tiny: {why}" in shown.getvalue()
    assert all(kept(tmp_path)[policy]["tiny"].startswith(why) for policy in ("cbt", "warm"))
    rows = read_results(tmp_path / RESULTS)
    assert [row.policy for row in rows if row.failed] == ["neutral"] * 4 and sum(not row.failed for row in rows) == 12
    assert any(line in told for told in summarise(read_runs([tmp_path])).warnings)
    good = Simulator("tiny", scripted()[0].open, {"kind": "server"})
    assert not any(row.failed for row in run(SMALL, found("neutral", "cbt", "warm"), [good], tmp_path))
    assert not kept(tmp_path)


class Refusing:
    """A patient whose model refuses to be one of them."""

    def __init__(self, persona: str) -> None:
        self.persona, self._patient = persona, scripted()[0].open()

    def speak(self, cues: Sequence[Cue]) -> list[Line]:
        if any(cue.persona.id == self.persona for cue in cues):
            raise PatientError("not for you")
        return list(self._patient.speak(cues))  # type: ignore[arg-type]


def test_where_one_patient_is_refused_a_policy_may_still_join(tmp_path: Path) -> None:
    def opened() -> Patient:
        return Refusing(first)

    first = run(SMALL, found("neutral"), scripted(), tmp_path / "a", stream=StringIO())[0].persona
    refusing = [Simulator("refusing", opened, {"kind": "server"})]
    run(SMALL, found("neutral"), refusing, tmp_path / "b", stream=StringIO())
    rows = run(SMALL, found("neutral", "cbt"), refusing, tmp_path / "b", stream=StringIO())
    assert [sum(row.policy == name and not row.failed for row in rows) for name in ("neutral", "cbt")] == [2, 2]


def test_a_patient_that_cannot_be_opened_leaves_the_others(tmp_path: Path) -> None:
    broken = Simulator("broken", refuse, {"kind": "model"})
    with pytest.raises(Unplayed, match=r"each of neutral, cbt with broken were played: not begun, since .*: no such"):
        run(SMALL, found("neutral", "cbt"), [broken, *scripted()], tmp_path, stream=StringIO())
    assert len(read_results(tmp_path / RESULTS)) == 8


def test_one_policy_whose_patient_fails_is_a_failure_and_nothing_is_left(tmp_path: Path) -> None:
    rows = run(SMALL, found("cbt"), [Simulator("mute", Mute, {"kind": "server"})], tmp_path, stream=StringIO())
    assert all(row.failed for row in rows) and not kept(tmp_path)


# What is found before


@pytest.mark.parametrize(
    ("arguments", "variable", "value", "told"),
    [
        (["{}", "--api-key-env", "NOT_SET"], "", "", "the environment variable NOT_SET is not set"),
        (["--patient", "scripted", "--patient", "{}", "--patient-key-env", "NOT_SET"], "", "", "NOT_SET is not set"),
        (["{}"], "THERAPYSIM_TIMEOUT_S", "soon", "THERAPYSIM_TIMEOUT_S is 'soon'"),
        (["{}"], "THERAPYSIM_RETRIES", "-1", "THERAPYSIM_RETRIES is '-1'"),
        (["--patient", "{}"], "THERAPYSIM_CONCURRENCY", "0", "THERAPYSIM_CONCURRENCY is 0"),
    ],
)
def test_a_server_that_cannot_be_asked_is_told_before_anything_is_played(
    arguments: list[str],
    variable: str,
    value: str,
    told: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delenv("NOT_SET", raising=False)
    if variable:
        monkeypatch.setenv(variable, value)
    out, words = tmp_path / "out", tmp_path / "words"
    given = [argument.format("http://127.0.0.1:9/v1#tiny") for argument in arguments]
    command = ["bench", "neutral", *given, *BENCH, "--out", str(out)]
    assert main([*command, "--dry-run"]) == 0 and main(command) == 2 and main([*command, "--record", str(words)]) == 2
    assert capsys.readouterr().err.count(told) == 2 and not out.exists() and not words.exists()


def test_a_finished_benchmark_is_shown_without_the_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("THE_KEY", KEY)
    with serving("--key", KEY) as url:
        command = ["bench", f"{url}#tiny", *BENCH, "--api-key-env", "THE_KEY", "--out", str(tmp_path)]
        assert main(command) == 0
    monkeypatch.delenv("THE_KEY")
    capsys.readouterr()
    assert main(command) == 0 and "#tiny | 2 |" in capsys.readouterr().out
