"""The ``therapysim`` command: which commands there are, and what an error of theirs comes to.

Each command is a file of this folder with ``add_options(parser)`` and ``run(chosen)``, read when it is chosen, so that
``--help`` and ``--version`` answer at once.
"""

import argparse
import os
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from therapysim import __version__
from therapysim.cli.parser import CommandParser
from therapysim.errors import ConfigError, TherapySimError
from therapysim.models.server import refuse_secrets, require_variable
from therapysim.visible import visible

__all__ = ["build_parser", "main"]

_COMMANDS = {
    "demo": "a session, a short GRPO training, and a comparison before and after",
    "bench": "compare therapists over patients and seeds, with intervals",
    "report": "show results of the benchmark: a page, a table for a paper, CSV",
    "profile": "draw the mood over the turns of one session, or its mean over many",
    "export": "a trained policy in a folder of its own, as an adapter or merged",
    "export-sessions": "kept sessions as chats, pairs or a table, as TRL, Axolotl and others read them",
    "chat": "talk with a patient in the terminal, or watch a policy do so",
    "play": "a page in the browser on which you are the therapist",
    "serve": "sessions for other programs, over OpenEnv's wire",
    "learned": "what trainings changed against the policy they started from: curves, effects, the catch",
}
_PROBES = {
    "calibrate": "fit scores to human ratings, and show how far to believe them",
    "portrayal": "how well language models play the patient, on the same cues",
    "agreement": "do patients rank the same therapists alike? Kendall's tau",
    "realism": "how the patients talk, beside statistics of real help-seekers",
    "attack": "play the attack suite beside a neutral therapist; exit code 1 where an attack succeeds",
    "judge": "how often the automated judge prefers the better turn of a pair, beside length, VADER and surface",
    "audit": "optimise cheaply against the rubric beside a good therapist; exit code 1 where an exploit is found",
}
_TRAININGS = {
    "sft": "a therapist policy that copies others, by supervised fine-tuning on sessions",
    "dpo": "a therapist policy that learns which of two answers is better, from pairs (DPO)",
    "grpo": "a therapist policy, by GRPO on whole sessions",
    "emotions": "the emotion sensor, on GoEmotions",
    "emotions-teacher": "a large encoder that labels texts for the sensor, one fold",
    "emotions-texts": "new texts for the sensor, written by a small language model",
    "emotions-labels": "labels of all teachers, for train emotions --teachers",
    "reader": "the reader of turns: acts, harms, empathy, uptake",
    "valence": "the map from the sensor's reading to people's ratings, on EmoBank",
    "patient-lines": "write cue -> line examples for the patient's adapter",
    "patient": "train the patient's adapter from such examples",
}
_DATA = {
    "pairs": "a chosen and a rejected turn for each state, for preference learning such as DPO",
    "groups": "eight ranked turns for each state",
}
_PERSONA = {
    "new": "write a new patient's file: a commented example that already works",
    "check": "every mistake of patients' files at once; --freeze freezes a folder",
    "show": "who a patient is, and what it can answer",
    "import": "a profile of Patient-Ψ, PatientHub or AnnaAgent as a patient's file with marked gaps, and a report",
}
# A command whose file cannot bear its name.
_FILES = {"import": "import_profile"}
# Packages that the base install leaves out, by the extra that brings them.
_EXTRAS = {
    **dict.fromkeys(("accelerate", "datasets", "gguf", "peft", "torch", "transformers", "trl"), "train"),
    **dict.fromkeys(("onnx", "onnxscript"), "sensor"),
    "aiohttp": "remote",
    **dict.fromkeys(("starlette", "uvicorn"), "play"),
    **dict.fromkeys(("fastapi", "openenv"), "openenv"),
    "bitsandbytes": "qlora",
    **dict.fromkeys(("matplotlib", "scipy", "vaderSentiment"), "report"),
    "unsloth": "unsloth",
    "vllm": "vllm",
    "wandb": "wandb",
}


# Most mistakes are found by all of several processes, and told once: as the first of them ends, their launcher ends the
# others. One that it has not ended by then, in seconds, found a mistake of its own, such as a file its host lacks.
_TELLS_S = 60.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command. Returns the exit code: 0, 2 for a mistake that its message explains, 130 when interrupted."""
    try:
        chosen = _parse(sys.argv[1:] if arguments is None else arguments)
        chosen.run(chosen)
    except TherapySimError as error:
        if isinstance(error, ConfigError) and os.environ.get("RANK", "0") != "0":
            time.sleep(_TELLS_S)
        print(f"therapysim: {visible(str(error))}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # whoever read the output has enough, as `head` does
        sys.stdout = None  # type: ignore[assignment]  # or Python complains again as it closes it
        return 1
    except KeyboardInterrupt:
        print("therapysim: interrupted", file=sys.stderr)
        return 130
    except ImportError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in _EXTRAS:
            raise
        print(f"therapysim: this command needs {missing}, which is not installed; "
              f'run: pip install "therapysim[{_EXTRAS[missing]}]"', file=sys.stderr)  # fmt: skip
        return 2
    return 0


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The command; one with a secret in it is refused before argparse, a log or a file could repeat it."""
    for number, argument in enumerate(arguments, 1):
        refuse_secrets(argument, f"argument {number} of the command")
    chosen = build_parser().parse_args(arguments)
    for name in ("api_key_env", "patient_key_env"):
        require_variable(getattr(chosen, name, None))
    return chosen


def build_parser() -> argparse.ArgumentParser:
    """The parser of every command; what runs the chosen one stands under ``run``."""
    parser = CommandParser(prog="therapysim", description="A simulated patient, and how to train for it.")
    parser.add_argument("--version", action="version", version=f"therapysim {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add(commands, _COMMANDS, "therapysim.cli")
    _add(commands, _PROBES, "therapysim.cli.probes")
    kinds = commands.add_parser("train", help="train a policy or the emotion sensor")
    _add(kinds.add_subparsers(title="what to train", metavar="KIND", required=True), _TRAININGS, "therapysim.cli.train")
    sets = commands.add_parser("data", help="draw preference data from sessions: pairs or ranked groups of turns")
    _add(sets.add_subparsers(title="what to draw", metavar="KIND", required=True), _DATA, "therapysim.cli.data")
    own = commands.add_parser("persona", help="patients of your own: write, check, show, freeze")
    _add(own.add_subparsers(title="what to do", metavar="WHAT", required=True), _PERSONA, "therapysim.cli.persona")
    return parser


def _add(commands: Any, files: Mapping[str, str], package: str) -> None:
    """A parser for each file, which adds its options once it is chosen."""
    for name, text in files.items():
        commands.add_parser(
            name, help=text, description=text, file=f"{package}.{_FILES.get(name, name).replace('-', '_')}"
        )


if __name__ == "__main__":
    raise SystemExit(main())
