"""Results made by hand, for tests of what is computed from them."""

import math

from therapysim.agents.bench.results import MEASURES, Result


def made(policy: str, persona: str = "x", seed: int = 0, total: float = 0.0, *, failed: bool = False) -> Result:
    """A session of one turn that brought ``total`` and nothing else."""
    values = {name: math.nan if failed else 0.0 for name in MEASURES} | {"total": total}
    return Result(
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
