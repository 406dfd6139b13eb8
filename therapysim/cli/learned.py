"""``therapysim learned``: what trainings changed, for better and worse, against the policy they started from."""

import argparse
from pathlib import Path

from therapysim.errors import ConfigError

__all__ = ["add_options", "run"]


def add_options(parser: argparse.ArgumentParser) -> None:
    """The runs, the benchmark that played them, and where the report goes."""
    add = parser.add_argument
    add("runs", nargs="+", metavar="[LABEL=]RUN",
        help="folders of train grpo, sft and dpo; runs of one label are pooled, or of one --advantage")  # fmt: skip
    add("--bench", required=True, type=Path, metavar="FOLDER",
        help="of bench, which played the base and every run; with --sessions, turns have their terms too")  # fmt: skip
    add("--base", required=True, metavar="POLICY", help="what it calls the policy that they started from, as smollm2")
    add("--patient", default="", metavar="NAME", help="who worded the patients, where the benchmark has several")
    add("--out", required=True, type=Path, metavar="FOLDER", help="for LEARNED.md and the data that it shows")
    add("--conclusion", type=Path, metavar="FILE", help="what you made of it, in Markdown; it joins the page")
    add("--force", action="store_true", help="replace a report that is there")


def run(chosen: argparse.Namespace) -> None:
    """Reads, counts, writes the folder, and prints how the return changed.

    Raises:
        ConfigError: a run, a policy or a session is missing, or a report is there already.
    """
    from therapysim.train.learned.changes import require_folder, write_report
    from therapysim.train.learned.compared_runs import open_study

    require_folder(chosen.out, force=chosen.force)
    conclusion = _read(chosen.conclusion) if chosen.conclusion else ""
    study = open_study(chosen.runs, chosen.bench, chosen.base, chosen.patient)
    for effect in write_report(study, chosen.out, conclusion):
        if effect.kind == "measure" and effect.name in ("total", "polarity", "alliance"):
            print(effect)
    print("".join(f"note: {note}\n" for note in study.notes) + f"report in {chosen.out}")


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"--conclusion {path} cannot be read: {error}; name a text file in UTF-8") from error
