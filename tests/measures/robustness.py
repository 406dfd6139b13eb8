"""Do the sizes decide the order of therapists? ``python -m tests.measures.robustness``

Every size of the dynamics by 30 % up and down, one at a time, then all at random; each time the same policies, patients
and seeds. Printed: Kendall's tau with the order of the shipped sizes, and which pairs change places.
"""

import argparse
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import fields, replace
from itertools import combinations
from typing import Any
from unittest.mock import patch

import numpy as np

from therapysim.agents.probes.audit.turns import blind, load_bank
from therapysim.agents.sessions.episode import play
from therapysim.agents.therapists.baselines import baseline
from therapysim.agents.therapists.therapist import Therapist
from therapysim.envs import beliefs, dynamics
from therapysim.envs.batch import SessionBatch, SessionConfig, Start
from therapysim.envs.dynamics import DynamicsSettings
from therapysim.personas.load import personas

SCRIPTS = ("cbt", "mi", "attuned", "neutral", "warm", "advice", "silent")
PLAYED = ("heard that", "flower pot", "pleasing_harm alone", "boundary alone")
#: Sizes outside ``DynamicsSettings``: module, name.
CONSTANTS = (
    *((beliefs, name) for name in ("FOUND", "SPOKEN_FOR", "FLOOR", "CORE", "BACK", "PRESSED", "PLEASED", "DEBT")),
    *((dynamics, name) for name in ("HELP", "HARM", "UPTAKE_HELP", "RISK_TAKEN_UP_HELP", "KIND_HELP", "MADE")),
    (dynamics, "UNASKED"),
)


def therapists() -> dict[str, Therapist]:
    """Scripts, and what the audit plays."""
    played = {e.name: e.therapist for e in blind(load_bank()) if e.name in PLAYED}
    return {**{name: baseline(name) for name in SCRIPTS}, **played}


def means(settings: DynamicsSettings, turns: int) -> dict[str, float]:
    """Mean return of each policy over the dev patients."""
    batch = SessionBatch(SessionConfig(max_turns=turns, dynamics=settings))
    starts = [Start(1, p.id) for p in personas("dev")]
    return {name: float(np.mean([e.total for e in play(batch, who, starts)])) for name, who in therapists().items()}


def scaled(value: Any, by: float) -> Any:
    """A number, a mapping of numbers or of (alliance, mood), times ``by``."""
    if isinstance(value, Mapping):
        return {key: scaled(own, by) for key, own in value.items()}
    if isinstance(value, tuple):
        return tuple(scaled(own, by) for own in value)
    return value * by


@contextmanager
def changed(factors: Mapping[tuple[Any, str], float]) -> Iterator[None]:
    """The constants times their factors."""
    with ExitStack() as stack:
        for (module, name), by in factors.items():
            stack.enter_context(patch.object(module, name, scaled(getattr(module, name), by)))
        yield


def resized(names: Mapping[str, float]) -> DynamicsSettings:
    """The settings with these fields times their factors, within their bounds."""
    shipped = DynamicsSettings()
    return replace(shipped, **{name: float(np.clip(getattr(shipped, name) * by, -1, 1)) for name, by in names.items()})


def tau(one: Mapping[str, float], other: Mapping[str, float]) -> tuple[float, list[str]]:
    """Kendall's tau, and the pairs that change places."""
    pairs = list(combinations(one, 2))
    swapped = [f"{a}/{b}" for a, b in pairs if (one[a] - one[b]) * (other[a] - other[b]) < 0]
    return 1.0 - 2.0 * len(swapped) / len(pairs), swapped


def main() -> None:
    """Prints one line a change, and the summary."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--random", type=int, default=20, help="draws of all sizes at once, default 20")
    parser.add_argument("--turns", type=int, default=12)
    chosen = parser.parse_args()
    base = means(DynamicsSettings(), chosen.turns)
    print("shipped:", ", ".join(f"{n} {v:+.1f}" for n, v in sorted(base.items(), key=lambda row: -row[1])))
    own = [f.name for f in fields(DynamicsSettings) if f.name not in ("noise", "goal_mood")]
    one = []
    for by in (0.7, 1.3):
        for name in own:
            one.append((f"{name} x {by}", tau(base, means(resized({name: by}), chosen.turns))))
        for module, name in CONSTANTS:
            with changed({(module, name): by}):
                one.append((f"{name} x {by}", tau(base, means(DynamicsSettings(), chosen.turns))))
    rng, every = np.random.default_rng(0), []
    for _ in range(chosen.random):
        draw = lambda: float(rng.uniform(0.7, 1.3))  # noqa: E731
        settings = resized({name: draw() for name in own})
        with changed({key: draw() for key in CONSTANTS}):
            every.append(tau(base, means(settings, chosen.turns)))
    for name, (value, swapped) in one:
        if swapped:
            print(f"{name}: tau {value:.2f}, {', '.join(swapped)}")
    same = np.mean([not swapped for _, (_, swapped) in one])
    print(f"one at a time: {len(one)} changes, order kept in {same:.2f}, least tau {min(t for _, (t, _) in one):.2f}")
    best = sum(any(pair.startswith("cbt/") for pair in swapped) for _, swapped in every)
    print(f"all at random: {len(every)} draws, mean tau {np.mean([t for t, _ in every]):.2f}, least "
          f"{min(t for t, _ in every):.2f}; the first place changes in {best}")  # fmt: skip


if __name__ == "__main__":
    main()
