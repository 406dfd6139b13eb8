"""How the scripted patient finds its words: lengths, few words, fillers, and whole lines read before one is spoken."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from therapysim.errors import ConfigError
from therapysim.messages import Transcript
from therapysim.personas import Cue, Persona, ScriptedPatient, personas
from therapysim.personas.bank import NEUTRAL, felt, load_bank
from therapysim.personas.scripted.compose import FILLERS, sentences
from therapysim.personas.scripted.scripted_patient import QUANTILES, Manner, ScriptedSettings
from therapysim.rewards.reading.emotions import shipped_sensor
from therapysim.state import Move

BANK = load_bank()
TALK = Transcript().add("patient", "Hello.").add("therapist", "That sounds hard. What is it like for you?")


def of_style(style: str) -> Persona:
    return next(p for p in personas() if p.style == style)


def all_styles(manner: Manner, **more: float) -> ScriptedSettings:
    return replace(ScriptedSettings(terse=manner, plain=manner, talkative=manner), **more)  # type: ignore[arg-type]


def says(words: int, **more: float) -> Manner:
    """A manner that always means to say that many words."""
    plain: dict[str, float] = {"opener": 0.0, "filler": 0.0, "tag": 0.0, "unasked": 1.0}
    return Manner(**plain | more, words=(words,) * len(QUANTILES))  # type: ignore[arg-type]


def cues(persona: Persona, count: int, *acts: str, move: Move = Move.EXPRESS) -> list[Cue]:
    return [Cue(persona, TALK, persona.mood, move, acts=frozenset(acts), seed=seed) for seed in range(count)]


@pytest.fixture(scope="module")
def feel() -> object:
    return shipped_sensor().affect


def speak(feel: object, settings: ScriptedSettings, wanted: Sequence[Cue]) -> list[str]:
    return [line.text for line in ScriptedPatient(feel, settings).speak(wanted)]  # type: ignore[arg-type]


def test_mood_clauses_read_as_they_are_filed(feel: object) -> None:
    """Each clause leans its own way by what the head of ``lines.yaml`` promises."""
    for (i, sign, strength), texts in BANK.mood.items():
        least = 0.15 if not strength else 0.2 if (i, sign) == (1, 1) else 0.35
        own = sign * shipped_sensor().affect(texts)[:, i]
        assert [text for text, value in zip(texts, own, strict=True) if value < least] == []
        assert len(texts) >= 25


def test_sentences_of_no_mood_read_so() -> None:
    texts = (*BANK.neutral, *BANK.elaborate)
    size = np.abs(shipped_sensor().affect(texts)).max(axis=1)
    assert [text for text, value in zip(texts, size, strict=True) if value > 0.3] == []


@pytest.mark.parametrize(
    ("acts", "pools"), [(("invalidation",), ("says_no",)), (("advice",), ("says_yes", "go_on"))], ids=str
)
def test_few_words_answer_the_act(feel: object, acts: tuple[str, ...], pools: tuple[str, ...]) -> None:
    persona = of_style("plain")
    lines = speak(feel, all_styles(says(3), brief_mood=0.0), cues(persona, 40, *acts))
    own = {text for pool in pools for text in getattr(persona.case.replies, pool)}
    assert set(lines) <= own and len(set(lines)) > 1


def test_few_words_may_name_the_mood(feel: object) -> None:
    persona = of_style("plain")
    wanted = cues(persona, 40, "open_question")
    lines = speak(feel, all_styles(says(3), brief_mood=1.0), wanted)
    assert set(lines) <= set(BANK.fitting(felt(persona.mood)))
    assert max(len(line.split()) for line in lines) <= 3


@pytest.mark.parametrize("words", [8, 16, 30, 50])
def test_a_line_is_about_as_long_as_meant(feel: object, words: int) -> None:
    lengths = [len(s.split()) for s in speak(feel, all_styles(says(words)), cues(of_style("plain"), 40, "reflection"))]
    assert abs(np.median(lengths) - words) <= 0.25 * words
    assert max(lengths) <= 1.2 * words + 3


def test_what_asks_nothing_is_answered_shorter(feel: object) -> None:
    settings = all_styles(replace(says(30), unasked=0.5))
    asked, unasked = (
        np.mean([len(s.split()) for s in speak(feel, settings, cues(of_style("plain"), 30, act))])
        for act in ("open_question", "reflection")
    )
    assert unasked < 0.7 * asked


def test_change_and_sustain_talk_is_never_a_bare_yeah(feel: object) -> None:
    known = {text for pool in BANK.brief.values() for text in pool}
    for move in (Move.CHANGE, Move.SUSTAIN):
        lines = speak(feel, ScriptedSettings(), cues(of_style("plain"), 60, "reflection", move=move))
        assert not known & set(lines)


def test_a_filler_leads_in_and_hides_no_sentence(feel: object) -> None:
    persona = of_style("plain")
    lines = speak(feel, all_styles(says(12, filler=1.0)), cues(persona, 60, "reflection"))
    filled = [line for line in lines if line.startswith(FILLERS)]
    assert len(filled) > 15
    known = {*persona.voice.express, *BANK.texts}
    assert all(sentences([line]) & known for line in filled)
    assert {"I am sad.", "It was Monday."} <= sentences(["I guess I am sad. It was Monday."])
    assert "I am a bit nervous." in sentences(["Sorry, I am a bit nervous. It is my first time."])


def test_a_filler_leaves_facts_whole(feel: object) -> None:
    persona = of_style("plain")
    fact = next(f for f in persona.facts if not f.risk)
    told = [Cue(persona, TALK, persona.mood, Move.DISCLOSE, (fact,), seed=seed) for seed in range(30)]
    lines = speak(feel, all_styles(says(40, filler=1.0, tag=1.0)), told)
    assert all(any(text in line for text in fact.lines) for line in lines)
    assert all(line.endswith(BANK.tags) for line in lines)


def test_reading_whole_lines_brings_them_nearer_to_the_mood(feel: object) -> None:
    wanted = [cue for style in ("terse", "plain", "talkative") for cue in cues(of_style(style), 60, "open_question")]
    moods = np.array([cue.mood for cue in wanted])

    def off(reads: int) -> float:
        lines = speak(feel, ScriptedSettings(reads=reads), wanted)
        return float(np.linalg.norm(shipped_sensor().affect(lines) - moods, axis=1).mean())

    assert off(4) < off(1)


def test_a_line_that_reads_well_at_once_costs_no_further_reading(feel: object) -> None:
    asked: list[int] = []

    def counted(texts: Sequence[str]) -> NDArray[np.float32]:
        asked.append(len(texts))
        return shipped_sensor().affect(texts)

    wanted = cues(of_style("plain"), 20, "open_question")
    patient = ScriptedPatient(counted, ScriptedSettings(reads=3, content_with=9.0))
    patient.speak(wanted)
    asked.clear()
    patient.speak(wanted)
    assert sum(asked) <= len(wanted)


def test_every_kind_of_clause_is_known() -> None:
    assert {BANK.kinds[text] for text in (*BANK.neutral, *BANK.elaborate)} == {NEUTRAL}
    assert felt((0.5, -0.2, 0.01, -0.6)) == (2, -1, 0, -2)


@pytest.mark.parametrize("words", [(1, 2, 3), (0, 1, 2, 3, 4, 5, 6, 7), (1, 3, 2, 4, 5, 6, 7, 8)])
def test_wrong_lengths_are_refused(words: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match="in rising order"):
        Manner(0.1, 0.1, 0.1, 1.0, words)  # type: ignore[arg-type]


@pytest.mark.parametrize("wrong", [{"reads": 0}, {"pace": -0.1}, {"talk": 1.0}, {"brief_mood": 2.0}, {"clauses": 0}])
def test_wrong_settings_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        ScriptedSettings(**wrong)  # type: ignore[arg-type]
