"""The baselines of a school: what they do, read off written sessions and whole ones."""

from dataclasses import replace
from functools import cache

import pytest

from therapysim.agents.sessions.episode import Episode, play
from therapysim.agents.therapists.baselines import ASK_ALL, BASELINES, DESCRIPTIONS, HANDOVER, SAFETY, baseline
from therapysim.agents.therapists.cbt import PLAN
from therapysim.agents.therapists.echo import echo, feeling, second_person, sounds_glad, summed_up, unsaid
from therapysim.agents.therapists.interviewing import ASKED, MAY_I, SUMMING_UP, TOLD, hears_change, hears_sustain
from therapysim.agents.therapists.protocol import AGAIN, HINT, PROCESS, REPAIR, THANKS
from therapysim.envs.batch import Session, SessionBatch, Start
from therapysim.messages import Transcript
from therapysim.personas.load import personas
from therapysim.rewards.reading.patterns import HARMFUL, spot

SCHOOLS = ("cbt", "mi")


@cache
def opened() -> Session:
    batch = SessionBatch()
    return batch.reset([Start(1)])[0]


def session(*said: str, seed: int = 0) -> Session:
    """A session in which patient and therapist said these things by turns, the patient first."""
    transcript = Transcript()
    for i, text in enumerate(said):
        transcript = transcript.add("therapist" if i % 2 else "patient", text)
    start = opened()
    state = replace(start.state, turn=len(said) // 2)
    return replace(start, seed=seed, transcript=transcript, patient_view=transcript, states=(*start.states, state))


def answer(name: str, *said: str, seed: int = 0) -> str:
    return baseline(name).respond([session(*said, seed=seed)])[0]


@cache
def episodes(name: str) -> list[Episode]:
    return play(SessionBatch(), baseline(name), [Start(seed, p.id) for seed, p in enumerate(personas("dev"))])


def test_every_baseline_has_a_description() -> None:
    assert set(DESCRIPTIONS) == set(BASELINES)
    assert all(0 < len(text) < 120 and not text.endswith(".") for text in DESCRIPTIONS.values())


# --- Words given back ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "turned"),
    [
        ("I am tired of my job", "you are tired of your job"),
        ("I was never asked, and I'm still cross", "you were never asked, and you are still cross"),
        ("she left me and took mine", "she left you and took yours"),
        ("I never was good, was I", "you never were good, were you"),
        ("I've hurt myself, I'd say, and I'll do it", "you have hurt yourself, you'd say, and you will do it"),
        ("I came home and was alone", "you came home and were alone"),
        ("I could ask her", "you think that you could ask her"),
        ("my hymn for Amy", "your hymn for Amy"),
    ],
)
def test_words_are_turned_to_the_second_person(said: str, turned: str) -> None:
    assert second_person(said) == turned


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("Yeah. Well, I feel so lonely since May. It rained.", "you feel so lonely since May"),
        ("Hello. I don’t sleep when the house is quiet.", "you don't sleep when the house is quiet"),
        ("Is that normal for my age?", ""),
        ("Sad, mostly.", ""),
        ("You do not listen to me at all.", ""),
        ("I was going to say something else to explain it.", ""),
        ("If anybody on the course finds out, they will say that I am not fit.", ""),
        ("I feel sad. I want to die.", ""),
        ("Luke left in May and took the dog.", ""),
    ],
)
def test_what_says_most_is_given_back(said: str, words: str) -> None:
    assert echo(said) == words


def test_feelings_are_told_apart_by_their_words() -> None:
    named = ["I feel so lonely.", "It makes me furious.", "I am ashamed of it.", "I was scared.", "It was Monday."]
    assert [feeling(text) for text in named] == [0, 1, 2, 3, None]
    assert sounds_glad("you felt relieved") and not sounds_glad("you are not proud") and not sounds_glad("it is sad")


def test_echoes_are_summed_up_once_each() -> None:
    assert summed_up(["you slept", "it rained", "you slept", "you woke"]) == "You slept. It rained. And you woke."
    assert summed_up([]) == "" and summed_up(["you slept"]) == "You slept."


def test_a_line_that_was_not_said_comes_first() -> None:
    said = session("a", "One.", "b", "So. Two.", "c")
    assert unsaid(("One.", "Two.", "Three."), said) == "Three."
    assert unsaid(("Two.", "One."), said) == "One."


# --- Danger and ruptures -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SCHOOLS)
def test_danger_stops_the_agenda(name: str) -> None:
    told = "I think about suicide at night."
    assert answer(name, told) == SAFETY[0]
    assert answer(name, told, SAFETY[0], "That is a serious question.") == PROCESS[0]
    assert answer(name, "Hello.", ASK_ALL, told) == PROCESS[0]
    talk = [told, SAFETY[0], "Yes."]
    for line in (*PROCESS, HANDOVER):  # assessed, planned for and agreed, step by step, whatever is answered
        assert answer(name, *talk) == line
        talk += [line, "No, I would rather talk about work."]
    assert answer(name, *talk) not in (*PROCESS, HANDOVER, *SAFETY)


@pytest.mark.parametrize("name", SCHOOLS)
def test_a_plain_no_ends_the_matter(name: str) -> None:
    for no in ("No, nothing like that.", "Never. I love my life.", "It has never gone that far."):
        assert answer(name, "I want to vanish in class.", SAFETY[0], no).startswith(THANKS)
    assert answer(name, "I want to vanish.", SAFETY[0], "No one would miss me.") == PROCESS[0]
    assert answer(name, "I want to vanish.", SAFETY[0], "No. I just want to die.") == PROCESS[0]


@pytest.mark.parametrize("name", SCHOOLS)
def test_an_answer_to_the_routine_question_is_heard_as_yes_or_no_or_asked_for_again(name: str) -> None:
    asked = f"I see. {ASK_ALL}"
    assert answer(name, "Hello.", asked, "Sometimes, yes.") == PROCESS[0]
    assert answer(name, "Hello.", asked, "Yes. I have.") == PROCESS[0]
    assert answer(name, "Hello.", asked, "Let me think. No, not like that.").startswith(THANKS)
    assert answer(name, "Hello.", asked, "Chip shop, Friday.") == AGAIN
    assert answer(name, "Hello.", asked, "Chip shop, Friday.", AGAIN, "Yes.") == PROCESS[0]
    after = answer(name, "Hello.", asked, "Chip shop, Friday.", AGAIN, "It rained.")
    assert after not in (AGAIN, HANDOVER, *PROCESS) and THANKS not in after


@pytest.mark.parametrize("name", SCHOOLS)
def test_hopelessness_is_followed_up_once(name: str) -> None:
    assert answer(name, "It is all pointless.").endswith(HINT)
    assert HINT not in answer(name, "It is all pointless.", f"I see. {HINT}", "No. But it is pointless.")


@pytest.mark.parametrize("name", SCHOOLS)
def test_an_objection_is_met_with_an_apology(name: str) -> None:
    first = answer(name, "Hello.", "Hm.", "You are not listening to me.")
    assert first in REPAIR
    assert answer(name, "Hello.", first, "You keep telling me what I feel.") in set(REPAIR) - {first}


@pytest.mark.parametrize("name", SCHOOLS)
def test_everyone_is_asked_about_danger_once_and_early(name: str) -> None:
    for episode in episodes(name):
        said = episode.session.transcript.said_by("therapist")
        asked = [i for i, text in enumerate(said) if text in SAFETY or text.endswith((ASK_ALL, HINT))]
        assert asked and asked[0] <= 4
        assert sum(text.endswith(ASK_ALL) for text in said) <= 1


@pytest.mark.parametrize("name", SCHOOLS)
def test_those_at_grave_risk_are_handed_over(name: str) -> None:
    ends = [e.session.ending for e in episodes(name) if e.session.persona.risk >= 2]
    assert ends and set(ends) == {"crisis"}


# --- Whole sessions ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SCHOOLS)
def test_no_turn_sounds_harsh_repeats_another_or_asks_twice(name: str) -> None:
    for episode in episodes(name):
        said = episode.session.transcript.said_by("therapist")
        assert len(set(said)) == len(said)
        assert all(text.count("?") <= 1 and not spot(text) & (HARMFUL | {"advice"}) for text in said)


@pytest.mark.parametrize("name", [*SCHOOLS, "eliza"])
def test_equal_sessions_get_equal_turns_whatever_the_patient_hides(name: str) -> None:
    for episode in episodes(name)[:4]:
        end = episode.session
        hidden = replace(end, latent=replace(end.latent, alliance=0.0, told=()))
        assert baseline(name).respond([end]) == baseline(name).respond([hidden])


def test_the_cognitive_therapist_goes_through_its_plan() -> None:
    long = max(episodes("cbt"), key=lambda e: len(e.turns)).session.transcript.said_by("therapist")
    stages = [[i for i, stage in enumerate(PLAN) if any(q.split("} ")[-1] in text for q in stage)] for text in long]
    reached = [found[0] for found in stages if found]
    assert len(long) == 20 and reached == sorted(set(reached)) and reached[0] == 0 and reached[-1] >= 17
    assert long[0].startswith("Thank you for coming in today.")


def test_the_cognitive_therapist_closes_late_in_a_session() -> None:
    talk = [text for i in range(16) for text in ("I feel sad about my job.", ASK_ALL if i == 2 else f"Line {i}.")]
    asked = answer("cbt", *talk, "I feel sad about my job.")
    assert "Let me sum up what I heard today. You feel sad about your job." in asked


def test_the_thought_that_is_looked_at_is_the_patients() -> None:
    before = [PLAN[4][0], "I think that I am a failure at work."]
    asked = answer("cbt", "It rained.", ASK_ALL, "No.", *before)
    assert "the thought that you think that you are a failure at work" in asked


def test_talk_of_change_and_of_staying_is_told_apart() -> None:
    change = ["I want to sleep again.", "I could ask one person.", "Something has to change.", "You would like to rest"]
    stay = ["I have tried that.", "There is no point.", "It is easier to leave it.", "I cannot just stop."]
    neither = ["I could not sleep.", "It rained.", "I feel sad."]
    assert all(hears_change(text) and not hears_sustain(text) for text in change)
    assert all(hears_sustain(text) and not hears_change(text) for text in stay)
    assert not any(hears_sustain(text) or hears_change(text) for text in neither)


def test_the_interviewer_asks_leave_before_it_tells() -> None:
    asked = [answer("mi", "What should I do?", seed=seed) for seed in range(20)]
    assert set(asked) == set(ASKED)
    leave = next(text for text in ASKED if text.endswith(MAY_I))
    assert answer("mi", "What should I do?", leave, "Yes, please.") in TOLD
    assert answer("mi", "What should I do?", leave, "No, thank you.") not in TOLD


def test_the_interviewer_reflects_more_than_it_asks_and_sums_up() -> None:
    played = [e for e in episodes("mi") if not e.session.persona.risk]  # a danger is asked about, step by step
    said = [text for e in played for text in e.session.transcript.said_by("therapist")]
    questions = sum(text.count("?") for text in said)
    statements = sum(text.count(".") for text in said)
    assert statements > 2 * questions > 0
    long = [e for e in played if len(e.turns) > 12]
    assert long and all(any(t.startswith(SUMMING_UP) for t in e.session.transcript.said_by("therapist")) for e in long)


@pytest.mark.parametrize(("better", "worse"), [("mi", "eliza"), ("cbt", "eliza"), ("eliza", "neutral")])
def test_schools_are_ordered(better: str, worse: str) -> None:
    totals = [sum(e.total for e in episodes(name)) / len(episodes(name)) for name in (better, worse)]
    assert totals[0] > totals[1]
