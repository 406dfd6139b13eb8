"""Uptake, addition, echo and frame; what is speech; which language."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.rewards.test_rewards import judged
from therapysim.rewards.reading.acts import REFLECTIONS
from therapysim.rewards.reading.language import language
from therapysim.rewards.reading.speech import noise, speech
from therapysim.rewards.reading.uptake import addition, echo, frame, swapped, unsaid, uptake

WORDS = "I keep the light on in the hall, because my brother used to come home late."


@pytest.mark.parametrize(
    ("turn", "expected"),
    [
        ("You keep the light on in the hall, because your brother used to come home late.", 1.0),
        ("As if he might still need to find the door.", 0.0),
        ("The light.", 0.0),  # two words are nobody's run
        ("How long have you done it?", 0.0),
        ("", 0.0),
    ],
)
def test_runs_of_the_patients_words_are_an_echo(turn: str, expected: float) -> None:
    assert echo(turn, [WORDS]) == pytest.approx(expected)


def test_a_question_hung_on_an_echo_does_not_make_it_less() -> None:
    turned = "you keep the light on in the hall, because your brother used to come home late"
    framed = f"I heard that {turned}. How do you feel about this?"
    assert echo(framed, [WORDS]) > 0.8
    assert echo(framed, [WORDS]) == pytest.approx(echo(f"I heard that {turned}.", [WORDS]))
    assert echo(framed, []) == 0.0 and echo(framed, ["Good morning.", WORDS]) == echo(framed, [WORDS])


def test_pronouns_are_one_word_from_either_side() -> None:
    assert swapped("I'm glad MY mother was here") == swapped("you're glad your mother were here")


def test_a_frame_is_what_comes_back_without_the_patients_words() -> None:
    patient = ["The allotment is all weeds.", "My knees hurt."]
    first = "Weeds, so sad for you. What is the allotment to you?"
    again = "Knees, so sad for you. What is the hurt to you?"
    assert frame(again, [first], patient) > 0.9
    assert frame("And who would notice, if it grew over?", [first], patient) < 0.3
    assert frame(again, [], patient) == 0.0 and frame("", [first], patient) == 0.0


def test_sentences_that_begin_as_two_turns_before_are_a_frame_by_their_words() -> None:
    earlier = [
        "You feel a sense of loss. Can you tell me more about the garden?",
        "You feel a longing for quiet mornings there. Can you tell me what changed?",
    ]
    again = "You feel a pull towards the empty chair by the window. Can you tell me who sat in it?"
    other = "That chair has become hers. Can you tell me who sat in it?"
    assert frame(again, earlier, []) == 1.0
    assert frame(again, earlier[:1], []) < 0.4  # once is no formula
    assert frame(other, earlier, []) == pytest.approx(8 / 13)  # by words, the second sentence alone
    assert frame("No.", earlier, []) == 0.0


def test_uptake_and_addition_by_hand() -> None:
    assert uptake({"ties": 0.9}, 0.25) == pytest.approx(0.6) and uptake({"ties": 0.4}, 0.0) == 0.0
    assert addition({"complex_reflection": 0.8, "summary": 0.2}, 0.5) == pytest.approx(0.4)
    assert uptake({}, 0.0) == addition({}, 0.0) == 0.0


def test_meaning_taken_up_in_other_words_is_above_words_handed_back() -> None:
    mine = judged("As long as it burns, he might still come up the path.", WORDS)
    back = judged("I heard that you keep the light on in the hall, because your brother used to come home late.", WORDS)
    elsewhere = judged("What would you like to eat on Sunday?", WORDS)
    assert mine.uptake > max(back.uptake, elsewhere.uptake) + 0.2
    assert back.addition <= 0.1 < mine.addition and back.echo > 0.8 > mine.echo


# Speech


@pytest.mark.parametrize(
    ("text", "heard", "share"),
    [
        ("I hear you.", "I hear you.", 0.0),
        ("I hear you.<unk><unk>", "I hear you.", 0.4),
        ("<think>Be kind to him.</think>I hear you.", "I hear you.", 4 / 7),
        ("I hear you. <think>and then", "I hear you.", 0.4),  # reasoning that was never closed
        ("<|im_start|>I hear you.<|im_end|>", "I hear you.", 0.4),
        ("[INST]", "", 1.0),
        ("5 < 6, and [she] said so", "5 < 6, and [she] said so", 0.0),
        ("", "", 0.0),
    ],
)
def test_special_tokens_and_reasoning_are_no_speech(text: str, heard: str, share: float) -> None:
    assert speech(text) == heard and noise(text) == pytest.approx(share)


def test_what_is_no_speech_makes_a_turn_worse_and_changes_no_act() -> None:
    plain = judged("You are dreading the drive home.", "I have to drive home tonight.")
    noisy = judged("You are dreading the drive home." + " <unk>" * 20, "I have to drive home tonight.")
    assert noisy.acts == plain.acts and noisy.order < 0.4 < plain.order and noisy.prose < plain.prose


# Language


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Cuéntame un poco más, por favor.", "es"),
        ("你愿意多说一点吗？", "zh"),
        ("Σας ακούω, πείτε μου κι άλλα.", "el"),
        ("Was ging dir da durch den Kopf?", "de"),
        ("Mm-hm.", "en"),
        ("Go on.", "en"),
        ("Aye, ye cannae sleep.", "en"),
        ("Kindly tell me how you have been passing these months, no?", "en"),
        ("", "en"),
        ("... 42 ...", "en"),
    ],
)
def test_languages(text: str, expected: str) -> None:
    assert language(text) == expected


def test_a_turn_in_another_language_is_unknown() -> None:
    found = judged("你愿意多说一点吗？", WORDS)
    assert found.language == "zh" and not found.acts and found.uptake == 0.0 and not found.chances
    assert np.isclose(found.order, 1.0)


def test_claims_of_what_was_never_said_are_found_and_true_reports_left_alone() -> None:
    """Of a writer who saw no detector. The opposite of what was said, in its own words, passes unseen."""
    path = Path(__file__).parents[1] / "data" / "claims.jsonl"
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    found = {said: sum(unsaid(r["turn"], r["patient"]) for r in rows if r["said"] is said) for said in (False, True)}
    assert len(rows) == 48 and found[False] >= 11 and found[True] <= 1


def test_a_claim_of_what_was_never_said_gives_nothing_back() -> None:
    claim = "A minute ago you told me that you feel wonderful and that all the sadness has left you."
    made_up, true = judged(claim, "I sleep badly."), judged(claim, "I feel wonderful, all the sadness has left me.")
    assert not made_up.acts & REFLECTIONS and made_up.uptake == made_up.addition == 0.0
    assert true.acts & REFLECTIONS
