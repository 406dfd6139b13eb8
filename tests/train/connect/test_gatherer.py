"""Turns of many sessions played in one batch are what each would have played alone; needs no ``openenv``."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import Event
from typing import Any

import pytest

from tests.parts.connected import SAID, Faulty, played
from therapysim.envs.batch import SessionBatch, SessionConfig, Start
from therapysim.errors import ConfigError, EpisodeError, PatientError, PersonaError
from therapysim.personas.patient import Cue, Line, Patient
from therapysim.train.connect.retrying import begin_each, take_each
from therapysim.train.connect.serve.gatherer import Asked, Gatherer
from therapysim.train.connect.serve.metrics import Metrics

FOUR = SessionConfig(max_turns=len(SAID))


class Held:
    """A patient that answers as soon as it is let go, and keeps how many cues came at once."""

    def __init__(self) -> None:
        self.asked, self.let_go, self.cues = Event(), Event(), list[int]()

    def speak(self, cues: Sequence[Cue]) -> list[Line]:
        self.cues.append(len(cues))
        self.asked.set()
        assert self.let_go.wait(60)
        return [Line("Hello.") for _ in cues]


@contextmanager
def gathering(patient: Patient | None = None, **own: Any) -> Iterator[tuple[Gatherer, Metrics]]:
    metrics = Metrics()
    gatherer = Gatherer(lambda config: SessionBatch(config, patient=patient, rubric="grpo"), metrics, **own)
    try:
        yield gatherer, metrics
    finally:
        gatherer.close()


def counts(metrics: Metrics) -> dict[str, float]:
    lines = metrics.text(0, 1).splitlines()
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if line[0] != "#")}


def test_sessions_in_a_batch_are_what_each_is_alone() -> None:
    limits = [SessionConfig(max_turns=2 + seed % 3) for seed in range(9)]
    with gathering() as (gatherer, metrics):
        asked = [gatherer.ask(Asked(limit, Start(seed, vary=True))) for seed, limit in enumerate(limits)]
        sessions, turns = [one.result(60).session for one in asked], [[] for _ in limits]
        for text in SAID:
            answers = {
                i: gatherer.ask(Asked(limits[i], session, text))
                for i, session in enumerate(sessions)
                if not session.done
            }
            for i, answer in answers.items():
                sessions[i] = answer.result(60).session
                turns[i].append(answer.result().turn)
    for seed, limit in enumerate(limits):
        own, alone = played(Start(seed, vary=True), SAID[: limit.max_turns])
        assert (sessions[seed].transcript, sessions[seed].states) == (own.transcript, own.states)
        assert [(t.reward, t.terms) for t in turns[seed]] == [(t.reward, t.terms) for t in alone]
    assert counts(metrics)["therapysim_turns_total"] == sum(map(len, turns))
    assert counts(metrics)["therapysim_sessions_begun_total"] == 9


def test_what_comes_in_while_a_batch_is_played_is_the_next_batch() -> None:
    patient = Held()
    with gathering(patient, together=4) as (gatherer, _):
        first = gatherer.ask(Asked(FOUR, Start(0)))
        assert patient.asked.wait(60)
        rest = [gatherer.ask(Asked(FOUR, Start(seed))) for seed in range(1, 8)]
        patient.let_go.set()
        assert [one.result(60).session.seed for one in (first, *rest)] == list(range(8))
    assert patient.cues == [1, 4, 3]


def test_a_patient_that_takes_several_calls_has_as_many_threads() -> None:
    patient = Held()
    with gathering(patient, threads=3, together=1) as (gatherer, _):
        answers = [gatherer.ask(Asked(FOUR, Start(seed))) for seed in range(3)]
        while patient.asked.clear() or len(patient.cues) < 3:
            assert patient.asked.wait(60)
        assert not any(answer.done() for answer in answers)
        patient.let_go.set()
        assert all(not answer.result(60).session.failed for answer in answers)


def test_who_asks_for_what_cannot_be_is_told_and_no_other_is_touched() -> None:
    patient = Held()
    with gathering(patient) as (gatherer, _):
        first = gatherer.ask(Asked(FOUR, Start(0)))
        assert patient.asked.wait(60)
        good = [gatherer.ask(Asked(FOUR, Start(seed))) for seed in (1, 2)]
        nobody = gatherer.ask(Asked(FOUR, Start(3, "nobody")))
        below = gatherer.ask(Asked(FOUR, Start(-1)))
        over = gatherer.ask(Asked(FOUR, played(Start(1), SAID)[0], "More."))
        patient.let_go.set()
        assert [one.result(60).session.seed for one in (first, *good)] == [0, 1, 2]
        for wrong, error in ((nobody, PersonaError), (below, ConfigError), (over, EpisodeError)):
            with pytest.raises(error):
                wrong.result(60)


class Twice:
    """Fails two calls in which a turn says so: the one for all, and the next, of that session alone."""

    def __init__(self) -> None:
        self.fails, self.heard = 2, list[list[str]]()

    def speak(self, cues: Sequence[Cue]) -> list[Line]:
        said = [cue.transcript.last("therapist") for cue in cues if cue.transcript.messages]
        self.heard.append(said)
        if "Fail." in said and self.fails:
            self.fails -= 1
            raise PatientError("out of order")
        return [Line("Hello.") for _ in cues]


def test_only_those_whose_patient_failed_are_asked_again() -> None:
    patient = Twice()
    batch = SessionBatch(FOUR, patient=patient, rubric="grpo")
    begin_each(batch, [Start(0), Start(1), Start(2)], 2)
    turns = take_each(batch, ["Hello.", "Fail.", "Goodbye."], 2)
    assert patient.heard[1:] == [["Hello.", "Fail.", "Goodbye."], ["Hello."], ["Fail."], ["Goodbye."], ["Fail."]]
    assert [session.state.turn for session in batch.sessions] == [1, 1, 1]
    assert [session.transcript.said_by("therapist")[-1] for session in batch.sessions] == [
        "Hello.",
        "Fail.",
        "Goodbye.",
    ]
    assert all(turn is not None and turn.score is not None for turn in turns)


def test_a_patient_that_fails_for_good_is_counted_and_scores_nothing() -> None:
    with gathering(Faulty(*range(1, 9)), retries=2) as (gatherer, metrics):
        begun = gatherer.ask(Asked(FOUR, Start(0))).result(60)
        gone = gatherer.ask(Asked(FOUR, begun.session, "Hello.")).result(60)
    assert gone.session.failed and gone.turn is not None and gone.turn.score is None
    assert counts(metrics)["therapysim_sessions_failed_total"] == 1


def test_what_nobody_waits_for_is_not_played_and_the_end_plays_what_was_asked() -> None:
    patient = Held()
    with gathering(patient) as (gatherer, metrics):
        gatherer.ask(Asked(FOUR, Start(0)))
        assert patient.asked.wait(60)
        assert gatherer.ask(Asked(FOUR, Start(1))).cancel()
        last = gatherer.ask(Asked(FOUR, Start(2)))
        patient.let_go.set()
    assert last.done() and counts(metrics)["therapysim_sessions_begun_total"] == 2


def test_the_metrics_are_prometheus_text() -> None:
    metrics = Metrics()
    for seconds in (0.005, 0.01, 0.2, 99.0):
        metrics.played(seconds, begun=False, failed=False)
    metrics.played(0.5, begun=True, failed=False)
    metrics.erred("CAPACITY_REACHED")
    text = metrics.text(3, 8)
    line = re.compile(r'# (HELP|TYPE) [a-z_]+ .+|[a-z_]+(\{(le|code)="[^"\\]+"\})? [0-9.e+-]+')
    assert text.endswith("\n") and all(line.fullmatch(row) for row in text.splitlines())
    told = counts(metrics)
    assert [told[f'therapysim_turn_seconds_bucket{{le="{le}"}}'] for le in ("0.01", "0.1", "0.3", "30.0", "+Inf")] == [
        2, 2, 3, 3, 4,
    ]  # fmt: skip
    assert told["therapysim_turn_seconds_count"] == told["therapysim_turns_total"] == 4
    assert told["therapysim_turn_seconds_sum"] == pytest.approx(99.215)
    assert told['therapysim_errors_total{code="CAPACITY_REACHED"}'] == 1
    assert "therapysim_sessions_open 3\n" in text and "therapysim_sessions_most 8\n" in text
