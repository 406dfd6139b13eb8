"""Does a benchmark come out again? Its recorded words are played once more, and all that follows is compared.

python -m tests.measures.replay_board [--board agents/bench/board] [--turns 20] [--out FOLDER]

Prints how many sessions differ in a move, an act or their ending, by how much each reward term and measure differs at
most, and each policy's mean return then and now. Dynamics, sensor and rubric are this machine's and this code's; only
the words of both speakers are the benchmark's. A session that ended by itself then and would go on now has no words
left: it is counted, and compared no further. ``--out`` writes the benchmark as it is scored now, sessions as files.
"""

import argparse
import json
import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from statistics import fmean

from therapysim.agents.bench.code_hash import code_hashes
from therapysim.agents.bench.folder import SETTINGS, TIMING, session_place
from therapysim.agents.bench.results import SessionResult, read_results, result_of, write_results
from therapysim.agents.sessions.episode import play
from therapysim.agents.sessions.session_file import save_session
from therapysim.envs.batch import Session, SessionBatch, SessionConfig, Start
from therapysim.files import write_json
from therapysim.personas.patient import Cue, Line


class Recorded:
    """Both speakers of some sessions, as they were written down."""

    def __init__(self, rows: Sequence[SessionResult]) -> None:
        self._rows = {(row.persona, row.seed): row for row in rows}
        self._sessions: Sequence[Session] = ()

    def respond(self, sessions: Sequence[Session]) -> list[str]:
        self._sessions = sessions  # the patient is asked for the same sessions next, in the same order
        return ["" if self._spent(s) else self._row(s).turns[s.state.turn].therapist for s in sessions]

    def speak(self, cues: Sequence[Cue]) -> list[Line]:
        if not cues[0].transcript.messages:
            return [Line(row.opening) for row in self._rows.values()]
        return [Line("" if self._spent(s) else self._row(s).turns[s.state.turn].patient) for s in self._sessions]

    def _spent(self, session: Session) -> bool:
        return session.state.turn >= len(self._row(session).turns)

    def _row(self, session: Session) -> SessionResult:
        return self._rows[session.persona.id, session.seed]


def main() -> None:
    """Replays every policy with every patient."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--board", type=Path, default=Path("agents/bench/board"))
    parser.add_argument("--turns", type=int, default=20, help="therapist turns at most, as the benchmark had")
    parser.add_argument("--out", type=Path)
    chosen = parser.parse_args()
    rows = read_results(chosen.board / "results.jsonl.gz")
    apart, most, count, spent = 0, dict[str, float](), 0, 0
    returns, scored = list[str](), list[SessionResult]()
    for (_, policy), group in groupby(rows, key=lambda row: (row.simulator, row.policy)):
        pairs = replay(list(group), chosen.turns, chosen.out)
        scored += [again for _, again in pairs]
        held = [(row, again) for row, again in pairs if len(again.turns) <= len(row.turns)]
        spent, count = spent + len(pairs) - len(held), count + len(pairs)
        for row, again in held:
            apart += course(row) != course(again)
            for name, gap in gaps(row, again).items():
                most[name] = max(most.get(name, 0.0), gap)
        then, now = (fmean(each[i]["total"] for each in held) if held else math.nan for i in (0, 1))
        returns.append(f"{policy}: {then:.2f} then, {now:.2f} now")
    print(f"{count} sessions, {apart} of them differ in a move, an act or their ending; {spent} ran out of words")
    print({name: round(gap, 5) for name, gap in most.items() if gap > 1e-4} or "no term or measure differs")
    print(*returns, sep="\n")
    if chosen.out:
        keep(chosen.board, chosen.out, scored)


def keep(board: Path, out: Path, scored: list[SessionResult]) -> None:
    """Writes the results, and settings that say whose words and whose scores these are."""
    told = json.loads((board / SETTINGS).read_text(encoding="utf-8"))
    told["commands"] += [f"python -m tests.measures.replay_board --board {board} --out {out}"]
    told["warnings"] += [f"words of code {told['code']['envs'][:8]} (envs), scored by the code that is named here"]
    told["code"] = code_hashes()
    write_json(out / SETTINGS, told)
    write_results(out / "results.jsonl.gz", scored)
    (out / TIMING).write_bytes((board / TIMING).read_bytes() if (board / TIMING).exists() else b"")


def replay(rows: list[SessionResult], turns: int, out: Path | None = None) -> list[tuple[SessionResult, SessionResult]]:
    """Each row beside the one that its words lead to here; sessions as files where a folder is given."""
    both = Recorded(rows)
    starts = [Start(row.seed, row.persona) for row in rows]
    episodes = play(SessionBatch(SessionConfig(max_turns=turns), patient=both), both, starts)
    again = list[SessionResult]()
    for row, episode in zip(rows, episodes, strict=True):
        found = result_of(row.policy, row.simulator, episode)
        # What the words cost is no part of them.
        counted = {name: row[name] for name in row.measures if name.endswith(("read", "written"))}
        again.append(replace(found, measures={**found.measures, **counted}))
        if out:
            save_session(session_place(out, found), episode.session, episode.turns, row.policy)
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
