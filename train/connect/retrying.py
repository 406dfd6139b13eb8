"""Sessions whose patient is asked again where it failed: what every connection does before it gives a session up."""

from collections.abc import Sequence

from therapysim.envs.batch import SessionBatch, Start, Turn

__all__ = ["begin", "begin_each", "take", "take_each"]


def begin(batch: SessionBatch, start: Start, retries: int) -> None:
    """Begins the batch's one session; failed where the patient did not open it in 1 + ``retries`` tries."""
    begin_each(batch, [start], retries)


def begin_each(batch: SessionBatch, starts: Sequence[Start], retries: int) -> None:
    """Begins the batch's sessions, likewise.

    Raises:
        PersonaError, ConfigError: one of them cannot be begun; none is.
    """
    batch.reset(starts)
    for _ in range(retries):
        if not any(session.failed for session in batch.sessions):
            return
        batch.resume()


def take(batch: SessionBatch, text: str, retries: int) -> Turn | None:
    """A turn of the batch's one session, likewise.

    Raises:
        EpisodeError: the session is over.
    """
    return take_each(batch, [text], retries)[0]


def take_each(batch: SessionBatch, texts: Sequence[str], retries: int) -> list[Turn | None]:
    """A turn of each of the batch's sessions, likewise; those whose patient answered are not played again.

    Raises:
        EpisodeError: one of them is over; no turn is taken.
    """
    turns = batch.step(texts)
    for _ in range(retries):
        failed = [i for i, session in enumerate(batch.sessions) if session.failed]
        if not failed:
            break
        sessions = list(batch.sessions)
        batch.restore([sessions[i] for i in failed])
        batch.resume()
        again = batch.step([texts[i] for i in failed])
        for i, session, turn in zip(failed, batch.sessions, again, strict=True):
            sessions[i], turns[i] = session, turn
        batch.restore(sessions)
    return turns
