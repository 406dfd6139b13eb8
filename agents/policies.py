"""Policies by name: the one place where a therapist is opened for a benchmark."""

import difflib
import importlib
import json
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from therapysim.agents.baselines import BASELINES, baseline
from therapysim.agents.therapist import ChatTherapist, Therapist
from therapysim.chat import ChatModel, HuggingFaceChat, Sampling
from therapysim.checkpoint import resolve
from therapysim.envs.session import Session
from therapysim.envs.therapy import observe
from therapysim.errors import ActionError, ConfigError, ModelError

__all__ = ["KINDS", "ObservationPolicy", "Policy", "kind_of", "open_policy", "require_policy", "shown_name"]

#: What a policy's name may be.
KINDS = (
    "a baseline, a run's folder of `therapysim train grpo`, a model's folder, .gguf file or hub id, smollm2, "
    "URL#MODEL of an OpenAI-compatible server, or package.module:function"
)
_FUNCTION = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")


@dataclass(frozen=True)
class Policy:
    """A therapist, and what a result should say of it.

    Attributes:
        name: as tables show it.
        therapist: who speaks.
        about: kind, identity of a model, how it is prompted and sampled; plain values.
        trained_on: ids of the patients it was trained with, as far as its folder says.
    """

    name: str
    therapist: Therapist
    about: Mapping[str, Any] = field(default_factory=dict)
    trained_on: frozenset[str] = frozenset()


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
            ActionError: it gave something other than text.
        """
        said = [self.choose(observe(session, observe_state=True)) for session in sessions]
        for text in said:
            if not isinstance(text, str):
                raise ActionError(f"the policy gave {type(text).__name__}, expected str: what the therapist says")
        return said


def kind_of(name: str) -> str:
    """Which of ``KINDS`` a name is: baseline, server, function, run or model.

    Raises:
        ConfigError: the name is empty, or a server's without a model.
    """
    if not name.strip():
        raise ConfigError(f"a policy's name is empty, expected {KINDS}")
    if name in BASELINES:
        return "baseline"
    if name.startswith(("http://", "https://")):
        if not name.partition("#")[2]:
            raise ConfigError(f"policy {name!r} names a server without a model, expected URL#MODEL")
        return "server"
    if (Path(name) / "policy").is_dir() and (Path(name) / "settings.json").is_file():
        return "run"
    return "function" if _FUNCTION.fullmatch(name) and not Path(name).exists() else "model"


def shown_name(name: str, show_state: bool = True) -> str:
    """How tables call a language model that reads the state header, or not."""
    return name if show_state else f"{name} (no header)"


def require_policy(name: str) -> None:
    """Refuses a name that cannot be opened, as far as that can be told without loading a model.

    Raises:
        ConfigError: there is no such policy.
        ModelError: there is no such model.
    """
    kind = kind_of(name)
    if kind == "function":
        _import(name)
    if kind == "run":
        _read_run(Path(name))
    if kind == "model":
        try:
            resolve(name)
        except ModelError as error:
            near = difflib.get_close_matches(name, BASELINES, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"expected {KINDS}"
            raise ConfigError(f"policy {name!r} is unknown; {hint}. As a model: {error}") from error


def open_policy(
    name: str, sampling: Sampling | None = None, *, show_state: bool = True, api_key_env: str | None = None
) -> Policy:
    """The policy of that name.

    Args:
        name: one of ``KINDS``. A function takes an observation of ``TherapySim-v0`` and gives the therapist's words; a
            class or an object with ``respond(sessions)`` is taken as it is.
        sampling: how a language model's turns are drawn; 64 tokens at temperature 0.8 by default.
        show_state: a language model reads the ``[USER STATE]`` header; a run knows for itself whether it does.
        api_key_env: of a server, the environment variable that holds its key.

    Raises:
        ConfigError: there is no such policy.
        ModelError: the model cannot be had.
    """
    kind = kind_of(name)
    if kind == "baseline":
        return Policy(name, baseline(name), {"kind": kind})
    if kind == "function":
        return Policy(name, _import(name), {"kind": kind})
    if kind == "run":
        return _open_run(Path(name), sampling or Sampling())
    model = _open_server(name, api_key_env) if kind == "server" else HuggingFaceChat(name)
    return _chat_policy(shown_name(name, show_state), kind, model, sampling or Sampling(), show_state)


def _chat_policy(
    name: str,
    kind: str,
    model: ChatModel,
    sampling: Sampling,
    show_state: bool,
    trained_on: frozenset[str] = frozenset(),
) -> Policy:
    about = {
        "kind": kind,
        "model": getattr(model, "identity", type(model).__name__),
        "show_state": show_state,
        "max_tokens": sampling.max_tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "tokens": "counted" if hasattr(model, "count_tokens") else "estimated",
    }
    return Policy(name, ChatTherapist(model, sampling, show_state=show_state), about, trained_on)


def _open_server(name: str, api_key_env: str | None) -> ChatModel:
    from therapysim.remote import RemoteChat

    url, _, model = name.partition("#")
    return RemoteChat(url, model, api_key_env=api_key_env)


def _open_run(folder: Path, sampling: Sampling) -> Policy:
    """A trained policy, prompted as it was trained."""
    show_state, max_tokens, trained_on = _read_run(folder)
    drawn = Sampling(max_tokens=max_tokens, temperature=sampling.temperature, top_p=sampling.top_p)
    return _chat_policy(str(folder), "run", HuggingFaceChat(folder / "policy"), drawn, show_state, trained_on)


def _read_run(folder: Path) -> tuple[bool, int, frozenset[str]]:
    """Whether it reads the header, its tokens a turn, and whom it was trained with."""
    try:
        settings = json.loads((folder / "settings.json").read_text(encoding="utf-8"))
        return bool(settings["show_state"]), int(settings["max_turn_tokens"]), _trained_on(settings)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"run {folder}: settings.json is none of a training ({error!r}); train it again") from error


def _trained_on(settings: Mapping[str, Any]) -> frozenset[str]:
    """Ids of the patients of a training; the patient behind each variant counts."""
    from therapysim.personas.load import personas

    chosen = settings["personas"] or [p.id for p in personas(settings["split"])]
    return frozenset(str(i).partition("~")[0] for i in chosen)


def _import(name: str) -> Therapist:
    """What ``package.module:function`` names, from the working folder too."""
    module, _, attribute = name.partition(":")
    if os.getcwd() not in sys.path:  # as `python -m` does, so that a file beside one is found
        sys.path.insert(0, os.getcwd())
    try:
        found = getattr(importlib.import_module(module), attribute)
    except ModuleNotFoundError as error:
        if not module.startswith(error.name or "\0"):
            raise
        raise ConfigError(f"policy {name!r}: there is no module {module!r}; expected {KINDS}") from error
    except AttributeError as error:
        raise ConfigError(f"policy {name!r}: {module} has no {attribute!r}; name what it defines") from error
    if isinstance(found, type):
        found = found()
    if isinstance(found, Therapist):
        return found
    if not callable(found):
        raise ConfigError(f"policy {name!r} is {type(found).__name__}, expected a function or a therapist")
    return ObservationPolicy(found)
