"""What is asked is answered: from the case file, as far as trust allows, and with nothing else."""

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace

import pytest

from therapysim.envs.answers.answer import answer_of, figure_of, nearest
from therapysim.envs.answers.answered import Answer
from therapysim.envs.batch import SessionBatch, Start
from therapysim.envs.latent import Latent, begin
from therapysim.personas.items import items_of
from therapysim.personas.load import find, personas
from therapysim.personas.schema import Persona
from therapysim.state import Appraisal

ASKS = frozenset({"open_question"})
AT_RISK = next(p for p in personas() if p.risk >= 2 and p.case.danger)
SAFE = next(p for p in personas() if p.risk == 0)


def trusting(persona: Persona, **changes: object) -> Latent:
    return replace(begin(persona), alliance=0.9, **changes)  # type: ignore[arg-type]


def ids(answer: Answer | None) -> list[str]:
    return [item.id for item in answer.items] if answer else []


def asking(*kinds: str, acts: frozenset[str] = ASKS, **more: object) -> Appraisal:
    return Appraisal(acts, 0.5, 8, questions=1, asks=kinds, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("persona", personas(), ids=lambda p: p.id)
def test_what_is_asked_is_told(persona: Persona) -> None:
    latent = trusting(persona)
    for kind, item in (
        ("sleep", "life.sleep"),
        ("began", "story.began"),
        ("core", "beliefs.core"),
        ("change", "change"),
    ):
        assert ids(answer_of(persona, latent, asking(kind), "tell me?")) == [item]
    assert ids(answer_of(persona, latent, asking("work", "sleep"), "both?")) == ["life.work", "life.sleep"]


@pytest.mark.parametrize("persona", personas(), ids=lambda p: p.id)
def test_the_columns_of_a_thought_record_speak_of_one_situation(persona: Persona) -> None:
    latent = trusting(persona, about=persona.case.situations[1].id)
    for kind in ("happened", "thinking", "feeling", "body_then", "did", "evidence_against", "balanced"):
        (item,) = ids(answer_of(persona, latent, asking(kind), "and then?"))
        assert item.startswith(f"situations.{persona.case.situations[1].id}.")


def test_what_needs_more_trust_is_declined_and_said_to_be() -> None:
    answer = answer_of(SAFE, replace(begin(SAFE), alliance=0.2), asking("core"), "what lies under it?")
    assert ids(answer) == ["replies.decline"] and answer is not None and answer.declined == "beliefs.core"


def test_what_the_file_is_silent_about_is_not_known() -> None:
    assert ids(answer_of(SAFE, trusting(SAFE), asking(), "what is your favourite xylophone?")) == ["replies.unknown"]


def test_a_number_is_from_the_state() -> None:
    situation = SAFE.case.situations[0]
    low, high = trusting(SAFE, about=situation.id), trusting(SAFE, about=situation.id, mood=(0.4, 0.4, 0.4, 0.4))
    assert figure_of(SAFE, low, "strength") > figure_of(SAFE, high, "strength")
    held = [figure_of(SAFE, replace(low, beliefs=(c, 1.0, 1.0)), "conviction") for c in (1.0, 0.5, 1.5)]
    assert held[0] == 5 * round(situation.conviction / 5) > held[1] and held[0] < held[2] <= 100
    thought = f"situations.{situation.id}.thinking"
    voiced = replace(low, answered=(thought,))
    for latent, told in ((voiced, []), (low, [thought])):  # how sure of what, where nobody has said it
        answer = answer_of(SAFE, latent, asking("conviction"), "how sure?")
        assert answer is not None and answer.figure == figure_of(SAFE, low, "conviction") and ids(answer) == told
    assert 0 <= figure_of(SAFE, low, "ruler") <= 10 and 0 <= figure_of(SAFE, low, "mood_now") <= 10


# --- Danger --------------------------------------------------------------------------------------------------------
RISK = frozenset({"closed_question", "risk_inquiry"})


@pytest.mark.parametrize("persona", [p for p in personas() if p.risk == 0], ids=lambda p: p.id)
def test_a_patient_without_danger_says_so(persona: Persona) -> None:
    answer = answer_of(persona, trusting(persona), asking("sleep", acts=RISK), "are you thinking of ending your life?")
    assert ids(answer) == ["denial"] and answer is not None and answer.danger


@pytest.mark.parametrize("persona", [p for p in personas() if p.case.danger], ids=lambda p: p.id)
def test_a_ladder_is_climbed_rung_by_rung(persona: Persona) -> None:
    first = answer_of(
        persona, trusting(persona), asking("d_intent", acts=RISK), "are you thinking of ending your life?"
    )
    assert ids(first) == ["danger.asked"] and first is not None and first.admits
    known = trusting(persona, answered=("danger.asked",), danger="open")
    for act, rung in (("risk_intent", "intent"), ("risk_history", "history"), ("protective_factors", "protects")):
        assert ids(answer_of(persona, known, asking(acts=frozenset({act})), "and that?")) == [f"danger.{rung}"]
    shy = replace(begin(persona), alliance=0.05)
    assert ids(answer_of(persona, shy, asking(acts=RISK), "do you want to die?")) == ["danger.guarded"]


@pytest.mark.parametrize("persona", [p for p in personas("dev") if p.risk and p.case.danger], ids=lambda p: p.id)
def test_a_danger_that_came_out_as_a_fact_is_known_and_planned_for(persona: Persona) -> None:
    dark = next(fact for fact in persona.facts if fact.risk)
    step = Appraisal(frozenset({"plan_step", "open_question"}), 0.5, 12)
    for told, expected in (((), False), ((dark,), True)):
        answer = answer_of(persona, trusting(persona, told=told), step, "what are the first signs?")
        assert (answer is not None and ids(answer) == ["danger.signs"]) is expected


def test_a_plain_question_behind_a_danger_is_answered_as_what_it_is() -> None:
    known = trusting(AT_RISK, answered=("danger.asked",), danger="open")
    assert ids(answer_of(AT_RISK, known, asking("food"), "have you eaten?")) == ["life.food"]


# --- What follows by itself ----------------------------------------------------------------------------------------
def test_the_nearest_is_told_and_never_twice() -> None:
    latent = trusting(SAFE)
    item = items_of(SAFE)["life.family"]
    found = nearest(SAFE, latent, Appraisal(ASKS, 0.5, 8), " ".join(item.lines).lower())
    assert found is not None and found.id == "life.family"
    again = nearest(SAFE, replace(latent, answered=("life.family",)), Appraisal(ASKS, 0.5, 8), item.lines[0].lower())
    assert again is not None and again.id != "life.family"


def test_a_reflection_that_adds_opens_what_needs_a_step_more_of_trust() -> None:
    latent = replace(begin(SAFE), alliance=0.2)
    deep = {item.id for item in items_of(SAFE).values() if item.depth > 1}
    spoken = " ".join(" ".join(item.lines) for item in items_of(SAFE).values() if item.id == "beliefs.rules").lower()
    plain = nearest(SAFE, latent, Appraisal(frozenset({"complex_reflection"}), 0.5, 8), spoken)
    added = nearest(SAFE, latent, Appraisal(frozenset({"complex_reflection"}), 0.5, 8, addition=0.9), spoken)
    assert plain is not None and plain.id not in deep and added is not None and added.id == "beliefs.rules"


@pytest.mark.parametrize(
    ("changes", "item"), [({"uptake": 0.0}, "replies.wrong"), ({"echo": 0.9, "words": 9}, "replies.echo")], ids=str
)
def test_a_wrong_reflection_and_an_echo_are_told_as_such(changes: dict[str, float], item: str) -> None:
    turn = replace(Appraisal(frozenset({"simple_reflection"}), 0.5, 8), **changes)  # type: ignore[arg-type]
    assert ids(answer_of(SAFE, trusting(SAFE), turn, "so it is this")) == [item]


def played(persona: str, turns: Sequence[str]) -> list[str]:
    batch = SessionBatch()
    batch.reset([Start(seed=3, persona=persona)])
    return [turn.line.text for text in turns if (turn := batch.step([text])[0]) is not None and turn.line is not None]


def test_twelve_plain_questions_get_twelve_answers() -> None:
    questions = [
        "How old are you?", "Who do you live with?", "What do you do for work?", "How have you been sleeping?",
        "Do you take any medication?", "Have you had therapy before?", "Do you drink?", "Have you any children?",
        "What does your day look like?", "When did it begin?", "What makes it worse?",
        "What would you like to be different?",
    ]  # fmt: skip
    told = played("marta", questions)
    file = items_of(find("marta"))
    kinds = (
        "age",
        "home",
        "work",
        "sleep",
        "medication",
        "earlier_help",
        "drink",
        "children",
        "days",
        "began",
        "worse",
        "goal",
    )
    places = [next(i for i in file if i.endswith(f".{kind}")) for kind in kinds]
    # The first sentence of an answer may be all of it.
    begun = [
        {part for line in file[place].lines for part in (line, re.split(r"(?<=[.!?])\s+", line)[0])} for place in places
    ]
    right = [said in lines for lines, said in zip(begun, told, strict=True)]
    assert len(set(told)) == 12 and sum(right) >= 11


PLAY = """
from therapysim.agents.sessions.episode import play
from therapysim.agents.therapists.baselines import baseline
from therapysim.envs.batch import SessionBatch, SessionConfig, Start
from therapysim.personas.load import find, personas
batch = SessionBatch(SessionConfig(max_turns=12))
for done in play(batch, baseline("neutral"), [Start(4, p.id) for p in (*personas("dev"), find("jude"))]):
    print([message.text for message in done.session.transcript], done.session.latent)
"""


def test_equal_seeds_give_equal_sessions_in_any_process() -> None:
    """Python orders sets of words by another seed in each process; no line may hang on it."""
    told = [
        subprocess.run([sys.executable, "-c", PLAY], env=os.environ | {"PYTHONHASHSEED": seed}, capture_output=True,
                       text=True, check=True).stdout
        for seed in ("1", "2")
    ]  # fmt: skip
    assert told[0].count("Latent(") == len(personas("dev")) + 1 and told[0] == told[1]


def test_what_keeps_somebody_alive_is_asked_for_the_dangers_sake_right_after_it_was_told() -> None:
    asked = asking("days", acts=frozenset({"open_question", "protective_factors"}))
    told = trusting(AT_RISK, answered=("danger.asked",), danger="open")
    assert ids(answer_of(AT_RISK, told, asked, "what gets you through your days?")) == ["danger.protects"]
    assert ids(answer_of(AT_RISK, told, asking("days"), "what are your days like?")) == ["life.days"]
    later = replace(told, answered=("danger.asked", "life.work"))
    assert ids(answer_of(AT_RISK, later, asked, "what gets you through?")) == ["life.days"]
