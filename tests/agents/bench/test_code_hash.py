"""The hash of the code sees a change in a room however the package lies on the disk."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from therapysim.agents.bench import code_hash
from therapysim.agents.bench.code_hash import code_hashes
from therapysim.errors import ConfigError

ROOT = Path(__file__).parents[3]
ROOMS = ("agents", "envs", "personas", "rewards")

#: What an editable install does where the links are plain files: it maps each room to its folder.
MAP = """
import sys
from importlib.util import spec_from_file_location
from pathlib import Path

class Mapped:
    @staticmethod
    def find_spec(name, path=None, target=None):
        top, _, room = name.partition(".")
        folder = Path(sys.argv[1]) / room
        if top == "therapysim" and room in ("agents", "envs", "personas", "rewards"):
            return spec_from_file_location(name, folder / "__init__.py", submodule_search_locations=[str(folder)])

sys.meta_path.insert(0, Mapped)
"""
HASH = "import json; from therapysim.agents.bench.code_hash import code_hashes; print(json.dumps(code_hashes()))"


def copied(to: Path, *, links: bool) -> Path:
    """A copy of the package's code; rooms beside it where links are plain files, in it as a wheel has them."""
    names = shutil.ignore_patterns("*.onnx", "*.gz", "*.safetensors", "__pycache__", *ROOMS, "train")
    shutil.copytree(ROOT / "therapysim", to / "therapysim", ignore=names)
    for room in ROOMS:
        left_out = shutil.ignore_patterns("*.onnx", "*.gz", "*.safetensors", "__pycache__")
        shutil.copytree(ROOT / room, (to if links else to / "therapysim") / room, ignore=left_out)
        if links:
            (to / "therapysim" / room).write_text(f"../{room}")
    return to


def hashed(place: Path, before: str = "") -> dict[str, str]:
    """What the package at that place says of itself, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-P", "-c", before + HASH, str(place)],
        env={**os.environ, "PYTHONPATH": str(place)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, str] = json.loads(done.stdout)
    return found


def turn_gain(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    assert text.count("gain: float = 0.14") == 1
    file.write_text(text.replace("gain: float = 0.14", "gain: float = 0.99"), encoding="utf-8")


@pytest.mark.parametrize("form", ["wheel", "zip", "plain links"])
def test_a_number_of_the_dynamics_changes_their_rooms_hash_alone(form: str, tmp_path: Path) -> None:
    place, before = copied(tmp_path / "tree", links=form == "plain links"), MAP if form == "plain links" else ""

    def told() -> dict[str, str]:
        if form != "zip":
            return hashed(place, before)
        return hashed(Path(shutil.make_archive(str(tmp_path / "packed"), "zip", place, "therapysim")))

    first = told()
    assert first == code_hashes(), "the same code lies elsewhere"
    turn_gain(place / ("envs" if form == "plain links" else "therapysim/envs") / "sizes.py")
    second = told()
    assert {room for room in first if first[room] != second[room]} == {"envs"}


def test_floors_are_seen_and_reports_are_not(tmp_path: Path) -> None:
    place = copied(tmp_path / "tree", links=False)
    first, inner = hashed(place), place / "therapysim"
    for name in ("agents/bench/report/page.py", "agents/probes/pairs.py", "cli/main.py"):
        (inner / name).write_text((inner / name).read_text(encoding="utf-8") + "#\n", encoding="utf-8")
    assert hashed(place) == first
    for room, name in (("models", "models/chat.py"), ("rewards", "rewards/terms/affect.py"),
                       ("personas", "personas/lines.yaml"), ("therapysim", "state.py")):  # fmt: skip
        (inner / name).write_text((inner / name).read_text(encoding="utf-8") + "#\n", encoding="utf-8")
        second = hashed(place)
        assert {other for other in first if first[other] != second[other]} == {room}
        first = second


def test_a_room_without_code_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "envs").write_text("../envs")
    monkeypatch.setattr(code_hash, "files", lambda package: tmp_path)
    with pytest.raises(
        ConfigError, match=r"room 'therapysim' of the installed package holds no code, expected some of"
    ):
        code_hashes()
