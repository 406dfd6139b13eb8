"""ELIZA: the mechanism, piece by piece, on a script of the test's own; then DOCTOR."""

from pathlib import Path

import pytest
import yaml

from therapysim.agents.sessions.episode import play
from therapysim.agents.therapists.baselines import baseline
from therapysim.agents.therapists.eliza import Eliza, take_apart
from therapysim.agents.therapists.script import DOCTOR, read_script
from therapysim.envs.batch import SessionBatch, SessionConfig, Start
from therapysim.errors import ConfigError

SMALL = {
    "ends": [".", ",", "but"],
    "classes": {"kin": ["mother", "brother"]},
    "mend": {"you was": "you were", "to i": "to me"},
    "none": ["Mm.", "Go on."],
    "memory": {"keyword": "my", "find": "0 your 0", "say": ["Back to your {3}."]},
    "keywords": {
        "i": {
            "becomes": "you",
            "rules": [
                {"find": "0 you (*want need) 0", "say": ["Why {3} {4}?", "And if you had {4}?"]},
                {"find": "0 you wonder 0", "say": ["=what"]},
                {"find": "0 you left 0", "say": ["newkey"]},
                {"find": "0 you 0", "say": ["You {3}?"]},
            ],
        },
        "me": {"becomes": "you"},
        "you": {"becomes": "I", "rules": [{"find": "0 I 1 you", "say": ["Do I {3} you?"]}]},
        "my": {
            "becomes": "your",
            "rank": 2,
            "rules": [
                {"find": "0 your (/kin) 0", "say": ["Your {3}?"]},
                {"find": "0 your 0", "say": ["Your {3}, then."]},
            ],
        },
        "dont": {"becomes": "don't"},
        "i'm": {"becomes": "you're", "rules": [{"find": "0 you're 0", "say": [{"pre": "you are {3}", "use": "i"}]}]},
        "what": {"rules": [{"find": "0", "say": ["Why ask?"]}]},
        "how": {"use": "what"},
        "dream": {"rank": 5, "rules": [{"find": "0", "say": ["A dream?"]}]},
        "loop": {"rules": [{"find": "0", "say": ["=pool"]}]},
        "pool": {"rules": [{"find": "0", "say": ["=loop"]}]},
    },
}


def written(folder: Path, told: object) -> Path:
    path = folder / "script.yaml"
    path.write_text(yaml.safe_dump(told), encoding="utf-8")
    return path


@pytest.fixture
def small(tmp_path: Path) -> Eliza:
    return Eliza(read_script(written(tmp_path, SMALL)))


@pytest.mark.parametrize(
    ("find", "words", "parts"),
    [
        ("0", "", ("",)),
        ("0 you 0", "now you see", ("now", "you", "see")),
        ("0 you 0", "you say you see", ("", "you", "say you see")),
        ("0 you 1 me", "now you hate me", ("now", "you", "hate", "me")),
        ("0 you 1 me", "now you do hate me", None),
        ("2 me", "do me", None),
        ("0 (*sad low) 0", "very Low today", ("very", "Low", "today")),
        ("0 (/kin) 0", "your brother rang", ("your", "brother", "rang")),
        ("0 (/kin) 0", "your cousin rang", None),
        ("you", "you see", None),
    ],
)
def test_a_pattern_takes_words_apart(find: str, words: str, parts: tuple[str, ...] | None) -> None:
    pieces = find.replace("(*sad low)", "(*sad_low)").split()
    pieces = [piece.replace("_", " ") for piece in pieces]
    assert take_apart(pieces, words.split(), {"kin": frozenset({"brother"})}) == parts


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        ("I need rest", "Why need rest?"),  # alternatives, and pronouns turned
        ("It rained, then I slept. I need rest", "You slept?"),  # the first clause with a keyword; what follows is cut
        ("It rained but I slept", "You slept?"),  # a word may end a clause, too
        ("I told my mother", "Your mother?"),  # the higher keyword goes first; a class
        ("I told my friend", "Your friend, then."),
        ("my dream of what I want", "A dream?"),  # ranked above the rest, wherever it stands
        ("I wonder", "Why ask?"),  # a link to another keyword
        ("How so", "Why ask?"),  # a keyword that uses another's rules
        ("I'm left alone", "You are left alone?"),  # put in other words first
        ("What I left", "Why ask?"),
        ("I left what I had", "Why ask?"),  # newkey: on to the next keyword of the clause
        ("Do you mock me", "Do I mock you?"),
        ("I dont know", "You don't know?"),
        ("I say I was late to you", "You say you were late to me?"),  # verbs and cases put right
        ("Loop", "Mm."),  # links that go round end with no answer
        ("", "Mm."),
    ],
)
def test_one_turn(small: Eliza, said: str, answer: str) -> None:
    assert small.reply(said) == answer


def test_each_rule_goes_through_its_own_answers_in_turn(small: Eliza) -> None:
    talk = ["I want tea", "I want air", "Rain", "I want tea", "Snow", "Hail"]
    assert [small.reply(said) for said in talk] == [
        "Why want tea?", "And if you had air?", "Mm.", "Why want tea?", "Go on.", "Mm.",
    ]  # fmt: skip


def test_the_seed_moves_where_the_answers_begin(tmp_path: Path) -> None:
    script = read_script(written(tmp_path, SMALL))
    assert Eliza(script, 1).reply("I want tea") == "And if you had tea?"
    assert Eliza(script, 2).reply("I want tea") == "Why want tea?"


def test_what_was_said_of_ones_own_comes_back_where_nothing_fits(small: Eliza) -> None:
    talk = ["My cat died", "my brother rang", "Rain", "I slept", "Snow", "Hail"]
    assert [small.reply(said) for said in talk] == [
        "Your cat died, then.", "Your brother?", "Back to your cat died.", "You slept?", "Back to your brother rang.",
        "Mm.",
    ]  # fmt: skip


def altered(**changes: object) -> dict[str, object]:
    return {**SMALL, **changes}


def keyword(**rules: object) -> dict[str, object]:
    return altered(keywords={**SMALL["keywords"], "bad": rules})  # type: ignore[dict-item]


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ([], r"the content is \[\], expected a mapping of ends, classes, mend"),
        ({k: v for k, v in SMALL.items() if k != "none"}, "none is missing, expected a list of at least 1 texts"),
        (altered(none=[]), "none is a list of 0, expected a list of at least 1"),
        (altered(memory={"keyword": "mine", "find": "0", "say": ["x"]}), "'mine' is unknown"),
        (keyword(rang=3), "keywords.bad.rang is an unknown field; did you mean 'rank'"),
        (keyword(use="gone"), "'bad' uses 'gone', which is no keyword"),
        (keyword(rules=[{"find": "0", "say": ["=gone"]}]), "'bad' links to 'gone'"),
        (keyword(rules=[{"find": "0", "say": [{"pre": "x", "use": "gone"}]}]), "'bad' links to 'gone'"),
        (keyword(rules=[{"find": "0 you", "say": ["So {3}?"]}]), "part 3 is none of its pattern's 2"),
        (keyword(rules=[{"find": "0 (/pets)", "say": ["So?"]}]), "class 'pets'"),
        (keyword(rules=[{"find": "0", "say": []}]), "without pattern or answers"),
        (keyword(rules=[{"find": 0, "say": ["x"]}]), r"keywords.bad.rules\[0\].find is 0, expected a text"),
        (keyword(rank=True), "keywords.bad.rank is True, expected a whole number"),
        (altered(mend={"you was": None}), "mend.you was is empty, expected a text"),
        (keyword(rules=[{"find": "0", "say": [3]}]), r"keywords.bad.rules\[0\].say\[0\] is 3, expected a text"),
    ],
)
def test_a_wrong_script_is_refused(tmp_path: Path, told: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_script(written(tmp_path, told))


def test_a_script_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.yaml"):
        read_script(tmp_path / "none.yaml")


# --- DOCTOR --------------------------------------------------------------------------------------------------------


def test_doctor_has_the_papers_keywords_and_ranks() -> None:
    keywords = read_script(DOCTOR).keywords
    named = (
        "sorry remember if dreamt dream how what when alike same like certainly perhaps name hello computer am are "
        "your was i you yes no my can is because why everyone everybody always think"
    )
    assert set(named.split()) <= set(keywords)
    ranks = {"computer": 50, "name": 15, "alike": 10, "remember": 5, "dreamt": 4, "dream": 3, "if": 3, "my": 2, "i": 0}
    assert {word: keywords[word].rank for word in ranks} == ranks


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        ("They are all the same.", "In which way?"),  # same above are
        ("My mother looks after me.", "I should like to hear more of your family."),
        ("I am unhappy.", "I regret to hear that you are unhappy."),
        ("You are afraid of me.", "From what do you gather that I am afraid of you?"),
        ("You never argue with me.", "Why is it your idea that I never argue with you?"),
        ("I need some help.", "What would having some help mean for you?"),
        ("I was late again.", "Were you indeed?"),
        ("Was I rude?", "And if you were rude?"),
        ("Nobody rings.", "Is it really so, nobody?"),
        ("I'm a coward.", "Did you come to me because you are a coward?"),
        ("I remember the lake.", "How often do you think of the lake?"),
        ("Perhaps it will pass.", "That did not sound certain."),
        ("I dreamt of the sea.", "Truly, of the sea?"),
        ("Can you help me?", "So you believe that I can help you?"),
        ("It is like a wall.", "In which way?"),
        ("It is a wall.", "Suppose that it were not a wall?"),
        ("I cannot sleep.", "What tells you that you can't sleep?"),
        ("Why don't you answer?", "Is it your belief that I don't answer?"),
        ("Bullies everywhere.", "I am not certain that I follow you."),
    ],
)
def test_doctor_answers(said: str, answer: str) -> None:
    assert Eliza(read_script()).reply(said) == answer


def test_doctor_comes_back_to_what_a_patient_said_before() -> None:
    """The well-known exchange's course: a likeness, always, a person behind it, one's own, and at last a memory."""
    talk = ["Everyone is alike.", "They always want something.", "Well, my sister sent me.", "She says I am sad a lot."]
    doctor = Eliza(read_script())
    answers = [doctor.reply(said) for said in [*talk, "Bullies."]]
    assert answers == [
        "In which way?", "Could you give one occasion?", "I should like to hear more of your family.",
        "I regret to hear that you are sad.", "Let us come back to this: why do you say your sister sent you?",
    ]  # fmt: skip


def test_the_baseline_is_the_conversation_gone_through_from_its_start() -> None:
    batch, therapist = SessionBatch(SessionConfig(max_turns=6)), baseline("eliza")
    (episode,) = play(batch, therapist, [Start(3)])
    doctor = Eliza(read_script(), 3)
    said = episode.session.transcript
    assert said.said_by("therapist") == [doctor.reply(text) for text in said.said_by("patient")[:-1]]
