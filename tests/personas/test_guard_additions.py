"""What the guard refuses of an answer: one beside the question, a danger, a name or a number that nobody wrote."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from therapysim.messages import Transcript
from therapysim.personas.answers import answer_lines
from therapysim.personas.items import items_of
from therapysim.personas.llm.additions import adds_danger, borrows, invents, new_words
from therapysim.personas.llm.guard import GuardSettings, evades, inspect
from therapysim.personas.llm.prompts import brief, conversation
from therapysim.personas.load import personas
from therapysim.personas.patient import Cue
from therapysim.personas.schema import Persona
from therapysim.state import Move

SAFE = next(p for p in personas() if p.risk == 0)
HEARD = Transcript().add("patient", "Hello.").add("therapist", "And this?")


def answering(item: str, **changes: Any) -> Cue:
    return Cue(SAFE, HEARD, SAFE.mood, Move.ANSWER, items=(items_of(SAFE)[item],), **changes)


def test_an_answer_must_hold_what_is_told_and_not_its_opposite() -> None:
    cue = answering("life.work")
    assert not evades(answer_lines(cue)[0], cue, 0.4) and evades("I had toast this morning.", cue, 0.4)
    denial = answering("denial")
    assert evades("Yes, I think of dying every night.", denial, 0.0) and not evades(
        answer_lines(denial)[0], denial, 0.4
    )
    number = Cue(SAFE, HEARD, SAFE.mood, Move.ANSWER, figure=7)
    assert not evades("Seven. Maybe less.", number, 0.4) and not evades("It is a 7.", number, 0.4)
    assert evades("It is a 4.", number, 0.4) and not evades("Anything.", replace(cue, move=Move.EXPRESS, items=()), 0.4)


@pytest.mark.parametrize(
    ("line", "adds"),
    [("No, I do not want to die.", False), ("I have never once thought of suicide.", False), ("Nobody, no.", False),
     ("I do not want to live.", True), ("No. I want to kill myself.", True), ("No, but I think about dying.", True),
     ("I can not go on, I want to kill myself.", True), ("No, and I wish I was dead.", True)],
)  # fmt: skip
def test_a_no_must_be_one(line: str, adds: bool) -> None:
    assert adds_danger(line, answering("denial")) is adds


@pytest.mark.parametrize("persona", [p for p in personas() if not p.risk], ids=lambda p: p.id)
def test_every_written_no_is_one(persona: Persona) -> None:
    cue = replace(answering("denial"), persona=persona, items=(items_of(persona)["denial"],))
    assert not [line for line in persona.case.denial if adds_danger(line, cue)]


def test_no_danger_is_added() -> None:
    plain = Cue(SAFE, HEARD, SAFE.mood, Move.EXPRESS)
    assert adds_danger("I want to kill myself.", plain) and not adds_danger("I am so tired of it.", plain)
    dark = next(p for p in personas() if p.case.danger)
    asked = Cue(dark, HEARD, dark.mood, Move.ANSWER, items=(items_of(dark)["danger.asked"],))
    assert not adds_danger(answer_lines(asked)[0], asked)
    assert adds_danger(answer_lines(asked)[0] + " I have written the goodbye note.", asked)


def test_no_name_and_no_number_is_invented() -> None:
    cue = answering("life.work")
    assert not any(invents(line, cue) for item in items_of(SAFE).values() for line in item.lines)
    assert invents("I told Zebulon about it.", cue) and invents("I have 4711 of them.", cue)
    assert invents("I am ninety-nine and still here.", cue)


def test_both_prompts_tell_the_answer() -> None:
    cue = answering("life.work")
    told = answer_lines(cue)[0]
    assert told in conversation(cue, 4_000)[-1]["content"] and f"(Answer: {told})" in brief(cue)[-1]["content"]


def test_a_line_full_of_words_that_nobody_wrote_is_an_invention() -> None:
    cue = Cue(SAFE, answering("life.work").transcript, SAFE.mood, Move.EXPRESS)
    own = [*SAFE.voice.express, *SAFE.voice.sustain, *(line for i in items_of(SAFE).values() for line in i.lines)]
    assert not any(new_words(line, cue) for line in own)
    told = "I have sucked an entire packet of peppermints in the cathedral."
    assert new_words(told, cue) > GuardSettings().max_new
    feel = lambda texts: np.tile(np.array(SAFE.mood, np.float32), (len(texts), 1))  # noqa: E731
    verdict = inspect([told], [cue], feel, GuardSettings(), [""])
    assert verdict[0].fault == "invention"


def test_neither_kin_nor_another_patients_line_is_taken_over() -> None:
    cue = Cue(SAFE, HEARD, SAFE.mood, Move.EXPRESS)
    file = " ".join(line for item in items_of(SAFE).values() for line in item.lines).lower()
    kin = next(word for word in ("granddaughter", "fiancee", "twin") if word not in file)
    assert invents(f"I have got a {kin}.", cue)
    other = next(p for p in personas() if p.id != SAFE.id)
    long = max(other.voice.express, key=len)
    assert borrows(f"Well. {long}", cue) and not borrows(long, Cue(other, HEARD, other.mood, Move.EXPRESS))
    assert not any(borrows(line, cue) for line in (*SAFE.voice.opening, *SAFE.voice.express))


def test_a_session_begins_with_an_opening_of_the_patients_own() -> None:
    cue = Cue(SAFE, Transcript(), SAFE.mood, Move.EXPRESS)
    for chat in (brief(cue), conversation(cue, 4_000)):
        assert any(line in chat[-1]["content"] for line in SAFE.voice.opening)
    feel = lambda texts: np.tile(np.array(SAFE.mood, np.float32), (len(texts), 1))  # noqa: E731
    lines = [SAFE.voice.opening[-1], "I am sad."]
    found = [v.fault for v in inspect(lines, [cue, cue], feel, GuardSettings(), ["", ""])]
    assert found == ["", "fact"]


def test_an_answer_may_read_as_what_it_tells() -> None:
    cue = answering("life.work")
    told = answer_lines(cue)[0]
    far = np.array([[0.9, 0.9, 0.9, 0.9]], np.float32)
    feel = lambda texts: np.repeat(far, len(texts), axis=0)  # noqa: E731
    assert inspect([told], [cue], feel, GuardSettings(), [""])[0].fault == ""
    other = Cue(SAFE, cue.transcript, SAFE.mood, Move.EXPRESS)
    assert inspect(["It is not a good day."], [other], feel, GuardSettings(), [""])[0].fault == "mood"
