"""What TRL's trainers lack: checkpoints that are checked, gradients that are numbers, a policy kept whole.

The two together are a trainer: ``class Mine(SafeTrainer, trl.SomeTrainer)``.
"""

import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from accelerate.utils import DistributedType, broadcast_object_list, gather_object
from safetensors import SafetensorError

from therapysim.errors import TrainingError
from therapysim.train.runs.best import keep_policy
from therapysim.train.runs.checkpoints import checkpoint_step, fault_of

__all__ = ["SafeTrainer", "TryAgain", "remove", "save_adapter", "shares_weights_out"]


class TryAgain(Exception):
    """Nothing can be learnt from these sessions, and nothing was; raised in all processes at once.

    Attributes:
        pause: whether waiting may help.
    """

    def __init__(self, why: str, *, pause: bool) -> None:
        super().__init__(why)
        self.pause = pause


class SafeTrainer:
    """Stands before a trainer of TRL's among a class's bases."""

    model: Any
    args: Any
    state: Any
    accelerator: Any
    processing_class: Any

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        for parameter in self.model.parameters():  # TRL rounds the adapter of a base in 4 bits to bfloat16
            if parameter.requires_grad:
                parameter.data = parameter.data.float()

    def keep_policy(self, folder: Path, describe: Callable[[Path], object]) -> None:
        """Writes adapter, tokenizer and card once, whole or not at all; every process must call it."""
        gathered = folder.with_name(f"{folder.name}.gathered")
        shared = shares_weights_out(self.accelerator)
        if shared:
            self.save_model(str(gathered))  # type: ignore[attr-defined]  # puts the weights together, as in a checkpoint
        if not self.accelerator.is_main_process:
            return

        def save(place: Path) -> None:
            if shared:
                shutil.copytree(gathered, place, dirs_exist_ok=True, ignore=shutil.ignore_patterns("ref"))
                shutil.rmtree(gathered)
            else:
                save_adapter(self.accelerator.unwrap_model(self.model), self.processing_class, place)
            describe(place)

        keep_policy(folder, self.state.global_step, save)

    def take_over(self, checkpoint: str) -> None:
        """A policy that has seen all its updates, and was not written yet."""
        self._load_from_checkpoint(checkpoint)  # type: ignore[attr-defined]
        self.state.global_step = checkpoint_step(checkpoint)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """As the library's; one that cannot be written, or is not sound, is not left behind.

        Raises:
            TrainingError: such a one; in all processes.
        """
        place, fault = Path(self.args.output_dir) / f"checkpoint-{self.state.global_step}", ""
        try:
            super()._save_checkpoint(model, trial)  # type: ignore[misc]
        except (OSError, RuntimeError, SafetensorError) as error:  # a full disk is each of them
            fault = f"cannot be written: {error!r}"
        faults = gather_object([fault])  # once all have written their part
        if self.accelerator.is_main_process and not any(faults):
            faults = [fault_of(place)]
        worst = [max(faults)]  # any there is: the empty text sorts first
        broadcast_object_list(worst)
        if worst[0]:
            if self.accelerator.is_main_process:
                remove(place)
            raise TrainingError(
                f"checkpoint {place} {worst[0]}; the earlier ones stay: mend the cause, such as a full disk, and go on "
                "with --resume"
            )

    def _get_grad_norm(self, model: Any, grad_norm: Any = None) -> Any:
        """As the library's, just before an update: nothing has changed yet, but by DeepSpeed.

        Raises:
            TryAgain: the gradient is no number.
        """
        norm = super()._get_grad_norm(model, grad_norm)  # type: ignore[misc]
        if norm is not None and not math.isfinite(float(norm)):
            raise TryAgain(f"the gradient is no finite number ({float(norm)})", pause=False)
        if norm is not None and float(norm) == 0.0:
            model.zero_grad(set_to_none=True)  # or the optimizer's momentum would move weights all the same
        return norm

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """None: a card that TRL fills in knows nothing of what this policy is, and is not, for."""

    def _send_telemetry(self) -> None:
        """None: a run tells nobody."""


def save_adapter(model: Any, tokenizer: Any, folder: Path) -> None:
    """Writes the adapter and the tokenizer; ``therapysim.models.checkpoint.load`` reads the folder.

    The copy of a starting adapter that TRL keeps as the reference is left out.
    """
    model.save_pretrained(folder, selected_adapters=["default"])
    tokenizer.save_pretrained(folder)


def shares_weights_out(accelerator: Accelerator) -> bool:
    """Whether no process has all of the weights."""
    return bool(accelerator.distributed_type == DistributedType.FSDP)


def remove(place: Path) -> None:
    """A checkpoint, beginning with what marks it as whole."""
    (place / "trainer_state.json").unlink(missing_ok=True)
    shutil.rmtree(place, ignore_errors=True)
