"""The wheel and the sdist hold every package, data file and test: built from what git tracks, and compared with it."""

import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Iterable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("agents", "envs", "personas", "rewards", "train")
#: What is measured and committed, but not shipped with the package.
_NOT_SHIPPED = ("results/", "bench/board/", "README.md", "REWARD.md", "BENCHMARK.md", "SCALE.md")


def _tracked() -> list[str]:
    if not (ROOT / ".git").exists():
        pytest.skip("git tells what belongs to the project, and this is no clone")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    return [name for name in listed.decode().split("\0") if name and (ROOT / name).exists()]


@pytest.fixture(scope="module")
def tracked() -> list[str]:
    return [name for name in _tracked() if not (ROOT / name).is_symlink()]


@pytest.fixture(scope="module")
def built(tracked: list[str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """An sdist of a clean copy, and a wheel of that sdist unpacked."""
    clean, out = tmp_path_factory.mktemp("clean"), tmp_path_factory.mktemp("dist")
    _copy(tracked, clean)
    _build(clean, "sdist", out)
    (sdist,) = out.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(out, filter="data")
    _build(out / sdist.name.removesuffix(".tar.gz"), "wheel", out)
    (wheel,) = out.glob("*.whl")
    return {"sdist": sdist, "wheel": wheel}


def _copy(names: Iterable[str], folder: Path) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, folder / name)


def _build(folder: Path, kind: str, out: Path) -> None:
    code = f"from setuptools import build_meta; build_meta.build_{kind}({str(out)!r})"
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3_000:]


def test_the_sdist_holds_every_tracked_file(built: dict[str, Path], tracked: list[str]) -> None:
    with tarfile.open(built["sdist"]) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}
    assert sorted(set(tracked) - held) == []
    stray = {name for name in held - set(tracked) if "egg-info" not in name and "." in Path(name).name}
    assert stray <= {"PKG-INFO", "setup.cfg", ".ci", ".github"}


def test_the_wheel_holds_every_package_and_data_file(built: dict[str, Path], tracked: list[str]) -> None:
    with zipfile.ZipFile(built["wheel"]) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    rooms = {f"therapysim/{name}" for name in tracked if name.startswith(tuple(f"{room}/" for room in ROOMS))}
    expected = rooms | {name for name in tracked if name.startswith(("therapysim/", "therapysim_"))}
    assert sorted(held - expected) == []
    missing = {name for name in expected - held if not any(part in name for part in _NOT_SHIPPED)}
    assert sorted(missing) == []


def test_every_package_is_in_the_wheel(built: dict[str, Path]) -> None:
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]["packages"]
    with zipfile.ZipFile(built["wheel"]) as archive:
        held = set(archive.namelist())
    assert [p for p in packages if f"{p.replace('.', '/')}/__init__.py" not in held] == []


def test_the_image_is_built_of_all_that_the_wheel_holds(
    built: dict[str, Path], tracked: list[str], tmp_path: Path
) -> None:
    dockerfile = (ROOT / "train" / "connect" / "serve" / "Dockerfile").read_text(encoding="utf-8")
    lines = re.findall(r"^COPY (?!--)(.+) \S+$", dockerfile, re.MULTILINE)
    copied = {name for line in lines for name in line.split()}
    _copy((name for name in tracked if name.partition("/")[0] in copied), tmp_path / "src")
    _build(tmp_path / "src", "wheel", tmp_path)
    (own,) = tmp_path.glob("*.whl")
    held, expected = (sorted(zipfile.ZipFile(wheel).namelist()) for wheel in (own, built["wheel"]))
    assert held == expected
