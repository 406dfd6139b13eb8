"""The card: the folder of a set loads as a data set, with the same types whatever its rows happen to hold."""

import json
from pathlib import Path
from typing import Any, cast, get_args

import pytest
import yaml

from therapysim.envs.batch import SessionBatch, SessionConfig
from therapysim.train.pairs.card import card_of, features_of
from therapysim.train.pairs.pair_settings import PairSettings
from therapysim.train.pairs.run import draw_set
from therapysim.train.pairs.set_folder import Kind

datasets = pytest.importorskip("datasets")

SMALL: dict[str, Any] = {"personas": ("duncan", "marta"), "sessions": 2, "states": 2, "max_turns": 3, "horizon": 1}
KINDS: tuple[Kind, ...] = get_args(Kind)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[Kind, Path]:
    batch = SessionBatch(SessionConfig(max_turns=3), rubric="grpo")
    made = {kind: tmp_path_factory.mktemp(kind) for kind in KINDS}
    for kind, out in made.items():
        draw_set(kind, PairSettings(**{**SMALL, "out": str(out)}), batch)
    return made


def front(folder: Path) -> dict[str, Any]:
    return cast(dict[str, Any], yaml.safe_load((folder / "README.md").read_text(encoding="utf-8").split("---\n")[1]))


def rows(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("kind", KINDS)
def test_the_folder_and_the_file_load(folders: dict[Kind, Path], kind: Kind, tmp_path: Path) -> None:
    folder, file = folders[kind], folders[kind] / f"{kind}.jsonl"
    whole = datasets.load_dataset(str(folder), cache_dir=str(tmp_path / "a"))
    plain = datasets.load_dataset("json", data_files=str(file), split="train", cache_dir=str(tmp_path / "b"))
    assert list(whole) == ["train"]
    assert whole["train"].to_list() == plain.to_list() == rows(file) != []
    assert whole["train"].features._to_yaml_list() == front(folder)["dataset_info"]["features"]
    whole["train"].to_parquet(str(tmp_path / "pushed.parquet"))  # the form in which a set is pushed
    assert datasets.Dataset.from_parquet(str(tmp_path / "pushed.parquet")).to_list() == rows(file)


def test_columns_that_hold_nothing_have_their_types(folders: dict[Kind, Path], tmp_path: Path) -> None:
    folder = folders["pairs"]
    loaded = datasets.load_dataset(str(folder), split="train", cache_dir=str(tmp_path / "a"))
    assert all(row["scores"]["chosen"]["violations"] == [] for row in rows(folder / "pairs.jsonl"))  # whoever is valid
    assert loaded.features["scores"]["chosen"]["violations"] == datasets.List(datasets.Value("string"))
    no_error = [{**row, "error": None} for row in rows(folder / "pairs.jsonl")]
    assert features_of(no_error) == features_of(rows(folder / "pairs.jsonl"))


def test_groups_without_errors_load(folders: dict[Kind, Path], tmp_path: Path) -> None:
    folder = folders["groups"]
    plain = [{**row, "errors": [None] * 8} for row in rows(folder / "groups.jsonl")]
    sheet = json.loads((folder / "sheet.json").read_text(encoding="utf-8"))
    sheet["shortcuts"]["after"] = dict.fromkeys(sheet["shortcuts"]["after"], float("nan"))  # as it is before JSON
    (tmp_path / "README.md").write_text(card_of("groups", plain, sheet), encoding="utf-8")
    (tmp_path / "groups.jsonl").write_text("".join(json.dumps(row) + "\n" for row in plain), encoding="utf-8")
    loaded = datasets.load_dataset(str(tmp_path), split="train", cache_dir=str(tmp_path / "cache"))
    assert loaded.features["errors"] == datasets.List(datasets.Value("string"))
    assert loaded["completions"][:] == [row["completions"] for row in plain]
    # Its reader goes another way round a list of None, by which the last digit may differ.
    assert [pytest.approx(row["scores"]) for row in plain] == loaded["scores"][:]


def test_types_of_columns() -> None:
    told = features_of([{"a": 1, "b": None, "c": [], "d": True, "e": 1}, {"a": 2.5, "b": "x", "c": [[{"f": 1}]]}])
    assert told == [
        {"name": "a", "dtype": "float64"},
        {"name": "b", "dtype": "string"},
        {"name": "c", "list": {"list": [{"name": "f", "dtype": "int64"}]}},
        {"name": "d", "dtype": "bool"},
        {"name": "e", "dtype": "int64"},
    ]
    assert features_of([]) == []
    assert datasets.Features._from_yaml_list(told)


def test_the_front_matter_says_what_the_set_is(folders: dict[Kind, Path]) -> None:
    told = front(folders["pairs"])
    assert told["license"] == "apache-2.0" and told["size_categories"] == ["n<1K"] and "dpo" in told["tags"]
    assert told["configs"][0]["data_files"] == [{"split": "train", "path": "pairs.jsonl"}]
    sheet = json.loads((folders["pairs"] / "sheet.json").read_text(encoding="utf-8"))
    assert f"| rows | {sheet['rows']} |" in (folders["pairs"] / "README.md").read_text(encoding="utf-8")


def test_an_empty_set_has_a_card(folders: dict[Kind, Path]) -> None:
    folder = folders["pairs"]
    before = (folder / "README.md").read_bytes()
    batch = SessionBatch(SessionConfig(max_turns=3), rubric="grpo")
    settings = PairSettings(**{**SMALL, "out": str(folder)})
    draw_set("pairs", settings.changed(margin=50.0), batch)
    assert "dataset_info" not in front(folder)
    draw_set("pairs", settings, batch)
    assert (folder / "README.md").read_bytes() == before
