"""One generation: the sessions of its rows, and other patients for the groups that fared alike.

A group may sit on several processes. What is decided of it hangs on the returns of all of them, which each process
gathers, so that all decide the same, and each plays its own members.

Source: Yu et al. 2025, DAPO, section 3.2 (dynamic sampling), with a limit to how often it draws again.
"""

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from accelerate.utils import gather_object

from therapysim.envs.batch import Start
from therapysim.personas.load import training_ids
from therapysim.personas.vary import MARK
from therapysim.train.grpo.advantages import flat_groups
from therapysim.train.grpo.grpo_settings import GRPOSettings
from therapysim.train.grpo.trajectory import Trajectory

if TYPE_CHECKING:
    from therapysim.train.grpo.rollout import Rollout

__all__ = ["play_generation", "redrawn"]


def play_generation(rollout: "Rollout", trainer: Any) -> list[Trajectory]:
    """One session for each row that the trainer kept, in order; groups that fared alike meet others meanwhile."""
    settings, rows = rollout.settings, trainer.rows
    episodes = rollout.play(trainer, [Start(row["seed"], row["persona"]) for row in rows])
    if not settings.redraw_groups:
        return episodes
    first, times = trainer.accelerator.process_index * len(rows), Counter[int]()
    while flat := _flat(settings, episodes)[: settings.redraw_groups - times.total()]:
        times.update(flat)
        mine = [(k, group) for k in range(len(rows)) if (group := (first + k) // settings.generations) in flat]
        starts = [redrawn(settings, rows[k]["row"], times[group]) for k, group in mine]
        for (k, _), episode in zip(mine, rollout.play(trainer, starts), strict=True):
            episodes[k] = episode
    trainer._log_metric("groups/redrawn", float(times.total()))
    return episodes


def redrawn(settings: GRPOSettings, row: int, times: int) -> Start:
    """Whom a row's group meets once it was drawn anew so many times: by the run's seed and these numbers alone."""
    chance = np.random.default_rng(np.random.SeedSequence(settings.seed, spawn_key=(3, row, times)))
    ids = training_ids(settings.split, settings.personas)
    who, seed = ids[int(chance.integers(len(ids)))], int(chance.integers(2**32))
    return Start(seed, f"{who}{MARK}{seed}" if settings.vary else who)


def _flat(settings: GRPOSettings, episodes: Sequence[Trajectory]) -> list[int]:
    """Groups of the whole generation that fared alike, by number; the same in all processes."""
    everyone = gather_object([(e.turn_rewards, e.failed) for e in episodes])
    rewards, failed = [r for r, _ in everyone], [f for _, f in everyone]
    by_turn = settings.advantage != "trajectory"
    return flat_groups(rewards, failed, settings.generations, settings.redraw_spread, by_turn=by_turn)
