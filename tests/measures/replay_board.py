"""Does the reference board come out again? Its recorded words are played once more, and all that follows is compared.

python -m tests.measures.replay_board [--board agents/board]

Prints how many sessions differ in a move, an act or their ending, and by how much each reward term and measure differs
at most. Dynamics, sensor and rubric are this machine's; only the words of both speakers are the board's.
"""

import argparse
import math
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from therapysim.agents.bench.results import SessionResult, read_results, result_of
from therapysim.agents.sessions.episode import play
from therapysim.envs.batch import Session, SessionBatch, SessionConfig, Start
from therapysim.personas.patient import Cue, Line


class Recorded:
    """Both speakers of some sessions, as they were written down."""

    def __init__(self, rows: Sequence[SessionResult]) -> None:
        self._rows = {(row.persona, row.seed): row for row in rows}
        self._sessions: Sequence[Session] = ()

    def respond(self, sessions: Sequence[Session]) -> list[str]:
        self._sessions = sessions  # the patient is asked for the same sessions next, in the same order
        return [self._row(s).turns[s.state.turn].therapist for s in sessions]

    def speak(self, cues: Sequence[Cue]) -> list[Line]:
        if not cues[0].transcript.messages:
            return [Line(row.opening) for row in self._rows.values()]
        return [Line(self._row(s).turns[s.state.turn].patient) for s in self._sessions]

    def _row(self, session: Session) -> SessionResult:
        return self._rows[session.persona.id, session.seed]


def main() -> None:
    """Replays every policy with every patient."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--board", type=Path, default=Path("agents/bench/board"))
    rows = read_results(parser.parse_args().board / "results.jsonl.gz")
    apart, most, count = 0, dict[str, float](), 0
    for _, group in groupby(rows, key=lambda row: (row.simulator, row.policy)):
        for row, again in replay(list(group)):
            apart, count = apart + (course(row) != course(again)), count + 1
            for name, gap in gaps(row, again).items():
                most[name] = max(most.get(name, 0.0), gap)
    print(f"{count} sessions, {apart} of them differ in a move, an act or their ending")
    print({name: round(gap, 5) for name, gap in most.items() if gap > 1e-4} or "no term or measure differs")


def replay(rows: list[SessionResult]) -> list[tuple[SessionResult, SessionResult]]:
    """Each row beside the one that its words lead to here."""
    both, turns = Recorded(rows), max(len(row.turns) for row in rows)
    starts = [Start(row.seed, row.persona) for row in rows]
    episodes = play(SessionBatch(SessionConfig(max_turns=max(20, turns)), patient=both), both, starts)
    again = [result_of(row.policy, row.simulator, e) for row, e in zip(rows, episodes, strict=True)]
    return list(zip(rows, again, strict=True))


def course(row: SessionResult) -> list[object]:
    """What happened, in words."""
    return [row.ending, *((said.move, said.acts) for said in row.turns)]


def gaps(row: SessionResult, again: SessionResult) -> dict[str, float]:
    """How far each term and measure is off; tokens are no part of the words."""
    own = {name: value for name, value in row.measures.items() if not name.endswith(("read", "written"))}
    own = {name: value for name, value in own.items() if name not in ("replaced", "redrawn")}
    pairs = {name: (value, again[name]) for name, value in own.items()}
    pairs |= {f"term {name}": (value, again.terms[name]) for name, value in row.terms.items()}
    return {name: abs(a - b) for name, (a, b) in pairs.items() if not (math.isnan(a) and math.isnan(b))}


if __name__ == "__main__":
    main()
