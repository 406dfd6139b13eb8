"""Whether therapists are ordered as the literature orders them, measured. ``python -m tests.measures.orderings [--split
dev]``.

Every policy plays the same sessions: the same patients, seeds and chance. A session that ends early keeps its last
value (last observation carried forward): nothing more is done to that patient. As that spares a patient who breaks off
whatever would have followed, the values after turn 2, the first at which anyone can leave, stand beside it. Intervals
are 95 %, by patient, as sessions with one patient are not independent.
Nothing here passes or fails; ``tests/envs/test_dynamics.py`` does.
"""

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from therapysim.agents.statistics.intervals import Interval, mean_interval
from therapysim.agents.therapists.baselines import baseline
from therapysim.agents.therapists.therapist import Therapist
from therapysim.envs.batch import Session, SessionBatch, Start, Turn
from therapysim.personas.load import personas

__all__ = ["MEASURES", "PAIRS", "Course", "Floats", "at", "by_patient", "courses", "follow", "gap", "main"]

Floats = NDArray[np.float64]

#: Better and worse.
PAIRS = (
    ("cbt", "neutral"), ("attuned", "neutral"), ("neutral", "advice"), ("neutral", "toxic_positivity"),
    ("toxic_positivity", "hostile"),
)  # fmt: skip
OTHERS = ("mi", "warm", "empathy_template", "eliza", "parrot", "random", "silent", "injector")


@dataclass(frozen=True)
class Course:
    """How one session went, turn by turn; index 0 is before the first turn.

    Attributes:
        persona: who the patient was.
        moods: mean of the four committed dimensions, shape (turns + 1,).
        states: mean of the four dimensions of e_t, as a policy is shown it, shape (turns + 1,).
        alliances: shape (turns + 1,).
        total: the rewards' sum.
        ending: why the patient closed the session.
    """

    persona: str
    moods: Floats
    states: Floats
    alliances: Floats
    total: float
    ending: str

    @property
    def turns(self) -> int:
        """How many turns the therapist took."""
        return len(self.moods) - 1


#: What is compared: name -> its value in a course.
MEASURES: dict[str, Callable[[Course], float]] = {
    "mood": lambda c: at(c.moods, 20),
    "alliance": lambda c: at(c.alliances, 20),
    "e_t": lambda c: at(c.states, 20),
    "mood, turn 2": lambda c: at(c.moods, 2),
    "alliance, turn 2": lambda c: at(c.alliances, 2),
    "reward": lambda c: c.total,
    "turns": lambda c: float(c.turns),
}


def at(values: Floats, turn: int) -> float:
    """The value after a turn, or the last one where the session had ended by then."""
    return float(values[min(turn, len(values) - 1)])


def courses(therapist: Therapist, people: Sequence[str], seeds: int) -> list[list[Course]]:
    """One row a patient, one course a seed."""
    batch = SessionBatch()
    batch.reset([Start(seed, who) for who in people for seed in range(seeds)])
    flat = follow(batch, therapist)
    return [flat[i * seeds : (i + 1) * seeds] for i in range(len(people))]


def follow(batch: SessionBatch, therapist: Therapist, turns: int | None = None) -> list[Course]:
    """Plays the sessions that a batch holds, to their end or for so many turns, and keeps the course of each."""
    logs = [_Log([session]) for session in batch.sessions]
    while turns is None or max(len(log.sessions) for log in logs) <= turns:
        going = [i for i, session in enumerate(batch.sessions) if not session.done]
        if not going:
            break
        texts: list[str | None] = [None] * len(logs)
        for i, reply in zip(going, therapist.respond([batch.sessions[i] for i in going]), strict=True):
            texts[i] = reply
        taken = batch.step(texts)
        for i in going:
            logs[i].add(batch.sessions[i], taken[i])
    return [log.course() for log in logs]


@dataclass
class _Log:
    """One session as it stood after each turn: a finished one no longer knows the moods it went through."""

    sessions: list[Session]
    total: float = 0.0

    def add(self, session: Session, turn: Turn | None) -> None:
        self.sessions.append(session)
        self.total += turn.reward if turn is not None else 0.0

    def course(self) -> Course:
        last = self.sessions[-1]
        moods = np.array([np.mean(s.latent.mood) for s in self.sessions])
        states = np.array([np.mean(s.state.affect) for s in self.sessions])
        alliances = np.array([s.latent.alliance for s in self.sessions])
        return Course(last.persona.id, moods, states, alliances, self.total, last.ending)


def by_patient(values: Floats) -> Interval:
    """Mean and 95 % interval of values of shape (patients, seeds)."""
    return mean_interval(values.ravel(), np.repeat(np.arange(len(values)), values.shape[1]))


def measured(rows: Sequence[Sequence[Course]], measure: str) -> Floats:
    """A measure of every course, shape (patients, seeds)."""
    return np.array([[MEASURES[measure](course) for course in row] for row in rows])


def gap(better: Sequence[Sequence[Course]], worse: Sequence[Sequence[Course]], measure: str) -> Interval:
    """better - worse, paired by patient and seed."""
    return by_patient(measured(better, measure) - measured(worse, measure))


def levels(played: Mapping[str, list[list[Course]]]) -> str:
    """A Markdown table: one row a policy."""
    rows = [f"| policy | {' | '.join(MEASURES)} | goal | crisis | rupture |", "|---" * (len(MEASURES) + 4) + "|"]
    for name, own in played.items():
        cells = [str(by_patient(measured(own, measure))) for measure in MEASURES]
        endings = [course.ending for row in own for course in row]
        shares = [f"{endings.count(e) / len(endings):.0%}" for e in ("goal", "crisis", "rupture")]
        rows.append(f"| {name} | {' | '.join([*cells, *shares])} |")
    return "\n".join(rows)


def gaps(played: Mapping[str, list[list[Course]]]) -> str:
    """A Markdown table: one row a pair, and each other policy against cbt."""
    shown = [m for m in MEASURES if m != "turns"]
    pairs = [*PAIRS, *(("cbt", name) for name in OTHERS)]
    rows = [f"| paired gap | {' | '.join(shown)} |", "|---" * (len(shown) + 1) + "|"]
    for better, worse in pairs:
        found = [gap(played[better], played[worse], measure) for measure in shown]
        cells = [f"{i.mean:+.3f} [{i.low:+.3f}, {i.high:+.3f}]{'' if i.low > 0 else ' (!)'}" for i in found]
        rows.append(f"| {better} - {worse} | {' | '.join(cells)} |")
    return "\n".join(rows)


def main() -> None:
    """Prints both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--split", default="dev", choices=("train", "dev"))
    parser.add_argument("--seeds", type=int, default=8)
    args = parser.parse_args()
    people = [p.id for p in personas(args.split)]
    played = {
        name: courses(baseline(name), people, args.seeds)
        for name in dict.fromkeys([*(name for pair in PAIRS for name in pair), *OTHERS])
    }
    print(f"{len(people)} {args.split} patients x {args.seeds} seeds, mean and 95 % interval, by patient\n")
    print(levels(played), gaps(played), sep="\n\n")


if __name__ == "__main__":
    main()
