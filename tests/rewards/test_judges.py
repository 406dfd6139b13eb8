"""The two judges: the gold corpus and its reader, relevance, and the tone guard, over the shipped sensor."""

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from numpy.typing import NDArray

from therapysim.errors import ConfigError, SensorError
from therapysim.rewards.reading.emotions import EmotionSensor, shipped_sensor
from therapysim.rewards.reading.relevance import GOLD, Gold, GoldRelevance, RelevanceSettings, load_gold, open_relevance
from therapysim.rewards.reading.tone_guard import EmotionNegativity, ToneGuard, ToneGuardSettings, open_tone_guard

Floats = NDArray[np.float32]

# Written for this test alone; none of them stands in the corpus.
CLINICAL = """
You look exhausted, and yet you came today.
What was the worst moment of that evening for you?
How long have you been feeling this hopeless?
It sounds as if you have been blaming yourself for the accident.
Have you ever thought of taking your own life?
When the fear comes, what do you do to make it stop?
Perhaps we could test that belief with a small experiment.
I can understand that you did not want to come back after our last talk.
Nightmares like yours are common after an assault.
Which of these worries would you like to begin with?
You are allowed to miss him and to be furious with him.
Let us note the situations in which you felt the urge to binge.
What would it mean to you to forgive yourself?
You wash your hands until they hurt, and the doubt still comes back.
Let us practise a slow breath before we go on.
How has your sleep been since we changed the plan?
It seems that your own needs come last in this marriage.
Who can be with you over the weekend, so that you are not alone with these thoughts?
I notice that you smile when you tell me about painful things.
You did not deserve to be hit as a child.
How confident are you that you can get through the week without drinking?
What does the critical voice tell you when you make a mistake?
The avoidance kept you safe, and it has also made your world smaller.
Take your time, there is no need to find the right words.
I am sorry that I missed how upset you were.
What did you learn at home about showing anger?
Let us make a list of what has been good for you in past episodes.
So the hearing of voices began after you lost the baby.
Being diagnosed with bipolar disorder must have turned many things upside down.
How would your partner notice that you are getting better?
You feel that nobody would understand, not even your sister.
May I ask what keeps you from telling her?
Going back to the lift for one floor could be our next exposure exercise.
It hurts to be the one who always has to be strong.
""".strip().splitlines()
SMALL_TALK = """
The new bakery on the corner sells good rye bread.
I think the tickets are cheaper on Tuesdays.
Did you find your umbrella in the end?
We had a lovely holiday by the sea this summer.
My brother has bought a second-hand car.
What a goal that was in the last minute!
Could you pass me the salt, please?
The lift in our building is out of order again.
I am so excited about the concert on Friday.
The dentist has moved to the second floor.
Happy birthday, and have some cake!
Let us meet at the fountain at half past seven.
How long does it take to charge the battery?
The children are playing football in the yard.
I hate it when the bus is full.
Which laptop would you buy for that price?
The soup needs a bit more pepper.
She has a new job at the bank, and the pay is good.
It is far too hot in this office today.
Have you seen the new series about the detective?
The tax form has to be in by Monday.
I have lost my keys somewhere in the house.
That jacket looks great on you.
There is a market in front of the town hall every Saturday.
We watched the stars from the roof.
My plants always die, I water them too much.
The coach said that we train indoors tomorrow.
Which of these two screens is the brighter one?
You should try the noodles at the new place.
It took us two hours to put up the tent.
Thanks, the present is wonderful!
The traffic was terrible this morning.
What is the fastest way to learn a few words of Spanish?
They have run out of the small size.
""".strip().splitlines()


# One axis a letter, so that cosines can be worked out by hand.
TOY = Gold({"first": ("a", "ab"), "second": ("b",)}, background=("c", "bc"), hostile=("d",))


def letters(texts: Sequence[str]) -> Floats:
    return np.array([[text.count(letter) for letter in "abc"] for text in texts], dtype=np.float32)


def auc(high: Floats, low: Floats) -> float:
    return float((high[:, None] > low).mean() + 0.5 * (high[:, None] == low).mean())


def lines(*acts: str) -> list[str]:
    """Lines of the written act set that show any of these acts."""
    rows = map(json.loads, (Path(__file__).parents[1] / "data" / "patterns.jsonl").read_text().splitlines())
    return [row["text"] for row in rows if set(row["acts"]) & set(acts)]


def test_the_shipped_corpus_is_whole() -> None:
    gold = load_gold()
    assert len(gold.phrases) >= 120 and len(gold.background) >= 40 and len(gold.hostile) >= 30
    assert len(gold.clinical) >= 12 and min(map(len, gold.clinical.values())) >= 8
    assert load_gold() is load_gold()
    heard = {text.casefold() for text in (*gold.phrases, *gold.background, *gold.hostile)}
    assert not heard & {text.casefold() for text in (*CLINICAL, *SMALL_TALK)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.pop("hostile"), "holds clinical, background, expected the sections clinical, background, hostile"),
        (lambda d: d.update(extra=["x"]), "holds .*extra, expected the sections"),
        (lambda d: d.update(clinical=["x"]), "expected named groups"),
        (lambda d: d.update(background=[]), r"background is \[\], expected a list of phrases"),
        (lambda d: d["clinical"].update(reflection="You sound sad."), "clinical.reflection is 'You sound sad.'"),
        (lambda d: d["background"].append({"The soup": "is hot"}), r"background\[48\] is {'The soup'.*quote it"),
        (lambda d: d["background"].append("  "), r"background\[48\] is '  ', expected text"),
        (lambda d: d["hostile"].append("it  TOOK courage to say that out loud."), "1 phrases twice.*it took courage"),
    ],
)
def test_a_wrong_corpus_is_refused(tmp_path: Path, change: Callable[[dict[str, object]], object], message: str) -> None:
    found = yaml.safe_load(GOLD.read_text(encoding="utf-8"))
    change(found)
    (tmp_path / "gold.yaml").write_text(yaml.safe_dump(found, sort_keys=False))
    with pytest.raises(ConfigError, match=message):
        load_gold(tmp_path / "gold.yaml")


def test_a_corpus_that_is_no_yaml_or_not_there_is_refused(tmp_path: Path) -> None:
    (tmp_path / "gold.yaml").write_text("clinical: [")
    for name in ("gold.yaml", "none.yaml"):
        with pytest.raises(ConfigError, match=f"gold corpus .*{name} cannot be read"):
            load_gold(tmp_path / name)
    (tmp_path / "gold.yaml").write_text("just text")
    with pytest.raises(ConfigError, match="holds str, expected the sections"):
        load_gold(tmp_path / "gold.yaml")


def test_relevance_by_hand() -> None:
    root = float(np.sqrt(0.5))
    plain = RelevanceSettings(nearest=2, centred=False)
    # "a" against a, ab, b: 1, .71, 0; against c, bc: 0, 0. "c": 0, 0, 0; and 1, .71.
    texts, near = ["a", "c", "aaa", " "], [(1 + root) / 2, 0, (1 + root) / 2, 0]
    assert GoldRelevance(letters, TOY, plain)(texts) == pytest.approx(near, abs=1e-6)
    contrasted = GoldRelevance(letters, TOY, replace(plain, contrast=1.0))(texts)
    assert contrasted == pytest.approx([near[0] / 2, -near[0] / 2, near[0] / 2, 0], abs=1e-6)


def test_centred_relevance_by_hand() -> None:
    root = float(np.sqrt(0.5))
    clinical, background = np.array([[1, 0, 0], [root, root, 0], [0, 1, 0]]), np.array([[0, 0, 1], [0, root, root]])
    query, moved = np.array([0, 0.6, 0.8]) - background.mean(0), clinical - background.mean(0)
    cosines = moved @ query / (np.linalg.norm(query) * np.linalg.norm(moved, axis=1))
    found = GoldRelevance(letters, TOY, RelevanceSettings(nearest=2))(["bbbcccc"])
    assert found == pytest.approx([np.sort(cosines)[-2:].mean()], abs=1e-5) and abs(found[0]) > 0.05


def test_relevance_settings_are_checked() -> None:
    with pytest.raises(ConfigError, match="nearest is 0"):
        RelevanceSettings(nearest=0)
    with pytest.raises(ConfigError, match="contrast is 2"):
        RelevanceSettings(contrast=2)
    with pytest.raises(ConfigError, match="nearest is 3, the gold corpus has 3 clinical phrases and 2 of background"):
        GoldRelevance(letters, TOY, RelevanceSettings(nearest=3))


def test_relevance_tells_clinical_lines_from_small_talk() -> None:
    relevance = open_relevance()
    clinical, talk = relevance(CLINICAL), relevance(SMALL_TALK)
    assert clinical.shape == (34,) and clinical.dtype == np.float32
    assert auc(clinical, talk) > 0.95  # 0.999 when written, with the shipped weights
    assert clinical.mean() > talk.mean() + 0.05


def test_relevance_does_not_hang_on_its_batch() -> None:
    relevance = open_relevance()
    assert np.array_equal(relevance([*CLINICAL, ""]), np.concatenate([relevance([text]) for text in [*CLINICAL, ""]]))
    assert relevance([]).shape == (0,) and relevance(["", " \n"]).tolist() == [0, 0]
    with pytest.raises(SensorError, match="one string"):
        relevance("hello")


def test_the_tone_guard_tells_hostile_lines_from_ordinary_ones() -> None:
    guard = open_tone_guard()
    gold = load_gold()
    # So the scale is set; the phrase at the hundredth itself may lie on either side.
    assert 0.2 < guard.rejects(gold.hostile).mean() <= 0.5 and guard.rejects(gold.phrases).mean() < 0.02
    assert guard.rejects(SMALL_TALK).mean() <= 0.05 and guard.rejects(CLINICAL).mean() <= 0.03
    hostile, kind = guard.negativity(lines("confrontation")), guard.negativity(lines("open_question", "validation"))
    assert auc(hostile, kind) > 0.75


def test_sorrow_named_is_not_hostility() -> None:
    named = ["You sound so sad and hopeless.", "It hurts that she died, and you are grieving.", "You are terrified."]
    assert (open_tone_guard().negativity(named) < 0.5).all()


def test_the_bar_is_settable_and_counts_itself() -> None:
    def fixed(texts: Sequence[str]) -> Floats:
        return np.array([0.98, 0.99, 1.0], dtype=np.float32)

    assert ToneGuard(fixed).rejects(["a", "b", "c"]).tolist() == [False, True, True]
    assert ToneGuard(fixed, ToneGuardSettings(0.5)).rejects(["a", "b", "c"]).all()
    with pytest.raises(ConfigError, match=r"reject_at is 1\.5"):
        ToneGuardSettings(1.5)


def test_negativity_of_nothing() -> None:
    guard = open_tone_guard()
    assert guard.negativity(["", "  "]).tolist() == [0, 0] and guard.rejects([]).shape == (0,)
    assert guard.negativity(["You disgust me."]).dtype == np.float32
    with pytest.raises(SensorError, match="one string"):
        guard.rejects("hello")


def test_a_sensor_that_cannot_tell_is_refused() -> None:
    swapped = Gold({"clinical": load_gold().hostile}, load_gold().background, load_gold().phrases)
    with pytest.raises(SensorError, match="no more hostile than clinical"):
        EmotionNegativity(shipped_sensor(), swapped)


def test_the_stand_ins_need_no_torch() -> None:
    code = (
        "import sys; from therapysim.rewards.reading.relevance import open_relevance; "
        "from therapysim.rewards.reading.tone_guard import open_tone_guard; "
        "open_relevance()(['How are you?']); open_tone_guard().rejects(['How are you?']); "
        "print([m for m in ('torch', 'transformers') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_sensor_of_ones_own_is_used() -> None:
    own = EmotionSensor()
    assert np.array_equal(open_relevance(sensor=own)(CLINICAL), open_relevance()(CLINICAL))
    own_guard = open_tone_guard(sensor=own, settings=ToneGuardSettings(0.2))
    assert np.array_equal(own_guard.negativity(CLINICAL), open_tone_guard().negativity(CLINICAL))
    with pytest.raises(ConfigError, match="give one or the other"):
        open_tone_guard("a/b", sensor=own)
