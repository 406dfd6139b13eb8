"""What a kept session earns by a rubric, be it another than it was scored by; its file has terms before weights."""

from therapysim.agents.sessions.session_file import SessionRecord
from therapysim.errors import ConfigError
from therapysim.rewards.rubric import Rubric

__all__ = ["earned", "paid"]


def earned(record: SessionRecord, rubric: Rubric) -> float:
    """The return by a rubric, be it another than the session was scored by.

    Raises:
        ConfigError: as ``paid``.
    """
    return sum(paid(record, rubric))


def paid(record: SessionRecord, rubric: Rubric) -> tuple[float, ...]:
    """What each turn earns by a rubric: a file keeps each term before its weight.

    A turn that the patient gave no answer to counts nothing, nor does a term that this rubric does not have.

    Raises:
        ConfigError: the rubric is a class of one's own, or has a term that the session was not scored by, or by
            another source.
    """
    weights, gates = rubric.settings.weights, set(rubric.settings.gates)
    if type(rubric) is not Rubric:
        raise ConfigError(
            f"rubric {rubric.name or type(rubric).__qualname__!r} is a class of its own, and a session's file has "
            "terms alone: expected a preset, or a rubric's file"
        )
    if lacking := [name for turn in record.turns if turn.terms for name in weights if name not in turn.terms]:
        raise ConfigError(
            f"session of {record.persona}, seed {record.seed}: term {lacking[0]!r} is missing, by which it is to be "
            "paid; play it again by a rubric that has the term"
        )
    if other := [name for name, own in rubric.own_sources.items() if record.own_sources.get(name) != own]:
        raise ConfigError(
            f"session of {record.persona}, seed {record.seed}: term {other[0]!r} was scored by another source than the "
            "rubric's, or its file does not say by which; play it again by this rubric"
        )
    terms = [{name: turn.terms[name] for name in weights if turn.terms} for turn in record.turns]
    shut = [bool(gates & set(turn.violations)) for turn in record.turns]
    return tuple(rubric.total(own, shut=s) for own, s in zip(terms, shut, strict=True))
