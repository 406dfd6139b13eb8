"""One generation: the sessions of its rows, groups that part from one state, and others for those that fared alike.

A group may sit on several processes. What is decided of it hangs on the returns of all of them, which each process
gathers, so that all decide the same, and each plays its own members.

Sources: Yu et al. 2025, DAPO, section 3.2 (dynamic sampling), here with a limit to how often it draws again;
Kazemnejad et al. 2024, VinePPO (what a step is worth, by several continuations from the state before it).
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

__all__ = ["play_generation", "redrawn", "shared_turns"]


def play_generation(rollout: "Rollout", trainer: Any) -> list[Trajectory]:
    """One session for each row that the trainer kept, in order; groups that fared alike meet others meanwhile."""
    settings, rows = rollout.settings, trainer.rows
    first, times = trainer.accelerator.process_index * len(rows), Counter[int]()
    starts = [Start.meeting(row["seed"], row["persona"]) for row in rows]
    episodes = _play(rollout, trainer, starts, range(first, first + len(rows)))
    while flat := _flat(settings, episodes)[: settings.redraw_groups - times.total()]:
        times.update(flat)
        mine = [k for k in range(len(rows)) if (first + k) // settings.generations in flat]
        groups = [(first + k) // settings.generations for k in mine]
        starts = [redrawn(settings, rows[k]["row"], times[group]) for k, group in zip(mine, groups, strict=True)]
        for k, episode in zip(mine, _play(rollout, trainer, starts, [first + k for k in mine]), strict=True):
            episodes[k] = episode
    if settings.redraw_groups:
        trainer._log_metric("groups/redrawn", float(times.total()))
    if settings.shared_turns:
        trainer._log_metric("groups/shared_turns", float(np.mean([e.shared for e in episodes])))
    return episodes


def _play(rollout: "Rollout", trainer: Any, starts: Sequence[Start], places: Sequence[int]) -> list[Trajectory]:
    """Sessions of whole groups, at their places in the generation; a group that shares turns parts from one state.

    The process of a group's first member plays what is shared, for all of them. Where that ends before its time, the
    group parts before the turn that ended it.
    """
    settings = rollout.settings
    if not settings.shared_turns:
        return rollout.play(trainer, starts)
    turns = [shared_turns(settings, start) for start in starts]
    lead = [k for k, place in enumerate(places) if place % settings.generations == 0 and turns[k]]
    stems = rollout.play_until(trainer, [starts[k] for k in lead], [turns[k] for k in lead])
    played = [(places[k] // settings.generations, stem.fork) for k, stem in zip(lead, stems, strict=True)]
    forks = {group: fork for group, fork in gather_object(played) if fork is not None}
    found = [forks.get(place // settings.generations) for place in places]
    return rollout.play(trainer, starts, [fork and fork.branch() for fork in found])


def shared_turns(settings: GRPOSettings, start: Start) -> int:
    """How many turns those who meet this start share, 0 to ``shared_turns`` alike likely; by the two seeds alone."""
    chance = np.random.default_rng(np.random.SeedSequence(settings.seed, spawn_key=(4, start.seed)))
    return int(chance.integers(settings.shared_turns + 1))


def redrawn(settings: GRPOSettings, row: int, times: int) -> Start:
    """Whom a row's group meets once it was drawn anew so many times: by the run's seed and these numbers alone."""
    chance = np.random.default_rng(np.random.SeedSequence(settings.seed, spawn_key=(3, row, times)))
    ids = training_ids(settings.split, settings.personas)
    who, seed = ids[int(chance.integers(len(ids)))], int(chance.integers(2**32))
    return Start.meeting(seed, f"{who}{MARK}{seed}" if settings.vary else who)


def _flat(settings: GRPOSettings, episodes: Sequence[Trajectory]) -> list[int]:
    """Groups of the whole generation that fared alike, by number; the same in all processes."""
    if not settings.redraw_groups:
        return []
    everyone = gather_object([(e.own_rewards, e.failed) for e in episodes])
    rewards, failed = [r for r, _ in everyone], [f for _, f in everyone]
    by_turn = settings.advantage != "trajectory"
    return flat_groups(rewards, failed, settings.generations, settings.redraw_spread, by_turn=by_turn)
