"""The recipe for distilabel: its step decides as the set's own judge on the same rows, and both pipelines run."""

import importlib.util
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

import pytest

from therapysim.envs.batch import SessionBatch, SessionConfig
from therapysim.train.pairs.given import read_draw
from therapysim.train.pairs.pair_settings import GROUP, PairSettings
from therapysim.train.pairs.run import draw_set
from therapysim.train.pairs.set_folder import Kind

FOLDER = Path(__file__).parents[3] / "train" / "pairs" / "distilabel"
SMALL: dict[str, Any] = {
    "personas": ("duncan", "marta"), "sessions": 3, "states": 2, "max_turns": 3, "horizon": 1, "candidates": 16,
    "teachers": ("cbt", "mi", "attuned", "eliza"),
}  # fmt: skip
KINDS: tuple[Kind, ...] = get_args(Kind)


def module(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"distilabel_{name}", FOLDER / f"{name}.py")
    assert spec and spec.loader
    made = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = made  # pydantic looks its annotations up there
    spec.loader.exec_module(made)
    return made


@pytest.fixture(scope="module")
def recipe() -> ModuleType:
    pytest.importorskip("distilabel", reason="an environment of its own: train/pairs/distilabel/requirements.txt")
    return module("recipe")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[Kind, Path]:
    batch = SessionBatch(SessionConfig(max_turns=3), rubric="grpo")
    made = {kind: tmp_path_factory.mktemp(kind) for kind in KINDS}
    for kind, out in made.items():
        draw_set(kind, PairSettings(**{**SMALL, "out": str(out)}), batch)
    return made


@pytest.fixture(scope="module")
def url(folders: dict[Kind, Path]) -> Iterator[str]:
    command = [sys.executable, str(FOLDER / "repeat.py"), str(folders["pairs"]), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout
        yield server.stdout.readline().strip()
        server.terminate()


def rows(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("kind", KINDS)
def test_the_step_decides_as_the_set(recipe: ModuleType, folders: dict[Kind, Path], kind: Kind) -> None:
    from distilabel.pipeline import Pipeline

    step = recipe.ClinicalPreferenceStep(name="judge", states=str(folders[kind]), kind=kind, pipeline=Pipeline("own"))
    step.load()
    given = [
        {
            **row,
            "candidates": [{n: own[n] for n in ("text", "kind", "style", "source")} for own in asdict(drawn)["found"]],
        }
        for row, drawn in zip(recipe.state_rows(str(folders[kind])), read_draw(folders[kind]).rows, strict=True)
    ]
    (made,) = step.process(given)
    assert json.loads(json.dumps(made)) == rows(folders[kind] / f"{kind}.jsonl") != []


def test_states_in_which_the_generator_failed_give_nothing(recipe: ModuleType, folders: dict[Kind, Path]) -> None:
    from distilabel.pipeline import Pipeline

    own, states = Pipeline("own"), str(folders["pairs"])
    gather = recipe.CandidateStep(name="candidates", states=states, source="mine", pipeline=own)
    judge = recipe.ClinicalPreferenceStep(name="judge", states=states, pipeline=own)
    gather.load(), judge.load()
    (gathered,) = gather.process([{**row, "warm": None, "direct": [None, ""]} for row in recipe.state_rows(states)])
    assert [row["candidates"] for row in gathered] == [[]] * len(gathered)
    assert next(judge.process(gathered)) == next(judge.process([{**row, "candidates": None} for row in gathered])) == []


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_the_pipelines_run(recipe: ModuleType, folders: dict[Kind, Path], url: str, kind: Kind, tmp_path: Path) -> None:
    command = [
        sys.executable, str(FOLDER / "recipe.py"), kind, "--states", str(folders["pairs"]), "--model", "teachers",
        "--url", url, "--out", str(tmp_path),
    ]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True)
    made, draw = rows(tmp_path / f"{kind}.jsonl"), read_draw(folders["pairs"])
    assert made
    outcomes = {(str(row.prompt), own.text): asdict(own.outcome) for row in draw.rows for own in row.found}
    for row in made:
        if kind == "groups":
            assert len(row["completions"]) == GROUP and set(row["sources"]) == {"teachers"}
            told = list(zip(row["completions"], row["outcomes"], strict=True))
        else:
            assert row["chosen_source"] == "teachers" and row["margin"] >= draw.settings.margin
            told = [(row["chosen"], row["scores"]["chosen"])]
        for said, outcome in told:  # as in the draw, to the last digit
            own = outcomes[str(row["prompt"]), said[0]["content"]]
            assert {**outcome, "violations": list(outcome["violations"])} == {
                **own,
                "violations": list(own["violations"]),
            }


def test_the_server_repeats_the_turns_of_a_draw(folders: dict[Kind, Path]) -> None:
    repeat = module("repeat")
    turns = repeat.known_turns(str(folders["pairs"]))
    asked, own = next((asked, own) for asked, own in turns.items() if len(own) > 1)
    told = repeat.reply(turns, {"model": "m", "messages": json.loads(asked), "n": len(own) + 1})
    assert [choice["message"]["content"] for choice in told["choices"]] == [*own, own[0]]
    with pytest.raises(KeyError):
        repeat.reply(turns, {"model": "m", "messages": [{"role": "user", "content": "Hello"}]})
