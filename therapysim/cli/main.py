"""The ``therapysim`` command. Each subcommand is one function that adds its parser and one that runs it.

Nothing heavy is imported before a command runs, so that ``--help`` and ``--version`` answer at once.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from therapysim import __version__
from therapysim.cli.attack import add_attack_command
from therapysim.cli.audit import add_audit_command
from therapysim.cli.bench import add_bench_command
from therapysim.cli.chat import add_chat_command
from therapysim.cli.export import add_export_command
from therapysim.cli.grpo import OptionParser, add_train_grpo
from therapysim.cli.judge import add_judge_command
from therapysim.cli.learned import add_learned_command
from therapysim.cli.patient import add_patient_commands, add_patient_training
from therapysim.cli.realism import add_realism_command
from therapysim.cli.report import add_report_command
from therapysim.cli.sensor import add_sensor_commands
from therapysim.errors import CalibrationError, ConfigError, TherapySimError

__all__ = ["build_parser", "main"]

# Packages that the base install leaves out, by the extra that brings them.
_EXTRAS = {
    **dict.fromkeys(("accelerate", "datasets", "gguf", "peft", "torch", "tqdm", "transformers", "trl"), "train"),
    **dict.fromkeys(("onnx", "onnxscript"), "sensor"),
    "aiohttp": "remote",
    "bitsandbytes": "qlora",
    **dict.fromkeys(("matplotlib", "scipy", "vaderSentiment"), "report"),
    "unsloth": "unsloth",
    "vllm": "vllm",
    "wandb": "wandb",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command. Returns the exit code: 0, 2 for a mistake that its message explains, 130 when interrupted."""
    chosen = build_parser().parse_args(arguments)
    try:
        chosen.run(chosen)
    except TherapySimError as error:
        if not (isinstance(error, ConfigError) and os.environ.get("RANK", "0") != "0"):  # all processes find the same
            print(f"therapysim: {error}", file=sys.stderr)
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


def build_parser() -> argparse.ArgumentParser:
    """The parser of every command; a command puts the function that runs it under ``run``."""
    parser = argparse.ArgumentParser(prog="therapysim", description="A simulated patient, and how to train for it.")
    parser.add_argument("--version", action="version", version=f"therapysim {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    add_demo(commands)
    add_bench_command(commands)
    add_report_command(commands)
    add_profile(commands)
    add_export_command(commands)
    add_chat_command(commands)
    add_calibrate(commands)
    add_patient_commands(commands)
    add_realism_command(commands)
    add_attack_command(commands)
    add_judge_command(commands)
    add_learned_command(commands)
    add_audit_command(commands)
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


def add_calibrate(commands: Any) -> None:
    """``therapysim calibrate``."""
    parser = commands.add_parser("calibrate", help="fit scores to human ratings, and show how far to believe them")
    parser.add_argument("ratings", metavar="FILE.csv", help="a header and one rated text a row, UTF-8, commas")
    parser.add_argument("--method", choices=("isotonic", "platt"), default="isotonic", help="platt: ratings of 0 and 1")
    parser.add_argument(
        "--score", metavar="COLUMN", help="default score; without it, the polarity that the sensor reads in column text"
    )
    parser.add_argument("--rating", metavar="COLUMN", default="rating", help="default rating")
    parser.add_argument("--out", metavar="FILE", default="calibration.json", help="default calibration.json")
    parser.add_argument("--plot", metavar="FILE", help="a reliability plot, .png or .svg")
    parser.add_argument("--folds", type=int, default=5, help="of the cross-validation, default 5")
    parser.add_argument("--seed", type=int, default=0, help="of the cross-validation, default 0")
    parser.add_argument("--note", default="", help="kept in the file, such as the ratings' origin and licence")
    parser.add_argument("--force", action="store_true", help="replace files that exist")
    parser.set_defaults(run=run_calibrate)


def run_calibrate(chosen: argparse.Namespace) -> None:
    """Fits, cross-validates, prints the table, and only then writes."""
    from therapysim.agents.figures import save
    from therapysim.agents.probes.ratings import read_ratings
    from therapysim.agents.probes.reliability import cross_validate, draw_reliability
    from therapysim.rewards.calibration import fit

    _check_outputs(chosen)
    scores, ratings = read_ratings(chosen.ratings, chosen.score, chosen.rating)
    fitted = fit(scores, ratings, chosen.method, note=chosen.note)
    assessed = cross_validate(scores, ratings, chosen.method, folds=chosen.folds, seed=chosen.seed)
    drawn = draw_reliability(fitted, assessed) if chosen.plot else None
    print(f"{chosen.ratings}: {chosen.folds} folds, seed {chosen.seed}\n{assessed.table()}")
    fitted.save(chosen.out)
    print(f"calibration in {chosen.out}")
    if drawn:
        print(f"plot in {save(drawn, chosen.plot)}")


def _check_outputs(chosen: argparse.Namespace) -> None:
    """Refuses, before any work, files that must not or cannot be written."""
    places = [Path(p) for p in (chosen.out, chosen.plot) if p]
    if len({p.resolve() for p in [*places, Path(chosen.ratings)]}) <= len(places):
        raise CalibrationError(f"the ratings, --out and --plot name one file twice: {chosen.ratings}, {places}")
    if chosen.plot and places[-1].suffix.lower() not in (".png", ".svg"):
        raise CalibrationError(f"--plot is {chosen.plot!r}, expected a name ending in .png or .svg")
    _refuse_existing(places, chosen.force)


def _refuse_existing(places: Sequence[Path], force: bool) -> None:
    for place in places:
        if place.is_dir() or (place.exists() and not force):
            raise ConfigError(f"{place} is there already; name another" + ", or add --force" * place.is_file())


def add_profile(commands: Any) -> None:
    """``therapysim profile``."""
    parser = commands.add_parser("profile", help="draw the mood over the turns of one session, or its mean over many")
    parser.add_argument(
        "sessions", nargs="+", metavar="SESSION", help="session files of bench --sessions, or folders of them"
    )
    parser.add_argument("--out", required=True, metavar="FILE", help="the figure, .png or .svg")
    parser.add_argument("--seed", type=int, default=0, help="of the bootstrap over several sessions, default 0")
    parser.add_argument("--force", action="store_true", help="replace a figure that exists")
    parser.set_defaults(run=run_profile)


def run_profile(chosen: argparse.Namespace) -> None:
    """Draws the profile, and prints it as a table."""
    from therapysim.agents.figures import save
    from therapysim.agents.sessions.mood_profile import draw_profile, tell
    from therapysim.agents.sessions.session_file import load_sessions
    from therapysim.errors import require_count

    _refuse_existing([Path(chosen.out)], chosen.force)
    records, seed = load_sessions(chosen.sessions), require_count("seed", chosen.seed, 0)
    written = save(draw_profile(records, seed), chosen.out)
    print(f"{tell(records, seed)}\n{written}")


def add_train(commands: Any) -> None:
    """``therapysim train``."""
    parser = commands.add_parser("train", help="train a policy or the emotion sensor")
    kinds = parser.add_subparsers(title="what to train", metavar="KIND", required=True, parser_class=OptionParser)
    add_train_grpo(kinds)
    add_sensor_commands(kinds)
    add_patient_training(kinds)


if __name__ == "__main__":
    raise SystemExit(main())
