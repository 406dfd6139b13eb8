"""Policies by name: the one place where a therapist is found and opened for a benchmark."""

import difflib
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict, Field

from therapysim.agents.therapists.baselines import BASELINES, baseline
from therapysim.agents.therapists.therapist import ChatTherapist, Therapist
from therapysim.envs.session import Session
from therapysim.envs.therapy import observe
from therapysim.errors import ActionError, ConfigError, ModelError, TherapySimError
from therapysim.models.chat import ChatModel, HuggingFaceChat, Sampling, TemplateValue, identity_of
from therapysim.models.server import Server, refuse_secrets, require_variable, server_of
from therapysim.own_code import find_own, is_place
from therapysim.personas.load import personas
from therapysim.personas.own import base_name, id_of
from therapysim.records import Record, read_record

__all__ = ["KINDS", "Engine", "ObservationPolicy", "Policy", "find_policy", "kind_of", "run_of"]

#: What a policy's name may be.
KINDS = (
    "a baseline, a run's folder of `therapysim train grpo`, `sft` or `dpo`, a model's folder, .gguf file or hub id, "
    "smollm2, URL#MODEL of an OpenAI-compatible server, or package.module:function"
)


@dataclass(frozen=True)
class Engine:
    """What runs a language model in this process.

    Attributes:
        name: transformers, or vllm, which needs a GPU and answers many chats several times as fast.
        gpu_memory: the share of the GPU's memory that vLLM takes, in (0, 1].
    """

    name: Literal["transformers", "vllm"] = "transformers"
    gpu_memory: float = 0.5

    def open(self, model: str | Path, kwargs: Mapping[str, TemplateValue]) -> ChatModel:
        """The model, loaded, with these variables of its chat template.

        Raises:
            ConfigError: its template has no such variable.
            ModelError: it cannot be, or vLLM is not installed.
        """
        if self.name == "transformers":
            return HuggingFaceChat(model, chat_template_kwargs=kwargs)
        from therapysim.models.vllm import VLLMChat

        return VLLMChat(model, gpu_memory=self.gpu_memory, chat_template_kwargs=kwargs)


@dataclass(frozen=True)
class Policy:
    """A therapist that can be opened, and what a result should say of it.

    Attributes:
        name: as tables show it.
        open: loads it; a model is held from then on.
        about: kind, identity of a model, how it is prompted and sampled; plain values.
        trained_on: names of the patients it was trained with, as far as its folder says.
    """

    name: str
    open: Callable[[], Therapist]
    about: Mapping[str, Any] = field(default_factory=dict)
    trained_on: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        refuse_secrets(self.name, "the policy's name")


class ObservationPolicy:
    """A function of one observation of ``TherapySim-v0`` as a therapist.

    Args:
        choose: an observation, as ``reset`` and ``step`` give it -> what to say.
    """

    def __init__(self, choose: Callable[[dict[str, Any]], str]) -> None:
        self.choose = choose

    def respond(self, sessions: Sequence[Session]) -> list[str]:
        """What the function says to each.

        Raises:
            ActionError: it failed, or gave something other than text; names the session.
        """
        return [self._say(session) for session in sessions]

    def _say(self, session: Session) -> str:
        where = f"with {session.persona.id}, seed {session.seed}, turn {session.state.turn + 1}"
        try:
            said = self.choose(observe(session, observe_state=True))
        except Exception as error:  # the user's own code may raise anything
            raise ActionError(
                f"the policy failed {where}: {error!r}; mend it, and name another --out if it has played"
            ) from error
        if not isinstance(said, str):
            raise ActionError(f"the policy gave {type(said).__name__} {where}, expected str: what the therapist says")
        return said


def kind_of(name: str) -> str:
    """Which of ``KINDS`` a name is: baseline, server, function, run or model.

    Raises:
        ConfigError: the name is empty, a server's without a model, or holds a secret.
    """
    if not name.strip():
        raise ConfigError(f"a policy's name is empty, expected {KINDS}")
    if name in BASELINES:
        return "baseline"
    if server_of(name, "policy"):
        return "server"
    if run_of(name):
        return "run"
    return "function" if is_place(name) and not Path(name).exists() else "model"


def find_policy(
    name: str,
    sampling: Sampling | None = None,
    *,
    show_state: bool = True,
    api_key_env: str | None = None,
    engine: Engine | None = None,
    chat_template_kwargs: Mapping[str, TemplateValue] | None = None,
) -> Policy:
    """The policy of that name. No model is loaded before it is opened.

    Args:
        name: one of ``KINDS``. A function takes an observation of ``TherapySim-v0`` and gives the therapist's words; a
            class or an object with ``respond(sessions)`` is taken as it is.
        sampling: how a language model's turns are drawn; 64 tokens at temperature 0.8 by default.
        show_state: a language model reads the ``[USER STATE]`` header; a run knows for itself whether it does.
        api_key_env: of a server, the environment variable that holds its key.
        engine: what runs a model in this process, transformers by default.
        chat_template_kwargs: variables of a model's chat template, or of its server's; a run knows its own.

    Raises:
        ConfigError: there is no such policy.
    """
    kind, drawn, run = kind_of(name), sampling or Sampling(), engine or Engine()
    kwargs = dict(chat_template_kwargs or {})
    require_variable(api_key_env)
    if kind == "baseline":
        return Policy(name, lambda: baseline(name), {"kind": kind})
    if kind == "function":
        found, source = _import(name)
        return Policy(name, partial(_open_function, name, found), {"kind": kind, "source": source})
    if kind == "run":
        return _find_run(name, drawn, run)
    shown = name if show_state else f"{name} (no header)"
    if server := server_of(name, "policy"):
        load = partial(_open_server, server, api_key_env, kwargs)
        return _chat_policy(shown, kind, name, load, drawn, show_state, kwargs)
    load = partial(run.open, name, kwargs)
    return _chat_policy(shown, kind, _identity(name), load, drawn, show_state, kwargs, run.name)


def _chat_policy(
    name: str,
    kind: str,
    model: str,
    load: Callable[[], ChatModel],
    sampling: Sampling,
    show_state: bool,
    kwargs: Mapping[str, TemplateValue],
    engine: str = "",
    trained_on: frozenset[str] = frozenset(),
) -> Policy:
    about = {
        "kind": kind,
        "model": model,
        "show_state": show_state,
        "max_tokens": sampling.max_tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "tokens": "estimated" if kind == "server" else "counted",
        **({"engine": engine} if engine == "vllm" else {}),  # results from before there was a choice stay what they are
        **({"chat_template_kwargs": dict(kwargs)} if kwargs else {}),
    }
    return Policy(name, lambda: ChatTherapist(load(), sampling, show_state=show_state), about, trained_on)


def _identity(name: str) -> str:
    """What a model is, by its files.

    Raises:
        ConfigError: there is none of that name.
    """
    try:
        return identity_of(name)
    except ModelError as error:
        near = difflib.get_close_matches(name, BASELINES, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"expected {KINDS}. As a model: {error}"
        stem = name.removesuffix(".py")
        if Path(f"{stem}.py").is_file():
            hint = f"a function or class of {stem}.py is '{stem}:NAME'"
        raise ConfigError(f"policy {name!r} is unknown; {hint}") from error


def _open_server(server: Server, api_key_env: str | None, kwargs: Mapping[str, TemplateValue]) -> ChatModel:
    from therapysim.models.remote import RemoteChat, RemoteSettings

    extra = {"chat_template_kwargs": dict(kwargs)} if kwargs else {}
    return RemoteChat(*server, api_key_env=api_key_env, settings=RemoteSettings(extra=extra))


def run_of(name: str | Path) -> Path | None:
    """The run's folder that a name is, or that it lies in, as ``policy`` and ``checkpoints/checkpoint-5`` do."""
    if not Path(name).is_dir():
        return None
    place = Path(name).resolve()
    for folder in (place, *place.parents[:2]):
        made = any((folder / name).is_dir() for name in ("policy", "best", "checkpoints"))
        if made and (folder / "settings.json").is_file():
            return folder
    return None


def _find_run(name: str, sampling: Sampling, engine: Engine) -> Policy:
    """A trained policy, prompted as it was trained."""
    folder = run_of(name) or Path(name)
    run = read_run(folder)
    model = folder / "policy" if folder.samefile(name) else Path(name)
    drawn = Sampling(max_tokens=run.max_turn_tokens, temperature=sampling.temperature, top_p=sampling.top_p)
    identity, kwargs = _identity(str(model)), run.chat_template_kwargs
    load = partial(engine.open, model, kwargs)
    return _chat_policy(name, "run", identity, load, drawn, run.show_state, kwargs, engine.name, run.trained_on)


class Run(Record):
    """What a benchmark needs of a run's settings."""

    model_config = ConfigDict(extra="ignore")

    personas: tuple[str, ...]
    split: str
    show_state: bool
    max_turn_tokens: int
    chat_template_kwargs: dict[str, TemplateValue] = Field(default_factory=dict)

    @property
    def trained_on(self) -> frozenset[str]:
        """Names of the patients it was trained with; whoever practised on a variant has met its patient."""
        ids = self.personas or [p.id for p in personas(self.split)]
        return frozenset(base_name(id_of(i)) for i in ids)


def read_run(folder: Path) -> Run:
    """How a run's policy is prompted, and whom it has met.

    Raises:
        ConfigError: the folder's settings are none of a training.
    """
    where = f"run {folder}: settings.json is none of a training"
    return read_record(folder / "settings.json", Run, ConfigError, where)


def _import(name: str) -> tuple[Any, str]:
    """What ``package.module:function`` names, from the working folder too, and the SHA-256 of its source."""
    found, source = find_own(name, f"policy {name!r}", KINDS)
    if not callable(found) and not isinstance(found, Therapist):
        raise ConfigError(f"policy {name!r} is {type(found).__name__}, expected a function or a therapist")
    return found, source


def _open_function(name: str, found: Any) -> Therapist:
    """A function or a therapist of the user's own; a class is made anew each time."""
    try:
        made = found() if isinstance(found, type) else found
    except Exception as error:
        raise ConfigError(f"policy {name!r} cannot be had: {error!r}; mend {found.__module__}") from error
    return _Own(name, made if isinstance(made, Therapist) else ObservationPolicy(made))


def _place(error: Exception) -> str:
    """Where in the user's own code it happened: the last line that is of no package."""
    of_others = ("therapysim", *sys.stdlib_module_names)
    places = [
        (Path(frame.f_code.co_filename).name, line)
        for frame, line in traceback.walk_tb(error.__traceback__)
        if frame.f_globals.get("__name__", "").partition(".")[0] not in of_others
        and "site-packages" not in frame.f_code.co_filename
    ]
    return f" in {places[-1][0]}, line {places[-1][1]}" if places else ""


class _Own:
    """A therapist of the user's own, whose faults are told by its name."""

    def __init__(self, name: str, therapist: Therapist) -> None:
        self.name, self._therapist = name, therapist

    def respond(self, sessions: Sequence[Session]) -> list[str]:
        try:
            said = self._therapist.respond(sessions)
        except TherapySimError:
            raise
        except Exception as error:
            raise ActionError(
                f"policy {self.name!r} failed with {len(sessions)} sessions: {error!r}{_place(error)}; mend it"
            ) from error
        if not isinstance(said, list | tuple) or not all(isinstance(text, str) for text in said):
            raise ActionError(f"policy {self.name!r} gave {said!r:.60}, expected a list of texts, one a session")
        return list(said)
