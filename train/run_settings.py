"""The settings that every training of a policy has, and how a file of settings is read and written."""

from abc import abstractmethod
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar, get_args

from pydantic import AfterValidator, Field, model_validator

from therapysim.errors import ConfigError
from therapysim.files import write_json
from therapysim.models.server import refuse_secrets
from therapysim.personas.load import patients_named, training_ids
from therapysim.records import wrong
from therapysim.rewards.rubric_by_name import require_rubric_name
from therapysim.rewards.rubric_settings import PRESETS
from therapysim.settings import Count, Name, Names, Number, Pairs, Positive, Settings, about, layered, read_settings

__all__ = [
    "TRACKERS",
    "Patients",
    "RunSettings",
    "free",
    "load",
    "policy_setting",
    "require",
    "save_settings",
    "setting",
]

#: Where a run can be logged beside its own files.
Tracker = Literal["wandb", "trackio", "tensorboard"]
TRACKERS: tuple[Tracker, ...] = get_args(Tracker)

# Of a file of settings: raise it when an older file no longer means the same.
_VERSION = 1

#: Ids, files and folders, kept as ``personas.load.patients_named`` has them.
Patients = Annotated[Names, AfterValidator(patients_named)]

R = TypeVar("R", bound="RunSettings")


def setting(group: str, default: Any, help: str, *, free: bool = False, **limits: Any) -> Any:
    """One setting. ``free``: a run may be resumed with another value, for it changes how the run goes, not what it
    learns from."""
    return Field(default, description=help, json_schema_extra={"group": group, "free": free}, **limits)


policy_setting = partial(setting, "policy")
_session = partial(setting, "sessions")
_learning = partial(setting, "learning")
_adapter = partial(setting, "adapter and memory")
_keeping = partial(setting, "checkpoints and validation")
_tracking = partial(setting, "tracking")


class RunSettings(Settings):
    """What a training of a policy is set to, whatever its method.

    Raises:
        ConfigError: a value has the wrong type, is outside its range, or does not fit another.
        PersonaError: a persona is unknown, or one of the test patients.
    """

    #: The method, as ``settings.json`` names it.
    training: ClassVar[str]
    #: What a row of tokens is limited by, in words for a message.
    budgets: ClassVar[str]
    #: Names of earlier versions, which a search for near ones would take elsewhere.
    renamed: ClassVar[Mapping[str, str]] = {}

    model: Name = policy_setting(
        "smollm2", "what is trained: model folder, adapter folder, .gguf file, hub id, or smollm2"
    )
    out: Name = policy_setting(
        "runs/run", "folder of this run; one that holds a run already is refused, unless --resume", free=True
    )
    seed: int = policy_setting(
        0,
        "decides patients, sampling and adapter weights: equal seeds, equal runs (with vLLM up to rounding)",
        ge=0,
        le=2**32 - 1,
    )
    chat_template_kwargs: Pairs = policy_setting(
        {}, "variables of the model's chat template, such as enable_thinking=false; benchmarks read them of the run"
    )
    show_state: bool = policy_setting(True, "show the policy the [USER STATE] header: diagnosis, mood and its trend")

    split: Literal["train", "dev"] = _session(
        "train", "patients to practise on; those of test are kept apart for benchmarks"
    )
    personas: Patients = _session((), "patients by id, or files and folders of one's own, in place of the split's")
    vary: bool = _session(False, "meet a new variant of the training patient in each group: none is learned by heart")
    rubric: Name = _session(
        "grpo",
        "reward: grpo leaves out of default what words alone can please, user is two terms; or your own, a file "
        "(.yaml, .json) or package.module:Class",
    )
    max_turns: Positive = _session(3, "therapist turns in a session at most")
    max_turn_tokens: Positive = _session(64, "tokens of one therapist turn at most; what goes on longer is cut off")

    max_steps: Positive = _learning(200, "number of updates", free=True)
    batch_size: Positive = _learning(1, "sessions in one forward pass on each device: memory against speed")
    accumulation: Positive = _learning(
        4, "forward passes in an update; an update learns from batch_size x accumulation"
    )
    lr: float = _learning(5e-6, "learning rate, constant", gt=0, lt=1)
    max_grad_norm: Number = _learning(1.0, "a longer gradient is scaled down to this norm; 0 leaves it")

    lora_r: Positive = _adapter(16, "rank of the adapter: its capacity")
    lora_alpha: Positive = _adapter(16, "scale of the adapter, in units of lora_r")
    lora_dropout: float = _adapter(
        0.0, "dropout of the adapter; above 0, sampled and trained probabilities differ", ge=0, lt=1
    )
    lora_targets: Names = _adapter(("q_proj", "k_proj", "v_proj", "o_proj"), "layers that get an adapter", min_length=1)
    quantize_4bit: bool = _adapter(False, "load the base model in 4 bits (QLoRA); needs bitsandbytes")
    gradient_checkpointing: bool = _adapter(False, "keep no activations: less memory, about a fifth slower", free=True)
    unsloth: bool = _adapter(False, "load the model with unsloth: less memory and time; needs a GPU")
    dtype: Literal["auto", "float32", "bfloat16"] = _adapter(
        "auto", "precision; auto is bfloat16 on a GPU that has it, float32 elsewhere"
    )
    sensor_threads: Count = _adapter(
        0, "texts that the sensor reads at once; 0 chooses by the machine's cores", free=True
    )
    threads: Count = _adapter(
        0, "CPU threads; 0 leaves it to PyTorch, 1 is quicker where other work shares the machine", free=True
    )

    save_steps: Positive = _keeping(50, "updates between two checkpoints", free=True)
    resume: bool = _keeping(False, "go on from the newest checkpoint in the folder", free=True)
    validate_every: Count = _keeping(100, "updates between two validations on dev patients; 0 makes none", free=True)
    validate_sessions: Positive = _keeping(8, "sessions in a validation, the same each time", free=True)

    process_timeout_s: float = _keeping(
        1800.0, "seconds that several processes wait for one of them, before the run stops", gt=0, free=True
    )

    track: Annotated[tuple[Tracker, ...], Field(strict=False)] = _tracking(
        (), "log to these as well as to the run's folder", free=True
    )

    @property
    @abstractmethod
    def context(self) -> int:
        """Tokens that one row of a forward pass may have."""

    @property
    def samples_with_vllm(self) -> bool:
        """Whether the training needs vLLM."""
        return False

    @model_validator(mode="before")
    @classmethod
    def _check_names(cls, values: dict[str, Any]) -> dict[str, Any]:
        for name in values:
            if name in cls.renamed:
                raise ConfigError(f"{name} is an unknown field; did you mean '{cls.renamed[name]}'?")
            if name in ("preset", "config"):
                raise ConfigError(f"{name} is an unknown field; it stands on the command line alone: --{name}")
        for name, value in values.items():  # before any error could show the value
            for text in value if isinstance(value, list | tuple) else (value,):
                refuse_secrets(str(text), f"setting {name}")
        return values

    @model_validator(mode="after")
    def _check_names_of_others(self) -> Self:
        training_ids(self.split, self.personas)
        sessions = (
            f"one of {', '.join(name for name in PRESETS if name != 'judge')}, or your own: judge is for single turns"
        )
        require("rubric", self.rubric, self.rubric != "judge", sessions)
        require_rubric_name(self.rubric)
        return self


def free(kind: type[RunSettings]) -> tuple[str, ...]:
    """What a run may be resumed with another of, and stay the same run: it changes how it goes, not what it learns."""
    return tuple(name for name, own in kind.model_fields.items() if about(own)["free"])


def load(
    kind: type[R],
    path: str | Path | None,
    overrides: Mapping[str, Any] | None = None,
    begun: Mapping[str, Any] | None = None,
) -> R:
    """Settings that ``begun`` names, changed by those of a YAML or JSON file, changed by ``overrides``.

    Raises:
        ConfigError: the file cannot be read or is of another training, a name is unknown, or a value is not allowed.
        PersonaError: a persona is unknown, or one of the test patients.
    """
    named = _named(read_settings(Path(path)), kind, path) if path else {}
    return layered(kind, [("", begun or {}), (f"settings file {path}", named), ("", overrides or {})])


def save_settings(settings: RunSettings, path: Path) -> None:
    """Writes the settings as JSON, in a form that ``load`` reads."""
    write_json(path, {"version": _VERSION, "training": settings.training, **settings.model_dump()})


def require(name: str, value: object, fine: bool, expected: str) -> None:
    """Refuses a value that does not fit another.

    Raises:
        ConfigError: in the words of every such error.
    """
    if not fine:
        raise wrong(repr(value), expected, name)


def _named(content: dict[str, Any], kind: type[RunSettings], path: str | Path) -> dict[str, Any]:
    """A file's settings; one without a version is of the first, one without a training is of any."""
    version, training = content.pop("version", _VERSION), content.pop("training", kind.training)
    if version != _VERSION:
        step = "update TherapySim to read a newer file"
        raise ConfigError(f"settings file {path}: version is {version!r}, expected {_VERSION}; {step}")
    if training != kind.training:
        step = f"read it by `therapysim train {training}`"
        raise ConfigError(f"settings file {path}: training is {training!r}, expected {kind.training!r}; {step}")
    return content
