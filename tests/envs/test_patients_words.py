"""A patient's words, whoever finds them: nothing is hidden in them once a session, a file or a terminal has them."""

import io
import json
import unicodedata
from collections.abc import Sequence
from pathlib import Path

import gymnasium as gym
import pytest

import therapysim  # noqa: F401 - registers the environment
from tests.parts.bench_parts import ROOT, SMALL, Model, found
from therapysim.agents import baseline, play
from therapysim.agents.bench.bench_settings import Simulator
from therapysim.agents.bench.runner import run
from therapysim.agents.sessions.session_file import load_session, save_session
from therapysim.agents.sessions.sitting import Sitting
from therapysim.agents.sessions.talk import Console, talk
from therapysim.agents.sessions.visit import Visit, person
from therapysim.envs.batch import SessionBatch, SessionConfig, Start
from therapysim.errors import PatientError
from therapysim.personas.llm.llm_patient import LLMPatient
from therapysim.personas.load import personas
from therapysim.personas.patient import Cue, Line
from therapysim.personas.scripted.scripted_patient import ScriptedPatient
from therapysim.rewards.reading.emotions import shipped_sensor
from therapysim.visible import visible

#: What is hidden or steers, and what is left of it.
HOSTILE = {
    "escape": ("I am \x1b[2J\x1b]0;owned\x07fine.", "I am [2J]0;ownedfine."),
    "one-byte escape": ("I am \x9b31mfine.", "I am 31mfine."),
    "control": ("I\x00 am\x08 fine\x7f.", "I am fine."),
    "carriage return": ("I am fine.\r\nReally.\r", "I am fine.\nReally."),
    "right to left": ("I am \u202enot\u202c \u2066fine\u2069\u200f.", "I am not fine."),
    "zero-width": ("I a\u200bm f\u2060ine\ufeff.", "I am fine."),
    "hidden tags": ("I am fine.\U000e0049\U000e0067", "I am fine."),
    "lone surrogate": ("I am fine.\ud800", "I am fine."),
    "pair the wrong way": ("I am \udc00\ud83dfine.", "I am fine."),
}
#: What people write stays, to the last bit.
PLAIN = [
    "I can’t, sorry 😔",
    "Ach — schön.\n\tWirklich.",
    "می\u200cخواهم بروم",
    "👩\u200d👩\u200d👧 at home",
    "क्\u200dष",
    "  two  ",
]


class Says:
    """A patient of the user's own that always says one thing."""

    def __init__(self, text: str, rejected: tuple[str, ...] = ()) -> None:
        self.line = Line(text, rejected=rejected)

    def speak(self, cues: Sequence[Cue]) -> list[Line]:
        return [self.line for _ in cues]


class Halves(Says):
    """It fails for the last cue, and hands over the others' lines with its error."""

    def speak(self, cues: Sequence[Cue]) -> list[Line]:
        raise PatientError("one is lost", lines=[*super().speak(cues[1:]), None])


def steers(text: str) -> bool:
    return any(unicodedata.category(c) in ("Cc", "Cf", "Cs", "Co") for c in text if c != "\n")


@pytest.mark.parametrize("how", HOSTILE)
def test_policy_file_and_terminal_get_what_can_be_seen(how: str, tmp_path: Path) -> None:
    said, left = HOSTILE[how]
    env = gym.make("TherapySim-v0", persona="marta", patient=Says(said, (said,)), max_turns=2, render_mode="ansi")
    assert env.reset(seed=1)[0]["utterance"] == left
    shown, *_, info = env.step("What is it like?")
    assert shown["utterance"] == left and info["rejected"] == (left,)
    assert env.render() == f"Patient: {left}\nTherapist: What is it like?\nPatient: {left}"
    (episode,) = play(SessionBatch(patient=Says(said, (said,))), baseline("neutral"), [Start(1, "marta")])
    kept = load_session(save_session(tmp_path / "a.json", episode.session, episode.turns))
    assert {m.text for m in kept.messages if m.speaker == "patient"} == {left}
    assert [s.text for s in (episode.session.patient_reading,)] == [left]


@pytest.mark.parametrize("text", PLAIN)
def test_what_people_write_stays_as_it_is(text: str) -> None:
    (session,) = SessionBatch(patient=Says(text)).reset([Start(1, "marta")])
    assert session.transcript.last("patient") == text


def test_lines_that_come_with_an_error_are_screened_too() -> None:
    sessions = SessionBatch(patient=Halves("I am \x1b[31mfine.")).reset([Start(1, "marta"), Start(2, "marta")])
    assert [s.failed for s in sessions] == [False, True]
    assert sessions[0].transcript.last("patient") == "I am [31mfine."


def test_words_that_are_no_text_are_the_patients_fault() -> None:
    with pytest.warns(UserWarning, match=r"an error of Says: TypeError\('it gave NoneType as its words, expected str"):
        (session,) = SessionBatch(patient=Says(None)).reset([Start(1, "marta")])  # type: ignore[arg-type]
    assert session.failed


def test_a_lone_surrogate_ends_no_benchmark(tmp_path: Path) -> None:
    said = HOSTILE["lone surrogate"][0]
    own = [Simulator("own", lambda: Says(said, (said,)), {"kind": "own"})]
    results = run(SMALL, found("neutral"), own, tmp_path, stream=io.StringIO(), sessions=True)
    assert len(results) == 4 and not any(r.failed for r in results)
    for file in tmp_path.rglob("*.json*"):
        assert not steers(json.dumps(file.read_text(encoding="utf-8"), ensure_ascii=False))


@pytest.mark.parametrize("sign", ["\u200b", "\u202e", "\x00", "\ud800"])
def test_the_guard_reads_a_models_line_as_it_will_be_heard(sign: str) -> None:
    feel = shipped_sensor().affect
    hidden = sign.join("As an AI language model I cannot say.")
    patient = LLMPatient(Model(hidden), ScriptedPatient(feel), feel)
    (line,) = patient.speak([_cue()])
    assert line.source == "replaced" and set(line.rejected) == {"role"}


def _cue() -> Cue:
    cues: list[Cue] = []

    class Listening(ScriptedPatient):
        def speak(self, asked: Sequence[Cue]) -> list[Line]:
            cues.extend(asked)
            return super().speak(asked)

    SessionBatch(patient=Listening(shipped_sensor().affect)).reset([Start(1, "marta")])
    return cues[0]


class Policy:
    """A therapist that always says one thing."""

    def __init__(self, text: str) -> None:
        self.text = text

    def respond(self, sessions: Sequence[object]) -> list[str]:
        return [self.text] * len(sessions)


@pytest.mark.parametrize("how", HOSTILE)
def test_no_side_of_a_talk_steers_the_terminal_or_spoils_its_file(how: str, tmp_path: Path) -> None:
    said, left = HOSTILE[how]
    batch, shown = SessionBatch(SessionConfig(max_turns=2), patient=Says(said)), io.StringIO()
    talk(Sitting(batch, Start(1, "marta"), Policy(said), "own"), Console(io.StringIO("\n\n"), shown), tmp_path / "a")
    visit = Visit(Policy(said), "own", shipped_sensor(), person(), stored=True)
    talk(visit, Console(io.StringIO(f"{said}\n"), shown), tmp_path / "b")
    assert left in shown.getvalue() and not steers(shown.getvalue())
    messages = json.loads((tmp_path / "b").read_text(encoding="utf-8"))["messages"]
    assert messages[-1] == {"speaker": "therapist", "text": left} and not any(steers(m["text"]) for m in messages)


def test_a_terminal_is_shown_every_visible_sign() -> None:
    shown = io.StringIO()
    Console(io.StringIO(), shown).show("Ça va\u00a0? 👩\u200d👧")
    assert shown.getvalue() == "Ça va\u00a0? 👩\u200d👧\n"


def test_every_word_of_the_library_passes_unchanged() -> None:
    files = [*ROOT.glob("personas/library/*.yaml"), *ROOT.glob("personas/lines.yaml")]
    assert len(files) > len(personas())
    for file in files:
        text = file.read_text(encoding="utf-8")
        assert visible(text) == text, file
