"""The settings of one GRPO training: what may be set, what is allowed, and how a file of them is read."""

import difflib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import yaml

from therapysim.errors import ConfigError
from therapysim.personas.load import training_ids

__all__ = ["GRPOSettings", "load_settings", "save_settings"]

_CHOICES: dict[str, tuple[str, ...]] = {
    "advantage": ("trajectory", "turn", "mixed"),
    "loss_type": ("grpo", "dr_grpo", "dapo"),
    "split": ("train", "dev"),  # nothing is trained on test patients
    "rubric": ("default", "grpo", "user"),
    "dtype": ("auto", "float32", "bfloat16"),
    "vllm_mode": ("colocate", "server"),
}
# Inclusive ranges; None is unbounded.
_RANGES: dict[str, tuple[float | None, float | None]] = {
    **dict.fromkeys(("max_steps", "groups", "batch_size", "accumulation", "max_turns", "max_turn_tokens"), (1, None)),
    **dict.fromkeys(("max_prompt_tokens", "lora_r", "lora_alpha", "save_steps", "sample_sessions"), (1, None)),
    **dict.fromkeys(("seed", "beta", "sample_every", "threads"), (0, None)),
    **dict.fromkeys(("turn_weight", "lora_dropout", "vllm_gpu_memory"), (0, 1)),
    "generations": (2, None),
}


def _setting(default: Any, help: str) -> Any:
    return field(default=default, metadata={"help": help})


@dataclass(frozen=True)
class GRPOSettings:
    """Everything that decides a GRPO run; saved as ``settings.json`` in its folder.

    One *generation* plays ``groups`` x ``generations`` sessions. One *update* (an optimizer step, what ``max_steps``
    counts) learns from ``batch_size`` x ``accumulation`` of them. TRL wants a generation to hold whole groups, and the
    defaults 8, 1 and 4 make an update of 4 sessions, half a group. They are reconciled without changing any of them:
    the 8 sessions of a generation serve ``updates_per_generation`` = 2 updates. In the second one the policy has
    already moved by one update; the clipped importance ratio (logged as ``ratio/mean``) corrects for that. With
    ``accumulation`` 8 every update is exactly on-policy. An update may also span several whole generations.
    """

    model: str = _setting("smollm2", "model folder, adapter folder, .gguf file, hub id, or smollm2")
    out: str = _setting("runs/grpo", "folder of this run")
    seed: int = _setting(0, "decides patients, sampling and adapter weights")
    max_steps: int = _setting(200, "number of updates")
    max_turns: int = _setting(3, "therapist turns in a session at most")
    max_turn_tokens: int = _setting(64, "tokens of one therapist turn at most")
    max_prompt_tokens: int = _setting(512, "budget of the system prompt and the patient's first words")
    max_completion_tokens: int = _setting(512, "budget of everything after that, the patient's words included")
    show_state: bool = _setting(True, "show the policy the [USER STATE] header")
    split: str = _setting("train", "personas to practise on: train or dev; test patients are kept apart")
    personas: tuple[str, ...] = _setting((), "persona ids, in place of the split's")
    rubric: str = _setting("grpo", "preset of the reward: default, grpo or user")
    vary: bool = _setting(False, "practise on a new variant of a training patient in each group")

    generations: int = _setting(8, "sessions in a group, all with the same patient and seed")
    groups: int = _setting(1, "groups in a generation")
    batch_size: int = _setting(1, "sessions in one forward pass on each device")
    accumulation: int = _setting(4, "forward passes in an update")
    lr: float = _setting(5e-6, "learning rate, constant")
    beta: float = _setting(0.04, "weight of the KL divergence from the starting policy")
    temperature: float = _setting(1.0, "sampling temperature")
    top_p: float = _setting(1.0, "nucleus sampling; below 1 the sampled distribution is no longer the trained one")
    advantage: str = _setting("trajectory", "credit by whole session, by turn, or mixed")
    loss_type: str = _setting("grpo", "how tokens are weighed: grpo by session, dr_grpo and dapo over the batch")
    turn_weight: float = _setting(0.5, "share of the turn's credit when advantage is mixed")

    lora_r: int = _setting(16, "rank of the adapter")
    lora_alpha: int = _setting(16, "scale of the adapter")
    lora_dropout: float = _setting(0.0, "dropout of the adapter")
    lora_targets: tuple[str, ...] = _setting(("q_proj", "k_proj", "v_proj", "o_proj"), "layers that get an adapter")
    dtype: str = _setting("auto", "precision: auto is bfloat16 on a GPU that has it, float32 elsewhere")
    threads: int = _setting(0, "CPU threads; 0 leaves it to PyTorch, 1 is quicker where other work shares the machine")
    quantize_4bit: bool = _setting(False, "load the base model in 4 bits (QLoRA, needs bitsandbytes)")
    gradient_checkpointing: bool = _setting(False, "save memory, about a fifth slower")

    use_vllm: bool = _setting(False, "sample with vLLM")
    vllm_mode: str = _setting("colocate", "vLLM in this process (colocate) or behind a server")
    vllm_server_url: str = _setting("", "address of the server when vllm_mode is server")
    vllm_gpu_memory: float = _setting(0.3, "share of the GPU's memory that a colocated vLLM takes")

    save_steps: int = _setting(50, "updates between two checkpoints")
    sample_every: int = _setting(100, "updates between two samples of the policy; 0 takes none")
    sample_sessions: int = _setting(4, "sessions in such a sample")
    wandb: bool = _setting(False, "also log to Weights & Biases")
    resume: bool = _setting(False, "go on from the newest checkpoint in the folder")

    def __post_init__(self) -> None:
        for name, allowed in _CHOICES.items():
            _check(name, getattr(self, name), getattr(self, name) in allowed, f"one of {', '.join(allowed)}")
        for name, (low, high) in _RANGES.items():
            value = getattr(self, name)
            inside = (low is None or value >= low) and (high is None or value <= high)
            _check(name, value, inside, f"at least {low}" if high is None else f"{low} to {high}")
        _check("lr", self.lr, 0 < self.lr < 1, "between 0 and 1, such as 5e-6")
        _check("temperature", self.temperature, self.temperature > 0, "above 0")
        _check("top_p", self.top_p, 0 < self.top_p <= 1, "in (0, 1]")
        _check("lora_targets", self.lora_targets, bool(self.lora_targets), "at least one layer name")
        fits = self.max_turn_tokens <= self.max_completion_tokens
        _check(
            "max_turn_tokens", self.max_turn_tokens, fits, f"at most max_completion_tokens {self.max_completion_tokens}"
        )
        training_ids(self.split, self.personas)
        self._check_batches()

    def _check_batches(self) -> None:
        """TRL's rules on batches, and ours: no update straddles two generations, and none is cut by a checkpoint."""
        made = self.generation_sessions
        _check(
            "batch_size", self.batch_size, made % self.batch_size == 0, f"a divisor of groups x generations = {made}"
        )
        per_update = self.batch_size * self.accumulation
        whole = made % per_update == 0 or per_update % made == 0
        rule = f"batch_size x accumulation = {per_update} and groups x generations = {made} to divide one another"
        _check("accumulation", self.accumulation, whole, rule)
        # A checkpoint inside a generation would have to sample the rest anew: another curve after a resume.
        steps = self.updates_per_generation
        _check(
            "save_steps", self.save_steps, self.save_steps % steps == 0, f"a multiple of {steps} updates a generation"
        )

    @property
    def generation_sessions(self) -> int:
        """Sessions played in one generation, over all devices."""
        return self.groups * self.generations

    @property
    def updates_per_generation(self) -> int:
        """Updates that one generation serves on one device, at least 1."""
        return max(1, self.generation_sessions // (self.batch_size * self.accumulation))


def load_settings(path: str | Path | None, overrides: Mapping[str, Any] | None = None) -> GRPOSettings:
    """Settings from a YAML or JSON file, with some of them overridden.

    Raises:
        ConfigError: the file cannot be read, a name is unknown, or a value is out of range.
    """
    values = {**(_read(Path(path)) if path else {}), **(overrides or {})}
    known = {f.name: f for f in fields(GRPOSettings)}
    for name in values:
        if name not in known:
            near = difflib.get_close_matches(str(name), known, n=1)
            hint = f"did you mean '{near[0]}'?" if near else f"expected one of {', '.join(known)}"
            raise ConfigError(f"setting '{name}'{f' ({path})' if path else ''} is unknown; {hint}")
    return GRPOSettings(**{name: _coerce(name, value, known[name].default) for name, value in values.items()})


def save_settings(settings: GRPOSettings, path: Path) -> None:
    """Writes the settings as JSON, in a form that ``load_settings`` reads."""
    path.write_text(json.dumps(asdict(settings), indent=1) + "\n", encoding="utf-8")


def _read(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))  # JSON is YAML too
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"settings file {path} cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"settings file {path} holds {type(content).__name__}, expected names with values")
    return content


def _coerce(name: str, value: Any, default: Any) -> Any:
    """The value in the default's type: YAML reads 5e-6 as text and every list as a list."""
    kind = type(default)
    if kind is tuple and isinstance(value, list | tuple) and all(isinstance(v, str) for v in value):
        return tuple(value)
    if kind is float and isinstance(value, int | float | str) and not isinstance(value, bool):
        try:
            return float(value)
        except ValueError:
            pass
    _check(name, value, type(value) is kind, "a list of texts" if kind is tuple else f"a value of type {kind.__name__}")
    return value


def _check(name: str, value: object, fine: bool, expected: str) -> None:
    if not fine:
        raise ConfigError(f"{name} is {value!r}, expected {expected}")
