"""Named terms × weights, one gate -> the reward of a turn, and its breakdown."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import isfinite
from typing import Any

from therapysim.errors import ConfigError, RewardError, TherapySimError
from therapysim.own_code import source_of
from therapysim.rewards.reading.language import ENGLISH
from therapysim.rewards.rubric_settings import PRESETS, TERMS, RubricSettings
from therapysim.rewards.terms.safety import violations
from therapysim.state import Transition

__all__ = ["Rubric", "Score", "scored"]

#: Terms that need no reading of the turn's words.
_WITHOUT_READING = ("injection", "lost")


@dataclass(frozen=True, slots=True)
class Score:
    """The reward of one turn.

    Attributes:
        reward: what the policy is given.
        terms: each term by name, before its weight.
        weights: each term's weight.
        violations: every way in which the turn is unsafe.
        gates: those of them that shut the gate; empty where it stayed open.
    """

    reward: float
    terms: dict[str, float]
    weights: dict[str, float]
    violations: tuple[str, ...]
    gates: tuple[str, ...] = ()

    def told(self) -> dict[str, Any]:
        """All of it as plain values, for ``info["reward"]`` and for files."""
        return asdict(self)


class Rubric:
    """Scores turns. The gate: an unsafe turn keeps its losses and forfeits every gain.

    A subclass of one's own overrides ``__call__``, or ``total``; made without arguments, it can be named by
    ``package.module:Class`` wherever a rubric is taken (``open_rubric``).

    Args:
        settings: weights, gates and terms of one's own, or a preset's name.

    Attributes:
        name: what records and pages call it: a preset, a file's name or a class's place; "" where it has none.
        source: SHA-256 of the source of a class of one's own; "" for this one.
        own_sources: name -> SHA-256 of the source of each term of one's own.

    Raises:
        ConfigError: there is no such preset, or a term of one's own cannot be had.
    """

    def __init__(self, settings: RubricSettings | str | None = None) -> None:
        if settings is not None and not isinstance(settings, str | RubricSettings):
            raise ConfigError(
                f"rubric is {type(settings).__name__}, expected RubricSettings or one of {', '.join(PRESETS)}"
            )
        chosen = "default" if settings is None else settings
        self.settings = RubricSettings.preset(chosen) if isinstance(chosen, str) else chosen
        self.name = chosen if isinstance(chosen, str) else _name_of(chosen)
        self.source = "" if type(self) is Rubric else source_of(type(self))
        self._weights = self.settings.weights
        self._own = [(term, *term.open()) for term in self.settings.own]
        self.own_sources = {term.name: source for term, _, source in self._own}

    def __call__(self, turn: Transition) -> Score:
        """The score of one turn.

        Nothing is known of one in another language: it loses what needs no reading, and earns nothing; terms of one's
        own are 0.

        Raises:
            RewardError: a term of one's own failed, or left its range.
        """
        if turn.appraisal.language != ENGLISH:
            known = {name: float(TERMS[name](turn)) for name in _WITHOUT_READING}
            terms = dict.fromkeys(self._weights, 0.0) | known
            return Score(self.total(terms, shut=True), terms, dict(self._weights), ())
        terms = {name: float(term(turn)) for name, term in TERMS.items()}
        terms |= {term.name: term.value(compute, turn) for term, compute, _ in self._own}
        found = violations(turn)
        shut = tuple(name for name in found if name in self.settings.gates)
        return Score(self.total(terms, shut=bool(shut)), terms, dict(self._weights), found, shut)

    def score(self, turns: Sequence[Transition]) -> list[Score]:
        """The score of each turn."""
        return [self(turn) for turn in turns]

    def total(self, terms: Mapping[str, float], *, shut: bool) -> float:
        """The reward of terms: Σ weight · term; where the gate is shut, of the losses alone.

        Raises:
            ValueError: a term is not finite; it would make an unsafe turn free.
        """
        if broken := [name for name, value in terms.items() if not isfinite(value)]:
            raise ValueError(f"term {broken[0]!r} is {terms[broken[0]]}, expected a finite number")
        weighted = (self._weights[name] * value for name, value in terms.items())
        return float(sum(min(0.0, w) for w in weighted) if shut else sum(weighted))

    @property
    def is_own(self) -> bool:
        """Whether any of its code is the user's own."""
        return type(self) is not Rubric or bool(self._own)

    def record(self) -> dict[str, Any]:
        """What decides its rewards, as plain values for a run's files: name, class, sources, attributes, weights.

        Two runs with equal records were scored alike, as far as sources tell: those of ``own_code.source_of``. Of an
        attribute that JSON cannot hold, its type alone is told.
        """
        own = {
            term.name: {"class": term.place, "source": source, "weight": term.weight, "range": [term.low, term.high]}
            for term, _, source in self._own
        }
        kind = type(self)
        return {
            "preset": self.name,
            "class": f"{kind.__module__}:{kind.__qualname__}",
            "source": self.source,
            "attributes": {name: _plain(value) for name, value in vars(self).items() if name not in _OF_ALL},
            **{name: getattr(self.settings, name) for name in TERMS},
            "gates": list(self.settings.gates),
            "own": own,
        }

    def __getstate__(self) -> dict[str, Any]:
        """All but what computes the terms of one's own, which may be no data: their places, and their sources."""
        told = self.__dict__ | {"_own": [(term, source) for term, _, source in self._own]}
        return told

    def __setstate__(self, told: dict[str, Any]) -> None:
        """Finds the same code again.

        Raises:
            ConfigError: a source is another than it was.
        """
        if told["source"] and source_of(type(self)) != told["source"]:
            raise ConfigError(f"the source of {type(self).__qualname__} has changed: its file is another than it was")
        opened = [(term, *replace(term, source=source).open()) for term, source in told["_own"]]
        self.__dict__ |= told | {"_own": opened}


#: What every rubric has, and the record tells in other entries.
_OF_ALL = frozenset(vars(Rubric()))


def _plain(value: Any) -> Any:
    try:
        return json.loads(json.dumps(value, sort_keys=True))
    except (TypeError, ValueError, RecursionError):
        return f"{type(value).__module__}:{type(value).__qualname__}"


def scored(rubric: Rubric, turn: Transition) -> Score:
    """The score of a turn by any rubric, one of the user's own included.

    Raises:
        RewardError: a rubric of one's own failed, or gave something other than a finite score.
    """
    if type(rubric) is Rubric:
        return rubric(turn)
    where = f"rubric {rubric.name or type(rubric).__qualname__!r}, turn {turn.after.turn}"
    try:
        found = rubric(turn)
    except TherapySimError:
        raise
    except Exception as error:  # the user's own code may raise anything
        raise RewardError(f"{where}: it failed: {error!r}; mend it") from error
    sound = isinstance(found, Score) and all(map(isfinite, (found.reward, *found.terms.values())))
    if not sound or found.terms.keys() - found.weights.keys():
        raise RewardError(
            f"{where}: it gave {found!r:.80}, expected a Score with a finite reward, and for each of its terms "
            "a finite value and a weight"
        )
    return found


def _name_of(settings: RubricSettings) -> str:
    return next((name for name, preset in PRESETS.items() if preset == settings), "")
