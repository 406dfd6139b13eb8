"""The page "Your own reward": its term, file, tests and audit run as they stand there, and print what it says."""

import contextlib
import io
import re
from pathlib import Path

import pytest

from tests.parts.bench_parts import ROOT
from tests.parts.own_rubric import keep_imports
from therapysim.cli.main import main
from therapysim.rewards import open_rubric

PAGE = (ROOT / "docs" / "own-reward.md").read_text(encoding="utf-8")


def block(kind: str, holds: str) -> str:
    """The one block of code of that kind with these words in it."""
    (found,) = [text for text in re.findall(rf"```{kind}\n(.*?)```", PAGE, re.DOTALL) if holds in text]
    return str(found)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    keep_imports(monkeypatch, tmp_path, "mine")
    mine = "\n\n".join(block("python", words) for words in ("class Permission", "class Unasked", "class Halved"))
    (tmp_path / "mine.py").write_text(mine, encoding="utf-8")
    (tmp_path / "mine.yaml").write_text(block("yaml", "preset: grpo"), encoding="utf-8")
    (tmp_path / "lines.yaml").write_text(block("yaml", "permission: ["), encoding="utf-8")
    return tmp_path


def test_the_example_prints_what_stands_below_it(folder: Path) -> None:
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown):
        exec(block("python", "gym.make"), {})
    assert shown.getvalue() == block("text", "-1.0 ('advice',)")


def test_its_tests_pass(folder: Path) -> None:
    names: dict[str, object] = {}
    exec(block("python", "def test_range"), names)
    for name in ("test_range", "test_it_tells_better_from_worse"):
        names[name]()  # type: ignore[operator]


def test_the_mistakes_are_told_as_it_says(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = 'preset: grop\nweights: {moood: 1}\nterms: {permission: {class: "mine:Permission", weight: -1}}\n'
    (folder / "wrong.yaml").write_text(wrong, encoding="utf-8")
    assert main(["bench", "cbt", "--rubric", "wrong.yaml"]) == 2
    assert capsys.readouterr().err == block("text", "3 mistakes")


def test_its_class_and_its_mended_term_are_rubrics(folder: Path) -> None:
    (folder / "mended.yaml").write_text(
        "preset: grpo\nterms:\n  " + str(re.findall(r"`(unasked: \{.*?\})`", PAGE)[0]), encoding="utf-8"
    )
    assert open_rubric("mended.yaml").settings.own[0].high == 0 and open_rubric("mine:Halved").name == "mine:Halved"


@pytest.mark.slow
def test_its_audit_finds_the_hole_and_not_in_the_mended_term(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, command = block("sh", "audit").strip().split(" ", 1)
    for rubric, found in (("mine.yaml", True), ("mended.yaml", False)):
        if not found:
            test_its_class_and_its_mended_term_are_rubrics(folder)
        with pytest.raises(SystemExit):
            main(command.replace("mine.yaml", rubric).split())
        said = capsys.readouterr().out.partition("exploits:")[2]
        assert ("permission alone" in said) == found, said
        assert not found or "paid by permission +1.80 (attuned +0.00)" in said
