"""``python -m therapysim.agents.sessions.session_schema [FILE]`` writes the JSON schema of a session file.

It comes from the types of ``session_file``. That the speakers take turns and each turn has its state, only
``load_session`` checks.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from therapysim.agents.sessions.session_file import session_schema
from therapysim.files import write_json

__all__ = ["main"]

_PUBLISHED = Path("docs/schemas/session.schema.json")


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes the schema and says where. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m therapysim.agents.sessions.session_schema", description=__doc__)
    parser.add_argument("file", nargs="?", type=Path, default=_PUBLISHED, help=f"default: {_PUBLISHED}")
    chosen = parser.parse_args(arguments)
    write_json(chosen.file, session_schema())
    print(chosen.file)
    return 0


if __name__ == "__main__":
    sys.exit(main())
