"""What a training run leaves behind in its folder, and how it is taken up again.

settings.json       the settings
rubric.json         the reward's weights and gates
metrics.jsonl       one object an update: loss, reward, terms, guard rates, ratio, KL, seconds
completions.jsonl   sampled sessions, word for word, with the patient's mood turn by turn
checkpoints/        to resume from
policy/             the trained adapter
"""

import json
import sys
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_utils import get_last_checkpoint

from therapysim.envs.batch import Session, Start
from therapysim.errors import ConfigError
from therapysim.personas.load import personas
from therapysim.rewards.matrix import DIMENSIONS
from therapysim.train.config import GRPOSettings, load_settings, save_settings
from therapysim.train.rollout import Episode, Rollout, summary

__all__ = ["MetricsFile", "PolicySample", "Progress", "checkpoint_step", "open_run"]

# What a resumed run may change without becoming another run.
_FREE = ("out", "resume", "max_steps", "wandb", "save_steps", "sample_every", "sample_sessions",
         "gradient_checkpointing", "threads", "vllm_gpu_memory", "vllm_server_url")  # fmt: skip


def open_run(settings: GRPOSettings) -> str | None:
    """Makes the run's folder, or takes it up again: what was logged after its newest checkpoint is dropped.

    Returns:
        The checkpoint to go on from, None at the start.

    Raises:
        ConfigError: the folder holds a run and ``resume`` is off, or a run with other settings.
    """
    folder = Path(settings.out)
    folder.mkdir(parents=True, exist_ok=True)
    saved, logged = folder / "settings.json", folder / "metrics.jsonl"
    if saved.exists() and logged.exists():  # a run that never began leaves settings only
        _check_same_run(settings, saved)
    checkpoints = folder / "checkpoints"
    checkpoint = get_last_checkpoint(str(checkpoints)) if checkpoints.is_dir() else None
    step = checkpoint_step(checkpoint)
    if step >= settings.max_steps:
        raise ConfigError(
            f"run {folder} has a checkpoint of {step} updates already; raise max_steps {settings.max_steps}"
        )
    for path in (logged, folder / "completions.jsonl"):
        _keep_until(path, step)
    save_settings(settings, saved)
    return checkpoint


def checkpoint_step(checkpoint: str | None) -> int:
    """How many updates a checkpoint has seen; 0 for none."""
    return int(checkpoint.rsplit("-", 1)[1]) if checkpoint else 0


def _check_same_run(settings: GRPOSettings, saved: Path) -> None:
    if not settings.resume:
        raise ConfigError(
            f"out folder {saved.parent} holds a run already; go on with it by --resume, or choose another"
        )
    old, new = asdict(load_settings(saved)), asdict(settings)
    changed = [f"{name} {old[name]!r} -> {new[name]!r}" for name in new if name not in _FREE and old[name] != new[name]]
    if changed:
        raise ConfigError(f"run {saved.parent} cannot be resumed with other settings: {'; '.join(changed)}; "
                          "set them back, or start a new run in another folder")  # fmt: skip


def _keep_until(path: Path, step: int) -> None:
    """Drops the rows after a step; a row that a crash cut in half is dropped with them."""
    if path.exists():
        rows = [line for line in path.read_text(encoding="utf-8").splitlines(keepends=True) if line.endswith("\n")]
        kept = [row for row in rows if step and json.loads(row)["step"] <= step]
        path.write_text("".join(kept), encoding="utf-8")


def _append(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    with path.open("a", encoding="utf-8") as file:  # closed, and so flushed, after every call
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


class MetricsFile(TrainerCallback):
    """Appends every logged update to ``metrics.jsonl``.

    An update that learns from sessions played for an earlier one has no reward of its own, only loss, KL and ratio.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "metrics.jsonl"
        self.last: dict[str, Any] = {}

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs: Any = None, **_: Any
    ) -> None:
        if state.is_world_process_zero and logs and "train_runtime" not in logs:
            row = {"step": state.global_step, **logs}
            self.last |= row
            _append(self.path, [row])


class Progress(TrainerCallback):
    """A bar where there is a terminal, a line an update where there is none."""

    def __init__(self) -> None:
        self.bar: Any = None

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if state.is_world_process_zero and sys.stderr.isatty():
            self.bar = tqdm(total=state.max_steps, initial=state.global_step, unit="update", dynamic_ncols=True)

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs: Any = None, **_: Any
    ) -> None:
        if not state.is_world_process_zero or not logs or "loss" not in logs:
            return
        names = {"reward": "reward", "reward_std": "±", "kl": "kl", "loss": "loss", "step_time": "seconds"}
        text = ", ".join(f"{short} {logs[name]:.4g}" for name, short in names.items() if logs.get(name) is not None)
        if self.bar is None:
            print(f"update {state.global_step}/{state.max_steps}: {text}", file=sys.stderr, flush=True)
        else:
            self.bar.set_postfix_str(text, refresh=False)
            self.bar.update(state.global_step - self.bar.n)

    def on_train_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if self.bar is not None:
            self.bar.close()


class PolicySample(TrainerCallback):
    """Every so often, the policy meets patients it does not train on: their mood by the matrix, and the words said.

    The sessions are the same each time (dev personas, fixed seeds), the first before any update, so that a change in
    ``sample/polarity`` is the policy's. Their rows go to ``completions.jsonl``.
    """

    def __init__(self, settings: GRPOSettings, rollout: Rollout) -> None:
        self.settings = settings
        self.rollout = rollout
        self.path = Path(settings.out) / "completions.jsonl"
        self.trainer: Any = None  # set once there is one
        ids = [p.id for p in personas("dev")]
        seeds = np.random.SeedSequence(settings.seed, spawn_key=(2,)).generate_state(settings.sample_sessions)
        self.starts = [Start(int(s), ids[i % len(ids)]) for i, s in enumerate(seeds)]

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if self.settings.sample_every and state.global_step == 0:
            self.trainer.log(self._sample(state))

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if self.settings.sample_every and state.global_step % self.settings.sample_every == 0:
            for name, value in self._sample(state).items():  # joins the row that is logged next
                self.trainer._metrics["train"][name].append(value)

    def _sample(self, state: TrainerState) -> dict[str, float]:
        episodes = self.rollout.play(self.trainer, self.starts)
        if state.is_world_process_zero:
            _append(self.path, [{"step": state.global_step, **_told(e)} for e in episodes])
        sound = [e for e in episodes if not e.failed]
        scores = {**summary(sound), **self._scores(sound)} if sound else {}
        return {f"sample/{name.removeprefix('session/')}": value for name, value in scores.items()}

    def _scores(self, episodes: list[Episode]) -> dict[str, float]:
        """Means over sessions by the matrix: the mood they end in, how far it moved, and the policy's own words."""
        sessions = [e.session for e in episodes if e.session]
        moods = np.array([s.state.affect for s in sessions])
        moved = [s.state.history[-1] - s.states[0].history[-1] for s in sessions]
        words = [text for s in sessions for text in s.transcript.said_by("therapist")]
        return {
            "reward": float(np.mean([sum(e.turn_rewards) for e in episodes])),
            "polarity_gain": float(np.mean(moved)),
            "therapist_polarity": float(np.mean([r.polarity for r in self.rollout.batch.sensor.read(words)])),
            **{name: float(value) for name, value in zip(DIMENSIONS, moods.mean(axis=0), strict=True)},
        }


def _told(episode: Episode) -> dict[str, Any]:
    """One session as a row of ``completions.jsonl``."""
    session: Session | None = episode.session
    if session is None:
        return {"ending": episode.ending}
    return {
        "persona": session.persona.id,
        "seed": session.seed,
        "ending": episode.ending,
        "reward": sum(episode.turn_rewards),
        "turn_rewards": episode.turn_rewards,
        "terms": episode.terms,
        "messages": [{"speaker": m.speaker, "text": m.text} for m in session.transcript],
        "affect": [s.affect for s in session.states],
        "polarity": [s.history[-1] for s in session.states],
        "sources": episode.sources,
    }
