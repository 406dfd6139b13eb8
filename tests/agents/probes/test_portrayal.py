"""How a language model's playing of the patient is measured, and whether patients rank therapists alike."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from tests.parts.made import made
from therapysim.agents.bench.results import SessionResult
from therapysim.agents.probes import agreement, portrayal
from therapysim.agents.statistics.intervals import mean_interval, proportion
from therapysim.envs.batch import SessionBatch
from therapysim.errors import ConfigError
from therapysim.models.chat import ChatMessage, Sampling
from therapysim.personas.llm.llm_patient import LLMPatient, LLMPatientSettings
from therapysim.personas.patient import Cue

WHO = ("bao", "wren")


@pytest.fixture(scope="module")
def batch() -> SessionBatch:
    return SessionBatch()


@pytest.fixture(scope="module")
def cues(batch: SessionBatch) -> list[Cue]:
    return portrayal.collect_cues(WHO, 40, turns=4)


class Answers:
    """A model that answers chat i with what ``say`` makes of i."""

    def __init__(self, say: Any) -> None:
        self.say, self.asked = say, 0

    def reply(self, chats: Sequence[Sequence[ChatMessage]], sampling: Sampling, seeds: Sequence[int]) -> list[str]:
        self.asked += 1
        return [self.say(i) for i in range(len(chats))]


def patient_of(say: Any, batch: SessionBatch, **settings: Any) -> LLMPatient:
    return LLMPatient(Answers(say), batch.patient, batch.sensor.affect, LLMPatientSettings(**settings))


def test_equal_seeds_give_equal_cues(cues: list[Cue], batch: SessionBatch) -> None:
    assert portrayal.collect_cues(WHO, 40, turns=4) == cues
    assert portrayal.collect_cues(WHO, 40, turns=4, seed=1) != cues
    assert {cue.persona.id for cue in cues} == set(WHO)
    with pytest.raises(ConfigError, match="were asked for"):
        portrayal.collect_cues(WHO, 4_000, turns=4)


def test_a_helpdesk_passes_no_cue_and_contradicts_its_file(cues: list[Cue], batch: SessionBatch) -> None:
    patient = patient_of(lambda i: f"I sleep very well. How can I help you today, number {i}?", batch)
    found = portrayal.summarise(portrayal.portray(patient, cues))
    assert found.passed.mean == 0.0 and found.replaced == 1.0 and found.faults["role"] > 0.9
    sleepless = np.mean(["insomnia" in cue.persona.symptoms for cue in cues])
    assert 0 < sleepless == pytest.approx(found.contradicted, abs=0.03)
    assert found.spoken_contradicted == 0.0  # what was said in the end is the scripted line


def test_the_scripted_patient_scores_as_itself(cues: list[Cue], batch: SessionBatch) -> None:
    done = portrayal.portray_scripted(batch.patient, cues, batch.sensor.affect)
    own = portrayal.summarise(done)
    flat = portrayal.summarise(portrayal.portray(patient_of(lambda i: f"It is a table, {i}.", batch), cues))
    assert own.distance.mean < flat.distance.mean
    assert own.distance == mean_interval([p.distance for p in done], [p.cue.persona.id for p in done])
    assert own.passed == proportion([True] * len(done), [p.cue.persona.id for p in done])
    assert own.distance.mean == pytest.approx(own.spoken_distance) and own.replaced == 0.0


def test_first_draws_count_whatever_is_drawn_after(cues: list[Cue], batch: SessionBatch) -> None:
    model = Answers(lambda i: "How can I help you today?" if model.asked % 2 else f"I miss the sea, {i}.")
    patient = LLMPatient(model, batch.patient, batch.sensor.affect, LLMPatientSettings(max_draws=2))
    done = portrayal.portray(patient, cues)
    assert {p.draw for p in done} == {"How can I help you today?"}
    assert portrayal.summarise(done).passed.mean == 0.0
    with pytest.raises(ConfigError, match="draws_at_once is 2"):
        portrayal.portray(patient_of(str, batch, draws_at_once=2), cues)


def test_a_row_tells_what_a_reader_needs(cues: list[Cue], batch: SessionBatch) -> None:
    (done,) = portrayal.portray(patient_of(lambda i: "How can I help you today?", batch), cues[:1])
    row = portrayal.as_row(done)
    assert row["persona"] in WHO and row["rejected"] == ["role"] * 3 and row["source"] == "replaced"


def results(totals: dict[str, list[float]]) -> list[SessionResult]:
    return [made(policy, f"p{k}", 0, total) for policy, row in totals.items() for k, total in enumerate(row)]


def test_the_same_ranking_agrees_and_a_reversed_one_does_not() -> None:
    good = {"a": [3.0, 4, 5], "b": [2.0, 2, 2], "c": [0.0, 0, 1]}
    bad = {"a": [0.0, 0, 1], "b": [2.0, 2, 2], "c": [3.0, 4, 5]}
    same, reversed_ = (
        agreement.agreement({"one": results(good), "two": results(other)})[0].tau for other in (good, bad)
    )
    assert (same.mean, same.low, same.high) == (1.0, 1.0, 1.0)
    assert reversed_.mean == -1.0


def test_an_unsteady_ranking_has_a_wide_interval() -> None:
    steady = {"a": [1.0] * 6, "b": [0.0] * 6}
    unsteady = {"a": [9.0, 0, 0, 0, 0, 0], "b": [0.0, 1, 1, 1, 1, 1]}
    (found,) = agreement.agreement({"one": results(steady), "two": results(unsteady)})
    assert found.tau.low == -1.0 and found.tau.high == 1.0
    with pytest.raises(ConfigError, match="all alike"):
        agreement.agreement({"one": results(steady), "two": results({"a": [1.0], "b": [2.0]})})
    with pytest.raises(ConfigError, match="two patients"):
        agreement.agreement({"one": results(steady)})
