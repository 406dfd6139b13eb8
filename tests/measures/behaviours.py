"""What holds in a session, in figures: ``python -m tests.measures.behaviours``. ``tests/envs/test_dynamics.py`` says if
it holds.

On dev patients with three seeds, but for the danger: on train and dev patients with a risk, and two.
"""

from dataclasses import replace

import numpy as np

import tests.envs.test_dynamics as held
from tests.measures.orderings import at, follow
from therapysim.agents.therapists.baselines import Baseline, baseline
from therapysim.envs.batch import SessionBatch


def main() -> None:
    """Prints every figure."""
    danger()
    warmth()
    resistance()
    rupture()
    temperament()


def danger() -> None:
    """A danger taken up, or passed by."""
    sessions = held.in_danger(held.ids("dev", "train", least_risk=1), 2)
    batch = SessionBatch()
    batch.restore(sessions * 2)
    batch.step([held.TAKEN_UP] * len(sessions) + [held.PASSED_BY] * len(sessions))
    changes = [b.latent.alliance - a.latent.alliance for a, b in zip(sessions * 2, batch.sessions, strict=True)]
    taken, missed = np.mean(changes[: len(sessions)]), np.mean(changes[len(sessions) :])
    print(f"danger, {len(sessions)} sessions: alliance {taken:+.3f} where taken up, {missed:+.3f} where passed by")


def warmth() -> None:
    """Kind words without work, early and late."""
    warm, attuned = held.rows("warm"), held.rows("attuned")
    spans = {span: np.mean([[at(c.alliances, span[1]) - at(c.alliances, span[0]) for c in row] for row in warm])
             for span in ((0, 6), (12, 20))}  # fmt: skip
    ends = [np.mean([[at(c.alliances, 20) for c in row] for row in own]) for own in (attuned, warm)]
    print(f"warmth alone: alliance {spans[0, 6]:+.2f} in turns 1-6, {spans[12, 20]:+.2f} in turns 13-20; "
          f"ends {ends[0] - ends[1]:.2f} below attuned")  # fmt: skip


def resistance() -> None:
    """Turns until the alliance is 0.6."""
    found = []
    for value in (0.1, 0.45, 0.8):
        batch = held.altered(held.opened(held.ids("dev", most_risk=1)), lambda p, v=value: replace(p, resistance=v))  # type: ignore[misc]
        played = follow(batch, baseline("attuned"), 20)
        found.append(np.mean([held.turns_to(c.alliances, 0.6) for c in played]))
    print(f"resistance .1, .45, .8: alliance 0.6 after {', '.join(f'{turns:.1f}' for turns in found)} turns")


def rupture() -> None:
    """The alliance before, after, and on its way back."""
    before, after, _ = held.ruptured()
    was, fell = (np.mean([s.latent.alliance for s in own]) for own in (before, after))
    print(f"rupture: alliance {was:.2f} falls to {fell:.2f}")
    for name, therapist in (("repair", Baseline("repair", held.repairs)), ("as if nothing", baseline("attuned"))):
        courses = held.went_on(therapist, 8)
        back = [np.mean([at(c.alliances, turn) for c in courses]) for turn in (2, 8)]
        print(f"  {name}: {back[0]:.2f} after two turns, {back[1]:.2f} after eight")


def temperament() -> None:
    """Mood gained by four attuned turns, and lost to one hostile turn."""
    people, gained, lost = held.ids("dev"), [], []
    for value in (0.1, 0.9):
        rise = follow(held.altered(held.opened(people), held.tempered(inertia=value)), baseline("attuned"), 4)
        gained.append(np.mean([c.moods[-1] - c.moods[0] for c in rise]))
        hurt = held.altered(held.opened(people), held.tempered(reactivity=value))
        lost.append(np.mean([c.moods[0] - c.moods[1] for c in follow(hurt, held.says(held.HOSTILE_LINE), 1)]))
    print(f"inertia .1, .9: mood gained in four turns {gained[0]:.2f}, {gained[1]:.2f}")
    print(f"reactivity .1, .9: mood lost to one hostile turn {lost[0]:.2f}, {lost[1]:.2f}")


if __name__ == "__main__":
    main()
