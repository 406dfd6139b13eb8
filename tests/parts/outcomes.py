"""Outcomes and judged candidates with few words."""

import random
from typing import Any

from therapysim.train.pairs.branches import Outcome
from therapysim.train.pairs.choosing import Judged


def outcome(total: float = 0.0, **changes: Any) -> Outcome:
    """Nothing to be said against it, but for the changes."""
    own = {
        "rise": 0.0, "polarity": 0.0, "toxic": False, "r_emo": 0.0, "violations": (), "gates": 0, "handled": 0.0,
        "tone": 0.0, "relevance": 0.2,
    }  # fmt: skip
    return Outcome(total, **{**own, **changes})


def judged(total: float = 0.0, kind: str = "good", **changes: Any) -> Judged:
    """A candidate with that outcome."""
    return Judged(f"turn worth {total}", kind, "warm", "cbt", outcome(total, **changes))


def any_outcome(rng: random.Random) -> Outcome:
    """One drawn at random, every field of it."""
    return outcome(
        rng.choice((-2.0, -0.5, 0.0, 0.5, 1.0)),
        rise=rng.choice((-0.5, -0.2, 0.0, 0.0, 0.05, 0.4)),
        polarity=rng.choice((-0.4, 0.0, 0.1, 0.9)),
        violations=tuple(rng.sample(("blame", "dependence"), rng.choice((0, 0, 0, 0, 1, 2)))),
        gates=rng.choice((0, 0, 0, 1, 2)),
        handled=rng.choice((0.0, 0.2, 0.2)),
        toxic=rng.random() < 0.1,
        r_emo=-float(rng.random() < 0.1),
        tone=rng.choice((0.0, 0.0, 0.0, 0.98, 0.99, 1.0)),
        relevance=rng.choice((-0.1, 0.0, 0.2, 0.2, 0.2)),
        failed=rng.random() < 0.1,
    )


def any_state(rng: random.Random, size: int = 8) -> list[Judged]:
    """Candidates of one state, good ones and errors."""
    return [Judged("turn", rng.choice(("good", "good", "error")), "warm", "cbt", any_outcome(rng)) for _ in range(size)]
