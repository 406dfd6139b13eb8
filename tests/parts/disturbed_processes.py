"""Runs of two processes of which one meets a fault; ``test_disturbed_processes.py`` starts them through accelerate.

python -m tests.parts.disturbed_processes MODEL FOLDER RUN[:FAULT[:RANK]] ...

Each run is trained in turn, in a folder of its own, or gone on with where there is one. Faults come in the third
generation, after the first checkpoint, in one process or in both:

    outage      the patient answers nobody, once           nan    a loss that is no number, once
    sigterm     the process is told to end                 kill   the process is killed
    stop        the process is stopped, and never goes on
"""

import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from therapysim.envs.batch import SessionBatch, SessionConfig
from therapysim.errors import PatientError, TherapySimError
from therapysim.personas.patient import Cue, Line
from therapysim.train.grpo import failsafe
from therapysim.train.grpo.grpo_settings import GRPOSettings
from therapysim.train.grpo.run import SessionGRPOTrainer, train

# One group of two, a session in each process: an outage in one leaves nothing to compare.
SHAPE = {
    "generations": 2, "batch_size": 1, "accumulation": 1, "max_turns": 2, "max_turn_tokens": 6, "lr": 1e-2,
    "max_steps": 4, "save_steps": 2, "validate_every": 0, "transcripts_every": 1, "mask_cut_turns": False, "threads": 1,
}  # fmt: skip
#: The first turn of the third generation.
CALL = 5
#: Seconds that the other process waits for one that was stopped: more than either takes to start.
WAITS_S = 90.0


class Disturbed:
    """A patient in one of whose turns something happens."""

    def __init__(self, batch: SessionBatch, happens: Callable[[], None]) -> None:
        self.inner, self.happens, self.turns = batch.patient, happens, 0

    def speak(self, cues: Sequence[Cue]) -> Sequence[Line]:
        if any(len(cue.transcript) for cue in cues):  # no opening
            self.turns += 1
            if self.turns == CALL:
                self.happens()
        return self.inner.speak(cues)


def hang_up() -> None:
    """What an outage is to the environment."""
    raise PatientError("nobody is there")


def raised(number: signal.Signals) -> Callable[[], None]:
    """Sends this process a signal."""
    return lambda: os.kill(os.getpid(), number)


HAPPENS = {
    "outage": hang_up,
    "sigterm": raised(signal.SIGTERM),
    "kill": raised(signal.SIGKILL),
    "stop": raised(signal.SIGSTOP),
}


def spoil_once() -> None:
    """The next loss of the third update is no number."""
    whole = SessionGRPOTrainer._compute_loss

    def loss(self: Any, model: Any, inputs: Any) -> Any:
        found = whole(self, model, inputs)
        if self.state.global_step != 2:
            return found
        SessionGRPOTrainer._compute_loss = whole  # type: ignore[method-assign]
        return found * float("nan")

    SessionGRPOTrainer._compute_loss = loss  # type: ignore[method-assign]


def play(model: str, out: Path, fault: str, *, mine: bool) -> None:
    """One run, to its end or to what ends it."""
    batch = SessionBatch(SessionConfig(max_turns=SHAPE["max_turns"]))
    if fault == "nan" and mine:
        spoil_once()
    elif fault and mine:
        batch.patient = Disturbed(batch, HAPPENS[fault])  # type: ignore[assignment]
    more = {"process_timeout_s": WAITS_S} if fault == "stop" else {}
    resume = (out / "metrics.jsonl").exists()
    train(GRPOSettings(model=model, out=str(out), resume=resume, **SHAPE, **more), batch)


def main(model: str, folder: str, *runs: str) -> int:
    """All runs; what one ends with is written beside it. 1 where the other process is lost, so that no one waits."""
    failsafe._pause = lambda seconds, terminated: None
    rank, lost = os.environ["RANK"], False
    for run in runs:
        name, _, told = run.partition(":")
        fault, _, whose = told.partition(":")
        try:
            play(model, Path(folder) / name, fault, mine=whose in ("", rank))
        except TherapySimError as error:
            (Path(folder) / f"{name}-{rank}.txt").write_text(str(error), encoding="utf-8")
            lost |= fault in ("kill", "stop")
    return int(lost)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
