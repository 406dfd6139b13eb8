"""A benchmark that is written as it goes, and goes on where it was broken off.

A block is one policy with one simulator: its sessions advance together. A block with a model in it that was broken off
is played again whole, since what a model samples can hang on its neighbours in a batch, and its finished sessions are
kept as they were written; of any other only what is missing is played. At the end the rows are put in order, so that a
broken run ends with the same bytes as an unbroken one.

Where a policy's model fails, its block is left and the others are played; where no patient of a block answered, no
further policy is played with that simulator. The same run plays what was left.
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
from therapysim.errors import ConfigError, ModelError
from therapysim.models.redaction import in_brief
from therapysim.models.server import refuse_secrets

__all__ = ["Unplayed", "run"]


class Unplayed(ModelError):
    """Not all was played, since the model of a policy or of a patient failed; all else was.

    Attributes:
        results: as ``run`` would have returned them.
    """

    def __init__(self, lines: Sequence[str], results: Sequence[SessionResult]) -> None:
        told = "".join(f"\n  {line}" for line in lines)
        super().__init__(f"not all was played; the same command goes on{told}")
        self.results = list(results)


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
        Unplayed: at the end; a model failed, and what did not need it was played.
        ActionError: at once; a policy of the user's own failed.
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
        blocks = {(p.name, s.name): book.missing(p, s) for s in simulators for p in policies}
        progress = Progress(sum(map(len, blocks.values())) * settings.turns, shown)
        for simulator in simulators:
            _play_simulator(book, policies, simulator, blocks, progress)
        progress.end()
        results = book.close()
        if left := book.unplayed(blocks):
            raise Unplayed(left, results)
        return results


def _play_simulator(
    book: Book,
    policies: Sequence[Policy],
    simulator: Simulator,
    blocks: Mapping[tuple[str, str], Sequence[Start]],
    progress: Progress,
) -> None:
    """Every policy's missing sessions with one simulator, which is opened only if there are any."""
    own = [policy for policy in policies if blocks[policy.name, simulator.name]]
    if not own:
        return
    ahead = {policy.name: blocks[policy.name, simulator.name] for policy in own}
    try:
        patient = simulator.open()
    except ModelError as error:
        _skip(book, ahead, simulator.name, f"{simulator.name} cannot be had: {_reason(error)}", progress)
        return
    batch = SessionBatch(SessionConfig(max_turns=book.settings.turns), patient=patient, rubric=book.settings.rubric)
    for policy in own:
        if why := _try_block(book, batch, policy, simulator.name, ahead.pop(policy.name), progress):
            _skip(book, ahead, simulator.name, why, progress)
            return


def _try_block(
    book: Book, batch: SessionBatch, policy: Policy, simulator: str, starts: Sequence[Start], progress: Progress
) -> str:
    """Plays a block unless its policy's model fails, and says why no patient of it answered; "" if one did."""
    progress.begin(f"{policy.name} with {simulator}", len(starts) * book.settings.turns)
    try:
        results = _play_block(book, batch, policy, simulator, starts, progress)
    except ModelError as error:
        reason = _reason(error)
        progress.give_up()
        progress.tell(f"therapysim: warning: policy {policy.name} ({simulator}) failed: {reason}")
        book.note(policy.name, simulator, reason)
        return ""
    book.note(policy.name, simulator, "")
    if book.answered(policy.name, simulator):
        return ""
    return f"every session of {policy.name} failed: {results[0].failure}"


def _skip(book: Book, ahead: Mapping[str, Sequence[Start]], simulator: str, why: str, progress: Progress) -> None:
    """Leaves the policies of one simulator that are still ahead."""
    if not ahead:
        return
    reason = f"not begun, since {why}"
    progress.tell(f"therapysim: warning: {', '.join(ahead)} with {simulator}: {reason}")
    for name, starts in ahead.items():
        progress.drop(len(starts) * book.settings.turns)
        book.note(name, simulator, reason)


def _reason(error: ModelError) -> str:
    """Why a model failed, the first reason of several, in one line without secrets."""
    return in_brief(next(filter(None, error.reasons), str(error)))


def _play_block(
    book: Book, batch: SessionBatch, policy: Policy, simulator: str, starts: Sequence[Start], progress: Progress
) -> list[SessionResult]:
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
    return results
