"""Talking through a pipe: whoever speaks, the session is the one that the benchmark plays, and it ends cleanly."""

import io
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.parts.bench_parts import ROOT, Mute
from tests.parts.talking import START, Echo, batch, said
from therapysim.agents import baseline, play
from therapysim.agents.sessions.session_file import load_session
from therapysim.agents.sessions.sitting import Sitting
from therapysim.agents.sessions.talk import Console, talk
from therapysim.agents.sessions.visit import NOTICE, Visit, person
from therapysim.cli import main as cli
from therapysim.envs.batch import Session, SessionBatch, Start
from therapysim.errors import ModelError, PatientError
from therapysim.personas.load import personas as personas_of
from therapysim.personas.scripted.scripted_patient import ScriptedPatient
from therapysim.rewards.reading.emotions import shipped_sensor


class Terminal(io.StringIO):
    """Where text is shown in colours."""

    def isatty(self) -> bool:
        return True


def run(*arguments: str, typed: str = "") -> "subprocess.CompletedProcess[bytes]":
    command = [sys.executable, "-m", "therapysim.cli.main", "chat", *arguments]
    return subprocess.run(command, input=typed.encode(), capture_output=True, cwd=ROOT, check=False)


def test_to_look_on_is_to_play_the_same_session(tmp_path: Path) -> None:
    console, shown = said("\n\n\n\n\n")
    talk(Sitting(batch(), START, baseline("attuned"), "attuned"), console, tmp_path / "a.json")
    episode = play(batch(), baseline("attuned"), [START])[0]
    kept = load_session(tmp_path / "a.json")
    assert kept.messages == episode.session.transcript.messages and kept.policy == "attuned"
    assert [t.reward for t in kept.turns] == [t.reward for t in episode.turns]
    text = shown.getvalue()
    assert all(m.text in text for m in episode.session.transcript) and "The turns are used up." in text
    for turn in episode.turns:
        assert f"reward {turn.reward:+.2f} | alliance " in text and "mood I " in text
        assert turn.transition and f"move {turn.transition.move}" in text
    assert "\033" not in text and "> " not in text  # no colours, no prompts


def test_a_line_is_said_in_the_policys_place(tmp_path: Path) -> None:
    console, shown = said("\nWhat is that like for you?\n\n")
    talk(Sitting(batch(), START, baseline("attuned"), "attuned"), console, tmp_path / "a.json")
    kept = load_session(tmp_path / "a.json")
    alone = play(batch(), baseline("attuned"), [START])[0].session.transcript.said_by("therapist")
    own = [m.text for m in kept.messages if m.speaker == "therapist"]
    assert own[0] == alone[0] and own[1] == "What is that like for you?" and len(own) == 3
    assert kept.policy == "attuned + a person"
    assert "You: What is that like for you?" in shown.getvalue() and f"attuned: {alone[0]}" in shown.getvalue()


def test_an_empty_line_of_a_therapist_is_a_silence(tmp_path: Path) -> None:
    console, shown = said("\n/quit\nnever said\n")
    talk(Sitting(batch(), START), console, tmp_path / "a.json")
    kept = load_session(tmp_path / "a.json")
    assert [m.text for m in kept.messages[1:2]] == [""] and len(kept.turns) == 1 and kept.policy == "a person"
    assert "unsafe" not in shown.getvalue() and "never said" not in shown.getvalue()
    assert shown.getvalue().endswith(f"You leave the session.\ntranscript in {tmp_path / 'a.json'}\n")


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ModelError("the context is full")])
def test_what_was_said_is_kept_however_it_ends(tmp_path: Path, error: BaseException) -> None:
    console, shown = said("\n\n\n")
    sides = Sitting(batch(), START, Echo(error), "echo")
    if isinstance(error, KeyboardInterrupt):
        talk(sides, console, tmp_path / "a.json")
        assert "You leave the session." in shown.getvalue()
    else:
        with pytest.raises(ModelError):
            talk(sides, console, tmp_path / "a.json")
    assert len(load_session(tmp_path / "a.json").turns) == 1


def test_a_patient_that_fails_is_told_and_kept(tmp_path: Path) -> None:
    with pytest.raises(PatientError, match="patient marta could not begin: no answer; see that"):
        Sitting(SessionBatch(patient=Mute()), START)
    playing = batch()
    sides = Sitting(playing, START, baseline("cbt"), "cbt")
    playing.patient = Mute()
    with pytest.raises(PatientError, match="patient marta gave no answer: no answer; see that"):
        talk(sides, said("\n\n")[0], tmp_path / "a.json")
    kept = load_session(tmp_path / "a.json")
    assert kept.failed and len(kept.turns) == 1
    assert isinstance(batch().patient, ScriptedPatient)


def test_a_terminal_has_colours_and_no_line_twice() -> None:
    shown = Terminal()
    talk(Sitting(batch(1), START), Console(Terminal("What is it like?\n"), shown))
    assert "\033[36mMarta: " in shown.getvalue() and "What is it like?" not in shown.getvalue()
    plain = Terminal()
    talk(Sitting(batch(1), START), Console(Terminal("What is it like?\n"), plain, plain=True))
    assert "\033" not in plain.getvalue() and "You: What is it like?" in plain.getvalue()


@pytest.mark.parametrize("columns", [40, 72])
def test_a_terminals_lines_end_between_words(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    text = "Marta: " + "a word of mine and another-one, " * 9 + f"\n  reward +0.00 | {'mood and move | ' * 6}end\n"
    shown = Terminal()
    Console(Terminal(), shown).show(text, "patient")
    lines = shown.getvalue().removeprefix("\033[36m").removesuffix("\033[0m\n").split("\n")
    assert max(map(len, lines)) <= columns and len(lines) > 6 and lines[-1] == ""
    assert " ".join(" ".join(lines).split()) == " ".join(text.split()), "no word is cut, none lost"
    assert [line for line in lines if line.startswith("  ")][1:], "what is indented stays so"
    piped = io.StringIO()
    Console(Terminal(), piped).show(text)
    assert piped.getvalue() == f"{text}\n", "a pipe gets lines as they are"


@pytest.mark.parametrize("typed", ["/exit", "/exit now", "/", "/QUIT", "/?"])
def test_an_unknown_command_is_refused_and_is_no_turn(typed: str, tmp_path: Path) -> None:
    console, shown = said(f"{typed}\n//shrug, I say\n/quit\nnever read\n")
    talk(Sitting(batch(), START), console, tmp_path / "a.json")
    assert f"{typed.split()[0]} is no command, and was not said. /undo takes" in shown.getvalue()
    assert [m.text for m in load_session(tmp_path / "a.json").messages if m.speaker == "therapist"] == ["/shrug, I say"]


@pytest.mark.parametrize("typed", ["/quit", "/quit please", "  /quit  "])
def test_quit_ends_whatever_stands_behind_it(typed: str, tmp_path: Path) -> None:
    console, _ = said(f"Hello.\n{typed}\nnever read\n")
    talk(Sitting(batch(), START), console, tmp_path / "a.json")
    assert [m.text for m in load_session(tmp_path / "a.json").messages if m.speaker == "therapist"] == ["Hello."]


def test_help_tells_of_every_command_and_is_no_turn() -> None:
    console, shown = said("/help me\n/quit\n")
    sitting = Sitting(batch(), START)
    talk(sitting, console)
    assert not sitting.turns and "/help me" not in shown.getvalue()
    assert all(f"{command} " in shown.getvalue().split("\n\n")[1] for command in ("/undo", "/quit"))


def test_a_turn_taken_back_leaves_no_trace(tmp_path: Path) -> None:
    good, slip = "That sounds hard. What is it like?", "Pull yourself together."
    for name, lines in (("one", [good, good]), ("other", [good, slip, "/undo", good])):
        console, shown = said("\n".join([*lines, "/quit\n"]))
        talk(Sitting(batch(), START), console, tmp_path / f"{name}.json")
    assert "The last turn is taken back." in shown.getvalue()
    assert (tmp_path / "one.json").read_bytes() == (tmp_path / "other.json").read_bytes()


def test_a_person_whose_words_were_taken_back_did_not_speak_for_the_policy(tmp_path: Path) -> None:
    console, _ = said("Hello.\n/undo\n\n/quit\n")
    talk(Sitting(batch(), START, Echo(), "echo"), console, tmp_path / "a.json")
    assert load_session(tmp_path / "a.json").policy == "echo"


def test_undo_takes_nothing_behind_it() -> None:
    console, shown = said("Hello.\n/undo 2\n/quit\n")
    sitting = Sitting(batch(), START)
    talk(sitting, console)
    assert len(sitting.turns) == 1 and "/undo takes back one turn, and nothing behind it" in shown.getvalue()


def test_a_policy_that_says_nothing_is_told_of_in_either_chair() -> None:
    class Dumb:
        def respond(self, sessions: Sequence[Session]) -> list[str]:
            return [""] * len(sessions)

    console, shown = said("\n/quit\n")
    talk(Sitting(batch(), START, Dumb(), "dumb"), console)
    assert "dumb said nothing, which counts as silence" in shown.getvalue()
    console, shown = said("Hello?\n/quit\n")
    talk(Visit(Dumb(), "dumb", shipped_sensor(), person()), console)
    assert "dumb: (says nothing)" in shown.getvalue()


def test_nothing_to_take_back_is_said_in_either_chair() -> None:
    for sides in (Sitting(batch(), START), Visit(Echo(), "echo", shipped_sensor(), person())):
        console, shown = said("/undo\n/quit\n")
        talk(sides, console)
        assert "No turn was taken yet." in shown.getvalue()


def test_what_a_model_says_does_not_steer_the_terminal() -> None:
    console, shown = said("")
    console.show("red \033[31m\x07bell\r\nnext ü 😔")
    assert shown.getvalue() == "red [31mbell\nnext ü 😔\n"


def test_through_a_pipe(tmp_path: Path) -> None:
    kept = tmp_path / "kept.json"
    done = run("--policy", "attuned", "--patient", "owen", "--seed", "5", "--save", str(kept), typed="\n\n")
    assert done.returncode == 0 and not done.stderr
    episode = play(batch(2), baseline("attuned"), [Start(5, "owen")])[0]
    assert load_session(kept).messages == episode.session.transcript.messages
    assert done.stdout.decode().count("| alliance ") == 2 and b"\033" not in done.stdout

    again = run("--policy", "attuned", "--patient", "owen", "--save", str(kept))
    assert again.returncode == 2 and b"is there already; name another file" in again.stderr

    visit = run("--policy", "cbt", "--as", "patient", "--diagnosis", "Insomnia", typed="I cannot sleep.\n/quit\n")
    assert visit.returncode == 0 and visit.stdout.decode().startswith(NOTICE)
    assert b"It is told: Insomnia (mild)" in visit.stdout and b"You leave the session." in visit.stdout


def test_the_patient_is_drawn_by_the_seed_and_bytes_that_are_no_text_do_no_harm() -> None:
    command = [sys.executable, "-m", "therapysim.cli.main", "chat", "--seed", "2", "--turns", "1"]
    done = subprocess.run(command, input=b"Hello \xff\xfe you.\n", capture_output=True, cwd=ROOT, check=False)
    name = SessionBatch().reset([Start(2)])[0].persona.name
    assert done.returncode == 0 and done.stdout.decode().startswith(f"{name}, ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--as", "watch"], "--as watch needs a policy"),
        (["--as", "patient"], "--as patient needs a policy"),
        (["--as", "therapist", "--policy", "cbt"], "leaves nothing for --policy to say"),
        (["--as", "patient", "--policy", "cbt", "--patient", "marta"], "drop --patient"),
        (["--policy", "cbt", "--severity", "mild"], "add --as patient"),
        (["--policy", "cbd"], "did you mean 'cbt'"),
        (["--patient", "nobody"], "persona 'nobody' is unknown"),
        (["--patient-model", "nowhere"], "no such file or folder"),
        (["--turns", "0"], "--turns is 0"),
        (["--seed", "-1"], "--seed is -1"),
    ],
)
def test_options_that_do_not_go_together(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["chat", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_practice_is_not_taken_for_a_test(
    tmp_path: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "policy").symlink_to(tiny_model)
    settings = {"show_state": True, "max_turn_tokens": 4, "split": "train", "personas": ["marta"]}
    (tmp_path / "settings.json").write_text(json.dumps(settings))
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n"))
    assert cli.main(["chat", "--policy", str(tmp_path), "--patient", "marta~3"]) == 0
    shown = capsys.readouterr().out
    assert "was trained with marta~3: what you see is practice, and no test." in shown
    assert shown.count("| alliance ") == 1
    assert f"Enter lets {tmp_path.name} speak" in shown and str(tmp_path) not in shown.partition("Enter lets")[2]


@pytest.mark.parametrize("met", [True, False])
def test_practice_with_a_patient_that_the_seed_chose_is_told_too(
    met: bool, tmp_path: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = SessionBatch().reset([Start(0)])[0].persona.id
    (tmp_path / "policy").symlink_to(tiny_model)
    personas = [drawn if met else next(p.id for p in personas_of("train") if p.id != drawn)]
    settings = {"show_state": True, "max_turn_tokens": 4, "split": "train", "personas": personas}
    (tmp_path / "settings.json").write_text(json.dumps(settings))
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n"))
    assert cli.main(["chat", "--policy", str(tmp_path)]) == 0
    assert (f"was trained with {drawn}: what you see is practice" in capsys.readouterr().out) is met


@pytest.mark.parametrize(("patient", "told"), [
    ("marta", "Major depressive disorder, single episode, moderate, is fiction"),
    ("yusuf", "Insomnia disorder (moderate), is fiction"),
])  # fmt: skip
def test_a_severity_is_told_once(patient: str, told: str) -> None:
    console, shown = said("")
    talk(Sitting(batch(), Start(3, patient)), console)
    assert told in shown.getvalue()
