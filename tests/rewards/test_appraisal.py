"""What is judged of a turn: which acts are decided, and what is counted of it as it stands."""

from typing import Any

import numpy as np
import pytest

from tests.measures.reading import HERE, auc, rows_of
from tests.rewards.test_rewards import appraiser, judged, reading
from therapysim.rewards.reading.acts import ACTS, ANY_HARM, ANY_REFLECTION, HARMS, chance, decide, meets_danger
from therapysim.rewards.reading.appraisal import Said, _same
from therapysim.rewards.reading.emotions import shipped_sensor
from therapysim.rewards.reading.reader import open_reader
from therapysim.state import Appraisal

HEARD = "Grief shame anger regret loneliness"


def test_turns_are_the_same_above_seven_tenths_and_two_without_words_are() -> None:
    ten = [f"w{c}" for c in "abcdefghij"]
    assert not _same(frozenset(ten), frozenset(ten[:7])) and _same(frozenset(ten), frozenset(ten[:8]))
    assert _same(frozenset(), frozenset()) and not _same(frozenset(ten), frozenset())


# --- Acts ----------------------------------------------------------------------------------------------------------


def decided(**chances: float) -> set[str]:
    return set(decide(chances, dict.fromkeys([*ACTS, ANY_HARM, ANY_REFLECTION], 0.5)))


def test_an_act_is_there_from_its_threshold_on() -> None:
    assert decided(advice=0.5, validation=0.49) == {"advice"} and decided() == set()
    assert decide({"advice": 0.99}, {}) == frozenset()  # no threshold, no act


def test_a_reflection_is_one_where_any_is_likely_and_of_the_likelier_kind() -> None:
    assert decided(any_reflection=0.5, simple_reflection=0.2, complex_reflection=0.3) == {"complex_reflection"}
    assert decided(any_reflection=0.5, simple_reflection=0.3, complex_reflection=0.2) == {"simple_reflection"}
    assert decided(any_reflection=0.49, complex_reflection=0.9) == set()


def test_a_harm_holds_where_any_is_likely_too_and_where_one_is_sure_the_likeliest_does() -> None:
    assert decided(any_harm=0.49, blame=0.9) == set()
    assert decided(any_harm=0.89, blame=0.3, isolation=0.2) == set()
    assert decided(any_harm=0.9, blame=0.3, isolation=0.2) == {"blame"}
    assert decided(any_harm=0.5, blame=0.6, isolation=0.5, fatalism=0.4) == {"blame", "isolation"}


def test_a_harm_in_plain_words_is_found_whatever_the_reader_says() -> None:
    assert decide({}, {}, frozenset({"invalidation", "open_question"})) == {"invalidation"}
    assert "invalidation" in judged("Get over it.").acts and "confrontation" in judged("Shut up.").acts


def test_a_heap_of_words_does_nothing_whatever_the_reader_says() -> None:
    heap = "these so all for years you what after and left you it hurts when he that feel like was alone"
    assert decide(judged(heap).chances, open_reader().thresholds) and not judged(heap).acts


def test_a_turn_that_incites_does_nothing_else() -> None:
    assert decided(any_harm=0.9, incitement=0.9, confrontation=0.8, advice=0.9) == {"incitement", "confrontation"}


def test_a_danger_is_met_by_any_step_and_by_none_that_makes_it_small() -> None:
    assert meets_danger(frozenset({"risk_frequency"})) and meets_danger(frozenset({"plan_step", "advice"}))
    assert not meets_danger(frozenset({"open_question"})) and not meets_danger(frozenset())
    assert not meets_danger(frozenset({"signposting", "dismissing_danger"}))
    assert not meets_danger(frozenset({"contact_agreed", "danger_secrecy"})) and set(HARMS) < set(ACTS)


def test_a_chance_is_the_readers_and_else_whether_the_act_is_there() -> None:
    turn = Appraisal(frozenset({"advice", "apology"}), 0.0, 9, chances={"advice": 0.6, "validation": 0.2})
    assert [chance(turn, act) for act in ("advice", "validation", "apology", "farewell")] == [0.6, 0.2, 1.0, 0.0]


# --- The whole -----------------------------------------------------------------------------------------------------


def test_a_turn_is_counted_as_it_stands() -> None:
    found = judged("What is it? I see. Why? 42", "I am low.")
    assert (found.questions, found.words, found.repeats, found.prose) == (2, 6, 0, pytest.approx(found.order))
    assert judged("Tell me.", earlier=("Tell me.", "tell ME", "Go on.")).repeats == 2


def test_blank_text_is_silence_alone() -> None:
    for text in ("", " \n\t", "<unk>"):
        assert judged(text, "Hello.").acts == {"silence"}


def test_a_summary_is_read_beside_what_was_said_long_before() -> None:
    early = "My mother died in the spring and I never cleared out her flat."
    said = Said((early, "Work is fine.", "I sleep badly.", "The dog is well."), ())
    text = "Her flat still stands as she left it since the spring, and the nights are where you pay for it."
    turns = shipped_sensor().read([text])
    whole, last = (appraiser()(turns, [s])[0] for s in (said, Said(said.patient[-1:])))
    assert whole.uptake > last.uptake + 0.2


@pytest.mark.parametrize(("which", "floor"), [("dev", 0.87), ("blind", 0.79)])
def test_turns_that_miss_what_was_meant_take_up_less_than_turns_that_meet_it(which: str, floor: float) -> None:
    """Same words, same manner, other meaning; of writers whose lines were not learnt from."""
    rows = [row for row in rows_of(HERE / "meaning.jsonl") if row["set"] == which]
    turns = shipped_sensor().read([row["text"] for row in rows])
    found = appraiser()(turns, [Said((row["patient"],), ()) for row in rows])
    takes, misses = ([a for r, a in zip(rows, found, strict=True) if r["takes"] is kind] for kind in (True, False))
    assert len(takes) == len(misses) == 120
    assert auc(np.array([a.uptake for a in takes]), np.array([a.uptake for a in misses])) >= floor
    assert np.mean([a.addition for a in takes]) > 2 * np.mean([a.addition for a in misses])


def test_danger_is_heard_by_plain_words_or_by_the_reader_for_hints() -> None:
    texts = ["I want to die.", "The kitchen will be blue.", ""]
    assert appraiser().danger(shipped_sensor().read(texts)) == [True, False, False]
    assert appraiser().danger([]) == []


def test_each_turn_is_judged_by_its_own_row() -> None:
    rows: list[Any] = [("Why? Why?", HEARD, ()), ("You, grief and shame.", HEARD, ("You, grief and shame.",))]
    turns = shipped_sensor().read([row[0] for row in rows])
    together = appraiser()(turns, [Said((heard,), earlier) for _, heard, earlier in rows])
    assert together == [judged(text, before, earlier) for text, before, earlier in rows]
    assert [found.repeats for found in together] == [0, 1] and reading().text == ""
