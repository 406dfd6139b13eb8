"""Patients in processes of their own: as those in this one, and gone whatever way a run ends."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("trl")

from tests.parts.patience import HANGS_S
from tests.train.grpo.test_sampler import SlowEngine
from therapysim.envs.batch import SessionBatch, SessionConfig, Start
from therapysim.errors import ActionError, PatientError
from therapysim.rewards.rubric_settings import RubricSettings
from therapysim.train import patient_processes as patients
from therapysim.train.grpo import run as grpo
from therapysim.train.grpo.grpo_settings import GRPOSettings
from therapysim.train.grpo.run import train
from therapysim.train.patient_processes import Office, Patients

MakeBatch = Callable[..., SessionBatch]


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[subprocess.Popen[bytes]]]:
    """The processes of patients that a test starts; none is left when it is over."""
    seen: list[subprocess.Popen[bytes]] = []

    class Watched(subprocess.Popen[bytes]):
        def __init__(self, *args: Any, **more: Any) -> None:
            super().__init__(*args, **more)
            seen.append(self)

    monkeypatch.setattr(patients.subprocess, "Popen", Watched)
    yield seen
    for process in seen:
        process.kill()
        process.wait()


@pytest.fixture
def run(tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """A run with an engine and two processes of patients."""
    monkeypatch.setattr("therapysim.train.runs.model._check_packages", lambda settings: None)

    def start(engine: type[SlowEngine] = SlowEngine) -> None:
        def open_engine(settings: GRPOSettings, trainer: Any) -> Any:
            return engine(trainer.model, settings, trainer.eos_token_ids, 5)

        monkeypatch.setattr(grpo, "_open_engine", open_engine)
        train(GRPOSettings(
            model=str(tiny_model), out=str(tmp_path), vllm="colocate", max_steps=1, generations=4, max_turns=2,
            max_turn_tokens=6, save_steps=1, accumulation=8, batch_size=1, validate_every=0, patient_processes=2,
            mask_cut_turns=False,
        ))  # fmt: skip

    return start


def gone(processes: list[subprocess.Popen[bytes]]) -> bool:
    return len(processes) == 2 and all(process.poll() is not None for process in processes)


def test_patients_in_processes_answer_as_those_in_this_one(make_batch: MakeBatch) -> None:
    batch = make_batch(max_turns=3)
    texts = ["That sounds hard. What is it like?", "You should get over it.", ""]
    begun = batch.reset([Start(1, "marta"), Start(2, "owen"), Start(3, "ingrid")])
    opened = Patients(Office(batch.config, batch.rubric.settings), 2)
    try:
        for sessions in (begun, begun[:1]):
            there, told = opened.step(sessions, texts[: len(sessions)])
            batch.restore(sessions)
            here = batch.step(texts[: len(sessions)])
            assert [s.states for s in there] == [s.states for s in batch.sessions]
            assert [s.transcript for s in there] == [s.transcript for s in batch.sessions]
            rewards = [(t.reward, t.terms) for t in told if t], [(t.reward, t.terms) for t in here if t]
            assert rewards[0] == rewards[1] and len(rewards[0]) == len(sessions)
        with pytest.raises(ActionError, match="1 texts for 3 sessions"):
            opened.step(begun, texts[:1])
        assert opened.step(begun[:1], texts[:1])[1][0] is not None  # and goes on
    finally:
        opened.close()
    opened.close()  # again
    with pytest.raises(PatientError, match="1 processes of patients have ended"):
        opened.step(begun[:1], texts[:1])


@pytest.mark.parametrize("name", ["tokenizers", "numpy", "yaml", "gymnasium"])
def test_no_file_of_the_working_folder_is_run_in_place_of_a_package(
    name: str, make_batch: MakeBatch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()\n", encoding="utf-8")
    batch = make_batch()
    begun = batch.reset([Start(1, "marta")])
    monkeypatch.chdir(tmp_path)
    opened = Patients(Office(batch.config, batch.rubric.settings), 1)
    try:
        assert opened.step(begun, ["Hello."])[1][0] is not None
    finally:
        opened.close()
    assert not (tmp_path / "ran").exists()


def test_a_process_that_ends_within_an_answer_is_named(make_batch: MakeBatch, monkeypatch: pytest.MonkeyPatch) -> None:
    dies = """
        import pickle, sys
        pickle.load(sys.stdin.buffer)
        sys.stdout.buffer.write(pickle.dumps("ready"))
        sys.stdout.buffer.flush()
        pickle.load(sys.stdin.buffer)
        sys.stdout.buffer.write(pickle.dumps(list(range(1000)))[:50])
    """
    monkeypatch.setattr(patients, "_COMMAND", (sys.executable, "-c", textwrap.dedent(dies)))
    batch = make_batch()
    opened = Patients(Office(batch.config, batch.rubric.settings), 1)
    try:
        with pytest.raises(PatientError, match=r"3 processes .* in the same turn \(UnpicklingError.*--resume"):
            opened.step(batch.reset([Start(1, "marta")]), ["Hello."])
    finally:
        opened.close()


def test_no_process_stays_where_one_cannot_be_started(started: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(*_: object) -> None:
        raise BrokenPipeError("gone")

    office = Office(SessionConfig(), RubricSettings())
    with monkeypatch.context() as broken, pytest.raises(PatientError, match="cannot be started: gone"):
        broken.setattr(patients, "_send", breaks)
        Patients(office, 2)
    assert started[0].poll() is not None
    monkeypatch.setattr(patients, "_COMMAND", ("/nowhere/python",))
    with pytest.raises(PatientError, match=r"2 processes of patients cannot be started: .*/nowhere/python"):
        Patients(office, 2)


def test_a_run_ends_its_processes(run: Callable[..., None], started: Any, tmp_path: Path) -> None:
    run()
    assert gone(started) and (tmp_path / "policy").is_dir()


def test_processes_that_die_are_replaced_and_their_turns_played_again(
    run: Callable[..., None], started: Any, tmp_path: Path
) -> None:
    class Killing(SlowEngine):
        def take(self) -> Any:
            if len(started) == 2:
                for process in started:
                    process.kill()
            return super().take()

    run(Killing)
    assert len(started) > 2 and all(process.poll() is not None for process in started)
    (row,) = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert row["session/turns"] == 2.0 and "ending/failed" not in row  # and no session was masked


def test_a_process_that_hangs_is_replaced_and_its_turn_played_again(
    make_batch: MakeBatch, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    hangs_first = f"""
        import pathlib, runpy, sys, time
        seen = pathlib.Path({str(tmp_path / "seen")!r})
        if not seen.exists():
            seen.touch()
            time.sleep({HANGS_S})
        sys.argv = ["patients"]
        runpy.run_module("therapysim.train.patient_processes", run_name="__main__")
    """
    monkeypatch.setattr(patients, "_COMMAND", (sys.executable, "-P", "-c", textwrap.dedent(hangs_first)))

    monkeypatch.setattr(patients, "_START_S", 0.0)

    class FirstIsLate(Patients):
        def _started(self) -> "subprocess.Popen[bytes]":
            self.timeout_s = HANGS_S if self._all else 0.1  # whoever takes its place has all the time it wants
            return super()._started()

    batch = make_batch()
    opened = FirstIsLate(Office(batch.config, batch.rubric.settings), 1)
    try:
        while not (tmp_path / "seen").exists():
            time.sleep(0.01)
        assert opened.step(batch.reset([Start(1, "marta")]), ["Hello."])[1][0] is not None
    finally:
        opened.close()


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_engine_that_fails_leaves_no_process(run: Callable[..., None], started: Any, error: Any) -> None:
    class Failing(SlowEngine):
        def take(self) -> Any:
            raise error("out of memory")

    with pytest.raises(error, match="out of memory"):
        run(Failing)
    assert gone(started)


def test_what_fails_between_start_and_training_leaves_no_process(
    run: Callable[..., None], started: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def attach(self: Any, engine: Any) -> None:
        raise RuntimeError("no")

    monkeypatch.setattr(grpo.SessionGRPOTrainer, "attach", attach)
    with pytest.raises(RuntimeError, match="no"):
        run()
    assert gone(started)


_WAITS = """
    import signal
    import threading
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a run in the background would have it ignored
    from therapysim.envs.batch import SessionBatch, SessionConfig, Start
    from therapysim.train.patient_processes import Office, Patients
    batch = SessionBatch(SessionConfig(max_turns=3))
    patients = Patients(Office(batch.config, batch.rubric.settings), 1)
    try:
        patients.step(batch.reset([Start(1, "marta")]), ["Hello."])
        print("under way", flush=True)
        threading.Event().wait()
    finally:
        patients.close()
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_processes_end_with_the_one_that_started_them(number: signal.Signals) -> None:
    """By Ctrl-C, which a terminal sends to the whole group, without a word of theirs; and where it is killed."""
    command = [sys.executable, "-c", textwrap.dedent(_WAITS)]
    trains = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    assert trains.stdout is not None
    trains.stdout.readline()
    os.killpg(trains.pid, number)
    _, wrote = trains.communicate(
        timeout=HANGS_S
    )  # which ends once nobody holds stderr any more, the patients included
    assert wrote.count("Traceback") == (number == signal.SIGINT)
