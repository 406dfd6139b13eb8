"""What the page shows of a session, as plain values: the same for one that is played and one that a file holds."""

from collections.abc import Mapping, Sequence
from typing import Any

from therapysim.agents.sessions.session_file import SessionRecord
from therapysim.errors import PersonaError
from therapysim.personas.load import find
from therapysim.personas.schema import Persona
from therapysim.rewards.matrix import DIMENSIONS, polarity

__all__ = ["patient_view", "session_view"]

#: Of a smaller share of the reward a bar would not be seen.
_LEAST = 0.005


def patient_view(persona: Persona) -> dict[str, Any]:
    """What a therapist knows of a patient before the first word."""
    names = ("id", "name", "age", "pronouns", "occupation", "diagnosis", "severity", "split")
    return {name: getattr(persona, name) for name in names}


def session_view(
    record: SessionRecord, weights: Sequence[Mapping[str, float]], patients: Sequence[Persona] = ()
) -> dict[str, Any]:
    """A session: patient, words, and what moved, turn by turn.

    Args:
        record: of the session.
        weights: of each turn's reward terms, by which they are shown.
        patients: beside the shipped ones, who may have sat there.

    Returns:
        ``mood`` has one row of four a patient's turn, the opening's first, ``polarity`` and ``alliance`` one number
        each, and ``turns`` one object a therapist's turn: ``reward``, ``terms`` weighted, ``acts`` and the like.
    """
    return {
        "patient": _patient(record.persona, patients),
        "seed": record.seed,
        "policy": record.policy,
        "messages": [{"speaker": message.speaker, "text": message.text} for message in record.messages],
        "dimensions": list(DIMENSIONS),
        "mood": [[float(value) for value in state.affect] for state in record.states],
        "polarity": [float(polarity(state.affect)) for state in record.states],
        "alliance": [record.alliance, *(turn.alliance for turn in record.turns)],
        "turns": [
            {
                "reward": None if turn.reward != turn.reward else turn.reward,
                "terms": _weighted(turn.terms, own),
                "acts": list(turn.acts),
                "violations": list(turn.violations),
                "flags": list(turn.flags),
                "move": turn.move,
                "told": list(turn.disclosed),
            }
            for turn, own in zip(record.turns, weights, strict=True)
        ],
        "ending": record.ending,
        "done": record.done,
        "failed": record.failed,
    }


def _patient(name: str, patients: Sequence[Persona]) -> dict[str, Any]:
    try:
        return patient_view(next((own for own in patients if own.id == name), None) or find(name))
    except PersonaError:  # of a library that is not this one
        return {"id": name, "name": name}


def _weighted(terms: Mapping[str, float], weights: Mapping[str, float]) -> dict[str, float]:
    own = {name: value * weights.get(name, 0.0) for name, value in terms.items()}
    return {name: value for name, value in sorted(own.items(), key=lambda item: -abs(item[1])) if abs(value) >= _LEAST}
