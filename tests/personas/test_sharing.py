"""One patient for many environments: by name within a process, or an object handed to many."""

import gc
import os
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from therapysim.envs.batch import SessionBatch, Start
from therapysim.envs.therapy import TherapySimEnv
from therapysim.envs.vector import TherapySimVectorEnv
from therapysim.messages import Transcript
from therapysim.models.chat import HuggingFaceChat, Sampling
from therapysim.personas import Cue, personas
from therapysim.personas.llm.llm_patient import LLMPatient
from therapysim.personas.opening import open_patient, shared_patient
from therapysim.personas.scripted.scripted_patient import ScriptedPatient, ScriptedSettings
from therapysim.rewards.reading.emotions import EmotionSensor, SensorSettings, shipped_sensor
from therapysim.state import Move

WARM = "That sounds heavy, and I can hear how tired you are. What is it like for you?"


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The name of a patient that a server plays."""
    pytest.importorskip("aiohttp")
    from tests.parts.chat_server import serving

    with serving() as url:
        yield f"{url}#tiny"


def clients() -> int:
    """How many threads talk with servers."""
    gc.collect()  # an environment in a wrapper is a ring of references
    return sum(thread.name == "therapysim-remote" for thread in threading.enumerate())


def test_twenty_environments_have_one_client_and_its_thread(server: str) -> None:
    before = clients()
    envs = [gym.make("TherapySim-v0", patient=server, max_turns=2) for _ in range(20)]
    assert {env.reset(seed=i)[1]["source"] for i, env in enumerate(envs)} == {""}
    assert clients() == before + 1
    many = TherapySimVectorEnv(2, patient=server)
    assert many.batch.patient is envs[0].unwrapped.batch.patient  # type: ignore[attr-defined]


def test_the_client_outlives_all_environments_but_the_last(server: str) -> None:
    before = clients()
    last, *others = [TherapySimEnv(patient=server) for _ in range(4)]
    for env in (last, *others):
        env.reset(seed=0)
    others.pop().close()
    del others, env
    assert clients() == before + 1 and not last.step(WARM)[4]["failed"]
    del last
    assert clients() == before


def test_a_patient_is_shared_by_name_and_sensor() -> None:
    other = EmotionSensor(settings=SensorSettings(threads=1))
    single, many, batch = TherapySimEnv(), TherapySimVectorEnv(2, patient="scripted"), SessionBatch()
    assert single.batch.patient is many.batch.patient is batch.patient
    assert TherapySimEnv(sensor=other).batch.patient is not batch.patient
    assert TherapySimEnv(sensor=other).batch.patient.feel == other.affect  # type: ignore[attr-defined]
    assert open_patient("scripted", shipped_sensor().affect) is not batch.patient


def test_a_model_is_loaded_once_and_again_where_its_folder_was_written_anew(tiny_model: Path) -> None:
    feel = shipped_sensor().affect
    first = shared_patient(str(tiny_model), feel)
    assert shared_patient(str(tiny_model), feel) is first
    os.utime(tiny_model / "config.json", ns=(0, 2**62))
    assert shared_patient(str(tiny_model), feel) is not first


def objects(name: str) -> Any:
    return open_patient(name, shipped_sensor().affect)


@pytest.mark.parametrize("name", ["scripted", "server"])
def test_a_patient_handed_to_an_environment_goes_along_with_its_spec(name: str, request: Any) -> None:
    patient = objects(request.getfixturevalue("server") if name == "server" else name)
    sensor = EmotionSensor(settings=SensorSettings(threads=1))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env = gym.make("TherapySim-v0", patient=patient, sensor=sensor)
        assert env.spec is not None
        again = gym.make(env.spec)
        many = gym.make_vec(env.spec.id, num_envs=2, vectorization_mode="sync", patient=patient, sensor=sensor)
    batches = [e.unwrapped.batch for e in (env, again, *many.envs)]  # type: ignore[attr-defined]
    assert all(batch.patient is patient and batch.sensor is sensor for batch in batches)


def cue(i: int) -> Cue:
    person = personas("train")[i % 8]
    said = Transcript().add("patient", person.voice.opening[0]).add("therapist", WARM)
    return Cue(person, said, person.mood, Move.EXPRESS, seed=i)


class Meddled(list[Cue]):
    """Cues that another thread comes in between, after their texts were read and before they are worded."""

    def __init__(self, cues: Sequence[Cue], meddle: Callable[[], object]) -> None:
        super().__init__(cues)
        self.meddle, self.rounds = meddle, 0

    def __iter__(self) -> Iterator[Cue]:
        self.rounds += 1
        if self.rounds == 2:
            self.meddle()
        return super().__iter__()


def test_a_cache_that_another_thread_empties_changes_no_line() -> None:
    feel = shipped_sensor().affect
    alone, shared = ScriptedPatient(feel), ScriptedPatient(feel, replace(ScriptedSettings(), cache_texts=1))
    for i in range(4):
        meddled = Meddled([cue(i)], lambda i=i: shared.speak([cue(i + 1)]))  # type: ignore[misc]
        assert shared.speak(meddled) == alone.speak([cue(i)]) and meddled.rounds > 1


class Watched(HuggingFaceChat):
    """A model that sees whether two threads are in it at once; the first waits a moment for a second."""

    def _answer_batch(self, *args: Any) -> list[Any]:
        self.inside.append(threading.get_ident())
        with suppress(threading.BrokenBarrierError):
            self.meeting.wait(0.3)
        self.most = max(self.most, len(set(self.inside)))
        replies = super()._answer_batch(*args)
        self.inside.remove(threading.get_ident())
        return replies


def test_threads_may_share_a_model(tiny_model: Path) -> None:
    model, sampling = Watched(tiny_model), Sampling(max_tokens=4)
    model.inside, model.most, model.meeting = [], 0, threading.Barrier(2)

    def ask(i: int) -> list[str]:
        chats: Any = [[{"role": "user", "content": "I feel low. " * (i + 1)}], [{"role": "user", "content": WARM}]]
        return model.reply(chats, sampling, [i, i])

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(ask, range(4))) == [ask(i) for i in range(4)]
    assert model.most == 1


def test_sessions_of_one_patient_are_those_of_many() -> None:
    apart = SessionBatch(patient=ScriptedPatient(shipped_sensor().affect))
    batches = [SessionBatch(), SessionBatch()]
    for batch in (*batches, apart):
        batch.reset([Start(11)])
    for text in (WARM, "Why?", ""):
        rewards = [batch.step([text])[0].reward for batch in (*batches, apart)]  # type: ignore[union-attr]
        assert np.ptp(rewards) == 0.0
    assert batches[0].sessions[0].transcript == batches[1].sessions[0].transcript == apart.sessions[0].transcript
    assert isinstance(batches[0].patient, ScriptedPatient) and not isinstance(batches[0].patient, LLMPatient)
