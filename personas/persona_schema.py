"""``python -m therapysim.personas.persona_schema [FILE]`` writes the JSON schema of a persona file.

It comes from the annotations of ``schema.py``. A checker of JSON schema finds a missing, unknown or mistyped field;
what spans fields, such as the order of the facts, only ``load_persona`` checks.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from therapysim.files import write_json
from therapysim.personas.schema import Persona
from therapysim.records import schema_of

__all__ = ["main"]

_PUBLISHED = Path("docs/schemas/persona.schema.json")


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes the schema and says where. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m therapysim.personas.persona_schema", description=__doc__)
    parser.add_argument("file", nargs="?", type=Path, default=_PUBLISHED, help=f"default: {_PUBLISHED}")
    chosen = parser.parse_args(arguments)
    write_json(chosen.file, schema_of(Persona))
    print(chosen.file)
    return 0


if __name__ == "__main__":
    sys.exit(main())
