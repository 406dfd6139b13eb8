"""One session whose patient is asked again where it failed: what every connection does before it gives a session up."""

from therapysim.envs.batch import SessionBatch, Start, Turn

__all__ = ["begin", "take"]


def begin(batch: SessionBatch, start: Start, retries: int) -> None:
    """Begins the batch's one session; failed where the patient did not open it in 1 + ``retries`` tries."""
    batch.reset([start])
    for _ in range(retries):
        if not batch.sessions[0].failed:
            return
        batch.resume()


def take(batch: SessionBatch, text: str, retries: int) -> Turn | None:
    """A turn of the batch's one session, likewise.

    Raises:
        EpisodeError: the session is over.
    """
    turn = batch.step([text])[0]
    for _ in range(retries):
        if not batch.sessions[0].failed:
            break
        batch.resume()
        turn = batch.step([text])[0]
    return turn
