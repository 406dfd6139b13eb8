"""Options that several commands share: who the patient is, and the files that keep what was found."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from therapysim.errors import ConfigError, require_count
from therapysim.files import write_json
from therapysim.models.rendering import TemplateValue
from therapysim.personas.llm.prompts import Prompt
from therapysim.personas.load import personas
from therapysim.personas.opening import open_patient
from therapysim.personas.patient import Patient
from therapysim.rewards.reading.emotions import shipped_sensor
from therapysim.rewards.rubric_by_name import RUBRICS
from therapysim.settings import Pairs, Settings

__all__ = ["PATIENT", "add_key", "add_patient", "add_people", "add_rubric", "add_template", "keep", "open_chosen",
           "people_of", "refuse_existing", "require_place", "template_of"]  # fmt: skip

#: What a patient's name may be.
PATIENT = "scripted, llm, llm-qwen, a model's folder, .gguf file or hub id, or URL#MODEL of an OpenAI-compatible server"


def add_patient(parser: argparse.ArgumentParser) -> None:
    """``--patient`` and ``--api-key-env``."""
    parser.add_argument("--patient", default="scripted", metavar="NAME", help=f"{PATIENT}; default scripted")
    add_key(parser)


def add_key(parser: argparse.ArgumentParser) -> None:
    """``--api-key-env``."""
    parser.add_argument("--api-key-env", metavar="NAME", help="the environment variable that holds a server's key")


def add_rubric(parser: argparse.ArgumentParser, default: str, of: str = "the reward") -> None:
    """``--rubric``."""
    about = f"{of}: {RUBRICS}; default {default}"
    parser.add_argument("--rubric", default=default, metavar="NAME", help=about)


def add_template(parser: argparse.ArgumentParser) -> None:
    """``--chat-template-kwargs``."""
    about = "variables of a language model's chat template, such as enable_thinking=false; a run knows its own"
    parser.add_argument("--chat-template-kwargs", nargs="+", default=[], metavar="NAME=VALUE", help=about)


def template_of(chosen: argparse.Namespace) -> dict[str, TemplateValue]:
    """The chat template's variables of ``add_template``.

    Raises:
        ConfigError: one is no NAME=VALUE, or its value is no plain one.
    """
    return _Template(chat_template_kwargs=chosen.chat_template_kwargs).chat_template_kwargs


class _Template(Settings):
    """How a chat template is filled in beside the messages."""

    chat_template_kwargs: Pairs


def add_people(parser: argparse.ArgumentParser) -> None:
    """``--split`` and ``--patients``."""
    parser.add_argument("--split", default="dev", help="patients: train, dev (default) or test")
    parser.add_argument("--patients", type=int, metavar="N", help="the first N patients of the split; default all")


def people_of(chosen: argparse.Namespace) -> list[str]:
    """Ids of the patients of ``add_people``.

    Raises:
        ConfigError: the number is none.
        PersonaError: the split is unknown.
    """
    if chosen.patients is not None:
        require_count("patients", chosen.patients, 1)
    return [p.id for p in personas(chosen.split)][: chosen.patients]


def open_chosen(name: str, chosen: argparse.Namespace, prompt: Prompt | None = None) -> Patient:
    """The patient of that name, read by the shipped sensor.

    Raises:
        ConfigError: the name or the variable holds nothing.
        ModelError: the model cannot be had.
    """
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


def refuse_existing(places: Sequence[Path], force: bool) -> None:
    """Refuses files that are there already, unless they may be replaced.

    Raises:
        ConfigError: names the first.
    """
    for place in places:
        if place.is_dir() or (place.exists() and not force):
            raise ConfigError(f"{place} is there already; name another" + ", or add --force" * place.is_file())


def keep(out: Path | None, told: dict[str, Any]) -> None:
    """Writes what was found as JSON, where a file was named."""
    if out is not None:
        write_json(out, told)
