"""A benchmark that is written as it goes, and goes on where it was broken off.

A block is one policy with one simulator: its sessions advance together. A block with a model in it that was broken off
is played again whole, since what a model samples can hang on its neighbours in a batch, and its finished sessions are
kept as they were written; of any other only what is missing is played. At the end the rows are put in order, so that a
broken run ends with the same bytes as an unbroken one.
"""

import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TextIO

from therapysim.agents.bench.bench_settings import BenchSettings, Simulator
from therapysim.agents.bench.benchmark import play_policy
from therapysim.agents.bench.folder import Book, locked
from therapysim.agents.bench.progress import Progress, Watched
from therapysim.agents.bench.results import SessionResult
from therapysim.agents.sessions.episode import Episode
from therapysim.agents.therapists.policies import Policy
from therapysim.envs.batch import SessionBatch, SessionConfig, Start
from therapysim.errors import ConfigError
from therapysim.models.server import refuse_secrets

__all__ = ["run"]


def run(
    settings: BenchSettings,
    policies: Sequence[Policy],
    simulators: Sequence[Simulator],
    out: str | Path,
    *,
    command: str = "",
    stream: TextIO | None = None,
    sessions: bool = False,
) -> list[SessionResult]:
    """Plays what is missing of policies × simulators × patients × seeds; sessions whose patient failed, again.

    Args:
        settings: whom they meet.
        policies, simulators: opened when their turn comes, so that one model of each is held at a time.
        out: the folder; made, or gone on with where it holds the same benchmark. More policies and simulators may join.
        command: kept with the settings, so that the results say how they were made.
        stream: where progress is shown; standard error by default.
        sessions: keep a file a session too, in the folder's ``sessions``; see ``agents.sessions.session_file``.

    Returns:
        Every result in the folder: by simulator and policy in the order of joining, then by patient and seed.

    Raises:
        ConfigError: the command holds a secret, the folder holds another benchmark or another policy of a name, another
            run writes in it, it cannot be written, or a name comes twice.
    """
    refuse_secrets(command, "the command that is kept with the results")
    for kind, names in (("policy", [p.name for p in policies]), ("patient", [s.name for s in simulators])):
        if not names or len(set(names)) < len(names):
            raise ConfigError(f"{kind} names are {', '.join(names) or 'none'}, expected at least one and none twice")
    shown = stream or sys.stderr
    with locked(Path(out)):
        book = Book(Path(out), settings, command, sessions=sessions)
        for warning in book.join(policies, simulators):
            print(f"therapysim: warning: {warning}", file=shown, flush=True)
        blocks = {(s.name, p.name): book.missing(p, s) for s in simulators for p in policies}
        progress = Progress(sum(map(len, blocks.values())) * settings.turns, shown)
        for simulator in simulators:
            _play_simulator(book, policies, simulator, blocks, progress)
        progress.end()
        return book.close()


def _play_simulator(
    book: Book,
    policies: Sequence[Policy],
    simulator: Simulator,
    blocks: Mapping[tuple[str, str], Sequence[Start]],
    progress: Progress,
) -> None:
    """Every policy's missing sessions with one simulator, which is opened only if there are any."""
    own = [policy for policy in policies if blocks[simulator.name, policy.name]]
    if not own:
        return
    config = SessionConfig(max_turns=book.settings.turns)
    batch = SessionBatch(config, patient=simulator.open(), rubric=book.settings.rubric)
    for policy in own:
        progress.begin(f"{policy.name} with {simulator.name}")
        _play_block(book, batch, policy, simulator.name, blocks[simulator.name, policy.name], progress)


def _play_block(
    book: Book, batch: SessionBatch, policy: Policy, simulator: str, starts: Sequence[Start], progress: Progress
) -> None:
    watched, began = Watched(policy.open(), progress), time.perf_counter()
    failed = list[str]()

    def take(result: SessionResult, episode: Episode) -> None:
        if result.failed and not failed:  # at once, since a run may take hours; all of them are told at its end
            failed.append(result.persona)
            progress.tell(f"therapysim: warning: patient {result.persona} ({simulator}) failed: {result.failure}")
        progress.drop(book.settings.turns - len(result.turns))
        book.add(result, episode)

    results = play_policy(batch, watched, starts, policy.name, simulator, take)
    seconds = time.perf_counter() - began
    book.time(
        {
            "policy": policy.name,
            "simulator": simulator,
            "sessions": len(results),
            "turns": sum(len(result.turns) for result in results),
            "seconds_policy": round(watched.seconds, 3),
            "seconds_environment": round(seconds - watched.seconds, 3),
        }
    )
