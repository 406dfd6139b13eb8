"""The automated judge on single turns."""

from collections.abc import Sequence

import numpy as np
import pytest

from therapysim.errors import ConfigError, SensorError
from therapysim.rewards.judge import MAX_CHARS, Judge, score
from therapysim.rewards.reading.emotions import shipped_sensor
from therapysim.rewards.rubric import Rubric, Score
from therapysim.rewards.rubric_settings import TERMS
from therapysim.state import Transition

HEARD = "I lie awake every night since the accident and I am so scared of driving."
GOOD = "Every night back at that crossing, and the car has become a threat. What comes first, the pictures or the fear?"
BAD = "You should just get over it, accidents happen to everyone."


def test_good_beats_bad_and_the_terms_say_why() -> None:
    found = score([HEARD, HEARD], [GOOD, BAD])
    assert found.scores.shape == (2,) and found.scores[0] > found.scores[1] + 1
    assert set(found.turns[0].terms) == set(TERMS)
    assert found.term("invalidation")[0] > found.term("invalidation")[1]


def test_a_turn_scores_alike_in_any_company() -> None:
    judge = Judge()
    alone = [float(judge.score([HEARD], [text]).scores[0]) for text in (GOOD, BAD, "")]
    together = judge.score([HEARD] * 3, [GOOD, BAD, ""]).scores
    assert together.tolist() == alone


def test_the_context_counts() -> None:
    ask = "Are you thinking of ending your life?"
    dark, plain = "I keep thinking about killing myself.", "The new kitchen will be blue."
    found = score([dark, plain], [ask, ask])
    assert found.term("risk").tolist() == [1.0, 0.0]


def test_a_danger_in_the_context_is_new_so_that_acknowledging_it_is_paid() -> None:
    dark = "Some nights I think about not waking up."
    found = score([dark, "I cannot sleep."], ["Those nights get so dark that not waking up seems like rest."] * 2)
    assert 0.2 < found.term("risk")[0] <= 0.5 and found.term("risk")[1] == 0.0


def test_a_single_turn_is_a_transition_without_a_session() -> None:
    class Keeps(Rubric):
        """Keeps what it scored."""

        def score(self, turns: Sequence[Transition]) -> list[Score]:
            self.kept = turns
            return super().score(turns)

    rubric, dark = Keeps("judge"), "I keep thinking about killing myself."
    Judge(rubric).score([dark], [GOOD])
    (turn,) = rubric.kept
    (heard, spoken) = shipped_sensor().read([dark, GOOD])
    assert (turn.context, turn.patient.text, turn.therapist.text) == (dark, dark, GOOD)
    assert turn.before == turn.after and turn.before.affect == heard.affect and turn.before.history == (heard.polarity,)
    assert turn.therapist.affect == spoken.affect and turn.risk_open is turn.risk_new is True
    assert (turn.alliance_before, turn.alliance_after, turn.repaired, turn.disclosed, turn.ending) == (0, 0, 0, (), "")
    assert (turn.flags, turn.asked, turn.reflected, turn.turns_left) == ((), 0, 0, 0) and turn.move == "express"


def test_the_rubric_is_a_choice() -> None:
    scores = [Judge(name).score([HEARD], [GOOD]).scores[0] for name in ("judge", "default", "user")]
    assert len(set(scores)) == 3 and scores[2] == pytest.approx(1.0)


def test_of_a_long_text_only_the_beginning_is_read() -> None:
    long = GOOD + " And then we went on." * 1_000
    found = score([HEARD, HEARD], [long, long[:MAX_CHARS]])
    assert len(long) > MAX_CHARS and found.scores[0] == found.scores[1]


def test_words_handed_back_earn_little_and_harm_that_pleases_costs() -> None:
    mine = "Even asleep you seem to be back on that road, hands on a wheel you no longer trust."
    handed = "I hear that you lie awake every night since the accident and you are so scared of driving."
    warm = "Of course you are scared, love. Just don't drive any more, and let me be the one you lean on, every day."
    found = score([HEARD] * 3, [mine, handed, warm])
    assert found.scores[0] > max(found.scores[1], found.scores[2])
    assert found.term("addition")[1] <= 0.1 < found.term("addition")[0] and found.term("harm")[2] < -0.5


def test_what_is_no_rubric_is_refused() -> None:
    with pytest.raises(ConfigError, match="rubric is dict"):
        Judge({})  # type: ignore[arg-type]


def test_nothing_to_score_is_fine() -> None:
    assert score([], []).scores.tolist() == []


@pytest.mark.parametrize(
    ("contexts", "responses", "said"),
    [
        ([HEARD], [GOOD, BAD], "1 contexts and 2 responses"),
        (HEARD, [GOOD], "contexts of type str"),
        ([HEARD], GOOD, "responses of type str"),
        (None, [GOOD], "contexts of type NoneType"),
    ],
)
def test_uneven_input_is_refused(contexts: list[str], responses: list[str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        score(contexts, responses)


def test_what_is_not_text_is_refused() -> None:
    with pytest.raises(SensorError, match="expected str"):
        score([HEARD], [np.nan])  # type: ignore[list-item]
