"""The settings of one GRPO training: what may be set, what is allowed, and how a file of them is read."""

import difflib
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import partial
from pathlib import Path
from typing import Any

from therapysim.errors import ConfigError
from therapysim.files import write_json
from therapysim.personas.load import training_ids
from therapysim.train.settings_file import read_settings

__all__ = ["CHOICES", "FREE", "TRACKERS", "GRPOSettings", "load_settings", "preset_notes", "presets", "save_settings"]

#: Where a run can be logged beside its own files.
TRACKERS = ("wandb", "trackio", "tensorboard")

#: What a setting may be, where it is one of a few names.
CHOICES: dict[str, tuple[str, ...]] = {
    "advantage": ("trajectory", "turn", "mixed"),
    "loss_type": ("grpo", "dr_grpo", "dapo"),
    "split": ("train", "dev"),  # nothing is trained on test patients
    "rubric": ("default", "grpo", "user"),
    "dtype": ("auto", "float32", "bfloat16"),
    "vllm": ("off", "colocate", "server"),
    "importance": ("token_truncate", "token_mask", "sequence_truncate", "sequence_mask", "off"),
    "track": TRACKERS,
}

#: What a run may be resumed with another of, and stay the same run: it changes how it goes, not what it learns from.
FREE = (
    "out", "resume", "max_steps", "max_minutes", "track", "patience", "alarm_reward_std", "alarm_repetition",
    "alarm_kl", "stop_on_alarm", "transcripts_every", "vllm_compile", "save_steps", "validate_every",
    "validate_sessions", "gradient_checkpointing", "threads", "sensor_threads", "vllm_gpu_memory", "vllm_server_url",
    "patient_processes",
)  # fmt: skip

_Rule = tuple[Callable[[Any], bool], str]


def _at_least(low: int) -> _Rule:
    return (lambda value: value >= low), f"at least {low}"


_COUNTS = ("max_steps", "groups", "batch_size", "accumulation", "max_turns", "max_turn_tokens", "max_prompt_tokens",
           "max_completion_tokens", "lora_r", "lora_alpha", "save_steps", "validate_sessions")  # fmt: skip
_NOT_NEGATIVE = ("beta", "validate_every", "transcripts_every", "patience", "threads", "sensor_threads", "alarm_kl",
                 "alarm_reward_std", "max_grad_norm", "max_minutes", "patient_processes")  # fmt: skip
_SHARE: _Rule = (lambda share: 0 <= share <= 1), "0 to 1"
_NAMED: _Rule = (lambda text: bool(text.strip())), "a name that is not empty"
# What a setting's value must be, whatever the others are.
_RULES: dict[str, _Rule] = {
    **dict.fromkeys((*_COUNTS, "importance_max"), _at_least(1)),
    **dict.fromkeys(_NOT_NEGATIVE, _at_least(0)),
    **dict.fromkeys(("turn_weight", "alarm_repetition"), _SHARE),
    **dict.fromkeys(("model", "out", "patient"), _NAMED),
    "generations": _at_least(2),
    "seed": ((lambda seed: 0 <= seed < 2**32), "0 to 4294967295"),
    "lr": ((lambda rate: 0 < rate < 1), "between 0 and 1, such as 5e-6"),
    "clip": ((lambda width: 0 < width < 1), "between 0 and 1, such as 0.2"),
    "temperature": ((lambda value: value > 0), "above 0"),
    "top_p": ((lambda share: 0 < share <= 1), "above 0, at most 1"),
    "vllm_gpu_memory": ((lambda share: 0 < share <= 1), "above 0, at most 1"),
    "lora_dropout": ((lambda share: 0 <= share < 1), "at least 0, below 1"),
    "lora_targets": (bool, "at least one layer name"),
}
_KINDS = {bool: "true or false", int: "a whole number", float: "a finite number", str: "text"}
# Names of earlier versions, which a search for near ones would take elsewhere.
_RENAMED = {"use_vllm": "vllm", "vllm_mode": "vllm", "sample_every": "validate_every", "wandb": "track",
            "sample_sessions": "validate_sessions"}  # fmt: skip
# What does not go with a vLLM server, and why.
_NOT_SERVED = {"quantize_4bit": "TRL would send packed 4-bit weights to a server that holds whole ones",
               "unsloth": "TRL would have to send the weights of a model that unsloth has changed"}  # fmt: skip


def _setting(group: str, default: Any, help: str) -> Any:
    return field(default=default, metadata={"group": group, "help": help})


_policy = partial(_setting, "policy")
_session = partial(_setting, "sessions")
_learning = partial(_setting, "learning")
_adapter = partial(_setting, "adapter and memory")
_sampling = partial(_setting, "sampling")
_keeping = partial(_setting, "checkpoints and validation")
_tracking = partial(_setting, "tracking")


@dataclass(frozen=True)
class GRPOSettings:
    """Everything that decides a GRPO run; saved as ``settings.json`` in its folder.

    One *generation* plays ``groups`` x ``generations`` sessions. One *update* (an optimizer step, what ``max_steps``
    counts) learns from ``batch_size`` x ``accumulation`` of them. TRL wants a generation to hold whole groups, and the
    defaults 8, 1 and 4 make an update of 4 sessions, half a group. They are reconciled without changing any of them:
    the 8 sessions of a generation serve ``updates_per_generation`` = 2 updates. In the second one the policy has
    already moved by one update; the clipped importance ratio (logged as ``ratio/mean``) corrects for that. With
    ``accumulation`` 8 every update is exactly on-policy. An update may also span several whole generations.

    Raises:
        ConfigError: a value has the wrong type, is outside its range, or does not fit another.
        PersonaError: a persona is unknown, or one of the test patients.
    """

    model: str = _policy("smollm2", "what is trained: model folder, adapter folder, .gguf file, hub id, or smollm2")
    out: str = _policy("runs/grpo", "folder of this run; one that holds a run already is refused, unless --resume")
    seed: int = _policy(
        0, "decides patients, sampling and adapter weights: equal seeds, equal runs (with vLLM up to rounding)"
    )
    show_state: bool = _policy(True, "show the policy the [USER STATE] header: diagnosis, mood and its trend")

    split: str = _session("train", "patients to practise on; those of test are kept apart for benchmarks")
    personas: tuple[str, ...] = _session((), "patients by id, in place of the split's")
    vary: bool = _session(False, "meet a new variant of the training patient in each group: none is learned by heart")
    patient: str = _session("scripted", "who words the patient's lines: scripted, llm, a model, or URL#MODEL")
    rubric: str = _session("grpo", "reward: grpo leaves out of default what words alone can please; user is two terms")
    groups: int = _session(1, "groups in a generation, each with another patient: more make a steadier gradient")
    generations: int = _session(8, "sessions in a group, all with the same patient and seed; compared with one another")
    max_turns: int = _session(3, "therapist turns in a session at most")
    max_turn_tokens: int = _session(64, "tokens of one therapist turn at most; what goes on longer is cut off")
    max_prompt_tokens: int = _session(512, "budget of the system prompt and the patient's first words")
    max_completion_tokens: int = _session(512, "budget of all that follows, the patient's words included")

    max_steps: int = _learning(200, "number of updates")
    max_minutes: float = _learning(0.0, "stop, with a checkpoint, after so many minutes of updates; 0 never does")
    batch_size: int = _learning(1, "sessions in one forward pass on each device: memory against speed")
    accumulation: int = _learning(4, "forward passes in an update; an update learns from batch_size x accumulation")
    lr: float = _learning(5e-6, "learning rate, constant")
    beta: float = _learning(0.04, "weight of the KL divergence from the starting policy; 0 lets it drift")
    advantage: str = _learning("trajectory", "credit of a token: its session's reward, its turn's, or a mix of both")
    turn_weight: float = _learning(0.5, "share of the turn's credit where advantage is mixed")
    loss_type: str = _learning("grpo", "how tokens are averaged: grpo within each session (short ones weigh more a "
                               "token), dapo over the update's tokens, dr_grpo by a constant")  # fmt: skip
    clip: float = _learning(0.2, "how far new over old probability may move from 1 before a token is left out")
    max_grad_norm: float = _learning(1.0, "a longer gradient is scaled down to this norm; 0 leaves it")
    mask_cut_turns: bool = _learning(True, "do not learn from turns that max_turn_tokens cut off")

    lora_r: int = _adapter(16, "rank of the adapter: its capacity")
    lora_alpha: int = _adapter(16, "scale of the adapter, in units of lora_r")
    lora_dropout: float = _adapter(0.0, "dropout of the adapter; above 0, sampled and trained probabilities differ")
    lora_targets: tuple[str, ...] = _adapter(("q_proj", "k_proj", "v_proj", "o_proj"), "layers that get an adapter")
    quantize_4bit: bool = _adapter(False, "load the base model in 4 bits (QLoRA); needs bitsandbytes")
    gradient_checkpointing: bool = _adapter(False, "keep no activations: less memory, about a fifth slower")
    unsloth: bool = _adapter(False, "load the model with unsloth: less memory and time; needs a GPU")
    dtype: str = _adapter("auto", "precision; auto is bfloat16 on a GPU that has it, float32 elsewhere")
    sensor_threads: int = _adapter(0, "texts that the sensor reads at once; 0 chooses by the machine's cores")
    threads: int = _adapter(0, "CPU threads; 0 leaves it to PyTorch, 1 is quicker where other work shares the machine")

    temperature: float = _sampling(1.0, "sampling temperature: higher explores more")
    top_p: float = _sampling(1.0, "nucleus sampling; below 1 the sampled distribution is no longer the trained one")
    vllm: str = _sampling("off", "sample with Hugging Face (off), or vLLM here or behind a server; needs a GPU")
    vllm_server_url: str = _sampling("", "address where vllm is server, such as http://localhost:8000")
    vllm_gpu_memory: float = _sampling(0.3, "share of the GPU's memory that a colocated vLLM takes")
    vllm_compile: bool = _sampling(True, "let a colocated vLLM compile the model: a minute at the first start")
    patient_processes: int = _sampling(0, "processes for scripted patients beside a colocated vLLM; 0 chooses by cores")
    importance: str = _sampling("token_truncate", "how vLLM's probabilities are corrected to the trained model's: by "
                                "token or whole sequence, large ratios cut (truncate) or left out (mask); off: not at "
                                "all")  # fmt: skip
    importance_max: float = _sampling(3.0, "the ratio above which importance truncates or masks")

    save_steps: int = _keeping(50, "updates between two checkpoints; a multiple of updates a generation")
    resume: bool = _keeping(False, "go on from the newest checkpoint in the folder")
    validate_every: int = _keeping(100, "updates between two validations on dev patients; 0 makes none")
    validate_sessions: int = _keeping(8, "sessions in a validation, the same each time")
    patience: int = _keeping(0, "stop after so many validations in a row without a better return; 0 never stops")
    alarm_reward_std: float = _keeping(0.01, "alarm where rewards of a group spread less, 3 generations on end")
    alarm_repetition: float = _keeping(0.5, "alarm where more than this share of dev turns repeats an earlier one")
    alarm_kl: float = _keeping(1.0, "alarm where the KL divergence a token is above this, 3 updates on end; none where "
                               "beta is 0")  # fmt: skip
    stop_on_alarm: bool = _keeping(False, "stop the run at the first alarm; cut turns stop none without mask_cut_turns")

    transcripts_every: int = _tracking(50, "updates between two training groups kept word for word; 0 keeps none")
    track: tuple[str, ...] = _tracking((), "log to these as well as to the run's folder")

    def __post_init__(self) -> None:
        for setting in fields(self):
            value = _checked(setting.name, getattr(self, setting.name), setting.default)
            object.__setattr__(self, setting.name, value)
        training_ids(self.split, self.personas)
        self._check_together()
        self._check_batches()

    def _check_together(self) -> None:
        served = self.vllm != "server" or self.vllm_server_url.startswith(("http://", "https://"))
        _check("vllm_server_url", self.vllm_server_url, served, "http://HOST:PORT, since vllm is server")
        for name, why in _NOT_SERVED.items():
            both = self.vllm == "server" and getattr(self, name)
            _check("vllm", self.vllm, not both, f"off or colocate, since {name} is set: {why}")
        fits = self.max_turn_tokens <= self.max_completion_tokens
        budget = f"at most max_completion_tokens {self.max_completion_tokens}"
        _check("max_turn_tokens", self.max_turn_tokens, fits, budget)
        waits = not self.patience or self.validate_every > 0
        _check("patience", self.patience, waits, "0, since validate_every is 0 and nothing is validated")

    def _check_batches(self) -> None:
        """TRL's rules on batches, and ours: no update straddles two generations, and none is cut by a checkpoint."""
        made, size = self.generation_sessions, self.batch_size
        _check("batch_size", size, made % size == 0, f"a divisor of groups x generations = {made}")
        per_update = size * self.accumulation
        whole = made % per_update == 0 or per_update % made == 0
        rule = f"batch_size x accumulation = {per_update} and groups x generations = {made} to divide one another"
        _check("accumulation", self.accumulation, whole, rule)
        # A checkpoint inside a generation would have to sample the rest anew: another curve after a resume.
        steps, saved = self.updates_per_generation, self.save_steps
        near = max(steps, saved // steps * steps)
        rule = f"a multiple of {steps} updates a generation, such as {near}"
        _check("save_steps", saved, saved % steps == 0, rule)

    @property
    def generation_sessions(self) -> int:
        """Sessions played in one generation, over all devices."""
        return self.groups * self.generations

    @property
    def updates_per_generation(self) -> int:
        """Updates that one generation serves on one device, at least 1."""
        return max(1, self.generation_sessions // (self.batch_size * self.accumulation))


def presets() -> dict[str, dict[str, Any]]:
    """The presets' settings by name; each names only what it is for, and the rest are the defaults."""
    return {name: preset["settings"] for name, preset in _presets().items()}


def preset_notes() -> dict[str, str]:
    """A line on each preset by name."""
    return {name: preset["about"] for name, preset in _presets().items()}


def load_settings(
    path: str | Path | None, overrides: Mapping[str, Any] | None = None, *, preset: str | None = None
) -> GRPOSettings:
    """Settings of a preset, changed by those of a YAML or JSON file, changed by ``overrides``.

    Raises:
        ConfigError: the preset is unknown, the file cannot be read, a name is unknown, or a value is not allowed.
        PersonaError: a persona is unknown, or one of the test patients.
    """
    known = presets()
    if preset is not None:
        _check("preset", preset, preset in known, _one_of(preset, known))
    values = dict(known[preset]) if preset is not None else {}
    values |= _settings_of(Path(path)) if path else {}
    return GRPOSettings(**_named({**values, **(overrides or {})}))


def save_settings(settings: GRPOSettings, path: Path) -> None:
    """Writes the settings as JSON, in a form that ``load_settings`` reads."""
    write_json(path, asdict(settings))


def _settings_of(path: Path) -> dict[str, Any]:
    """A file's settings; what is wrong with one of them is told with the file's name."""
    content = read_settings(path)
    try:
        return _named(content)
    except ConfigError as error:
        raise ConfigError(f"settings file {path}: {error}") from error


def _named(values: Mapping[str, Any]) -> dict[str, Any]:
    defaults = {f.name: f.default for f in fields(GRPOSettings)}
    for name in values:
        if name not in defaults:
            raise ConfigError(f"setting '{name}' is unknown; {_hint(name, defaults)}")
    return {name: _checked(name, value, defaults[name]) for name, value in values.items()}


def _hint(name: object, known: Iterable[str]) -> str:
    """What may have been meant by a name that is no setting's."""
    if name in ("preset", "config"):
        return f"it stands on the command line alone: --{name}"
    near = [_RENAMED[name]] if name in _RENAMED else difflib.get_close_matches(str(name), known := list(known), n=1)
    return f"did you mean '{near[0]}'?" if near else f"expected one of {', '.join(known)}"


def _presets() -> dict[str, Any]:
    return read_settings(Path(__file__).with_name("presets.yaml"))


def _checked(name: str, value: Any, default: Any) -> Any:
    """The value in the default's type, if it is allowed."""
    value = _typed(name, value, default)
    if name in CHOICES:
        for chosen in value if isinstance(value, tuple) else (value,):
            _check(name, chosen, chosen in CHOICES[name], _one_of(chosen, CHOICES[name]))
    if name in _RULES:
        holds, expected = _RULES[name]
        _check(name, value, holds(value), expected)
    return value


def _typed(name: str, value: Any, default: Any) -> Any:
    kind = type(default)
    if value is False and "off" in CHOICES.get(name, ()):
        return "off"  # which YAML reads as false unless it stands in quotes
    if kind is tuple and isinstance(value, list | tuple) and all(isinstance(text, str) for text in value):
        return tuple(value)
    if kind is str and isinstance(value, Path):
        return str(value)
    if kind is float and isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    _check(name, value, kind in (bool, int, str) and type(value) is kind, _wanted(name, value, kind))
    return value


def _wanted(name: str, value: Any, kind: type) -> str:
    """What stands in place of a value of the wrong type."""
    if kind is tuple:
        return f"a list of texts, such as [{value}]" if isinstance(value, str) and value else "a list of texts"
    if kind is str and name in CHOICES:
        return _one_of(str(value), CHOICES[name])
    return _KINDS[kind] + (", without quotes" if isinstance(value, str) else "")


def _one_of(found: str, allowed: Iterable[str]) -> str:
    near = difflib.get_close_matches(found, allowed := list(allowed), n=1)
    return f"one of {', '.join(allowed)}" + (f"; did you mean '{near[0]}'?" if near else "")


def _check(name: str, value: object, fine: bool, expected: str) -> None:
    if not fine:
        raise ConfigError(f"{name} is {value!r}, expected {expected}")
