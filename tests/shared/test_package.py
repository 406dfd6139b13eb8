"""The package as a whole: what an import brings in, and what the metadata promises."""

import importlib
import pkgutil
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import therapysim

ROOT = Path(__file__).parents[2]


def test_no_import_of_the_base_brings_in_torch() -> None:
    rooms = "agents, envs, personas, rewards"
    code = (
        f"import sys; from therapysim import {rooms}, models; import therapysim.personas.llm.llm_patient; "
        "print([m for m in ('torch', 'transformers', 'trl', 'peft', 'datasets') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_versions_agree() -> None:
    metadata = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert metadata["project"]["version"] == therapysim.__version__
    assert f"## {therapysim.__version__}" in (ROOT / "CHANGELOG.md").read_text()
    assert f"\nversion: {therapysim.__version__}\n" in (ROOT / "CITATION.cff").read_text()


def test_the_metadata_names_each_python_that_the_docs_say_was_tried() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = re.findall(r"Python :: (3\.\d+)", "\n".join(project["classifiers"]))
    told = (ROOT / "docs" / "getting-started.md").read_text().split("Tried with Python ")[1].split(":")[0]
    assert named == [".".join(found.split(".")[:2]) for found in re.findall(r"3\.\d+\.\d+", told)]
    assert project["requires-python"] == f">={named[0]}"


def test_every_room_and_floor_is_packaged() -> None:
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    rooms = [p.name for p in (ROOT / "therapysim").iterdir() if (p / "__init__.py").exists() and p.is_symlink()]
    inits = [path.parent.relative_to(ROOT) for room in rooms for path in ROOT.glob(f"{room}/**/__init__.py")]
    own = {".".join(path.parent.relative_to(ROOT).parts) for path in ROOT.glob("therapysim/**/__init__.py")}
    assert len(rooms) == 5 and set(packages) == {f"therapysim.{'.'.join(i.parts)}" for i in inits} | own


def test_the_readme_example_prints_what_it_says() -> None:
    readme = (ROOT / "README.md").read_text()
    code, shown = (
        readme.split("```python\n", 1)[1].split("```", 1)[0],
        readme.split("```text\n", 1)[1].split("```", 1)[0],
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    # Moves and numbers, not words: another processor may round a reading otherwise and choose another line.
    found, expected = (re.findall(r"\((\S+), ([\w ]+), alliance (\S+)\)", text) for text in (printed, shown))
    assert [move for _, move, _ in found] == [move for _, move, _ in expected] and len(found) == 3
    for (reward, _, alliance), (reward_shown, _, alliance_shown) in zip(found, expected, strict=True):
        assert abs(float(reward) - float(reward_shown)) < 0.5
        assert abs(float(alliance) - float(alliance_shown)) < 0.03


def test_no_file_is_a_placeholder() -> None:
    texts = [*ROOT.glob("*.md"), *ROOT.glob("*/*.md"), *ROOT.glob("*/*.py")]
    marks = ("@" + "@", "FIX" + "ME", "TO" + "DO", "NotImplemented" + "Error")
    assert not [(p.name, m) for p in texts for m in marks if m in p.read_text(encoding="utf-8")]


def test_no_two_test_files_have_one_name() -> None:
    """pytest imports a test file by its name alone."""
    names = [path.name for path in ROOT.glob("tests/**/test_*.py")]
    assert sorted(names) == sorted(set(names))


def test_no_module_hides_what_its_package_gives() -> None:
    """Importing ``therapysim.agents.play`` would put a module of that name in the place of the function."""
    for room in ("agents", "envs", "personas", "rewards", "train"):
        package = importlib.import_module(f"therapysim.{room}")
        modules = {found.name for found in pkgutil.iter_modules(package.__path__)}
        assert not {
            name for name in modules & set(package.__all__) if not isinstance(getattr(package, name), ModuleType)
        }
