"""The ``therapysim`` command. Each subcommand is one function that adds its parser and one that runs it.

Nothing heavy is imported before a command runs, so that ``--help`` and ``--version`` answer at once.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from therapysim import __version__
from therapysim.errors import TherapySimError

__all__ = ["build_parser", "main"]

# Packages that the base install leaves out, by the extra that brings them.
_EXTRAS = {
    **dict.fromkeys(("accelerate", "datasets", "gguf", "peft", "torch", "tqdm", "transformers", "trl"), "train"),
    **dict.fromkeys(("onnx", "onnxscript"), "sensor"),
    "vllm": "vllm",
    "wandb": "wandb",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command. Returns the exit code: 0, 2 for a mistake that its message explains, 130 when interrupted."""
    chosen = build_parser().parse_args(arguments)
    try:
        chosen.run(chosen)
    except TherapySimError as error:
        print(f"therapysim: {error}", file=sys.stderr)
        return 2
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


def build_parser() -> argparse.ArgumentParser:
    """The parser of every command; a command puts the function that runs it under ``run``."""
    parser = argparse.ArgumentParser(prog="therapysim", description="A simulated patient, and how to train for it.")
    parser.add_argument("--version", action="version", version=f"therapysim {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    add_demo(commands)
    add_benchmark(commands)
    add_train(commands)
    return parser


def add_demo(commands: Any) -> None:
    """``therapysim demo``."""
    parser = commands.add_parser("demo", help="a session, a short GRPO training, and a comparison before and after")
    parser.add_argument("--model", default="smollm2", help="model folder, .gguf file, hub id, or smollm2 (default)")
    parser.add_argument("--out", default="runs/demo", metavar="FOLDER", help="default runs/demo; a new one each time")
    parser.add_argument("--steps", type=int, default=3, help="GRPO updates, default 3")
    parser.add_argument("--seed", type=int, default=0, help="default 0")
    parser.set_defaults(run=run_demo)


def run_demo(chosen: argparse.Namespace) -> None:
    """The whole path, once."""
    from therapysim.train.demo import DemoSettings, run

    run(DemoSettings(model=chosen.model, out=chosen.out, steps=chosen.steps, seed=chosen.seed))


def add_benchmark(commands: Any) -> None:
    """``therapysim benchmark``."""
    parser = commands.add_parser("benchmark", help="compare therapists over patients and seeds, with intervals")
    parser.add_argument(
        "policies", nargs="+", metavar="POLICY", help="a baseline such as attuned, a model folder, .gguf file or hub id"
    )
    parser.add_argument("--split", default="test", help="patients: train, dev or test (default)")
    parser.add_argument("--seeds", type=int, default=8, help="sessions with each patient, default 8")
    parser.add_argument("--turns", type=int, default=20, help="therapist turns in a session at most, default 20")
    parser.add_argument("--max-tokens", type=int, default=64, help="of one turn of a language model, default 64")
    parser.set_defaults(run=run_benchmark)


def run_benchmark(chosen: argparse.Namespace) -> None:
    """Plays every policy with the same sessions, and prints the table."""
    from therapysim.agents.baselines import BASELINES, baseline
    from therapysim.agents.benchmark import benchmark, table
    from therapysim.agents.therapist import ChatTherapist, Therapist
    from therapysim.chat import HuggingFaceChat, Sampling
    from therapysim.envs.batch import SessionBatch, SessionConfig
    from therapysim.personas.load import personas

    who, sampling = [p.id for p in personas(chosen.split)], Sampling(max_tokens=chosen.max_tokens)
    batch = SessionBatch(SessionConfig(max_turns=chosen.turns))
    policies: dict[str, Therapist] = {
        name: baseline(name) if name in BASELINES else ChatTherapist(HuggingFaceChat(name), sampling)
        for name in chosen.policies
    }
    print(table(benchmark(batch, policies, who, range(chosen.seeds))))


def add_train(commands: Any) -> None:
    """``therapysim train``."""
    parser = commands.add_parser("train", help="train a policy or the emotion sensor")
    kinds = parser.add_subparsers(title="what to train", metavar="KIND", required=True)
    add_train_grpo(kinds)
    add_train_emotions(kinds)


def add_train_grpo(kinds: Any) -> None:
    """``therapysim train grpo``: every setting is an option."""
    from therapysim.train.config import GRPOSettings

    parser = kinds.add_parser("grpo", help="a therapist policy, by GRPO on whole sessions")
    parser.add_argument("--config", metavar="FILE", help="settings in YAML or JSON; options override them")
    for setting in fields(GRPOSettings):
        _add_setting(parser, setting.name, setting.default, setting.metadata["help"])
    parser.set_defaults(run=train_grpo)


def train_grpo(chosen: argparse.Namespace) -> None:
    """Trains, and says where the policy is."""
    from therapysim.train.config import GRPOSettings, load_settings

    given = {f.name: getattr(chosen, f.name) for f in fields(GRPOSettings) if hasattr(chosen, f.name)}
    settings = load_settings(chosen.config, given)
    print(f"{settings.out}: {settings.max_steps} updates of {settings.model}, seed {settings.seed}", flush=True)

    from therapysim.train.grpo import train

    result = train(settings)
    print(f"{result.steps} updates in {result.seconds:.0f} s: policy in {result.policy}, metrics in {result.out}")


def add_train_emotions(kinds: Any) -> None:
    """``therapysim train emotions``."""
    parser = kinds.add_parser("emotions", help="the emotion sensor, on GoEmotions")
    parser.add_argument("--data", required=True, metavar="FOLDER", help="GoEmotions: train.tsv, dev.tsv, emotions.txt")
    parser.add_argument("--base", required=True, metavar="FOLDER", help="the pretrained MiniLM encoder")
    parser.add_argument("--out", required=True, metavar="FOLDER", help="where the weights go")
    parser.add_argument("--seed", type=int, default=0, help="default 0")
    parser.add_argument("--epochs", type=int, default=argparse.SUPPRESS, help="times through the data")
    parser.set_defaults(run=train_emotions)


def train_emotions(chosen: argparse.Namespace) -> None:
    """Trains the sensor, and prints its scores on dev."""
    from therapysim.train.emotions import SensorTrainConfig, train

    names = ("data", "base", "out", "seed", "epochs")
    report = train(SensorTrainConfig(**{n: getattr(chosen, n) for n in names if hasattr(chosen, n)}))
    print(", ".join(f"{name} {value:.4f}" for name, value in report["scores"].items()))


def _add_setting(parser: argparse.ArgumentParser, name: str, default: Any, text: str) -> None:
    """One option of a setting's type; left out of the result unless given, so that a file's value stands."""
    flags = [f"--{name.replace('_', '-')}", *(["--steps"] if name == "max_steps" else [])]
    shown = " ".join(default) if isinstance(default, tuple) else default
    options: dict[str, Any] = {
        "dest": name,
        "default": argparse.SUPPRESS,
        "help": f"{text} (default {shown or 'none'})",
    }
    if isinstance(default, bool):
        options["action"] = argparse.BooleanOptionalAction
    elif isinstance(default, tuple):
        options |= {"nargs": "*", "metavar": "NAME"}
    else:
        options |= {"type": type(default), "metavar": type(default).__name__.upper()}
    parser.add_argument(*flags, **options)


if __name__ == "__main__":
    raise SystemExit(main())
