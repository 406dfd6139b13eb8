"""What a training run leaves behind in its folder, and how it is taken up again.

settings.json       the settings
rubric.json         the reward's weights and gates
metrics.jsonl       one object an update: loss, reward, terms, guard rates, ratio, KL, seconds, validations, alarms
validation.jsonl    one object a validation: return, mood, alliance, terms, variety of the policy's words
validation/         the mood profile of each validation, drawn
completions.jsonl   sessions word for word, in training and in validation, with the patient's mood turn by turn
examples.jsonl      of SFT: the sessions that are copied; dev_examples.jsonl: those that the loss of a validation is of
pairs.jsonl         of DPO: what is learned from; dev_pairs.jsonl: what validations rank; beta.json: the suggested β
checkpoints/        to resume from
best/               the policy of the best validation so far
policy/             the trained adapter, and policy.json, which says after how many updates
run.lock            held while a process trains here
"""

import math
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from accelerate import PartialState
from tqdm import tqdm
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from therapysim.errors import ConfigError
from therapysim.files import whole
from therapysim.train.grpo.grpo_settings import GRPOSettings
from therapysim.train.grpo.trajectory import Trajectory
from therapysim.train.run_settings import RunSettings, free, load, save_settings
from therapysim.train.runs.best import drop, seen_updates
from therapysim.train.runs.checkpoints import checkpoint_step, newest_sound
from therapysim.train.runs.rows import append, lines, read_rows

__all__ = [
    "MetricsFile",
    "ProgressLog",
    "Transcripts",
    "announce",
    "figure_file",
    "forget_after",
    "open_run",
    "session_row",
]


def open_run(settings: RunSettings) -> str | None:
    """Makes the run's folder, or takes it up again: what was logged after its newest checkpoint is dropped.

    Returns:
        The checkpoint to go on from, None at the start.

    Raises:
        ConfigError: the folder holds a run and ``resume`` is off, or a run with other settings; a file of it cannot be
            read, or the folder not be written.
    """
    try:
        return _open(settings, Path(settings.out))
    except OSError as error:
        raise ConfigError(
            f"run folder {settings.out} cannot be written: {error}; mend that, or name another by --out"
        ) from error


def _open(settings: RunSettings, folder: Path) -> str | None:
    folder.mkdir(parents=True, exist_ok=True)
    saved, logged = folder / "settings.json", folder / "metrics.jsonl"
    if saved.exists() and logged.exists():
        _check_same_run(settings, saved)
    elif saved.exists():  # a run that never began leaves settings, and the policy of a validation that broke off
        drop(folder / "best")
    checkpoint, faults = newest_sound(folder / "checkpoints")
    for fault in faults:
        announce(f"{fault}; the run goes on from an earlier checkpoint, or from its start")
    step = checkpoint_step(checkpoint)
    if step >= settings.max_steps and seen_updates(folder / "policy") == step:  # else killed before it was written
        raise ConfigError(
            f"run {folder} has a checkpoint of {step} updates already; raise max_steps {settings.max_steps}"
        )
    forget_after(folder, step)
    save_settings(settings, saved)
    return checkpoint


def forget_after(folder: Path, step: int) -> None:
    """Drops what a run's folder tells of the updates after so many; at 0, all of it."""
    for name in ("metrics.jsonl", "completions.jsonl", "validation.jsonl"):
        _keep_until(folder / name, step)
    for figure in figure_file(folder, 0).parent.glob("step-*.svg"):
        if not step or int(figure.stem.rpartition("-")[2]) > step:
            figure.unlink()


def _check_same_run(settings: RunSettings, saved: Path) -> None:
    if not settings.resume:
        raise ConfigError(
            f"out folder {saved.parent} holds a run already; go on with it by --resume, or choose another"
        )
    old, new, kept = load(type(settings), saved).model_dump(), settings.model_dump(), set(free(type(settings)))
    changed = [f"{name} {old[name]!r} -> {new[name]!r}" for name in new if name not in kept and old[name] != new[name]]
    if changed:
        raise ConfigError(f"run {saved.parent} cannot be resumed with other settings: {'; '.join(changed)}; "
                          "set them back, or start a new run in another folder")  # fmt: skip


def _keep_until(path: Path, step: int) -> None:
    """Drops the rows after a step; a row that a crash cut in half is dropped with them."""
    if path.exists():
        kept = [line for line, row in zip(lines(path), read_rows(path), strict=True) if step and row["step"] <= step]
        with whole(path) as part:
            part.write_bytes(b"".join(line + b"\n" for line in kept))


def figure_file(folder: Path, step: int) -> Path:
    """Where a run keeps the mood profile of the validation after so many updates."""
    return folder / "validation" / f"step-{step}.svg"


def announce(text: str) -> None:
    """One line on stderr, above the progress bar where there is one."""
    tqdm.write(text, file=sys.stderr)


class MetricsFile(TrainerCallback):
    """Appends every logged update to ``metrics.jsonl``.

    An update that learns from sessions played for an earlier one has no reward of its own, only loss, KL and ratio.
    ``seconds/run`` is what the run has taken so far: where it is resumed, the clock goes on from its last row.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "metrics.jsonl"
        self.last: dict[str, Any] = {}
        self.began = time.monotonic()

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        taken = [row["seconds/run"] for row in read_rows(self.path) if "seconds/run" in row]
        self.began = time.monotonic() - (taken[-1] if taken else 0.0)

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs: Any = None, **_: Any
    ) -> None:
        if state.is_world_process_zero and logs and "train_runtime" not in logs:
            row = {"step": state.global_step, **{name: _finite(value) for name, value in logs.items()}}
            row["seconds/run"] = round(time.monotonic() - self.began, 2)
            self.last |= row
            append(self.path, [row])


def _finite(value: Any) -> Any:
    """JSON knows neither nan nor inf: null, and ``alarm/not_finite`` beside it."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


class ProgressLog(TrainerCallback):
    """A bar where there is a terminal, a line an update where there is none."""

    def __init__(self) -> None:
        self.bar: Any = None

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if state.is_world_process_zero and sys.stderr.isatty() and self.bar is None:
            self.bar = tqdm(total=state.max_steps, initial=state.global_step, unit="update", dynamic_ncols=True)

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs: Any = None, **_: Any
    ) -> None:
        if not state.is_world_process_zero or not logs or "loss" not in logs:
            return
        names = {"reward": "reward", "reward_std": "±", "kl": "kl", "loss": "loss", "step_time": "seconds"}
        names["mean_token_accuracy"] = "accuracy"
        names |= {"rewards/margins": "margin", "rewards/accuracies": "ranked right"}
        text = ", ".join(f"{short} {logs[name]:.4g}" for name, short in names.items() if logs.get(name) is not None)
        if self.bar is None:
            print(f"update {state.global_step}/{state.max_steps}: {text}", file=sys.stderr, flush=True)
        else:
            self.bar.set_postfix_str(text, refresh=False)
            self.bar.update(state.global_step - self.bar.n)

    def on_train_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if self.bar is not None:
            self.bar.close()


class Transcripts:
    """Keeps a group of training sessions word for word, every so many updates.

    Whether a generation is kept depends on its number alone, so that a resumed run keeps the same ones. Their rows
    carry the update that first learns from them: one that a crash undid is undone with it.
    """

    def __init__(self, settings: GRPOSettings) -> None:
        self.every, self.spans = settings.transcripts_every, settings.updates_per_generation
        self.path = Path(settings.out) / "completions.jsonl"
        self.kept = -1

    def keep(self, step: int, episodes: Sequence[Trajectory]) -> None:
        """Writes the first group of a generation if it is its turn; the main process's part of it.

        Args:
            step: updates made before the generation.
            episodes: this process's sessions of the generation.
        """
        # An update may span several generations: the first of them is kept.
        due = self.every and -step % self.every < self.spans and step != self.kept
        if not due or not PartialState().is_main_process:
            return
        self.kept = step
        group = [e for e in episodes if _same_start(e, episodes[0])]
        append(self.path, [session_row(e, step + 1, "training") for e in group])


def _same_start(one: Trajectory, other: Trajectory) -> bool:
    if one.session is None or other.session is None:
        return one.session is other.session
    return (one.session.persona.id, one.session.seed) == (other.session.persona.id, other.session.seed)


def session_row(episode: Trajectory, step: int, kind: Literal["training", "validation"]) -> dict[str, Any]:
    """One session as a row of ``completions.jsonl``."""
    row: dict[str, Any] = {"step": step, "kind": kind, "ending": episode.ending}
    session = episode.session
    if session is None:
        return row
    return row | {
        "persona": session.persona.id,
        "seed": session.seed,
        "reward": None if episode.failed else sum(episode.turn_rewards),
        "turn_rewards": episode.turn_rewards,
        "terms": episode.terms,
        "violations": dict(episode.violations),
        "alliance": session.latent.alliance,
        "messages": [{"speaker": m.speaker, "text": m.text} for m in session.transcript],
        "affect": [s.affect for s in session.states],
        "polarity": [s.history[-1] if s.history else None for s in session.states],
        "sources": episode.sources,
    }
