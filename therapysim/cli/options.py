"""Options that several commands share: who the patient is, and the file that keeps what was found."""

import argparse
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Any

from therapysim.errors import ConfigError

if TYPE_CHECKING:
    from therapysim.personas.llm.prompts import Prompt
    from therapysim.personas.patient import Patient

__all__ = ["PATIENT", "add_key", "add_patient", "keep", "open_chosen", "require_place"]

#: What a patient's name may be.
PATIENT = "scripted, llm, a model's folder, .gguf file or hub id, or URL#MODEL of an OpenAI-compatible server"


def add_patient(parser: argparse.ArgumentParser) -> None:
    """``--patient`` and ``--api-key-env``."""
    parser.add_argument("--patient", default="scripted", metavar="NAME", help=f"{PATIENT}; default scripted")
    add_key(parser)


def add_key(parser: argparse.ArgumentParser) -> None:
    """``--api-key-env``."""
    parser.add_argument("--api-key-env", metavar="NAME", help="the environment variable that holds a server's key")


def open_chosen(name: str, chosen: argparse.Namespace, prompt: "Prompt | None" = None) -> "Patient":
    """The patient of that name, read by the shipped sensor.

    Raises:
        ConfigError: the name or the variable holds nothing.
        ModelError: the model cannot be had.
    """
    from therapysim.personas.opening import open_patient
    from therapysim.rewards.reading.emotions import shipped_sensor

    return open_patient(name, shipped_sensor().affect, prompt=prompt, api_key_env=chosen.api_key_env)


def require_place(out: Path | None) -> None:
    """Refuses, before any work is done, a file that could not be written after it.

    Raises:
        ConfigError: says why.
    """
    if out is None:
        return
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=out.parent):
            pass
    except OSError as error:
        raise ConfigError(f"{out} cannot be written: {error.strerror or error}; name another file") from error
    if out.is_dir():
        raise ConfigError(f"{out} is a folder, expected a file's name")


def keep(out: Path | None, told: dict[str, Any]) -> None:
    """Writes what was found as JSON, where a file was named."""
    from therapysim.files import write_json

    if out is not None:
        write_json(out, told)
