"""What training changed, as data small enough to commit and a page to read."""

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from therapysim.agents.figures import save
from therapysim.agents.probes.detectors import DETECTORS
from therapysim.errors import ConfigError
from therapysim.train.learned.catch import catch, catch_tables
from therapysim.train.learned.compared_runs import Run, Study
from therapysim.train.learned.curves import curves_csv, draw_curves
from therapysim.train.learned.effects import Effect, compare, effects
from therapysim.train.learned.front import draw_front, places
from therapysim.train.learned.learned_page import page
from therapysim.train.learned.return_terms import trained_return
from therapysim.train.learned.transcripts import reading, transcripts

__all__ = ["FILES", "require_folder", "write_report"]

#: What a report's folder holds.
FILES = (
    "LEARNED.md", "curves.csv", "curves.svg", "front.svg", "effects.json", "catch.json", "transcripts.jsonl",
    "transcripts.md"
)  # fmt: skip


def require_folder(out: Path, *, force: bool = False) -> None:
    """Refuses, before any work, a folder that holds a report already.

    Raises:
        ConfigError: it does, and ``force`` is off; or it is no folder.
    """
    if out.exists() and not out.is_dir():
        raise ConfigError(f"--out {out} is a file, expected a folder")
    there = [name for name in FILES if (out / name).exists()]
    if there and not force:
        raise ConfigError(f"{out / there[0]} is there already; name another folder, or add --force")


def write_report(study: Study, out: Path, conclusion: str = "") -> list[Effect]:
    """Counts everything, and only then writes; other files in the folder stay.

    Returns:
        Every effect.

    Raises:
        ConfigError: a session file is of another session, or the folder cannot be written.
    """
    found = [*effects(study), *_by_training_rubric(study)]
    caught, tables, chosen = catch(study), catch_tables(study), transcripts(study)
    texts = {
        "LEARNED.md": page(study, [*found, *caught], tables, conclusion),
        "curves.csv": curves_csv(study),
        "effects.json": _json({**_about(study), "effects": [e.as_dict() for e in found]}),
        "catch.json": _json({**_caught(study, tables), "effects": [e.as_dict() for e in caught]}),
        "transcripts.jsonl": "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in chosen),
        "transcripts.md": reading(chosen),
    }
    _write(study, out, texts)
    return [*found, *caught]


def _by_training_rubric(study: Study) -> list[Effect]:
    values = trained_return(study)
    return compare(study, "measure", values) if values else []


def _about(study: Study) -> dict[str, Any]:
    """What was compared, without any machine's paths."""
    runs = [
        {"name": run.name, "mode": run.mode, "settings": {**run.settings, "out": run.name, "model": _bare(run)}}
        for run in study.runs
    ]
    names = ("split", "patients", "seeds", "turns", "rubric", "library", "versions")
    bench = {name: study.settings[name] for name in names if name in study.settings}
    told = {"base": study.names[study.base], "simulator": study.simulator, "results": study.digest, "bench": bench}
    return {**told, "notes": list(study.notes), "runs": runs}


def _bare(run: Run) -> str:
    model = str(run.settings.get("model", ""))
    return Path(model).name if os.path.isabs(model) else model


def _caught(study: Study, tables: Mapping[str, Any]) -> dict[str, Any]:
    """The tables, by the runs' names; and what each detector looks for."""
    told = {
        kind: {study.names.get(policy, policy): own for policy, own in table.items()} for kind, table in tables.items()
    }
    return {"detectors": {name: measure.meaning for name, measure in DETECTORS.items()}, **told}


def _json(value: Any) -> str:
    """One row a line where a list holds objects, so that a change of data is a change of few lines."""
    parts = [f" {json.dumps(name)}: {_entry(own)}" for name, own in value.items()]
    return "{\n" + ",\n".join(parts) + "\n}\n"


def _entry(own: Any) -> str:
    if isinstance(own, list) and own and isinstance(own[0], dict):
        return "[\n" + ",\n".join(f"  {json.dumps(row, ensure_ascii=False, allow_nan=False)}" for row in own) + "\n ]"
    return json.dumps(own, ensure_ascii=False, allow_nan=False)


def _write(study: Study, out: Path, texts: Mapping[str, str]) -> None:
    """All into a folder beside it first, which takes its place; where there is one, file by file, the page last."""
    part = out.with_name(f"{out.name}.{os.getpid()}.part")
    try:
        part.mkdir(parents=True)
        for name, text in texts.items():
            (part / name).write_text(text, encoding="utf-8", errors="replace")
        save(draw_curves(study), part / "curves.svg")
        save(draw_front(places(study)), part / "front.svg")
        if not out.exists():
            part.rename(out)
            return
        for name in reversed(FILES):
            (part / name).replace(out / name)
    except OSError as error:
        raise ConfigError(f"report {out} cannot be written: {error.strerror or error}; name another --out") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
