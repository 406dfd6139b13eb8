"""Relevance: is the turn clinical talk at all?"""

from therapysim.state import Transition

__all__ = ["clinical_relevance"]


def clinical_relevance(turn: Transition) -> float:
    """How near the turn is to clinical talk, in [-1, 1], as the session's relevance judge says.

    Example: "What goes through your mind before the panic comes?" lies above 0, "The bus leaves at nine." below.
    A heap of clinical words earns nothing.
    """
    relevance = turn.appraisal.relevance
    return relevance * turn.appraisal.prose if relevance > 0 else relevance
