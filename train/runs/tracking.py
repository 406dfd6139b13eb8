"""Trackers beside the run's own ``metrics.jsonl``: W&B, trackio, TensorBoard, each only where it is named.

    wandb        RUN/wandb/          offline where no key is configured: `wandb sync RUN/wandb/offline-run-*` sends it
    tensorboard  RUN/tensorboard/    `tensorboard --logdir RUN/tensorboard`
    trackio      its own folder      one for all runs, which TRACKIO_DIR moves: `trackio show --project therapysim`

A run has the name of its folder everywhere, in the project ``therapysim``. Nothing is imported that was not named,
except that TRL imports trackio and wandb wherever they are installed; trackio's folder is fixed as it is imported.
The callbacks are those of transformers, told where to write; only the main process logs.
"""

import os
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.integrations import TensorBoardCallback, TrackioCallback, WandbCallback

from therapysim.train.run_settings import RunSettings
from therapysim.train.runs.run_folder import announce

__all__ = ["PROJECT", "trackers"]

#: What all runs are filed under.
PROJECT = "therapysim"


def trackers(settings: RunSettings) -> list[TrainerCallback]:
    """A callback for each tracker that the settings name; they must be installed."""
    kinds = {"wandb": _Wandb, "trackio": _Trackio, "tensorboard": _TensorBoard}
    return [kinds[name](settings) for name in dict.fromkeys(settings.track)]


def _run_name(settings: RunSettings) -> str:
    return Path(settings.out).resolve().name


class _Wandb(WandbCallback):
    def __init__(self, settings: RunSettings) -> None:
        super().__init__()
        self.settings, self.opened = settings, False

    def setup(self, args: TrainingArguments, state: TrainerState, model: Any, **kwargs: Any) -> None:
        if state.is_world_process_zero and self._wandb.run is None:  # the user's own run is left alone
            self._open(resumed=state.global_step > 0)
        super().setup(args, state, model, **kwargs)

    def _open(self, resumed: bool) -> None:
        folder = Path(self.settings.out)
        known = folder / "wandb" / "run-id"
        mode = self._mode()
        run = self._wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            name=_run_name(self.settings),
            dir=str(folder),
            mode=mode,
            id=known.read_text(encoding="utf-8") if resumed and known.exists() else None,
            resume="allow" if resumed and mode is None else None,
            config={"therapysim": self.settings.model_dump()},
            settings=self._wandb.Settings(console="off", silent=mode == "offline"),
        )
        known.parent.mkdir(parents=True, exist_ok=True)
        known.write_text(run.id, encoding="utf-8")
        self.opened = True

    def _mode(self) -> str | None:
        """Offline rather than a question at the terminal; what WANDB_MODE says goes first."""
        if os.environ.get("WANDB_MODE") or self._wandb.login(prompt=False, verify=False):
            return None
        announce(f"wandb: no key is configured, so it logs offline to {self.settings.out}/wandb; `wandb sync` sends it")
        return "offline"

    def on_train_end(self, *args: Any, **kwargs: Any) -> None:
        super().on_train_end(*args, **kwargs)
        if self.opened:
            self._wandb.finish()


class _Trackio(TrackioCallback):
    def __init__(self, settings: RunSettings) -> None:
        super().__init__()
        self.settings = settings

    def setup(self, args: TrainingArguments, state: TrainerState, model: Any, **_: Any) -> None:
        if state.is_world_process_zero:
            self._trackio.init(
                project=PROJECT,
                name=_run_name(self.settings),
                resume="allow" if state.global_step else "never",
                config={"therapysim": self.settings.model_dump()},
                embed=False,
            )
        self._initialized = True


class _TensorBoard(TensorBoardCallback):
    tb_writer: Any

    def __init__(self, settings: RunSettings) -> None:
        super().__init__()
        self.logging_dir = str(Path(settings.out) / "tensorboard")

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self._open(state)
        super().on_train_begin(args, state, control, **kwargs)

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs: Any = None, **kwargs: Any
    ) -> None:
        self._open(state)  # the validation before any update is logged as the training begins
        # TRL has None for what no session of an update tells; transformers warns of each.
        super().on_log(args, state, control, {k: v for k, v in (logs or {}).items() if v is not None}, **kwargs)

    def _open(self, state: TrainerState) -> None:
        if self.tb_writer is None and state.is_world_process_zero:
            # After a resume, what was logged past the checkpoint is hidden.
            purge = state.global_step + 1 if state.global_step else None
            self.tb_writer = self._SummaryWriter(log_dir=self.logging_dir, purge_step=purge)
