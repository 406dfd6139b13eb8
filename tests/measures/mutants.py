"""How many small faults the tests notice: mutmut plants them one at a time, and runs the tests that reach each.

python -m tests.measures.mutants                        all 7,000 of envs, rewards and the statistics
python -m tests.measures.mutants --sample 40 --seed 1   as many of each floor, drawn at random

What is mutated and which tests are run stands in pyproject.toml, ``[tool.mutmut]``. Only what stands in a function is
mutated; a table or a default of a dataclass is not. ``mutmut show NAME`` shows a mutant that survived.
"""

import argparse
import json
import random
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

#: Where mutmut keeps the mutated copy, what came of each mutant, and which test reaches which function.
FOLDER = Path("mutants")
#: Any mutant will do to have all of them made and the tests timed; few tests reach this one.
FIRST = "therapysim.agents.statistics.student.x_t_cdf__mutmut_1"
#: Of pytest's and mutmut's exit codes, those of a mutant that no test noticed; every other is a kill or a time-out.
UNNOTICED = {0, 5, 33}

Fates = dict[str, int | None]


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs all, or a sample; prints the table and whoever survived."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sample", type=int, help="mutants of each floor; all of them by default")
    parser.add_argument("--seed", type=int, default=0, help="of the sample")
    parser.add_argument("--keep", action="store_true", help="go on with what the last run made, if no file has changed")
    given = parser.parse_args(arguments)
    if not given.keep:
        shutil.rmtree(FOLDER, ignore_errors=True)
    chosen = draw(given.sample, given.seed) if given.sample else []
    run(*chosen)
    tried = {name: fate for name, fate in fates().items() if fate is not None and (not chosen or name in chosen)}
    print(table(tried))
    print("\n".join(f"survived: {name}" for name, fate in tried.items() if fate in UNNOTICED))


def draw(sample: int, seed: int) -> list[str]:
    """So many mutants of each floor, or all of a floor that has no more."""
    run(FIRST)
    floors: dict[str, list[str]] = {}
    for name in sorted(fates()):
        floors.setdefault(floor(name), []).append(name)
    rng = random.Random(seed)
    return [name for own in floors.values() for name in rng.sample(own, min(sample, len(own)))]


def run(*names: str) -> None:
    """mutmut, one mutant at a time, on these or on all."""
    command = [Path(sys.executable).with_name("mutmut"), "run", "--max-children", "1", *names]
    if code := subprocess.run(command).returncode:
        raise SystemExit(f"mutmut ended with code {code}; what it wrote says why")


def fates() -> Fates:
    """Mutant -> the exit code of the tests that reach it, None where it was not tried."""
    found: Fates = {}
    for path in sorted(FOLDER.rglob("*.meta")):
        found |= json.loads(path.read_text(encoding="utf-8"))["exit_code_by_key"]
    return found


def floor(name: str) -> str:
    """The folder that a mutant stands in, such as rewards/terms."""
    module = name.partition(".x")[0]
    return module.removeprefix("therapysim.").rpartition(".")[0].replace(".", "/")


def table(tried: Mapping[str, int | None]) -> str:
    """One row a floor, in Markdown."""
    rows = ["| floor | mutants | killed | survived | share killed |", "|---|---|---|---|---|"]
    for own in [*sorted({floor(name) for name in tried}), "all"]:
        ends = [fate in UNNOTICED for name, fate in tried.items() if own in (floor(name), "all")]
        rows.append(
            f"| {own} | {len(ends)} | {ends.count(False)} | {sum(ends)} | {ends.count(False) / len(ends):.1%} |"
        )
    return "\n".join(rows)


if __name__ == "__main__":
    main()
