"""How the house is kept: files and lines a floor, how long functions are, the README, import contracts.

python -m tests.measures.house                 of this checkout
python -m tests.measures.house --root FOLDER   of another, such as an older one unpacked by ``git archive``
"""

import argparse
import ast
import re
import tomllib
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np

ROOMS = ("therapysim", "personas", "rewards", "envs", "agents", "train")
_FUNCTION = (ast.FunctionDef, ast.AsyncFunctionDef)


def sources(root: Path, room: str) -> Iterator[Path]:
    """A room's Python files; links to other rooms are not entered."""
    for path in sorted((root / room).rglob("*.py")):
        if not any(parent.is_symlink() for parent in path.parents if root in parent.parents):
            yield path


def lines(path: Path) -> int:
    """Lines of a file."""
    return len(path.read_text(encoding="utf-8").splitlines())


def function_lengths(path: Path) -> list[int]:
    """Lines of each function's code: its signature and body, without its docstring."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, _FUNCTION):
            first = node.body[0]
            text = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and ast.get_docstring(node)
            doc = (first.end_lineno or first.lineno) - first.lineno + 1 if text else 0
            found.append((node.end_lineno or node.lineno) - node.lineno + 1 - doc)
    return found


def table(root: Path) -> str:
    """One row a floor, in Markdown."""
    rows, floors = ["| floor | files | lines | longest file |", "|---|---|---|---|"], defaultdict(list)
    for room in ROOMS:
        for path in sources(root, room):
            floors[str(path.parent.relative_to(root))].append(lines(path))
    rows += [f"| {floor} | {len(n)} | {sum(n):,} | {max(n)} |" for floor, n in floors.items()]
    every = [n for own in floors.values() for n in own]
    return "\n".join([*rows, f"| all | {len(every)} | {sum(every):,} | {max(every)} |"])


def summary(root: Path) -> str:
    """What holds of the whole: functions, the README, contracts, names that two files share."""
    paths = [path for room in ROOMS for path in sources(root, room)]
    lengths = [n for path in paths for n in function_lengths(path)]
    half, most = np.percentile(lengths, [50, 95])
    page = (root / "README.md").read_text(encoding="utf-8")
    kept = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]["contracts"]
    shared = Counter(path.name for path in paths if path.name != "__init__.py" and "cli" not in path.parts)
    twice = sorted(name for name, n in shared.items() if n > 1)
    return (
        f"functions: {len(lengths):,}, median {half:.0f} lines, 95th percentile {most:.0f}, longest {max(lengths)}\n"
        f"README: {len(page.splitlines())} lines, {len(page.split()):,} words, "
        f"{len(re.findall(r'[0-9]+(?:[.,][0-9]+)*', page))} numbers\n"
        f"import contracts: {len(kept)}\n"
        f"file names that two rooms share, commands apart: {', '.join(twice) or 'none'}"
    )


def main() -> None:
    """Prints both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=Path(__file__).parents[2])
    root = parser.parse_args().root.resolve()
    print(f"{table(root)}\n\n{summary(root)}")


if __name__ == "__main__":
    main()
