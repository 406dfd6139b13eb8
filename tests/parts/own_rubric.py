"""A module of the user's own with terms and a rubric, written into a folder and imported from there."""

import sys
from pathlib import Path

import pytest

__all__ = ["MINE", "keep_imports", "working", "write_mine"]

MINE = '''
from therapysim.rewards import Rubric, RubricSettings, Score


class Thanks:
    """1 where the therapist thanks the patient, else 0. Range: 0 or 1."""

    def __call__(self, turn):
        return float("thank you" in turn.therapist.text.lower())


def shout(turn):
    """The share of capitals, as a cost. Range: -1 to 0."""
    letters = [c for c in turn.therapist.text if c.isalpha()]
    return -sum(c.isupper() for c in letters) / max(1, len(letters))


def wild(turn):
    return 2.0


def fails(turn):
    raise KeyError("no")


class Halved(Rubric):
    """Half of what ``grpo`` pays."""

    def __init__(self):
        super().__init__("grpo")

    def total(self, terms, *, shut):
        return super().total(terms, shut=shut) / 2


class Odd(Rubric):
    def __call__(self, turn):
        return 3.0


class Changing(Rubric):
    """A term of its own in the first turn, and another in each later one."""

    def __call__(self, turn):
        name = "first" if turn.after.turn == 1 else "later"
        return Score(2.0, {name: 1.0}, {name: 2.0}, ())


class Set(Rubric):
    """Pays what it was set to pay."""

    def __init__(self, pay=1.0):
        super().__init__("grpo")
        self.pay, self.told = pay, {"by": Thanks()}


class Bare(Rubric):
    def __init__(self):
        self.mine = 1


kept = RubricSettings(affect=0.0, tone=0.0)
three = 3
'''


def write_mine(folder: Path, name: str, text: str = MINE) -> str:
    """Writes the module; its name."""
    (folder / f"{name}.py").write_text(text, encoding="utf-8")
    return name


def keep_imports(monkeypatch: pytest.MonkeyPatch, folder: Path, name: str) -> None:
    """Works in a folder; the module of that name is forgotten after the test."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setitem(sys.modules, name, None)  # type: ignore[arg-type]
    del sys.modules[name]


def working(monkeypatch: pytest.MonkeyPatch, folder: Path, name: str, file: str) -> Path:
    """The folder that is worked in: with the module, and ``mine.yaml``, a rubric that names it."""
    keep_imports(monkeypatch, folder, name)
    write_mine(folder, name)
    (folder / "mine.yaml").write_text(file, encoding="utf-8")
    return folder
