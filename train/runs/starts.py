"""Whom a run's policy meets in its validations."""

import numpy as np

from therapysim.envs.batch import Start
from therapysim.personas.load import personas
from therapysim.train.run_settings import RunSettings

__all__ = ["dev_starts"]


def dev_starts(settings: RunSettings) -> list[Start]:
    """The sessions of every validation: dev patients in turn, each with a seed that the run's seed decides."""
    ids = [p.id for p in personas("dev")]
    seeds = np.random.SeedSequence(settings.seed, spawn_key=(2,)).generate_state(settings.validate_sessions)
    return [Start(int(seed), ids[i % len(ids)]) for i, seed in enumerate(seeds)]
