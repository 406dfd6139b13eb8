"""A person in the patient's chair: warned, read as a patient is, and saved as what it was."""

import json
from pathlib import Path

from tests.parts.talking import Echo, said
from therapysim.agents import conversation
from therapysim.agents.sessions.talk import talk
from therapysim.agents.sessions.visit import CRISIS, NOTICE, Visit, person
from therapysim.rewards.reading.emotions import shipped_sensor


def test_a_person_in_the_patients_chair_is_warned_first(tmp_path: Path) -> None:
    for stored, words in ((False, "Nothing you type is stored."), (True, "stored in the file of --save")):
        console, shown = said("")
        talk(Visit(Echo(), "echo", shipped_sensor(), person(), stored=stored), console)
        first = shown.getvalue().splitlines()[0]
        assert first.startswith(NOTICE) and words in first
        assert "no clinical device" in first and "not fit to talk with a person in distress" in first


def test_the_policy_reads_a_person_as_it_reads_a_patient() -> None:
    policy, sensor = Echo(), shipped_sensor()
    lines = [
        "I am so glad today.",
        "But I am terribly afraid of my exam.",
        "Now I hate it.",
        "All fine, thank you so much!",
    ]
    console, _ = said("".join(f"{line}\n\n" for line in lines))
    visitor = person("Panic disorder", "severe")
    talk(Visit(policy, "echo", sensor, visitor, seed=7), console)
    readings = sensor.read(lines)
    assert len(policy.read) == 4  # an empty line says nothing
    for i, session in enumerate(policy.read):
        assert session.state.affect == readings[i].affect and session.state.turn == i and session.seed == 7
        assert session.state.history == tuple(r.polarity for r in readings[max(0, i - 2) : i + 1])
        talked = conversation(session)
        assert [m["role"] for m in talked] == ["system", *["user", "assistant"] * i, "user"]
        assert "Diagnosis: Panic disorder (severe)" in talked[-1]["content"]
        assert talked[-1]["content"].endswith(f"Patient: {lines[i]}")
        earlier = conversation(policy.read[i - 1]) if i else []
        assert talked[: len(earlier)] == earlier  # the talk only ever grows at its end


def test_words_of_danger_are_answered_by_more_than_a_policy() -> None:
    console, shown = said("I slept badly.\nI think about killing myself.\n")
    talk(Visit(Echo(), "echo", shipped_sensor(), person()), console)
    before, after = shown.getvalue().split(CRISIS)
    assert "You say: I slept badly." in before and "killing" in before.splitlines()[-1]
    assert "echo: You say: I think about killing myself." in after
    assert "no help line" in CRISIS and "emergency services, a crisis line" in CRISIS


def test_a_visit_is_saved_as_what_it_was(tmp_path: Path) -> None:
    console, _ = said("I am sad.\nStill sad.\nMore.\n")
    talk(Visit(Echo(), "echo", shipped_sensor(), person(), turns=2, stored=True), console, tmp_path / "v.json")
    told = json.loads((tmp_path / "v.json").read_text(encoding="utf-8"))
    assert told["format"] == "therapysim-visit" and told["policy"] == "echo"
    assert [m["speaker"] for m in told["messages"]] == ["patient", "therapist"] * 2
    assert len(told["states"]) == 2 and len(told["states"][0]["affect"]) == 4


def test_a_visitors_words_that_are_taken_back_reach_no_later_answer(tmp_path: Path) -> None:
    policy = Echo()
    console, _ = said("I hate rain.\n/undo\nI sleep badly.\n/quit\n")
    talk(Visit(policy, "echo", shipped_sensor(), person()), console, tmp_path / "a.json")
    assert "rain" not in (tmp_path / "a.json").read_text() and "sleep badly" in (tmp_path / "a.json").read_text()


def test_a_visitors_unknown_command_reaches_no_policy() -> None:
    policy = Echo()
    console, shown = said("/bye\n")
    talk(Visit(policy, "echo", shipped_sensor(), person()), console)
    assert not policy.read and "/bye is no command" in shown.getvalue()
