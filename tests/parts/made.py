"""Results made by hand, for tests of what is computed from them."""

import math
from collections.abc import Iterable
from typing import Any

from therapysim.agents.bench.provenance import FORMAT, VERSION
from therapysim.agents.bench.results import MEASURES, SessionResult


def made(policy: str, persona: str = "x", seed: int = 0, total: float = 0.0, *, failed: bool = False) -> SessionResult:
    """A session of one turn that brought ``total`` and nothing else."""
    values = {name: math.nan if failed else 0.0 for name in MEASURES} | {"total": total}
    return SessionResult(
        policy=policy,
        simulator="scripted",
        persona=persona,
        split="dev",
        diagnosis="none",
        severity="mild",
        risk=0,
        seed=seed,
        ending="",
        failed=failed,
        measures=values,
        terms={},
        weakest="",
        opening="Hello.",
        affect=(0.0,) * 4,
        turns=(),
    )


def settings_of(results: Iterable[SessionResult] = (), **changes: Any) -> dict[str, Any]:
    """The settings of a benchmark that could have played these sessions, as its folder keeps them."""
    rows = list(results)
    own = {
        "format": FORMAT,
        "version": VERSION,
        "versions": {},
        "library": "0" * 64,
        "weights": {},
        "rubric": {"preset": "default"},
        "session": {},
        "split": "dev",
        "patients": sorted({row.persona for row in rows}),
        "seeds": max((row.seed for row in rows), default=0) + 1,
        "turns": max((len(row.turns) for row in rows), default=0) + 1,
        "policies": {row.policy: {} for row in rows},
        "simulators": {row.simulator: {} for row in rows},
    }
    return own | changes
