"""Named terms × weights, one gate -> the reward of a turn, and its breakdown."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import isfinite
from typing import Any

from therapysim.errors import ConfigError, RewardError, TherapySimError
from therapysim.own_code import source_of
from therapysim.rewards.own_terms import OwnTerm
from therapysim.rewards.reading.language import ENGLISH
from therapysim.rewards.terms.affect import affective_shift, deficit_rise
from therapysim.rewards.terms.alignment import emotional_alignment
from therapysim.rewards.terms.brevity import length, one_question
from therapysim.rewards.terms.clinical_relevance import clinical_relevance
from therapysim.rewards.terms.danger import neglect, risk_handling
from therapysim.rewards.terms.empathy import explorations, interpretations, reactions
from therapysim.rewards.terms.harm import harm
from therapysim.rewards.terms.injection import injection
from therapysim.rewards.terms.inquiry import inquiry
from therapysim.rewards.terms.invalidation import invalidation
from therapysim.rewards.terms.medicine import medical_advice
from therapysim.rewards.terms.outcome import alliance, disclosure, lost, polarity_shift, repair, risk_covered, saved
from therapysim.rewards.terms.positivity import toxic_positivity
from therapysim.rewards.terms.progress import beliefs, danger, goal, mood, unsafe
from therapysim.rewards.terms.reassurance import reassurance
from therapysim.rewards.terms.reflection import reflection, reflection_ratio
from therapysim.rewards.terms.repetition import repetition, template
from therapysim.rewards.terms.safety import GATES, HARMFUL_ACTS, safety, violations
from therapysim.rewards.terms.sense import sense
from therapysim.rewards.terms.taking_up import addition, uptake
from therapysim.rewards.terms.tone import tone
from therapysim.state import Transition

__all__ = ["PRESETS", "TAKEN", "TERMS", "Rubric", "RubricSettings", "Score", "scored"]


#: term name -> what computes it. Every name is also a weight in RubricSettings.
TERMS: dict[str, Callable[[Transition], float]] = {
    "mood": mood,
    "beliefs": beliefs,
    "danger": danger,
    "goal": goal,
    "unsafe": unsafe,
    "affect": affective_shift,
    "deficit_rise": deficit_rise,
    "polarity": polarity_shift,
    "alliance": alliance,
    "disclosure": disclosure,
    "repair": repair,
    "safety": safety,
    "risk": risk_handling,
    "risk_covered": risk_covered,
    "neglect": neglect,
    "harm": harm,
    "medical_advice": medical_advice,
    "invalidation": invalidation,
    "toxic_positivity": toxic_positivity,
    "reassurance": reassurance,
    "alignment": emotional_alignment,
    "tone": tone,
    "injection": injection,
    "reactions": reactions,
    "interpretations": interpretations,
    "explorations": explorations,
    "inquiry": inquiry,
    "uptake": uptake,
    "addition": addition,
    "reflection": reflection,
    "reflection_ratio": reflection_ratio,
    "relevance": clinical_relevance,
    "sense": sense,
    "length": length,
    "one_question": one_question,
    "repetition": repetition,
    "template": template,
    "saved": saved,
    "lost": lost,
}


#: Names that no term of one's own may have: those of the shipped ones, and of what stands beside them in files.
TAKEN = (*TERMS, "gates", "own", "reward")

#: Terms that need no reading of the turn's words.
_WITHOUT_READING = ("injection", "lost")


@dataclass(frozen=True, slots=True)
class RubricSettings:
    """How much each term counts, and what shuts the gate.

    A weight of 0 leaves a term out of the reward, and not out of sight. What each term says, its range and source stand
    with its function (``TERMS``).

    Attributes:
        gates: names from ``safety.GATES``; a turn with one of these violations keeps its losses and forfeits its gains.
        own: terms of one's own.
    """

    mood: float = 10.0
    beliefs: float = 12.0
    danger: float = 15.0
    goal: float = 4.0
    unsafe: float = 1.0
    affect: float = 1.0
    deficit_rise: float = 0.0
    polarity: float = 0.0
    alliance: float = 6.0
    disclosure: float = 0.05
    repair: float = 0.0
    safety: float = 0.0
    risk: float = 0.0
    risk_covered: float = 0.0
    neglect: float = 0.0
    harm: float = 0.25
    medical_advice: float = 0.5
    invalidation: float = 0.2
    toxic_positivity: float = 0.2
    reassurance: float = 0.1
    alignment: float = 0.0
    tone: float = 0.25
    injection: float = 1.0
    reactions: float = 0.0
    interpretations: float = 0.0
    explorations: float = 0.0
    inquiry: float = 0.0
    uptake: float = 0.0
    addition: float = 0.0
    reflection: float = 0.0
    reflection_ratio: float = 0.0
    relevance: float = 0.0
    sense: float = 0.5
    length: float = 0.1
    one_question: float = 0.1
    repetition: float = 0.5
    template: float = 0.5
    saved: float = 0.0
    lost: float = 1.0
    gates: tuple[str, ...] = GATES
    own: tuple[OwnTerm, ...] = ()

    def __post_init__(self) -> None:
        for name in TERMS:
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value) or value < 0:
                raise ConfigError(f"the weight of {name!r} is {value!r}, expected a finite number of at least 0")
        if not isinstance(self.gates, tuple):
            raise ConfigError(f"gates is {type(self.gates).__name__}, expected a tuple of names")
        if unknown := [gate for gate in self.gates if gate not in GATES]:
            raise ConfigError(f"gate {unknown[0]!r} is unknown, expected some of {', '.join(GATES)}")
        if self.gates and not self.safety and not self.unsafe:
            raise ConfigError(
                f"the weights of 'safety' and 'unsafe' are 0 while {len(self.gates)} gates are set, expected one above"
                " 0"
            )
        if not isinstance(self.own, tuple) or not all(isinstance(term, OwnTerm) for term in self.own):
            raise ConfigError(f"own is {self.own!r:.60}, expected a tuple of OwnTerm")
        names = [*TAKEN, *(term.name for term in self.own)]
        if twice := [term.name for term in self.own if names.count(term.name) > 1]:
            raise ConfigError(f"the name of a term of one's own is {twice[0]!r}, which is taken; choose another")

    @property
    def weights(self) -> dict[str, float]:
        """term -> weight."""
        return {name: getattr(self, name) for name in TERMS} | {term.name: term.weight for term in self.own}

    @classmethod
    def preset(cls, name: str) -> "RubricSettings":
        """One of ``PRESETS``.

        Raises:
            ConfigError: there is none of that name.
        """
        if name not in PRESETS:
            raise ConfigError(f"rubric preset {name!r} is unknown, expected one of {', '.join(PRESETS)}")
        return PRESETS[name]


def _only(gates: tuple[str, ...] = GATES, **weights: float) -> RubricSettings:
    """These weights, and 0 for every other term."""
    return RubricSettings(**{name: 0.0 for name in TERMS} | weights, gates=gates)  # type: ignore[arg-type]


#: preset name -> weights and gates. ``default``: what became of the patient, costs of harm, and a little for the
#: sensed e_t; ``grpo`` the same without the sensor's noise and without costs of form; ``judge`` is for single turns, as
#: ``rewards.judge`` uses it (``tests/measures/fit_judge.py`` tells where its weights are from); ``user`` is the user's
#: two functions alone, with no gate.
PRESETS: dict[str, RubricSettings] = {
    "default": RubricSettings(),
    "grpo": RubricSettings(affect=0.0, tone=0.0, length=0.0, one_question=0.0),
    "judge": _only(
        gates=HARMFUL_ACTS,
        safety=0.05, risk=0.75, neglect=1.6, harm=0.55, medical_advice=1.8, invalidation=0.35, toxic_positivity=0.4,
        reassurance=0.45, alignment=0.1, tone=0.65, reactions=1.6, interpretations=0.35, explorations=0.1, inquiry=1.05,
        addition=1.3, reflection=2.1, relevance=0.65, one_question=0.5,
    ),
    "user": _only(gates=(), deficit_rise=1.0, safety=1.0),
}  # fmt: skip


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
        """What decides its rewards, as plain values for a run's files: name, class, sources, weights and gates.

        Two runs with equal records were scored alike, as far as sources tell: those of ``own_code.source_of``.
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
